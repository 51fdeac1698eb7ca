"""A served registry as people run it: the program `deedbook serve`, on free ports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE_SECONDS = 60.0
PROGRAM = (sys.executable, "-m", "deedbook.cli")
FREE = ("--web", "127.0.0.1:0", "--grpc", "127.0.0.1:0")


@dataclass(frozen=True)
class Served:
    """A running service: its process, where it is reached, and what it wrote on standard error so far."""

    process: subprocess.Popen[str]
    folder: Path
    web: str
    grpc: str
    written: Path

    @property
    def grpc_target(self) -> str:
        """The gRPC address without its scheme."""
        return self.grpc.partition("://")[2]

    def lines(self) -> list[dict[str, Any]]:
        """What it logged."""
        text = self.written.read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end, and return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)


@contextmanager
def served(
    folder: Path, *options: str, url: str = "", ready: bool = True, **environment: str
) -> Iterator[Served]:
    """Serve the registry in a folder, or the one of another URL that is folded there, until the test is over.

    ``options`` come after the free ports. What it writes on standard error is in ``serve.err`` beside the folder.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    written = folder.parent / f"{folder.name}.serve.err"
    with written.open("w", encoding="utf-8") as errors:
        process = _started(folder, options, url, environment, errors)
    # A test that waits for what never comes must fail, not hang.
    watchdog = threading.Timer(PATIENCE_SECONDS * 3, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said, f"it ended with {process.wait()}: {written.read_text(encoding='utf-8')}"
        told = json.loads((folder / "serving.json").read_text(encoding="utf-8"))
        service = Served(process, folder, told["web"], told["grpc"], written)
        if ready:
            wait_until_ready(service)
        yield service
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def _started(
    folder: Path, options: tuple[str, ...], url: str, environment: dict[str, str], errors: IO[str]
) -> subprocess.Popen[str]:
    at = url or f"sqlite:///{folder}"
    return subprocess.Popen(
        [*PROGRAM, "--url", at, "serve", *FREE, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        env={**os.environ, "DEEDBOOK_ACTOR": "the service", "DEEDBOOK_FOLDER": str(folder), **environment},
    )


def wait_until_ready(service: Served) -> None:
    """Wait until it says that it should be sent requests."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (answer := _readiness(service)).status_code != httpx.codes.OK:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.02)


def _readiness(service: Served) -> httpx.Response:
    return httpx.get(f"{service.web}/readyz", verify=False)  # noqa: S501 - a test's certificate
