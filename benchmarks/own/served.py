"""A served registry for the benchmarks: `deedbook serve` as a process of its own, and what it takes of the machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final

import httpx

_PATIENCE_SECONDS: Final = 120.0
_LOOK_SECONDS: Final = 0.005
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Served:
    """A running `deedbook serve`: its process, where it listens, and how long after its start it was ready."""

    process: subprocess.Popen[bytes]
    web: str
    grpc: str
    ready_seconds: float

    def rss_bytes(self) -> int:
        """The memory that the server and its children hold now."""
        return sum(_rss_bytes(process) for process in _with_children(self.process.pid))

    def cpu_seconds(self) -> float:
        """The processor time that the server has taken so far, its children's apart."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS


@contextlib.contextmanager
def served(folder: Path, arguments: Sequence[str] = ("--no-validation",)) -> Iterator[Served]:
    """Serve the registry in a folder until the block ends. Raises RuntimeError where it doesn't become ready."""
    command = [str(Path(sys.executable).with_name("deedbook")), "--url", f"sqlite:///{folder}", "serve"]
    command += ["--web", "127.0.0.1:0", "--grpc", "127.0.0.1:0", *arguments]
    note = folder / "serving.json"
    note.unlink(missing_ok=True)
    began = perf_counter()
    with (folder / "serve.log").open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
    try:
        where = _noted(process, note, began)
        while not _is_ready(where["web"]):
            _check(process, began)
        yield Served(process, where["web"], where["grpc"], perf_counter() - began)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def _noted(process: subprocess.Popen[bytes], note: Path, began: float) -> dict[str, str]:
    while not note.exists():
        _check(process, began)
    found: dict[str, str] = json.loads(note.read_text(encoding="utf-8"))
    return found


def _is_ready(web: str) -> bool:
    try:
        return httpx.get(f"{web}/readyz", timeout=5.0).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _check(process: subprocess.Popen[bytes], began: float) -> None:
    if process.poll() is not None or perf_counter() - began > _PATIENCE_SECONDS:
        raise RuntimeError("deedbook serve did not become ready: see serve.log in its folder")
    time.sleep(_LOOK_SECONDS)


def _with_children(process: int) -> list[int]:
    """The process and all that it has started."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found = [process]
    for one in found:
        found += parents.get(one, [])
    return found


def _rss_bytes(process: int) -> int:
    """The memory that a process has in use, what it shares with others included."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
    return 0
