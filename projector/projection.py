"""The embedded registry's projection: opened by one process at a time, each in its turn."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from deedbook.events.errors import ProjectionBusy
from deedbook.projector.loop import Projector
from deedbook.projector.snapshot import publish
from deedbook.projector.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import duckdb

    from deedbook.events.codec import Codec
    from deedbook.events.log import Log

_SNAPSHOT_EVERY_SECONDS = 1.0


class Projection:
    """The projection of an embedded log: every user waits for its turn, then catches up by itself.

    ``after_fold`` is called with the connection once there is nothing more to fold, in the same turn.
    """

    def __init__(self, folder: Path, log: Log, codec: Codec, *, timeout_seconds: float = 60.0) -> None:
        self.path = folder / "projection.duckdb"
        self.snapshot_path = folder / "snapshot.duckdb"
        self.after_fold: list[Callable[[duckdb.DuckDBPyConnection], None]] = []
        self._log = log
        self._codec = codec
        self._timeout_seconds = timeout_seconds
        self._lock = FileLock(folder / "projection.lock")

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until no other process uses the projection; raises ProjectionBusy at the deadline."""
        try:
            self._lock.acquire(timeout=self._timeout_seconds)
        except Timeout:
            raise ProjectionBusy(
                f"other processes have used {self.path.name} for {self._timeout_seconds:.0f} s; try again"
            ) from None
        try:
            yield
        finally:
            self._lock.release()

    @contextlib.contextmanager
    def caught_up(
        self, *, on_progress: Callable[[int, int], None] | None = None
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open the projection at the log's end; publishes a snapshot where the state changed."""
        with self.turn():
            store = Store(self.path, log_identity=self._log.identity())
            try:
                changed = Projector(self._log, store, self._codec).catch_up(on_progress=on_progress)
                for react in self.after_fold:
                    react(store.connection)
                yield store.connection
                if (changed or self._is_behind()) and self._snapshot_is_old():
                    publish(store, self.snapshot_path)
            finally:
                store.close()

    def snapshot(self) -> Path:
        """Publish a snapshot of the state at the log's end, if there is none, and return its path."""
        with self.turn():
            store = Store(self.path, log_identity=self._log.identity())
            try:
                changed = Projector(self._log, store, self._codec).catch_up()
                for react in self.after_fold:
                    react(store.connection)
                if changed or self._is_behind():
                    publish(store, self.snapshot_path)
            finally:
                store.close()
        return self.snapshot_path

    def _snapshot_is_old(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return time.time() - self.snapshot_path.stat().st_mtime >= _SNAPSHOT_EVERY_SECONDS
        return True

    def _is_behind(self) -> bool:
        try:
            return self.snapshot_path.stat().st_mtime_ns < self.path.stat().st_mtime_ns
        except FileNotFoundError:
            return True
