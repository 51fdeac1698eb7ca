"""The journal: all records of the folded topics, newest first or as they come, also those that could not be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeAlias

from deedbook.projector.queries.asking import ask, micros
from deedbook.projector.queries.timeline import Event

if TYPE_CHECKING:
    import duckdb

# Beside the fold's own decisions: a record that could not be decoded, and so was not decided on.
QUARANTINED: Final = "quarantined"
_ALL: Final = """
select topic, partition, position, event_id, type, subject, actor, occurred_at, recorded_at, decision, reason
from main.events
union all
select topic, partition, position, '', '', '', '', null, recorded_at, 'quarantined', reason from main.quarantine
"""
_ORDER: Final = "recorded_at {0}, topic {0}, partition {0}, position {0}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record is on the log."""

    topic: str
    partition: int
    position: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.position}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """Which records are asked for: None and the empty text for any; ``since`` and ``until`` by the log's clock."""

    topic: str = ""
    type: str = ""
    subject: str = ""
    actor: str = ""
    decision: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def hold(self, event: Event) -> bool:
        """Say whether an event is among them."""
        return (
            self.topic in {"", event.topic}
            and self.type in {"", event.type}
            and self.subject in {"", event.subject}
            and self.actor in {"", event.actor}
            and self.decision in {"", event.decision}
            and (self.since is None or event.recorded_at >= self.since)
            and (self.until is None or event.recorded_at < self.until)
        )


def journal(
    connection: duckdb.DuckDBPyConnection,
    entries: Entries,
    *,
    before: Place | None = None,
    after: Place | None = None,
    limit: int = 100,
) -> tuple[Event, ...]:
    """Return records in the order they were recorded in, newest first: the newest ones, or those before a place.

    With ``after``, the ones that come next after that place, newest first as well. A place that holds no record
    counts as if everything were before, or after, it.
    """
    place = before or after
    bound = None if place is None else _recorded_at(connection, place)
    compared = "<" if before is not None else ">"
    direction = "asc" if after is not None and before is None else "desc"
    rows = ask(
        connection,
        f"select * from ({_ALL}) where ($1 = '' or topic = $1) and ($2 = '' or type = $2) "
        "and ($3 = '' or subject = $3) and ($4 = '' or actor = $4) and ($5 = '' or decision = $5) "
        "and ($6::bigint is null or recorded_at >= make_timestamp($6)) "
        "and ($7::bigint is null or recorded_at < make_timestamp($7)) "
        "and ($8::bigint is null or "
        f"(epoch_us(recorded_at), topic, partition, position) {compared} ($8, $9, $10::integer, $11::bigint)) "
        f"order by {_ORDER.format(direction)} limit $12",
        [
            *(entries.topic, entries.type, entries.subject, entries.actor, entries.decision),
            *(None if moment is None else micros(moment) for moment in (entries.since, entries.until)),
            *(bound, *((place.topic, place.partition, place.position) if place else ("", 0, 0))),
            limit,
        ],
    )
    found = tuple(Event(**row) for row in rows)
    return found if direction == "desc" else found[::-1]


def _recorded_at(connection: duckdb.DuckDBPyConnection, place: Place) -> int | None:
    rows = connection.execute(
        "select recorded_at from base.event where topic = $1 and partition = $2 and position = $3 union all "
        "select recorded_at from base.quarantine where topic = $1 and partition = $2 and position = $3 limit 1",
        [place.topic, place.partition, place.position],
    ).fetchone()
    return None if rows is None else int(rows[0])


def entry(connection: duckdb.DuckDBPyConnection, place: Place) -> Event | None:
    """Return what is known of one record; None if it isn't folded, or there is none."""
    rows = ask(
        connection,
        f"select * from ({_ALL}) where topic = $1 and partition = $2 and position = $3",
        [place.topic, place.partition, place.position],
    )
    return Event(**rows[0]) if rows else None


def neighbours(connection: duckdb.DuckDBPyConnection, place: Place) -> tuple[int | None, int | None]:
    """Return the positions of the records before and after a place in its partition."""
    row = connection.execute(
        "select max(position) filter (position < $3), min(position) filter (position > $3) from ("
        "select topic, partition, position from base.event union all "
        "select topic, partition, position from base.quarantine) where topic = $1 and partition = $2",
        [place.topic, place.partition, place.position],
    ).fetchone()
    return (None, None) if row is None else (row[0], row[1])


Ends: TypeAlias = Mapping[tuple[str, int], int]


def folded_ends(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, int], int]:
    """Return the position after the last folded one of each partition of each folded topic."""
    rows = connection.execute("select topic, partition, next_position from base.progress").fetchall()
    return {(str(topic), int(partition)): int(end) for topic, partition, end in rows}


def arrived(
    connection: duckdb.DuckDBPyConnection, since: Ends, *, most: int
) -> tuple[tuple[Event, ...], Ends]:
    """Return the records that were folded since, and up to where that is.

    Not more than ``most`` of each partition, the first ones: who asks again gets the next.
    """
    found: list[Event] = []
    reached = dict(since)
    for (topic, partition), end in folded_ends(connection).items():
        start = since.get((topic, partition), 0)
        if end <= start:
            continue
        rows = ask(
            connection,
            f"select * from ({_ALL}) where topic = $1 and partition = $2 and position >= $3 and position < $4 "
            "order by position limit $5",
            [topic, partition, start, end, most],
        )
        found += [Event(**row) for row in rows]
        reached[topic, partition] = int(rows[-1]["position"]) + 1 if len(rows) == most else end
    found.sort(key=lambda event: (event.recorded_at, event.topic, event.partition, event.position))
    return tuple(found), reached


def actors_and_types(
    connection: duckdb.DuckDBPyConnection, *, most: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return who wrote, up to so many, and the types of what was written."""
    actors = connection.execute(
        "select actor from base.event group by actor order by count(*) desc, actor limit $1", [most]
    ).fetchall()
    types = connection.execute("select distinct type from base.event order by type").fetchall()
    return tuple(str(row[0]) for row in actors), tuple(str(row[0]) for row in types)
