"""A log on disk and projections of it, as tests drive them: append anything, fold in any bites, look."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from typing import TYPE_CHECKING, Any

from deedbook.events.codec import Codec
from deedbook.events.facts import Fact
from deedbook.events.log import NewRecord
from deedbook.events.sqlite_log import SqliteLog
from deedbook.projector.loop import Bounds, Projector
from deedbook.projector.state_hash import state_hash
from deedbook.projector.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import duckdb

    from deedbook.events.log import Log
    from deedbook.projector.rules import Rule

NOON = 1_394_000_000_000_000


class Ticking:
    """A clock that moves one second each time it is read."""

    def __init__(self, start: int = NOON) -> None:
        self._times = itertools.count(start, 1_000_000)

    def __call__(self) -> int:
        """Return the next time."""
        return next(self._times)


class Registry:
    """A folder with the projections that are folded from a log, and the log itself unless one elsewhere is given."""

    def __init__(self, folder: Path, log: Log | None = None) -> None:
        self.folder = folder
        self.codec = Codec()
        self.log: Log = log or SqliteLog.create(folder, clock=Ticking())

    def append(self, *what: Fact | NewRecord, topic: str = "") -> list[int]:
        """Append facts, or records as they are, each on its own; return their positions."""
        positions = []
        for one in what:
            record = one if isinstance(one, NewRecord) else self.codec.encode(one)
            where = topic or (one.topic if isinstance(one, Fact) else "registry")
            positions += [position for _, position in self.log.append(where, [record])]
        return positions

    @contextlib.contextmanager
    def store(self, name: str = "projection") -> Iterator[Store]:
        """A projection of this log, opened."""
        store = Store(self.folder / f"{name}.duckdb", log_identity=self.log.identity())
        try:
            yield store
        finally:
            store.close()

    def fold(
        self,
        name: str = "projection",
        *,
        max_records: int = 10_000,
        rules: Mapping[int, Mapping[str, Rule]] | None = None,
    ) -> str:
        """Fold what is new into a projection, in batches of so many; return its state hash."""
        with self.store(name) as store:
            bounds = Bounds(max_records=max_records)
            Projector(self.log, store, Codec(), bounds=bounds, rules=rules).catch_up()
            return state_hash(store.connection)

    def ask(self, sql: str, *arguments: object, name: str = "projection") -> list[tuple[Any, ...]]:
        """Rows of a projection as it is."""
        with self.store(name) as store:
            return store.connection.execute(sql, list(arguments)).fetchall()

    def decisions(self, name: str = "projection") -> list[tuple[Any, ...]]:
        """What was decided: topic, position, decision, reason (or nothing)."""
        return self.ask("select topic, position, decision, reason from events order by all", name=name)

    def copied(self, folder: Path) -> Registry:
        """Another machine's copy of the log."""
        self.log.close()
        folder.mkdir()
        shutil.copy(self.folder / "log.db", folder / "log.db")
        return Registry(folder)


def connected(path: Path) -> duckdb.DuckDBPyConnection:
    """A projection's file, opened for reading by somebody else."""
    import duckdb

    return duckdb.connect(str(path), read_only=True)
