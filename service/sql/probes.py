"""What is forbidden, tried by a confined child whose DuckDB obeys everybody: the system alone must hold it.

The service puts the bait out and looks at it afterwards, too.
"""

from __future__ import annotations

from typing import Any

import duckdb

from deedbook.consumers.sandbox import probes
from deedbook.events.errors import InvalidInput
from deedbook.projector.queries.question import question


def run(connection: duckdb.DuckDBPyConnection, bait: dict[str, Any]) -> dict[str, bool]:
    """Try each forbidden thing once, in Python and then in SQL; return {what: whether it worked}.

    `bait`: that of `consumers.sandbox.probes`, and `statements`: (what, SQL) pairs.
    """
    worked: dict[str, bool] = {}
    for what, statement in bait["statements"]:
        worked[what] = worked.get(what, False) or _works(connection, statement)
    for what, done in probes.run(bait).items():
        worked[what] = worked.get(what, False) or done
    return worked


def asked(connection: duckdb.DuckDBPyConnection, statements: list[list[str]]) -> dict[str, bool]:
    """Ask each statement as anybody's would be; return {what: whether one was answered}."""
    worked: dict[str, bool] = {}
    for what, statement in statements:
        worked[what] = worked.get(what, False) or _is_answered(connection, statement)
    return worked


def _is_answered(connection: duckdb.DuckDBPyConnection, statement: str) -> bool:
    try:
        rows = question(connection, statement).fetchall()
    except (duckdb.Error, InvalidInput, OSError, MemoryError, RuntimeError):
        return False
    return _tells(rows, statement)


def _works(connection: duckdb.DuckDBPyConnection, statement: str) -> bool:
    try:
        rows = connection.execute(statement).fetchall()
    except (duckdb.Error, OSError, MemoryError, RuntimeError):
        return False
    return _tells(rows, statement)


def _tells(rows: list[Any], statement: str) -> bool:
    """Say whether an answer is one: what reads a file that it can't see may answer that there are no rows."""
    return bool(rows) or not statement.startswith("from ")
