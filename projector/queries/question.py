"""One SQL statement of anybody's: whether it asks and changes nothing, as DuckDB's own parser reads it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from deedbook.events.errors import InvalidInput

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation, Statement

# Locked last: what a query may reach is settled before anybody's text is parsed.
SETTINGS: Final = (
    "timezone = 'UTC'",
    "enable_progress_bar = false",
    # A table name must never be found among this program's own variables.
    "python_enable_replacements = false",
    "enable_external_access = false",
    "lock_configuration = true",
)
_NO_QUESTION = "the snapshot can be asked, not changed: only statements that return rows are allowed"
_EXPLAINING = re.compile(r"\s*explain(?:\s+analy[sz]e)?(?:\s*\([^()]*\))?\s", re.IGNORECASE)
_COMMENTS = re.compile(r"(?:[\s;]+|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)


def question(connection: DuckDBPyConnection, query: str) -> DuckDBPyRelation:
    """Return the one question in a text, not yet answered; on a connection that can only read.

    Raises InvalidInput: no statement, several, one that is no question; and what DuckDB raises.
    """
    statements = connection.extract_statements(query)
    # A PIVOT is told in several parts, of which only the first statement's text is there.
    written = [statement for statement in statements if statement.query]
    if not statements:
        raise InvalidInput("there is no SQL statement in what was given")
    if len(written) > 1:
        raise InvalidInput(f"one SQL statement can be asked at a time, and these are {len(written)}")
    if not _asks(connection, statements[-1], query):
        raise InvalidInput(_NO_QUESTION)
    relation = connection.query(query)
    if relation is None:
        raise InvalidInput(_NO_QUESTION)
    return relation


def _asks(connection: DuckDBPyConnection, statement: Statement, query: str) -> bool:
    """Say whether it is a question; some PRAGMAs and every EXPLAIN look like one to the parser, whatever they hold."""
    import duckdb

    text = query[_beginning(query) :]
    if text[:6].lower() == "pragma":
        return False
    match statement.type:
        case duckdb.StatementType.SELECT:
            return True
        case duckdb.StatementType.EXPLAIN:
            explaining = _EXPLAINING.match(text)
            inner = connection.extract_statements(text[explaining.end() :]) if explaining else []
            return bool(inner) and _asks(
                connection, inner[-1], text[explaining.end() :] if explaining else ""
            )
        case _:
            return False


def _beginning(query: str) -> int:
    """Return where the first word stands, after blanks and comments."""
    found = _COMMENTS.match(query)
    return found.end() if found else 0
