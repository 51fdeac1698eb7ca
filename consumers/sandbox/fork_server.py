"""The worker's end of the fork server: start it, hand it jobs, collect what they write, see it end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from deedbook.consumers.sandbox import frames
from deedbook.consumers.sandbox.answers import Ended

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from deedbook.consumers.sandbox.outcome import Limits

_START_SECONDS = 120.0
# What the server may take beyond a job's own time: to kill a process tree, on a busy machine.
_GRACE_SECONDS = 20.0
_MAX_PRINTED_BYTES = 2_000
_CHUNK_BYTES = 65_536
_MAX_LEFT_CHUNKS = 64


class ServerGone(Exception):
    """The fork server is not there any more; its last words, if any."""


class ForkServer:
    """A running fork server. Not for two threads at once."""

    def __init__(self) -> None:
        """Start it, without waiting until it is warm."""
        self._control, far_end = socket.socketpair()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed in `close`)
        self._missing: Mapping[str, str] | None = None
        with far_end:
            command = [sys.executable, "-I", "-B", "-X", "utf8", "-m", "deedbook.consumers.sandbox.server"]
            self._process = subprocess.Popen(  # noqa: S603 (this interpreter, and a module of ours)
                [*command, str(far_end.fileno())],
                env={},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=[far_end.fileno()],
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process that was started; when it ends, all others of this server do."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether it can be given a job."""
        return self._process.poll() is None

    def missing_layers(self) -> Mapping[str, str]:
        """Wait until it is warm, and return the layers that this system lacks, with the reasons."""
        if self._missing is None:
            self._control.settimeout(_START_SECONDS)
            self._missing = self._received()["missing"]
        return self._missing

    def run(self, kind: str, limits: Limits, model: bytes, order: bytes, max_answer_bytes: int) -> Ended:
        """Have one job done in a child of its own; ServerGone if the server did not live to tell.

        `order`: JSON for the child. More than `max_answer_bytes` of answer ends the job at once.
        """
        self.missing_layers()
        (answer, answer_end), (printed, printed_end) = os.pipe(), os.pipe()
        with os.fdopen(answer, "rb", 0), os.fdopen(printed, "rb", 0):
            # The child's ends are closed here once they are sent, or the pipes would never be at their end.
            with (
                os.fdopen(answer_end, "wb", 0),
                os.fdopen(printed_end, "wb", 0),
                _unchangeable(model) as model_file,
                _unchangeable(order) as order_file,
            ):
                job = {"kind": kind, "limits": asdict(limits)}
                self._send(job, [answer_end, printed_end, model_file, order_file])
            return self._collected(
                _Written(answer, max_answer_bytes),
                _Written(printed, _MAX_PRINTED_BYTES, keep_last=True),
                limits,
            )

    def close(self) -> None:
        """Hang up, and see it end: by itself, or else killed; its children go with it."""
        self._control.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _collected(self, answer: _Written, printed: _Written, limits: Limits) -> Ended:
        """Read until the server says that the job's last process is gone, then what is left in the pipes."""
        deadline = time.monotonic() + limits.wall_seconds + _GRACE_SECONDS
        cancelled = False
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ, None)
            for written in (answer, printed):
                selector.register(written.descriptor, selectors.EVENT_READ, written)
            while True:
                ready = [key.data for key, _ in selector.select(max(0.0, deadline - time.monotonic()))]
                if not ready:
                    raise ServerGone(self._last_words())
                for written in filter(None, ready):
                    if not written.read():
                        selector.unregister(written.descriptor)
                if answer.oversized and not cancelled:
                    self._send({"kind": "cancel"})
                    cancelled = True
                if None in ready:
                    break
        report = self._received()
        printed.drain()
        alone = answer.drain()
        return Ended(
            report["status"], report["timed_out"], answer.data, answer.oversized, printed.data, alone
        )

    def _send(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        try:
            frames.send_message(self._control, message, descriptors)
        except OSError as error:
            raise ServerGone(self._last_words()) from error

    def _received(self) -> dict[str, Any]:
        try:
            message, _ = frames.receive_message(self._control)
        except (EOFError, OSError, frames.Malformed) as error:
            raise ServerGone(self._last_words()) from error
        return message

    def _last_words(self) -> str:
        """The last line of what the server itself had to complain about."""
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - _MAX_PRINTED_BYTES))
        lines = self._errors.read().decode("utf-8", "backslashreplace").strip().splitlines()
        return lines[-1] if lines else ""


class _Written:
    """What comes out of one of a job's pipes: its first bytes, or its last, up to a bound."""

    def __init__(self, descriptor: int, max_bytes: int, *, keep_last: bool = False) -> None:
        self.descriptor = descriptor
        self.data = b""
        self.oversized = False
        self._max_bytes = max_bytes
        self._keep_last = keep_last

    def read(self) -> bool:
        """Read once; False at the end."""
        chunk = os.read(self.descriptor, _CHUNK_BYTES)
        self.data += chunk
        if len(self.data) > self._max_bytes:
            self.oversized = True
            self.data = self.data[-self._max_bytes :] if self._keep_last else self.data[: self._max_bytes]
        return bool(chunk)

    def drain(self) -> bool:
        """Read what is left, without waiting; True if nobody is left who could write."""
        os.set_blocking(self.descriptor, False)
        with contextlib.suppress(BlockingIOError):
            for _ in range(_MAX_LEFT_CHUNKS):
                if not self.read():
                    return True
        return False


@contextlib.contextmanager
def _unchangeable(data: bytes) -> Iterator[int]:
    """An open file that holds the data and has no name: what was verified is what is read.

    On Linux the kernel seals it, so that not even its holder can write to it.
    """
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.seek(0)
            yield file.fileno()
        return
    descriptor = os.memfd_create("deedbook", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with os.fdopen(descriptor, "wb", 0) as file:
        frames.write_all(descriptor, data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
        yield descriptor
