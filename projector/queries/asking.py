"""One question in SQL, its answer as rows by column name; times come out in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

Answer: TypeAlias = dict[str, Any]


def ask(connection: duckdb.DuckDBPyConnection, sql: str, arguments: Sequence[object] = ()) -> list[Answer]:
    """Return all rows; what users give goes into ``arguments``, never into ``sql``."""
    cursor = connection.execute(sql, list(arguments))
    names = [column[0] for column in cursor.description or []]
    return [dict(zip(names, (in_utc(value) for value in row), strict=True)) for row in cursor.fetchall()]


def ask_one(
    connection: duckdb.DuckDBPyConnection, sql: str, arguments: Sequence[object] = ()
) -> Answer | None:
    """Return the first row, or None."""
    return next(iter(ask(connection, sql, arguments)), None)


def in_utc(value: Any) -> Any:  # noqa: ANN401 - any value of a row
    """Return a time as one that says it is UTC, as all times in the tables are, and other values as they are."""
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value


def micros(moment: datetime) -> int:
    """Return a time that has a zone as microseconds since 1970-01-01T00:00:00Z."""
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def position_at(connection: duckdb.DuckDBPyConnection, at: datetime | None) -> int:
    """Return the last registry position recorded at or before a time, the newest of all for None; -1 for none."""
    if at is None:
        row = ask_one(connection, "select max(position) as position from base.event where topic = 'registry'")
    else:
        row = ask_one(
            connection,
            "select max(position) as position from base.event where topic = 'registry' and recorded_at <= ?",
            [micros(at)],
        )
    return -1 if row is None or row["position"] is None else int(row["position"])
