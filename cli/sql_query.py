"""One SQL statement on a snapshot: what may be asked, and what comes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from deedbook.events.errors import InvalidInput
from deedbook.projector.queries.question import SETTINGS, question

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

_ROWS_AT_ONCE = 10_000
_ZONED = "timestamp with time zone"


@dataclass(frozen=True, slots=True)
class Answer:
    """A query's columns (names and SQL types), and its rows, read as they are asked for."""

    names: tuple[str, ...]
    types: tuple[str, ...]
    rows: Iterator[tuple[object, ...]]


@contextmanager
def answered(snapshot: Path, query: str) -> Iterator[Answer]:
    """Ask a snapshot one thing; nothing but the snapshot can be read, and nothing written.

    Times come back in UTC, decimals as floats. Raises InvalidInput: no statement, several, one that
    asks nothing, or what DuckDB has against it.
    """
    import duckdb

    with _refusing():
        connection = duckdb.connect(str(snapshot), read_only=True)
    with connection:
        with _refusing():
            for setting in SETTINGS:
                connection.execute(f"set {setting}")
            relation = question(connection, query)
            plain = _unzoned(relation)
        names, types = tuple(relation.columns), tuple(str(kind) for kind in relation.types)
        yield Answer(names, types, _rows(plain))


def _unzoned(relation: DuckDBPyRelation) -> DuckDBPyRelation:
    """Return the same rows with zoned times as plain ones in UTC, which need no library of time zones."""
    kinds = [kind.id for kind in relation.types]
    if _ZONED not in kinds:
        return relation
    columns = (f"#{n}::timestamp" if kind == _ZONED else f"#{n}" for n, kind in enumerate(kinds, start=1))
    return relation.project(", ".join(columns))


def _rows(relation: DuckDBPyRelation) -> Iterator[tuple[object, ...]]:
    while True:
        with _refusing():
            rows = relation.fetchmany(_ROWS_AT_ONCE)
        if not rows:
            return
        for row in rows:
            yield tuple(float(value) if isinstance(value, Decimal) else value for value in row)


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn what DuckDB has against a query into one sentence."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        said = str(error).partition("\n\nLINE ")[0].split("\n\n")[0]
        raise InvalidInput(f"the query was refused: {' '.join(said.split())}") from None
    except (OverflowError, ValueError) as error:
        raise InvalidInput(f"the query's answer holds a value that can't be shown: {error}") from None
