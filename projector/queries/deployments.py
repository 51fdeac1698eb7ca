"""What is bound to what: deployments, what is live and what was, and what hosts say they run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from deedbook.events.errors import InvalidInput, NotFound
from deedbook.projector.queries.asking import Answer, ask, ask_one, position_at

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import duckdb

_SHOWN_RELEASES = 10
_MIN_PREFIX = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundModel:
    """A model of a deployment and the training it is bound to.

    All but the names are None where no such training was logged (so the deployment was rejected).
    """

    model: str
    training_id: str
    version: int | None
    artifact_uri: str | None
    artifact_sha256: str | None
    artifact_size_bytes: int | None
    artifact_format: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A requested deployment and what the fold decided.

    ``decision``: accepted or rejected, with its ``reason``. ``previous``: the release that was current.
    ``note``: what the requester gave as a reason. ``current``: its release is the current one now.
    """

    deployment_id: str
    service: str
    environment: str
    release: str
    git_sha: str
    decision: str
    reason: str
    previous: str | None
    note: str
    acceptance_passed: bool | None
    acceptance_requests: int
    acceptance_summary: str
    acceptance_uri: str
    actor: str
    requested_at: datetime
    position: int
    current: bool
    models: tuple[BoundModel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveModel:
    """A model that was live, and why it was allowed: its standing at the moment asked about."""

    model: str
    training_id: str
    version: int
    artifact_sha256: str
    outcome: str
    deployable: bool
    overridden: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRelease:
    """The current release of a service in an environment, from a position until another.

    ``actor`` and ``reason`` are those of who made it current. ``live_until`` is None while it still is.
    """

    service: str
    environment: str
    release: str
    git_sha: str
    deployment_id: str
    actor: str
    reason: str | None
    live_from: datetime
    live_until: datetime | None
    from_position: int
    to_position: int | None
    models: tuple[LiveModel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLoad:
    """A host's word that an instance loaded a model; ``position`` is one of the hosts topic."""

    service: str
    environment: str
    release: str
    instance: str
    model: str
    training_id: str
    artifact_sha256: str
    source: str
    loaded_at: datetime | None
    partition: int
    position: int


_DEPLOYMENT = (
    "select d.deployment_id, d.service, d.environment, d.release, d.git_sha, d.decision, d.reason, d.previous, "
    "d.note, d.acceptance_passed, d.acceptance_requests, d.acceptance_summary, d.acceptance_uri, d.actor, "
    "d.requested_at, d.position, d.position in (select deployment_position from base.current_release "
    "where to_position is null) as current from main.deployments d "
)


def deployments(
    connection: duckdb.DuckDBPyConnection,
    *,
    service: str | None = None,
    environment: str | None = None,
    decision: str | None = None,
    training_id: str | None = None,
    model: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> tuple[Deployment, ...]:
    """Return requested deployments, newest first; ``decision``: accepted or rejected, None for both.

    ``before``: only requests at lower positions.
    """
    rows = ask(
        connection,
        _DEPLOYMENT + "where ($1 is null or d.service = $1) and ($2 is null or d.environment = $2) "
        "and ($3 is null or d.decision = $3) and (($4 is null and $5 is null) or d.position in "
        "(select position from main.deployment_models where ($4 is null or training_id = $4) "
        "and ($5 is null or model = $5))) and ($6 is null or d.position < $6) order by d.position desc limit $7",
        [service, environment, decision, training_id, model, before, limit],
    )
    return _with_models(connection, rows)


def deployment_with_id(connection: duckdb.DuckDBPyConnection, deployment_id: str) -> Deployment:
    """Return a requested deployment, accepted or rejected; raises NotFound."""
    found = _with_models(
        connection, ask(connection, _DEPLOYMENT + "where d.deployment_id = ?", [deployment_id])
    )
    if not found:
        raise NotFound(f"there is no deployment {deployment_id} in this registry")
    return found[0]


def binding(
    connection: duckdb.DuckDBPyConnection, service: str, release: str, environment: str = "production"
) -> Deployment:
    """Return the accepted deployment that binds a release; raises NotFound, which says what is bound."""
    rows = ask(
        connection,
        _DEPLOYMENT
        + "where d.service = ? and d.environment = ? and d.release = ? and d.decision = 'accepted'",
        [service, environment, release],
    )
    if rows:
        return _with_models(connection, rows)[0]
    bound = ask(
        connection,
        "select release from main.deployments where service = ? and environment = ? and decision = 'accepted' "
        "order by position desc",
        [service, environment],
    )
    raise unbound(service, release, environment, [row["release"] for row in bound])


def unbound(service: str, release: str, environment: str, known: Sequence[str]) -> NotFound:
    """Return the error that says what is bound instead of a release: ``known``, newest first."""
    shown = ", ".join(known[:_SHOWN_RELEASES]) + (", …" if len(known) > _SHOWN_RELEASES else "")
    return NotFound(
        f"release {release} of {service} in {environment} is not bound to any training "
        f"({'bound, newest first: ' + shown if known else 'none of its releases is'})"
    )


def live(
    connection: duckdb.DuckDBPyConnection,
    *,
    service: str | None = None,
    environment: str | None = None,
    at: datetime | None = None,
) -> tuple[LiveRelease, ...]:
    """Return what is live, or was at a time, in the order of services and environments."""
    position = position_at(connection, at)
    rows = ask(
        connection,
        _RELEASE + "where l.from_position <= $1 and (l.to_position is null or l.to_position > $1) "
        "and ($2 is null or l.service = $2) and ($3 is null or l.environment = $3) "
        "order by l.service, l.environment",
        [position, service, environment],
    )
    return _with_live_models(connection, rows, position)


def releases(
    connection: duckdb.DuckDBPyConnection, service: str, environment: str = "production"
) -> tuple[LiveRelease, ...]:
    """Return what was live one after the other, oldest first, each with its models as they stand now."""
    rows = ask(
        connection,
        _RELEASE + "where l.service = ? and l.environment = ? order by l.from_position",
        [service, environment],
    )
    return _with_live_models(connection, rows, position_at(connection, None))


_RELEASE = (
    "select l.service, l.environment, l.release, d.git_sha, l.deployment_id, l.actor, l.reason, l.live_from, "
    "l.live_until, l.from_position, l.to_position, d.position as deployment_position "
    "from main.releases_live l join main.deployments d on d.deployment_id = l.deployment_id "
    "and d.decision = 'accepted' "
)


# Of rows `l` of model_loads with their events `e`: once there are more partitions a key's later records are in another
# one, where positions begin anew.
LAST_WORD: Final = (
    "row_number() over (partition by l.service, l.environment, l.instance, l.model "
    "order by e.recorded_at desc, l.position desc) = 1"
)


def model_loads(
    connection: duckdb.DuckDBPyConnection,
    *,
    service: str | None = None,
    environment: str | None = None,
    training_id: str | None = None,
    latest: bool = True,
) -> tuple[ModelLoad, ...]:
    """Return what hosts said they loaded; ``latest``: only the last word of each instance on each model."""
    rows = ask(
        connection,
        "select l.service, l.environment, l.release, l.instance, l.model, l.training_id, l.artifact_sha256, l.source, "
        "l.loaded_at, l.partition, l.position from main.model_loads l "
        "join main.events e on e.topic = 'hosts' and e.partition = l.partition and e.position = l.position "
        "where ($1 is null or l.service = $1) and ($2 is null or l.environment = $2) "
        "and ($3 is null or l.training_id = $3) "
        f"qualify not $4 or {LAST_WORD} "
        "order by l.service, l.environment, l.instance, l.model, l.partition, l.position",
        [service, environment, training_id, latest],
    )
    return tuple(ModelLoad(**row) for row in rows)


def _with_models(connection: duckdb.DuckDBPyConnection, rows: list[Answer]) -> tuple[Deployment, ...]:
    models: dict[int, list[BoundModel]] = {row["position"]: [] for row in rows}
    for found in ask(
        connection,
        "select d.position, d.model, d.training_id, t.version, t.artifact_uri, t.artifact_sha256, "
        "t.artifact_size_bytes, t.artifact_format from main.deployment_models d "
        "left join main.trainings t on t.training_id = d.training_id "
        "where d.position in (select unnest(?::bigint[])) order by d.position, d.model, d.training_id",
        [list(models)],
    ):
        models[found.pop("position")].append(BoundModel(**found))
    return tuple(Deployment(**row, models=tuple(models[row["position"]])) for row in rows)


def _with_live_models(
    connection: duckdb.DuckDBPyConnection, rows: list[Answer], position: int
) -> tuple[LiveRelease, ...]:
    """Return releases with their models as those stood at a position."""
    models: dict[int, list[LiveModel]] = {row["deployment_position"]: [] for row in rows}
    for found in ask(
        connection,
        "select d.position, d.model, d.training_id, d.version, d.artifact_sha256, s.outcome, s.deployable, "
        "s.overridden, s.reason from main.deployment_models d join main.standings s on s.training_id = d.training_id "
        "and s.from_position <= $1 and (s.to_position is null or s.to_position > $1) "
        "where d.position in (select unnest($2::bigint[])) order by d.position, d.model",
        [position, list(models)],
    ):
        models[found.pop("position")].append(LiveModel(**found))
    return tuple(
        LiveRelease(**row, models=tuple(models[deployment_position]))
        for row in rows
        for deployment_position in [row.pop("deployment_position")]
    )


def is_deployment(connection: duckdb.DuckDBPyConnection, deployment_id: str) -> bool:
    """Tell whether a deployment with this id was requested."""
    row = ask_one(
        connection, "select 1 as found from main.deployments where deployment_id = ?", [deployment_id]
    )
    return row is not None


def deployment_id_of(connection: duckdb.DuckDBPyConnection, text: str) -> str | None:
    """Return the id that begins with a text (six characters or more), or None; InvalidInput where several do."""
    if len(text) < _MIN_PREFIX:
        return None
    found = ask(
        connection,
        "select distinct deployment_id from main.deployments where starts_with(deployment_id, ?) limit 2",
        [text.lower()],
    )
    if len(found) > 1:
        raise InvalidInput(f"several deployments begin with {text[:200]}: give more of the id")
    return str(found[0]["deployment_id"]) if found else None


def binding_id(
    connection: duckdb.DuckDBPyConnection, service: str, environment: str, release: str | None
) -> str | None:
    """Return the id of the deployment that bound a release, None where none did."""
    row = ask_one(
        connection,
        "select deployment_id from main.deployments where service = ? and environment = ? and release = ? "
        "and decision = 'accepted'",
        [service, environment, release],
    )
    return None if row is None else str(row["deployment_id"])
