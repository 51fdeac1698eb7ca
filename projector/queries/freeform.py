"""Anybody's own question, in SQL, on a connection that can only read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deedbook.events.errors import InvalidInput
from deedbook.projector.queries.asking import in_utc

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb


@dataclass(frozen=True, slots=True)
class Rows:
    """An answer: the columns' names, and a tuple for each row, times in UTC."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def sql(connection: duckdb.DuckDBPyConnection, query: str, *, max_rows: int | None = None) -> Rows:
    """Return what one statement answers; raises InvalidInput with DuckDB's own words where it can't be run."""
    import duckdb

    try:
        statements = duckdb.extract_statements(query)
        if len(statements) != 1:
            raise InvalidInput(f"give one SQL statement, not {len(statements)}")
        cursor = connection.execute(statements[0])
        columns = tuple(column[0] for column in cursor.description or ())
        found = cursor.fetchall() if max_rows is None else cursor.fetchmany(max_rows)
    except duckdb.Error as error:
        raise InvalidInput(f"the query could not be answered: {str(error).strip()}") from error
    return Rows(columns, tuple(tuple(in_utc(value) for value in row) for row in found))
