"""The folder's owner: the one process that keeps a projection open answers all others on its machine.

It listens on a socket in the folder. Who finds it asks for a snapshot that holds all up to certain positions, and
reads that; who finds nobody takes the projection's turn. One question and one answer per connection, a line of JSON
each.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from filelock import FileLock, Timeout

from deedbook.events.errors import DeedbookError, ProjectionBusy, StorageFull

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

    Ends = Mapping[tuple[str, int], int]

SOCKET_NAME = "owner.sock"
_LOG = logging.getLogger(__name__)
# What fits into a socket's address on every system, with the zero at its end.
_MAX_ADDRESS_BYTES = 103
_MAX_LINE_BYTES = 1 << 20
_TALK_SECONDS = 5.0
_MAX_TIMEOUT_SECONDS = 300.0
_MAX_CALLERS = 64
# The errors that are told by name; all others are DeedbookErrors to who asked.
_TOLD = {kind.__name__: kind for kind in (ProjectionBusy, StorageFull)}


class Owner:
    """Claims a folder for this process, each time for as long as it is entered, and answers those who ask.

    ``who`` says in a few words what this process is; ``identity`` is that of the log folded here; ``snapshot``
    returns the path of a snapshot that holds the given ends, within so many seconds. ``lend`` has the projection
    closed for a moment: somebody waits for a turn.
    """

    def __init__(
        self,
        folder: Path,
        *,
        who: Callable[[], str],
        identity: str,
        snapshot: Callable[[Ends, float], Path],
        lend: Callable[[], None],
    ) -> None:
        self._folder = folder
        self._who = who
        self._identity = identity
        self._snapshot = snapshot
        self._lend = lend
        self._lock = FileLock(folder / "owner.lock")
        self._listening: socket.socket | None = None
        self._closing = False
        self._callers = threading.BoundedSemaphore(_MAX_CALLERS)

    def __enter__(self) -> Self:
        """Claim the folder and begin to answer. Raises ProjectionBusy, naming who has it."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ProjectionBusy(
                f"{self._folder} is kept by {owner_of(self._folder) or 'another process'} already"
            ) from None
        self._closing = False
        try:
            self._listening = _listening(self._folder)
        except BaseException:
            self._lock.release()
            raise
        threading.Thread(target=self._accept, name="deedbook-owner", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the folder: from now on others find nobody there."""
        self._closing = True
        (self._folder / SOCKET_NAME).unlink(missing_ok=True)
        if self._listening is not None:
            with contextlib.suppress(OSError):  # wakes the thread that waits for callers
                self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
        self._lock.release()

    def _accept(self) -> None:
        assert self._listening is not None  # noqa: S101 - entered
        while not self._closing:
            try:
                caller, _ = self._listening.accept()
            except OSError:
                return
            if self._callers.acquire(blocking=False):
                threading.Thread(
                    target=self._serve, args=[caller], name="deedbook-caller", daemon=True
                ).start()
            else:
                caller.close()

    def _serve(self, caller: socket.socket) -> None:
        try:
            with caller, contextlib.suppress(OSError):
                caller.settimeout(_TALK_SECONDS)
                _send(caller, self._answer(_received(caller)))
        finally:
            self._callers.release()

    def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a question; whatever goes wrong is an answer, too."""
        try:
            if asked.get("turn"):
                self._lend()
            if "ends" not in asked:
                return {"who": self._who()}
            if asked["identity"] != self._identity:
                return {"other_log": self._identity}
            ends = {(str(topic), int(partition)): int(end) for topic, partition, end in asked["ends"]}
            within = min(float(asked["timeout_seconds"]), _MAX_TIMEOUT_SECONDS)
            return {"snapshot": self._snapshot(ends, within).name}
        except DeedbookError as error:
            return {"error": type(error).__name__, "message": str(error)}
        except Exception as error:  # noqa: BLE001 - of one caller, and no reason to stop answering others
            _LOG.warning("a caller in the folder got no answer: %s: %s", type(error).__name__, error)
            return {"error": "DeedbookError", "message": "the folder's owner could not answer"}


def owner_of(folder: Path) -> str:
    """Return in a few words what owns a folder; nothing where nobody does, or where it doesn't answer."""
    try:
        answer = _asked(folder, {}, timeout_seconds=_TALK_SECONDS)
    except ProjectionBusy:
        answer = None
    return "" if answer is None else str(answer.get("who", ""))


def ask_for_turn(folder: Path) -> None:
    """Tell the folder's owner, if there is one, that somebody waits for the projection."""
    if (folder / SOCKET_NAME).exists():
        with contextlib.suppress(ProjectionBusy):
            _asked(folder, {"turn": True}, timeout_seconds=_TALK_SECONDS)


def snapshot_of_owner(folder: Path, identity: str, ends: Ends, *, timeout_seconds: float) -> Path | None:
    """Return a snapshot that holds all up to these ends, from the folder's owner; None where nobody owns it.

    Raises ProjectionBusy (no answer in time), StorageFull, and DeedbookError where the owner can't publish one.
    """
    question = {
        "identity": identity,
        "ends": [[topic, partition, end] for (topic, partition), end in ends.items()],
        "timeout_seconds": timeout_seconds,
    }
    answer = _asked(folder, question, timeout_seconds=timeout_seconds + _TALK_SECONDS)
    if answer is None or "other_log" in answer:
        return None
    if "error" in answer:
        raise _TOLD.get(str(answer["error"]), DeedbookError)(str(answer.get("message", "")))
    return folder / Path(str(answer["snapshot"])).name


def _asked(folder: Path, question: dict[str, Any], *, timeout_seconds: float) -> dict[str, Any] | None:
    """Ask the owner; None where there is none, or where it went away before it answered."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_seconds)
        try:
            with _address(folder) as address:
                connection.connect(address)
            _send(connection, question)
            answer = _received(connection)
        except TimeoutError:
            raise ProjectionBusy(
                f"the process that keeps {folder} did not answer for {timeout_seconds:.0f} s; try again"
            ) from None
        except OSError:
            return None
    return answer or None


def _listening(folder: Path) -> socket.socket:
    """Listen in a folder that this process has claimed; what a killed process left there is removed."""
    (folder / SOCKET_NAME).unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _address(folder) as address:
            listening.bind(address)
        (folder / SOCKET_NAME).chmod(0o600)
        listening.listen(_MAX_CALLERS)
    except OSError as error:
        listening.close()
        raise DeedbookError(f"no socket can be made in {folder}: {error.strerror or error}") from error
    return listening


@contextlib.contextmanager
def _address(folder: Path) -> Iterator[str]:
    """The socket's address: a path that is too long for one is reached through a link with a short name."""
    path = str(folder.absolute() / SOCKET_NAME)
    if len(os.fsencode(path)) <= _MAX_ADDRESS_BYTES:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="deedbook-") as short:
        link = Path(short) / "f"
        link.symlink_to(folder.absolute(), target_is_directory=True)
        yield str(link / SOCKET_NAME)


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def _received(connection: socket.socket) -> dict[str, Any]:
    """Return one line's object; empty where nothing that is one came."""
    data = b""
    while not data.endswith(b"\n") and len(data) <= _MAX_LINE_BYTES:
        chunk = connection.recv(65_536)
        if not chunk:
            break
        data += chunk
    try:
        message = json.loads(data)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
