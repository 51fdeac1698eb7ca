"""Each peer's own virtual environment, made from its pinned requirements, and the processes that run in it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from measure import Measure

BENCHMARKS: Final = Path(__file__).resolve().parent.parent
ENVIRONMENTS: Final = BENCHMARKS / ".envs"
INSTALL_TIMEOUT_SECONDS: Final = 900
PHASE_TIMEOUT_SECONDS: Final = 3_600
# Everything that could make a peer speak to somebody else is switched off; nothing of the user's settings is passed on.
QUIET: Final = {
    "DO_NOT_TRACK": "1",
    "GIT_PYTHON_REFRESH": "quiet",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


class PeerUnavailableError(Exception):
    """A peer can't be installed or run here; the message is the reason, in one line."""


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def _run(command: Sequence[str], what: str) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerUnavailableError(f"{what}: {error}") from error
    if done.returncode != 0:
        raise PeerUnavailableError(f"{what}: {_last_line(done.stderr)}")


def python_of(peer: str) -> Path:
    """The peer's interpreter; its environment is made, or made anew when the requirements have changed.

    Raises PeerUnavailableError where it can't be made.
    """
    requirements = BENCHMARKS / "peers" / f"{peer}.txt"
    folder = ENVIRONMENTS / peer
    python = folder / "bin" / "python"
    stamp = folder / "requirements.sha256"
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    if python.exists() and stamp.exists() and stamp.read_text() == digest:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if uv := shutil.which("uv"):
        _run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], f"no environment for {peer}")
        install = [uv, "pip", "install", "--quiet", "--python", str(python)]
    else:
        _run([sys.executable, "-m", "venv", str(folder)], f"no environment for {peer}")
        install = [str(python), "-m", "pip", "install", "--quiet"]
    _run([*install, "--require-hashes", "-r", str(requirements)], f"{peer} can't be installed")
    stamp.write_text(digest)
    return python


def run_phase(peer: str, phase: str, store: Path, n: int, repeats: int) -> list[Measure]:
    """Run one phase of a peer in a process of its own, on the store, and read its measures.

    Raises PeerUnavailableError when the phase fails or takes more than an hour.
    """
    store.mkdir(parents=True, exist_ok=True)
    command = [str(python_of(peer)), "-m", f"peers.{peer}_peer", phase, "--store", str(store)]
    command += ["-n", str(n), "--repeats", str(repeats)]
    env = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG", "TMPDIR"}}
    env |= QUIET | {"HOME": str(store.parent / "home"), "TRACKIO_DIR": str(store)}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=BENCHMARKS,
            env=env,
            timeout=PHASE_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerUnavailableError(f"{peer} {phase}: {error}") from error
    if done.returncode != 0:
        raise PeerUnavailableError(f"{peer} {phase}: {_last_line(done.stderr)}")
    return [Measure.from_json(line) for line in done.stdout.splitlines()]
