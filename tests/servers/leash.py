"""Server processes on a leash: they end with the process that owns them, however that one ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

WAIT_SECONDS = 10.0
OWNER = "owner.lock"
STRAYS = "strays"


def held(lock_path: Path) -> IO[str]:
    """The lock file, locked by this process until it closes the file or ends: by `kill -9`, too.

    Record locks belong to a process: no child inherits one, as it would with `flock`.
    """
    lock = lock_path.open("w")
    fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return lock


def leave_nothing(folder: Path, strays: Sequence[Path]) -> None:
    """Note files outside the folder that are to be removed after the servers that made them."""
    (folder / STRAYS).write_text("".join(f"{stray}\n" for stray in strays), encoding="utf-8")


def _remove_strays(folder: Path) -> None:
    """Remove the files that a server of the folder noted."""
    note = folder / STRAYS
    if note.exists():
        for stray in note.read_text(encoding="utf-8").splitlines():
            Path(stray).unlink(missing_ok=True)


class Leash:
    """A process group of servers that is killed when the process that holds `lock_path` ends.

    What they leave outside their folder is removed then; the folder itself, too, if it is `temporary`.
    """

    def __init__(self, lock_path: Path, folder: Path, *, temporary: bool) -> None:
        self._folder = folder
        command = [
            sys.executable,
            "-P",
            __file__,
            str(lock_path),
            str(folder),
            "gone" if temporary else "kept",
        ]
        self._guard = subprocess.Popen(
            command, process_group=0, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )

    def start(
        self, command: Sequence[str | Path], log_path: Path, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """A server in the group; what it prints is appended to a file."""
        with log_path.open("ab") as log:
            return subprocess.Popen(
                [str(part) for part in command],
                process_group=self._guard.pid,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )

    def close(self) -> None:
        """Kill whatever still runs in the group, and the guard itself; the folder is the caller's then."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._guard.pid, signal.SIGKILL)
        self._guard.wait()
        _remove_strays(self._folder)


@contextlib.contextmanager
def own_leash(kept_in: Path | None = None) -> Iterator[tuple[Leash, Path]]:
    """A leash that this process holds, and the folder of its servers: the one given, or one for the time being.

    Raises BlockingIOError where another process holds the folder.
    """
    folder = kept_in or Path(tempfile.mkdtemp(prefix="deedbook-own-"))
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder / OWNER):
        leash = Leash(folder / OWNER, folder, temporary=kept_in is None)
        try:
            yield leash, folder
        finally:
            leash.close()
            if kept_in is None:
                shutil.rmtree(folder, ignore_errors=True)


def stop(process: subprocess.Popen[bytes], wait_seconds: float = WAIT_SECONDS) -> None:
    """End a server in order, or by force where it takes too long."""
    process.terminate()
    try:
        process.wait(wait_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _guard(lock_path: Path, folder: Path, *, temporary: bool) -> None:
    """Wait for the owner's end; then kill the group that this process leads, and remove what is left."""
    group = os.getpid()
    with contextlib.suppress(FileNotFoundError), lock_path.open("r+") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
    if os.fork() > 0:
        signal.pause()  # killed with the group, so that its number stays taken until then
    os.setpgid(0, 0)
    ends_at = time.monotonic() + WAIT_SECONDS
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < ends_at:
            os.killpg(group, signal.SIGKILL)
            time.sleep(0.02)
    _remove_strays(folder)
    if temporary:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            if not any(path.is_dir() for path in lock_path.parent.iterdir()):
                shutil.rmtree(lock_path.parent)  # this was the last of the guards with that lock


if __name__ == "__main__":
    _guard(Path(sys.argv[1]), Path(sys.argv[2]), temporary=sys.argv[3] == "gone")
