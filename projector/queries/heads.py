"""Events of one partition without what they say, for those who follow the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deedbook.projector.queries.asking import ask

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import duckdb

# Up to so many trainings, an index finds them; there are seldom more at once.
_FEW = 100


@dataclass(frozen=True, slots=True)
class Head:
    """An event and what was decided about it; ``model``: that of the training it names, where it was asked for."""

    position: int
    event_id: str
    type: str
    subject: str
    actor: str
    recorded_at: int
    decision: str
    reason: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Stretch:
    """Positions of a partition, from ``start`` to before ``end``, and how many events of it are taken at once."""

    topic: str
    partition: int
    start: int
    end: int
    most: int


def heads(
    connection: duckdb.DuckDBPyConnection,
    stretch: Stretch,
    *,
    decisions: Collection[str],
    types: Collection[str] = (),
    with_models: bool = False,
) -> tuple[tuple[Head, ...], int]:
    """Return the events of these decisions and types (all where none is named), and up to where they reach."""
    rows = ask(
        connection,
        "select position, event_id, type, subject, actor, recorded_at, decision, reason from base.event "
        "where topic = $1 and partition = $2 and position >= $3 and position < $4 "
        "and list_contains($5::varchar[], decision) "
        "and (len($6::varchar[]) = 0 or list_contains($6::varchar[], type)) order by position limit $7",
        [
            stretch.topic,
            stretch.partition,
            stretch.start,
            stretch.end,
            sorted(decisions),
            sorted(types),
            stretch.most,
        ],
    )
    models = _models_of(connection, sorted({row["subject"] for row in rows})) if with_models else {}
    found = tuple(Head(**row, model=models.get(row["subject"])) for row in rows)
    return found, found[-1].position + 1 if len(found) == stretch.most else stretch.end


def _models_of(connection: duckdb.DuckDBPyConnection, training_ids: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for start in range(0, len(training_ids), _FEW):
        some = training_ids[start : start + _FEW]
        rows = connection.execute(
            f"select training_id, model from base.training where training_id in ({', '.join('?' * len(some))})",
            list(some),
        ).fetchall()
        found.update(rows)
    return found


@dataclass(frozen=True, slots=True)
class Answered:
    """What was decided on an event, and where: of one that was sent again, on the first."""

    position: int
    decision: str
    reason: str


def answers_to(connection: duckdb.DuckDBPyConnection, positions: Sequence[int]) -> tuple[Answered, ...]:
    """Return the fold's answers to registry events at these positions, which are folded, in their order."""
    rows = ask(
        connection,
        "with asked as (select unnest($1::bigint[]) as at), "
        "e as (select a.at, b.event_id, b.decision, b.reason from asked a join base.event b "
        "on b.topic = 'registry' and b.partition = 0 and b.position = a.at), "
        "again as (select e.at, min(f.position) as first from e join base.event f on f.topic = 'registry' "
        "and f.event_id = e.event_id where e.decision = 'ignored' group by e.at) "
        "select e.at, coalesce(f.position, e.at) as position, coalesce(f.decision, e.decision) as decision, "
        "coalesce(f.reason, e.reason) as reason from e left join again on again.at = e.at "
        "left join base.event f on f.topic = 'registry' and f.position = again.first",
        [list(positions)],
    )
    found = {
        row.pop("at"): Answered(
            row["position"],
            "accepted" if row["decision"] == "ignored" else row["decision"],
            row["reason"],
        )
        for row in rows
    }
    return tuple(found[position] for position in positions)
