"""The keeper: a process that is warm with DuckDB and Arrow, holds no secret, and is forked once for each query.

Each query's process is held by a small one of its own, its holder, which stays outside the confinement: when the
service lets go of the leash, the holder kills the query's process, and with it all that process may have started.
Run as `python -I -m deedbook.service.sql.keeping <control descriptor> <folder of snapshots>`.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import select
import signal
import socket
import sys
import warnings
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, NoReturn

import duckdb
import pyarrow as pa

from deedbook.consumers.sandbox import frames, kernel, surroundings
from deedbook.consumers.sandbox.confinement import Confinement, load_seccomp, prepare
from deedbook.service.sql import child

_SHOWN_AT = "/snapshots"
_CHANNEL = 3
_PROC = 4


def main(control: socket.socket, folder: str) -> NoReturn:
    """Enter the surroundings, tell what is missing of them, and fork until the service is gone."""
    warnings.simplefilter("ignore")
    seccomp = load_seccomp()  # finding the C library behind it takes programs that are gone below
    # Of the old process namespace: there is no /proc any more below.
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY) if sys.platform.startswith("linux") else -1
    own_processes, missing = surroundings.enter({folder: _SHOWN_AT})
    _warm_up()
    confinement = prepare(_address_space_bytes(proc), seccomp).tried()
    missing |= confinement.missing
    frames.send_message(control, {"missing": missing})
    place = folder if "own root" in missing else _SHOWN_AT
    _Keeper(control, confinement, place, proc, own_processes).serve()


def _warm_up() -> None:
    """Load what a query needs; Arrow writes a stream once, for what it loads only then."""
    with pa.ipc.new_stream(pa.BufferOutputStream(), pa.schema([("n", pa.int64())])) as stream:
        stream.write_batch(pa.record_batch([pa.array([1])], names=["n"]))
    duckdb.tokenize("select 1")
    gc.collect()
    # What is loaded now is never garbage: children don't copy it by counting it.
    gc.freeze()


def _address_space_bytes(proc: int) -> int:
    """How much address space the libraries take: a query's limit is on top of it."""
    if proc < 0:
        return 0
    descriptor = os.open("self/statm", os.O_RDONLY, dir_fd=proc)
    with os.fdopen(descriptor) as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class _Keeper:
    """What children are forked from: the place is where snapshots are seen from here."""

    control: socket.socket
    confinement: Confinement
    place: str
    proc: int
    own_processes: bool

    def serve(self) -> NoReturn:
        """Start a holder for each job; end when the service hangs up."""
        wake = _wake_at_ended_children()
        while True:
            _reap()
            readable, _, _ = select.select([self.control.fileno(), wake], [], [])
            _drain(wake)
            if self.control.fileno() not in readable:
                continue
            try:
                job, descriptors = frames.receive_message(self.control, 2)
            except (EOFError, OSError):
                sys.exit(0)
            if os.fork() == 0:
                self._hold(job, *descriptors)
            for descriptor in descriptors:
                os.close(descriptor)

    def _hold(self, job: dict[str, Any], channel: int, leash: int) -> NoReturn:
        """Be the holder: fork the query's process, and kill it when the leash is let go of.

        Nothing is ever said on the leash but, at the end, how the process ended.
        """
        try:
            kernel.die_with_parent(signal.SIGKILL)
            if self.own_processes:
                kernel.unshare(kernel.NEW_PROCESSES)
            wake = _wake_at_ended_children()
            held = os.fork()
            if held == 0:
                self._become_query(job, channel)
            os.close(channel)
            while True:
                ended, status = os.waitpid(held, os.WNOHANG)
                if ended:
                    os.write(leash, str(os.waitstatus_to_exitcode(status)).encode())
                    break
                readable, _, _ = select.select([leash, wake], [], [])
                if leash in readable:
                    os.kill(held, signal.SIGKILL)
                    os.waitpid(held, 0)
                    break
                _drain(wake)
        finally:
            os._exit(0)

    def _become_query(self, job: dict[str, Any], channel: int) -> NoReturn:
        """Keep the channel and the view of /proc, and nothing else, and do the job."""
        try:
            kernel.die_with_parent(signal.SIGKILL)
            os.setsid()
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            _arrange(channel, self.proc)
            path = f"{self.place}/{PurePath(job['snapshot']).name}"
            child.run(
                self.confinement, job, socket.socket(fileno=_CHANNEL), path, _PROC if self.proc >= 0 else -1
            )
        finally:
            os._exit(71)


def _arrange(channel: int, proc: int) -> None:
    """Put what a query's process keeps where it belongs, and close everything else."""
    nothing = os.open(os.devnull, os.O_RDWR)
    wanted = [nothing, nothing, nothing, channel] + ([proc] if proc >= 0 else [])
    # First out of the way of the places, then into them.
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, len(wanted)) for descriptor in wanted]
    for place, descriptor in enumerate(high):
        os.dup2(descriptor, place, inheritable=False)
    os.closerange(len(wanted), os.sysconf("SC_OPEN_MAX"))


def _wake_at_ended_children() -> int:
    """Return a descriptor that becomes readable when a child has ended."""
    wake, waker = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return wake


def _drain(wake: int) -> None:
    with contextlib.suppress(BlockingIOError):
        os.read(wake, 4096)


def _reap() -> None:
    """Take note of every child that has ended, adopted ones included."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
