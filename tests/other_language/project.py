"""A JavaScript program's folder: the pinned packages, and the client that one of them writes out from the `.proto`.

It stays from one run to the next, in `build/`; what is there is made anew where its sources or pins changed.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from importlib.metadata import distribution, version
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent.parent
PINS = ROOT / "tests/other_language"
PROJECT = ROOT / "build/other_language"
PATIENCE_SECONDS = 120.0

PROTOS = ROOT / "api/proto"
REGISTRY = "deedbook/v1/registry.proto"
# The details of an error are Google's own message, which a Python package brings along as a file.
GOOGLE_PROTOS = Path(str(distribution("googleapis-common-protos").locate_file("")))
DETAILS = "google/rpc/error_details.proto"


def make() -> None:
    """Install what is pinned, and generate the client, where that is not done yet."""
    lock = (PINS / "package-lock.json").read_bytes()
    protos = (PROTOS / REGISTRY).read_bytes() + (GOOGLE_PROTOS / DETAILS).read_bytes()
    protoc = version("grpcio-tools").encode()
    PROJECT.mkdir(parents=True, exist_ok=True)
    with FileLock(PROJECT / "making.lock"):
        _once(_install, lock)
        _once(_generate, lock + protos + protoc + Path(__file__).read_bytes())


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a JavaScript module as if it were a file in the folder, and return how it ended and what it said."""
    command = ["node", "--input-type=module", "-", *arguments]
    return subprocess.run(
        command,
        cwd=PROJECT,
        input=program,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )


def _once(step: Callable[[], None], sources: bytes) -> None:
    stamp = PROJECT / f"{step.__name__.lstrip('_')}.stamp"
    digest = hashlib.sha256(sources).hexdigest()
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != digest:
        # Written last: what was interrupted is begun again.
        stamp.unlink(missing_ok=True)
        step()
        stamp.write_text(digest, encoding="utf-8")


def _install() -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy2(PINS / name, PROJECT / name)
    _succeed("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")


def _generate() -> None:
    shutil.rmtree(PROJECT / "generated", ignore_errors=True)
    (PROJECT / "generated").mkdir()
    _succeed(
        *(sys.executable, "-m", "grpc_tools.protoc"),
        *(f"-I{PROTOS}", f"-I{GOOGLE_PROTOS}"),
        "--plugin=protoc-gen-es=node_modules/.bin/protoc-gen-es",
        *("--es_out=generated", "--es_opt=target=js,import_extension=js"),
        *(REGISTRY, DETAILS),
    )


def _succeed(*command: str) -> None:
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert 0 == ended.returncode, ended.stderr
