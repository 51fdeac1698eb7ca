"""The models of a registry at a glance, and the policies and rules in force."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deedbook.projector.queries.asking import ask

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import duckdb


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOverview:
    """A model: how many trainings stand how, and where it is live.

    ``policy_version``: 0 where the default policy applies. ``live``: (service, environment, release) of each.
    """

    model: str
    trainings: int
    last_version: int
    last_created_at: datetime
    deployable: int
    pending: int
    failed: int
    overridden: int
    policy_version: int
    live: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPolicy:
    """A version of a model's policy: as JSON, and its file as written."""

    model: str
    version: int
    policy: str
    source: str
    actor: str
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSet:
    """A set of past requests, and the parameter values of the trainings that they are replayed for."""

    requests_id: str
    model: str
    parameters: Mapping[str, str]
    artifact_uri: str
    artifact_sha256: str
    artifact_size_bytes: int
    count: int
    actor: str
    position: int


def models(connection: duckdb.DuckDBPyConnection) -> tuple[ModelOverview, ...]:
    """Return all models that have trainings, by name."""
    rows = ask(
        connection,
        "select t.model, count(*) as trainings, max(t.version) as last_version, "
        "max(t.created_at) as last_created_at, count(*) filter (t.deployable) as deployable, "
        "count(*) filter (t.outcome = 'pending') as pending, "
        "count(*) filter (t.outcome in ('failed', 'error')) as failed, "
        "count(*) filter (t.overridden) as overridden, "
        "coalesce((select max(p.version) from main.policies p where p.model = t.model), 0) as policy_version "
        "from main.trainings t group by t.model order by t.model",
    )
    live: dict[str, list[tuple[str, str, str]]] = {}
    for row in ask(
        connection,
        "select d.model, l.service, l.environment, l.release from main.releases_live l "
        "join main.deployment_models d on d.deployment_id = l.deployment_id and d.decision = 'accepted' "
        "where l.to_position is null order by all",
    ):
        live.setdefault(row["model"], []).append((row["service"], row["environment"], row["release"]))
    return tuple(ModelOverview(**row, live=tuple(live.get(row["model"], ()))) for row in rows)


def policies(connection: duckdb.DuckDBPyConnection, model: str | None = None) -> tuple[PublishedPolicy, ...]:
    """Return published policies, of one model or all, oldest version first; none: the default policy applies."""
    rows = ask(
        connection,
        "select model, version, policy, source, actor, position from main.policies "
        "where $1 is null or model = $1 order by model, version",
        [model],
    )
    return tuple(PublishedPolicy(**row) for row in rows)


def request_sets(connection: duckdb.DuckDBPyConnection, model: str | None = None) -> tuple[RequestSet, ...]:
    """Return the published request sets, of one model or all, oldest first."""
    rows = ask(
        connection,
        "select requests_id, model, parameters, artifact_uri, artifact_sha256, artifact_size_bytes, count, actor, "
        "position from main.request_sets where $1 is null or model = $1 order by position",
        [model],
    )
    return tuple(RequestSet(**row) for row in rows)
