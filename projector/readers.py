"""Readers: those who ask an open projection beside its writer, each with a cursor of its own."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import duckdb

from deedbook.events.errors import DeadlineExceeded, DeedbookError, ProjectionBusy

if TYPE_CHECKING:
    from collections.abc import Iterator

# How long those inside are waited for before what they ask is interrupted.
_LEAVING_SECONDS = 2.0


class Readers:
    """A door to an open projection: readers come in while it is open, and are waited for when it closes.

    What a reader sees is the state as of its coming in, whatever is committed meanwhile.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._connection: duckdb.DuckDBPyConnection | None = None
        # Those inside, and until when each may ask.
        self._inside: dict[duckdb.DuckDBPyConnection, float] = {}

    @contextlib.contextmanager
    def reading(self, *, timeout_seconds: float) -> Iterator[duckdb.DuckDBPyConnection]:
        """Let the calling thread in; it leaves at the end.

        The time given is for coming in and for all that is asked then. Raises ProjectionBusy where the door stays
        closed, DeadlineExceeded, and DeedbookError where the projection can't be read.
        """
        cursor = self._come_in(time.monotonic() + timeout_seconds, timeout_seconds)
        try:
            cursor.execute("begin transaction read only")
            yield cursor
        except duckdb.InterruptException:
            raise DeadlineExceeded(
                f"what was asked of the projection took longer than {timeout_seconds:.0f} s: ask for less"
            ) from None
        except duckdb.Error as error:
            said = " ".join(str(error).partition("\n\n")[0].split())
            raise DeedbookError(
                f"the projection could not be read: {said}; `deedbook rebuild` makes it anew"
            ) from error
        finally:
            # Closing rolls back, which frees the versions that this reader kept alive.
            cursor.close()
            with self._changed:
                del self._inside[cursor]
                self._changed.notify_all()

    def _come_in(self, deadline: float, timeout_seconds: float) -> duckdb.DuckDBPyConnection:
        with self._changed:
            while self._connection is None:
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    raise ProjectionBusy(
                        f"the projection could not be read for {timeout_seconds:.0f} s: another program uses it; "
                        "try again"
                    )
            cursor = self._connection.cursor()
            self._inside[cursor] = deadline
            return cursor

    @contextlib.contextmanager
    def admitted(self, connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """Keep the door to a projection open; at the end nobody is inside any more."""
        with self._changed:
            self._connection = connection
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._connection = None
                while not self._empty(_LEAVING_SECONDS):
                    for cursor in self._inside:
                        cursor.interrupt()

    @contextlib.contextmanager
    def excluded(self, *, timeout_seconds: float) -> Iterator[bool]:
        """Keep the door closed for a moment; hands out whether all inside have left in the time given."""
        with self._changed:
            connection, self._connection = self._connection, None
            alone = self._empty(timeout_seconds)
        try:
            yield alone
        finally:
            with self._changed:
                self._connection = connection
                self._changed.notify_all()

    def interrupt_overdue(self) -> None:
        """End what those ask whose time is up; to be called now and then."""
        if not self._inside:
            return
        now = time.monotonic()
        with self._changed:
            for cursor, deadline in self._inside.items():
                if now >= deadline:
                    cursor.interrupt()

    def _empty(self, timeout_seconds: float) -> bool:
        return self._changed.wait_for(lambda: not self._inside, timeout_seconds)
