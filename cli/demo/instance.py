"""A serving instance: a process of its own, which boots by its release and says what it loaded.

Run as a module it is that process: `python -m deedbook.cli.demo.instance` takes one line of JSON, loads, answers
with one line of JSON, and lives until its standard input ends.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import IO, Final

from deedbook.cli.ending import OK, end_unexpected, say_error, status_of
from deedbook.client.serving import Host
from deedbook.events.errors import DeedbookError

_BOOT_SECONDS: Final = 60.0
_END_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Boot:
    """What an instance is told: where the registry is, which release it runs, and one request to answer."""

    url: str
    service: str
    release: str
    instance: str
    model: str
    request: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Booted:
    """What an instance says once it serves; `sha256` is that of the model's file."""

    process_id: int
    version: int
    training_id: str
    sha256: str
    answer: float


class Instance:
    """A serving instance, seen from the process that started it."""

    def __init__(self, name: str, cache: Path, settings: Mapping[str, str] | None = None) -> None:
        """Start the process, which waits to be told what to boot.

        `cache` is where it keeps its local copies; `settings` are deedbook's variables, besides.
        """
        self.name = name
        self._booted: Booted | None = None
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DEEDBOOK_")}
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C is for the demo, which ends its instances itself.
            start_new_session=True,
            env={**environment, **(settings or {}), "DEEDBOOK_CACHE": str(cache.absolute())},
        )

    def boot(self, boot: Boot) -> None:
        """Tell it what to boot; DeedbookError where it is gone already."""
        to_process, _ = self._pipes()
        try:
            to_process.write(json.dumps(asdict(boot)).encode() + b"\n")
            to_process.flush()
        except BrokenPipeError:
            raise DeedbookError(
                f"the serving instance {self.name} ended before it was told what to serve"
            ) from None

    def booted(self) -> Booted:
        """Wait until it serves, and return what it said; DeedbookError where it ended instead, or takes too long."""
        if self._booted is None:
            self._booted = Booted(**json.loads(self._first_line()))
        return self._booted

    def _first_line(self) -> bytes:
        _, from_process = self._pipes()
        deadline = monotonic() + _BOOT_SECONDS
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([from_process], [], [], max(0.0, deadline - monotonic()))
            read = os.read(from_process.fileno(), 65_536) if ready else b""
            if not read:
                how = "ended before it served" if ready else f"did not serve within {_BOOT_SECONDS:.0f} s"
                raise DeedbookError(f"the serving instance {self.name} {how}")
            line += read
        return line

    def kill(self) -> None:
        """End it as `kill -9` does: without a word, at once."""
        self._process.kill()
        self._process.wait()
        self._close_pipes()

    def stop(self) -> None:
        """Let it end by itself, as it does when its standard input ends; kill it where it does not."""
        self._close_pipes()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        if self._process.stdin is None or self._process.stdout is None:
            raise DeedbookError(f"the serving instance {self.name} has no pipes")
        return self._process.stdin, self._process.stdout

    def _close_pipes(self) -> None:
        for pipe in self._pipes():
            with suppress(BrokenPipeError):
                pipe.close()


def serve(boot: Boot) -> Booted:
    """Boot as a service does: by its own release, with no say in which model that is bound to."""
    host = Host(boot.service, release=boot.release, url=boot.url, instance=boot.instance)
    try:
        model = host.load(boot.model)
        bound = next(found for found in host.deployment.models if found.model == boot.model)
        answer = float(model.predict([list(boot.request.values())])[0])
        return Booted(os.getpid(), bound.version or 0, bound.training_id, bound.artifact_sha256 or "", answer)
    finally:
        host.close()


def main() -> int:
    """Read what to boot, say what was loaded, and stay until standard input ends."""
    # What takes a second to import is there before there is anything to boot.
    importlib.import_module("sklearn.linear_model")
    told = sys.stdin.readline()
    if not told:
        return OK
    try:
        booted = serve(Boot(**json.loads(told)))
    except DeedbookError as error:
        say_error(str(error))
        return status_of(error)
    except Exception as error:  # noqa: BLE001 - the last resort of a program
        return end_unexpected(error, debug=False)
    # Whoever started it may be gone already: then there is nobody to tell, and standard input has ended, too.
    with suppress(BrokenPipeError):
        os.write(sys.stdout.fileno(), json.dumps(asdict(booted)).encode() + b"\n")
    sys.stdin.read()
    return OK


if __name__ == "__main__":
    sys.exit(main())
