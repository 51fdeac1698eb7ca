"""Every model at a glance: its newest training, the newest one that may be deployed, where it is live, what failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deedbook.projector.queries.asking import ask, in_utc, micros

if TYPE_CHECKING:
    from datetime import datetime

    import duckdb


@dataclass(frozen=True, slots=True, kw_only=True)
class Glimpsed:
    """A training in short."""

    model: str
    training_id: str
    version: int
    created_at: datetime
    outcome: str
    deployable: bool
    overridden: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveUse:
    """Where a model is live: in which release, and with which of its trainings; ``reason``: why that is allowed."""

    service: str
    environment: str
    release: str
    deployment_id: str
    since: datetime
    training: Glimpsed


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelGlance:
    """A model: how many trainings it has and how they stand, and how many verdicts failed since a time.

    ``newest_deployable`` is None where no training may be deployed. ``live``: by service and environment.
    """

    model: str
    trainings: int
    deployable: int
    pending: int
    failures: int
    newest: Glimpsed
    newest_deployable: Glimpsed | None
    live: tuple[LiveUse, ...]


# The newest training of a kind, as one value, so that one pass over all trainings is enough.
_NEWEST = (
    "arg_max(struct_pack(model := t.model, training_id := t.training_id, version := t.version, "
    "created_at := make_timestamp(t.created_at), outcome := s.outcome, deployable := s.deployable, "
    "overridden := s.overridden), t.version)"
)
_STANDING = "base.standing s on s.training_key = t.key and s.to_position is null"


def glances(
    connection: duckdb.DuckDBPyConnection, *, failures_since: datetime, model: str | None = None
) -> tuple[ModelGlance, ...]:
    """Return all models that have trainings, or just one, by name."""
    rows = ask(
        connection,
        "select t.model, count(*) as trainings, count(*) filter (s.deployable) as deployable, "
        f"count(*) filter (s.outcome = 'pending') as pending, {_NEWEST} as newest, "
        f"{_NEWEST} filter (s.deployable) as newest_deployable "
        f"from base.training t join {_STANDING} where $1 is null or t.model = $1 group by t.model order by t.model",
        [model],
    )
    failed = _failed(connection, failures_since)
    live = _live(connection, model)
    return tuple(
        ModelGlance(
            **row,
            newest=_glimpsed(newest),
            newest_deployable=None if deployable is None else _glimpsed(deployable),
            failures=failed.get(row["model"], 0),
            live=tuple(live.get(row["model"], ())),
        )
        for row in rows
        for newest, deployable in [(row.pop("newest"), row.pop("newest_deployable"))]
    )


def _glimpsed(plain: dict[str, Any]) -> Glimpsed:
    return Glimpsed(**{name: in_utc(value) for name, value in plain.items()})


def _failed(connection: duckdb.DuckDBPyConnection, since: datetime) -> dict[str, int]:
    """Return how many verdicts since a time are no pass, by model."""
    rows = ask(
        connection,
        "select t.model, count(*) as failures from base.verdict v join base.training t on t.key = v.training_key "
        "where v.outcome != 'passed' and v.position > (select coalesce(max(position), -1) from base.event "
        "where topic = 'registry' and recorded_at < ?) group by t.model",
        [micros(since)],
    )
    return {row["model"]: row["failures"] for row in rows}


def _live(connection: duckdb.DuckDBPyConnection, model: str | None) -> dict[str, list[LiveUse]]:
    """Return where each model is live now."""
    rows = ask(
        connection,
        "with bound as (select position, deployment_id, unnest(models) as m from base.deployment "
        "where position in (select deployment_position from base.current_release where to_position is null)) "
        "select c.service, c.environment, c.release, b.deployment_id, make_timestamp(e.recorded_at) as since, "
        "t.model, t.training_id, t.version, make_timestamp(t.created_at) as created_at, "
        "s.outcome, s.deployable, s.overridden "
        "from base.current_release c join bound b on b.position = c.deployment_position "
        f"join base.training t on t.training_id = b.m.training_id join {_STANDING} "
        "join base.event e on e.topic = 'registry' and e.position = c.from_position "
        "where c.to_position is null and ($1 is null or t.model = $1) order by c.service, c.environment, t.model",
        [model],
    )
    uses: dict[str, list[LiveUse]] = {}
    for row in rows:
        training = Glimpsed(**{name: row.pop(name) for name in Glimpsed.__dataclass_fields__})
        uses.setdefault(training.model, []).append(LiveUse(**row, training=training))
    return uses
