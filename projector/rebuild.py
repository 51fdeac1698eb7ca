"""Rebuild: fold the log from its beginning into a new file, and put it in the old one's place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from deedbook.events.codec import Codec
from deedbook.events.errors import DeedbookError
from deedbook.projector.loop import Projector
from deedbook.projector.state_hash import positions, state_hash, table_hash
from deedbook.projector.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from deedbook.events.log import Log
    from deedbook.projector.projection import Projection


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A rebuild's outcome: ``before`` is empty where there was no projection, or none that opens."""

    before: str
    after: str
    positions: str


def rebuild(
    projection: Projection, log: Log, *, on_progress: Callable[[int, int], None] | None = None
) -> Rebuilt:
    """Fold the log anew and replace the projection; killed at any moment, one whole file is there."""
    new_path = projection.path.with_name(f"{projection.path.name}.rebuild")
    with projection.turn():
        before = _hash_of(projection.path)
        after, where = fold_anew(log, new_path, on_progress=on_progress)
        projection.path.with_name(f"{projection.path.name}.wal").unlink(missing_ok=True)
        new_path.replace(projection.path)
    return Rebuilt(before, after, where)


def fold_anew(
    log: Log, path: Path, *, on_progress: Callable[[int, int], None] | None = None
) -> tuple[str, str]:
    """Fold a log from zero into a new file; return its state hash and positions."""
    for name in (path, path.with_name(f"{path.name}.wal")):
        name.unlink(missing_ok=True)
    store = Store(path, log_identity=log.identity())
    try:
        Projector(log, store, Codec()).catch_up(on_progress=on_progress)
        store.checkpoint()
        return state_hash(store.connection), positions(store.connection)
    finally:
        store.close()


def differing_tables(left: duckdb.DuckDBPyConnection, right: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the tables whose rows differ between two projections."""
    rows = left.execute("select table_name from duckdb_tables() where schema_name = 'base'").fetchall()
    names = sorted(name for (name,) in rows if name not in {"meta", "term"})
    return [name for name in names if table_hash(left, name) != table_hash(right, name)]


def _hash_of(path: Path) -> str:
    """Return a projection's state hash, or nothing where it cannot be read: that is why one rebuilds."""
    if not path.exists():
        return ""
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            return state_hash(connection)
    except (duckdb.Error, DeedbookError):
        return ""
