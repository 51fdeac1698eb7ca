"""The service's end of the keeper: started with nothing in its environment, asked for a child for each query."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deedbook.consumers.sandbox import frames as messages
from deedbook.events.errors import DeedbookError
from deedbook.service.sql.limits import Limits

_START_SECONDS = 60.0
_END_SECONDS = 5.0
_LAST_WORDS_BYTES = 2_000
# Threads and holders of all children, counted together; without a user namespace of its own, with all of its user.
_PROCESSES = 4_096
MAX_ORDER_BYTES: Final = 1 << 20


class KeeperGone(DeedbookError):
    """The process that runs queries is not there any more."""


@dataclass(slots=True)
class Child:
    """A query's process: confined and waiting for its one query, or about to be."""

    snapshot: str
    channel: socket.socket
    leash: socket.socket

    def end(self) -> None:
        """Let go of it: it is killed, with all that it started."""
        for end in (self.leash, self.channel):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def ended_by(self) -> str:
        """Return how it ended, for a sentence; empty if that is not known."""
        self.leash.settimeout(1.0)
        try:
            said = self.leash.recv(16).decode("ascii", "replace")
        except OSError:
            return ""
        with contextlib.suppress(ValueError):
            status = int(said)
            return signal.Signals(-status).name if status < 0 else f"status {status}"
        return ""


class Keeper:
    """A running keeper; threads may share it.

    `folder`: where the snapshots are, and nothing else.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._limits = limits
        self._turn = threading.Lock()
        self._missing: Mapping[str, str] | None = None
        self._control, far_end = socket.socketpair()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`
        with far_end:
            command = [sys.executable, "-I", "-B", "-X", "utf8", "-m", "deedbook.service.sql.keeping"]
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, and a module of ours
                [*command, str(far_end.fileno()), str(folder.absolute())],
                env={"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=[far_end.fileno()],
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process that was started; when it ends, all others of this keeper do."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether it can be asked for a child."""
        return self._process.poll() is None

    def missing_layers(self) -> Mapping[str, str]:
        """Wait until it is warm, and return the layers that this system lacks, with the reasons."""
        with self._turn:
            if self._missing is None:
                self._control.settimeout(_START_SECONDS)
                try:
                    message, _ = messages.receive_message(self._control)
                except (EOFError, OSError, messages.Malformed) as error:
                    raise KeeperGone(
                        f"the process that runs queries did not start: {self._last_words()}"
                    ) from error
                self._missing = message["missing"]
            return self._missing

    def child(self, snapshot: str, kind: str = "query") -> Child:
        """Ask for a child on a snapshot, by its file's name, without waiting until it is ready."""
        self.missing_layers()
        (channel, far_channel), (leash, far_leash) = socket.socketpair(), socket.socketpair()
        limits = {
            "cpu_seconds": self._limits.cpu_seconds,
            "memory_bytes": self._limits.memory_bytes,
            "duckdb_memory_bytes": self._limits.duckdb_memory_bytes,
            "threads": self._limits.threads,
            "processes": _PROCESSES,
            "max_order_bytes": MAX_ORDER_BYTES,
        }
        with far_channel, far_leash:
            job = {"kind": kind, "snapshot": snapshot, "limits": limits}
            try:
                with self._turn:
                    messages.send_message(self._control, job, [far_channel.fileno(), far_leash.fileno()])
            except OSError as error:
                Child(snapshot, channel, leash).end()
                raise KeeperGone(f"the process that runs queries is gone: {self._last_words()}") from error
        return Child(snapshot, channel, leash)

    def close(self) -> None:
        """Hang up, and see it end: by itself, or else killed; its children go with it."""
        self._control.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _last_words(self) -> str:
        """The last line of what it had to complain about."""
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - _LAST_WORDS_BYTES))
        lines = self._errors.read().decode("utf-8", "backslashreplace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"
