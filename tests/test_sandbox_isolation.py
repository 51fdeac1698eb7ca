"""What the sandbox promises on systems that allow less; each system is a real one, made by taking things away."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sklearn.linear_model import LinearRegression

from deedbook.artifacts.formats import save_model
from tests.lesser_systems import LANDLOCK_CREATE_RULESET, ORDINARY_USER, without

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="what is taken away exists on Linux only"
)

NETWORK = "a model can't use the network"
FILES = "a model can't read other files or artifacts"
ENVIRONMENT = "a model can't read the worker's environment or memory"
WRITING = "a model can't write files"
SIGNALS = "a model can't signal other processes"
MEMORY = "a model can't use more memory than its limit"
PROCESSES = "a model leaves no process behind"
EVERYTHING = {NETWORK, FILES, ENVIRONMENT, WRITING, SIGNALS, MEMORY, PROCESSES}

WORKER = """
import hashlib, json, os, pathlib, sys
from deedbook.consumers.sandbox import Limits, Sandbox
folder = pathlib.Path(sys.argv[1])
os.environ["DEEDBOOK_TEST_SECRET"] = "secret"
outcomes = {}
with Sandbox(Limits(wall_seconds=2, memory_bytes=256 << 20)) as sandbox:
    promises = {promise.what: [promise.isolated, promise.how] for promise in sandbox.isolation()}
    for file in sorted(folder.iterdir()):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        format_name = file.suffix[1:]
        outcome = sandbox.predict(file, digest, format_name, ["a"], [[1.0], [2.0]], allowed={format_name})
        outcomes[file.stem] = repr(outcome)
    ghosts = []
    for comm in pathlib.Path("/proc").glob("[0-9]*/comm"):
        try:
            ghosts += [comm.parent.name] if comm.read_text().strip() == "deedghost" else []
        except OSError:
            pass
print(json.dumps({"promises": promises, "outcomes": outcomes, "ghosts": ghosts}))
"""
# A grandchild in a session of its own, that would live for a minute.
DAEMON = """
import ctypes, os, time
if os.fork() == 0:
    os.setsid()
    for _ in range(8):
        if os.fork() == 0:
            ctypes.CDLL(None).prctl(15, b"deedghost", 0, 0, 0)
            time.sleep(60)
            os._exit(0)
    os._exit(0)
time.sleep(0.2)
"""


class Hostile:
    """A pickle that runs Python source when it is loaded."""

    def __init__(self, source: str) -> None:
        """Keep the source."""
        self.source = source

    def __reduce__(self) -> tuple[object, tuple[str, dict[str, str]]]:
        """Have the unpickler run it."""
        return exec, (self.source, {})


@pytest.fixture(scope="module")
def models() -> Iterator[Path]:
    """A folder of models that any user may read."""
    folder = Path(tempfile.mkdtemp(prefix="deedbook-test-"))
    folder.chmod(0o755)
    (folder / "honest.skops").write_bytes(save_model(LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0])).data)
    (folder / "daemon.pickle").write_bytes(pickle.dumps(Hostile(DAEMON)))
    (folder / "hang.pickle").write_bytes(pickle.dumps(Hostile("import time; time.sleep(60)")))
    yield folder
    shutil.rmtree(folder)


def worker(models: Path, preparation: str = "") -> dict[str, Any]:
    """Run a worker on the system that the preparation leaves, and return what it reports."""
    result = subprocess.run(
        [sys.executable, "-c", preparation + WORKER, str(models)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert 0 == result.returncode, result.stderr
    report: dict[str, Any] = json.loads(result.stdout)
    assert report["outcomes"]["honest"].startswith("Predictions(values=(3.0"), report
    assert "kind='timeout'" in report["outcomes"]["hang"]
    assert [] == report["ghosts"]
    return report


def isolated(report: dict[str, Any]) -> set[str]:
    """The promises that hold."""
    return {what for what, (holds, _) in report["promises"].items() if holds}


def test_everything_is_isolated_where_everything_is_allowed(models: Path) -> None:
    """As root, on a kernel with namespaces, Landlock and seccomp."""
    report = worker(models)
    assert EVERYTHING == isolated(report)
    assert "own network, seccomp, Landlock" == report["promises"][NETWORK][1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an ordinary user")
def test_an_ordinary_user_gets_the_same_through_a_user_namespace(models: Path) -> None:
    """No privileges are needed."""
    report = worker(models, ORDINARY_USER)
    assert EVERYTHING == isolated(report)
    assert "own network, seccomp, Landlock" == report["promises"][NETWORK][1]


def test_a_container_without_namespaces_still_isolates(models: Path) -> None:
    """Landlock and seccomp need no permission."""
    report = worker(models, without("unshare"))
    assert EVERYTHING == isolated(report)
    assert "seccomp, Landlock" == report["promises"][NETWORK][1]


def test_a_kernel_without_landlock_still_isolates(models: Path) -> None:
    """By the root that holds libraries only."""
    report = worker(models, without(LANDLOCK_CREATE_RULESET))
    assert EVERYTHING == isolated(report)
    assert "own root, another user" == report["promises"][FILES][1]


def test_processes_left_behind_end_with_their_namespace(models: Path) -> None:
    """Without seccomp a model can start some: they are ended with the job."""
    report = worker(models, without(no_filters=True))
    assert EVERYTHING == isolated(report)
    assert "the model tried to start a process" in report["outcomes"]["daemon"]
    assert "own processes, adopted orphans" == report["promises"][PROCESSES][1]


def test_processes_left_behind_end_without_a_namespace_too(models: Path) -> None:
    """The server adopts and ends them."""
    report = worker(models, without("unshare", no_filters=True))
    assert {MEMORY, PROCESSES, FILES, WRITING} <= isolated(report)
    assert "the model tried to start a process" in report["outcomes"]["daemon"]


def test_what_a_system_can_not_isolate_is_said_with_the_reasons(models: Path) -> None:
    """Nothing is claimed that was not tried."""
    report = worker(models, without("unshare", "setresuid", LANDLOCK_CREATE_RULESET, no_filters=True))

    assert {FILES, NETWORK} & isolated(report) == set()
    assert (
        "own network: namespaces are not allowed here (Operation not permitted)"
        in report["promises"][NETWORK][1]
    )
    assert "Landlock: not in this kernel, or switched off" in report["promises"][FILES][1]
    assert {MEMORY, PROCESSES} <= isolated(report)
