"""The reference's questions, asked of what this registry holds: its model, metric, service and time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from deedbook.projector.queries.asking import ask_one
from deedbook.service.sql.documented import documented

if TYPE_CHECKING:
    import duckdb

_FOUND = """
select
    (select model from base.model order by last_version desc, model limit 1) as model,
    (select name from base.metric_definition d where d.model = (
        select model from base.model order by last_version desc, model limit 1) order by rowid limit 1) as metric,
    (select struct_pack(service, environment) from base.current_release order by from_position desc limit 1) as place,
    (select max(last_recorded_at) from base.progress where topic = 'registry') as newest
"""


def examples(connection: duckdb.DuckDBPyConnection) -> tuple[tuple[str, str], ...]:
    """Return what is asked, and the query, for each of the reference's questions."""
    found = ask_one(connection, _FOUND) or {}
    place = found.get("place") or {}
    newest = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=found.get("newest") or 0)
    known = {
        "'home-price'": found.get("model"),
        "'mse'": found.get("metric"),
        "'pricing-api'": place.get("service"),
        "'production'": place.get("environment"),
        "'2026-01-31 14:05:00'": f"{newest:%Y-%m-%d %H:%M:%S}" if found.get("newest") else None,
    }
    return tuple((title, _put_in(query, known)) for title, query in documented().questions)


def _put_in(query: str, known: dict[str, str | None]) -> str:
    # One after the other from the left, so that what was put in is not looked through again.
    parts = [query]
    for literal, text in known.items():
        if text is not None:
            quoted = "'" + text.replace("'", "''") + "'"
            parts = [
                piece
                for part in parts
                for piece in ([part] if part.startswith("\0") else _between(part, literal, f"\0{quoted}"))
            ]
    return "".join(part.removeprefix("\0") for part in parts)


def _between(text: str, literal: str, instead: str) -> list[str]:
    first, *others = text.split(literal)
    return [first, *(piece for other in others for piece in (instead, other))]
