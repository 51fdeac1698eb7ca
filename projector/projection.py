"""A projection in a folder of this machine: opened by one process at a time, each in its turn.

Where one process keeps it open for long, the others are answered by that one.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from deedbook.events.errors import ProjectionBusy
from deedbook.projector.loop import Projector
from deedbook.projector.owner import SOCKET_NAME, ask_for_turn, snapshot_of_owner
from deedbook.projector.snapshot import open_snapshot, publish
from deedbook.projector.store import FOLDED_TOPICS, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import duckdb

    from deedbook.events.codec import Codec
    from deedbook.events.log import Log

_SNAPSHOT_EVERY_SECONDS = 1.0


class Projection:
    """What a log comes to, in a folder: every user waits for its turn, then catches up by itself.

    ``after_fold`` is called with the connection once there is nothing more to fold, in the same turn, and again until
    it says that it has seen to all.
    """

    def __init__(self, folder: Path, log: Log, codec: Codec, *, timeout_seconds: float = 60.0) -> None:
        self._folder = folder
        self.path = folder / "projection.duckdb"
        self.snapshot_path = folder / "snapshot.duckdb"
        # Set by a process that keeps the projection open: it has nobody to ask.
        self.is_owned = False
        self.after_fold: list[Callable[[duckdb.DuckDBPyConnection], bool]] = []
        self._log = log
        self._codec = codec
        self._timeout_seconds = timeout_seconds
        self._lock = FileLock(folder / "projection.lock")
        # Held by whoever is next, so that one who keeps the projection open can see that it is asked for.
        self._next = FileLock(folder / "projection.next.lock")

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until no other process uses the projection; raises ProjectionBusy at the deadline."""
        deadline = time.monotonic() + self._timeout_seconds
        try:
            with self._next.acquire(timeout=self._timeout_seconds):
                if not self.is_owned:
                    ask_for_turn(self._folder)
                self._lock.acquire(timeout=max(0.0, deadline - time.monotonic()))
        except Timeout:
            raise ProjectionBusy(
                f"other processes have used {self.path.name} for {self._timeout_seconds:.0f} s; try again"
            ) from None
        try:
            yield
        finally:
            self._lock.release()

    def is_asked_for(self) -> bool:
        """Say whether another process waits for its turn."""
        try:
            self._next.acquire(timeout=0)
        except Timeout:
            return True
        self._next.release()
        return False

    @contextlib.contextmanager
    def opened(self) -> Iterator[tuple[Store, Projector]]:
        """Open the projection as it is, in a turn of its own."""
        with self.turn():
            store = Store(self.path, log_identity=self._log.identity())
            try:
                yield store, Projector(self._log, store, self._codec)
            finally:
                store.close()

    @contextlib.contextmanager
    def caught_up(
        self, *, on_progress: Callable[[int, int], None] | None = None
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open the state at the log's end, for reading: the folder's owner has a snapshot of it.

        Without an owner the projection itself is folded and opened, in a turn of its own; then a snapshot is
        published where the state changed.
        """
        if (snapshot := self._owners_snapshot()) is not None:
            with contextlib.closing(open_snapshot(snapshot)) as connection:
                yield connection
            return
        with self.opened() as (store, projector):
            changed = projector.catch_up(on_progress=on_progress)
            self.react(store)
            # Who reads may ask for much.
            store.use_processors(all_of_them=True)
            yield store.connection
            if (changed or self._is_behind()) and self._snapshot_is_old():
                publish(store, self.snapshot_path)

    def snapshot(self) -> Path:
        """Publish a snapshot of the state at the log's end, if there is none, and return its path."""
        if (snapshot := self._owners_snapshot()) is not None:
            return snapshot
        with self.opened() as (store, projector):
            changed = projector.catch_up()
            self.react(store)
            if changed or self._is_behind():
                publish(store, self.snapshot_path)
        return self.snapshot_path

    def _owners_snapshot(self) -> Path | None:
        """Return a snapshot at the log's end from the process that keeps the projection open; None without one."""
        if not (self._folder / SOCKET_NAME).exists():
            return None
        return snapshot_of_owner(
            self._folder,
            self._log.identity(),
            self._log.ends(FOLDED_TOPICS),
            timeout_seconds=self._timeout_seconds,
        )

    def react(self, store: Store) -> None:
        """Let those who act on what is true see to all of it."""
        while not self.react_in_part(store):
            pass

    def react_in_part(self, store: Store) -> bool:
        """Let them see to a part of it, each to as much as may be done at once; say whether that was all."""
        done = True
        for react in self.after_fold:
            done &= react(store.connection)
        return done

    def _snapshot_is_old(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return time.time() - self.snapshot_path.stat().st_mtime >= _SNAPSHOT_EVERY_SECONDS
        return True

    def _is_behind(self) -> bool:
        try:
            return self.snapshot_path.stat().st_mtime_ns < self.path.stat().st_mtime_ns
        except FileNotFoundError:
            return True
