"""The events of the log, in order, with what was decided about each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deedbook.events.facts import REGISTRY
from deedbook.projector.queries.asking import ask

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import duckdb


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event of the log: ``decision`` is accepted, ignored or rejected, with the fold's ``reason``.

    ``subject``: the id of the training, deployment or request set, or the name, it is about.
    ``occurred_at`` is the writer's word, ``recorded_at`` the log's.
    """

    topic: str
    partition: int
    position: int
    event_id: str
    type: str
    subject: str
    actor: str
    occurred_at: datetime | None
    recorded_at: datetime
    decision: str
    reason: str | None


def events(
    connection: duckdb.DuckDBPyConnection,
    *,
    topic: str | None = REGISTRY,
    after: int = -1,
    types: Sequence[str] = (),
    subject: str | None = None,
    actor: str | None = None,
    decision: str | None = None,
    newest: bool = False,
    limit: int = 100,
) -> tuple[Event, ...]:
    """Return events of a topic after a position, in log order, the first ones or the ``newest``.

    ``topic`` None: of all topics, in the order they were recorded in (``after`` then counts in each).
    ``types``: any of these, all where empty.
    """
    order = (
        "recorded_at {0}, topic {0}, partition {0}, position {0}"
        if topic is None
        else "position {0}, partition {0}"
    )
    direction = order.format("desc" if newest else "asc")
    rows = ask(
        connection,
        "select topic, partition, position, event_id, type, subject, actor, occurred_at, recorded_at, decision, "
        "reason from main.events where ($1 is null or topic = $1) and position > $2 "
        "and (len($3::varchar[]) = 0 or list_contains($3::varchar[], type)) and ($4 is null or subject = $4) "
        "and ($5 is null or actor = $5) and ($6 is null or decision = $6) "
        f"order by {direction} limit $7",
        [topic, after, list(types), subject, actor, decision, limit],
    )
    found = tuple(Event(**row) for row in rows)
    return found[::-1] if newest else found
