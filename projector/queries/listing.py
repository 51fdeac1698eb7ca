"""Events page by page, in the order of the log or against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deedbook.events.facts import REGISTRY
from deedbook.projector.queries.asking import ask
from deedbook.projector.queries.timeline import Event

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQuery:
    """Which events of a topic are wanted; ``types``: any of these, all where there are none."""

    topic: str = REGISTRY
    after: int = -1
    types: Sequence[str] = ()
    subject: str | None = None
    actor: str | None = None
    decision: str | None = None
    newest_first: bool = False


def event_page(
    connection: duckdb.DuckDBPyConnection,
    query: EventQuery,
    *,
    past: tuple[int, int] | None = None,
    upto: int | None = None,
    limit: int = 100,
) -> tuple[Event, ...]:
    """Return events by position and partition, those past one's.

    ``upto``: of the registry, only positions before this one.
    """
    direction, sign = ("desc", "<") if query.newest_first else ("asc", ">")
    position, partition = past or (-1, -1)
    rows = ask(
        connection,
        "select topic, partition, position, event_id, type, subject, actor, occurred_at, recorded_at, decision, "
        "reason from main.events where topic = $1 and position > $2 "
        "and (len($3::varchar[]) = 0 or list_contains($3::varchar[], type)) and ($4 is null or subject = $4) "
        "and ($5 is null or actor = $5) and ($6 is null or decision = $6) and ($7 is null or position < $7) "
        f"and ($8 or position {sign} $9 or (position = $9 and partition {sign} $10)) "
        f"order by position {direction}, partition {direction} limit $11",
        [
            query.topic,
            query.after,
            list(query.types),
            query.subject,
            query.actor,
            query.decision,
            upto,
            past is None,
            position,
            partition,
            limit,
        ],
    )
    return tuple(Event(**row) for row in rows)
