"""Why a deployment was let through or refused: how its trainings stood at the position of the decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deedbook.projector.queries.asking import ask
from deedbook.projector.queries.validations import Standing

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from deedbook.projector.queries.deployments import Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class GateEvidence:
    """A model of a requested deployment, how its training stood at the decision, and how it stands now.

    ``then`` is None where no such training was logged by then, ``now`` where none ever was.
    ``judged_position``: the newest verdict on it at or before the decision; ``overridden_position``: likewise.
    """

    model: str
    training_id: str
    then: Standing | None
    now: Standing | None
    judged_position: int | None
    overridden_position: int | None


def gate_evidence(
    connection: duckdb.DuckDBPyConnection, deployment: Deployment, position: int | None = None
) -> tuple[GateEvidence, ...]:
    """Return what was known of each model of a deployment when it was decided, or at another position."""
    at = deployment.position if position is None else position
    training_ids = [model.training_id for model in deployment.models]
    then = standings_at(connection, [(training_id, at) for training_id in training_ids])
    now = standings_at(connection, [(training_id, None) for training_id in training_ids])
    judged = _last_positions(connection, "verdicts", training_ids, at)
    overridden = _last_positions(connection, "overrides", training_ids, at)
    return tuple(
        GateEvidence(
            model=model.model,
            training_id=model.training_id,
            then=then.get((model.training_id, at)),
            now=now.get((model.training_id, None)),
            judged_position=judged.get(model.training_id),
            overridden_position=overridden.get(model.training_id),
        )
        for model in deployment.models
    )


def standings_at(
    connection: duckdb.DuckDBPyConnection, asked: Sequence[tuple[str, int | None]]
) -> dict[tuple[str, int | None], Standing]:
    """Return where trainings stood, each at a position of its own, None for now; unknown ones are left out."""
    rows = ask(
        connection,
        "select a.at, s.training_id, s.model, s.version, s.outcome, s.deployable, s.overridden, s.reason, s.since, "
        "s.from_position, s.to_position "
        "from (select unnest($1::varchar[]) as training_id, unnest($2::bigint[]) as at) a "
        "join main.standings s on s.training_id = a.training_id and s.from_position <= coalesce(a.at, s.from_position) "
        "and (s.to_position is null or s.to_position > a.at)",
        [[training_id for training_id, _ in asked], [at for _, at in asked]],
    )
    return {(row["training_id"], at): Standing(**row) for row in rows for at in [row.pop("at")]}


def _last_positions(
    connection: duckdb.DuckDBPyConnection, view: str, training_ids: Sequence[str], at: int
) -> dict[str, int]:
    rows = ask(
        connection,
        f"select training_id, max(position) as position from main.{view} "
        "where training_id in (select unnest($1::varchar[])) and position <= $2 group by training_id",
        [list(training_ids), at],
    )
    return {row["training_id"]: row["position"] for row in rows}
