"""The fleet: what each instance last said that it runs, beside what is bound to the release that is current."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from deedbook.projector.queries.asking import Answer, ask
from deedbook.projector.queries.deployments import LAST_WORD

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    import duckdb


class Agreement(StrEnum):
    """How an instance's last word on a model compares with the current release.

    ``agrees``: the current release, with the training and file it is bound to. ``silent``: another release, and
    nothing heard since the current one became so. ``other_release``: another release, loaded since then.
    ``other_training``, ``other_artifact``: the current release with a training, or a file, that is not bound to it.
    ``not_bound``: the current release binds no such model. ``no_release``: the service has no current release.
    """

    AGREES = "agrees"
    SILENT = "silent"
    OTHER_RELEASE = "other_release"
    OTHER_TRAINING = "other_training"
    OTHER_ARTIFACT = "other_artifact"
    NOT_BOUND = "not_bound"
    NO_RELEASE = "no_release"


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetModel:
    """A model that the current release is bound to."""

    model: str
    training_id: str
    version: int | None
    artifact_sha256: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetLoad:
    """An instance's last word on a model; ``version`` is None where there is no such training.

    ``position`` is one of the hosts topic, in ``partition``; ``heard_at`` is when it was recorded there.
    """

    model: str
    release: str
    training_id: str
    version: int | None
    artifact_sha256: str
    source: str
    loaded_at: datetime | None
    heard_at: datetime
    partition: int
    position: int
    agreement: Agreement


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetHost:
    """An instance of a service, by its own words; ``unheard``: bound models that it has never spoken of."""

    instance: str
    loads: tuple[FleetLoad, ...]
    unheard: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether all it has said is what is bound."""
        return all(load.agreement is Agreement.AGREES for load in self.loads)

    @property
    def heard_at(self) -> datetime:
        """When it was heard of last."""
        return max(load.heard_at for load in self.loads)


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetService:
    """A service in an environment: its current release, None where it has none, and the instances heard of."""

    service: str
    environment: str
    release: str | None
    git_sha: str | None
    deployment_id: str | None
    current_since: datetime | None
    models: tuple[FleetModel, ...]
    hosts: tuple[FleetHost, ...]


def fleet(
    connection: duckdb.DuckDBPyConnection,
    *,
    service: str | None = None,
    environment: str | None = None,
    limit: int = 10_000,
) -> tuple[FleetService, ...]:
    """Return the services that are live or that instances spoke for, by name, each with its instances.

    ``limit``: at most so many last words, the newest, are looked at.
    """
    current = {
        (row["service"], row["environment"]): row
        for row in ask(
            connection,
            "select l.service, l.environment, l.release, d.git_sha, l.deployment_id, l.live_from as current_since, "
            "d.position from main.releases_live l join main.deployments d on d.deployment_id = l.deployment_id "
            "where l.to_position is null and ($1 is null or l.service = $1) "
            "and ($2 is null or l.environment = $2)",
            [service, environment],
        )
    }
    bound = _bound(connection, [row["position"] for row in current.values()])
    loads: dict[tuple[str, str], list[Answer]] = {}
    for row in _last_words(connection, service, environment, limit):
        loads.setdefault((row.pop("service"), row.pop("environment")), []).append(row)
    return tuple(
        _service(key, current.get(key), bound, loads.get(key, ()))
        for key in sorted(current.keys() | loads.keys())
    )


def hosts_of(
    connection: duckdb.DuckDBPyConnection, training_id: str
) -> tuple[tuple[FleetService, FleetHost], ...]:
    """Return the instances whose last word is that they run a training."""
    spoken = ask(
        connection,
        "select distinct service, environment from main.model_loads where training_id = ? order by all",
        [training_id],
    )
    return tuple(
        (served, host)
        for row in spoken
        for served in fleet(connection, service=row["service"], environment=row["environment"])
        for host in served.hosts
        if any(load.training_id == training_id for load in host.loads)
    )


def _bound(
    connection: duckdb.DuckDBPyConnection, positions: Sequence[int]
) -> dict[int, tuple[FleetModel, ...]]:
    found: dict[int, list[FleetModel]] = {}
    for row in ask(
        connection,
        "select position, model, training_id, version, artifact_sha256 from main.deployment_models "
        "where position in (select unnest(?::bigint[])) order by position, model",
        [list(positions)],
    ):
        found.setdefault(row.pop("position"), []).append(FleetModel(**row))
    return {position: tuple(models) for position, models in found.items()}


def _last_words(
    connection: duckdb.DuckDBPyConnection, service: str | None, environment: str | None, limit: int
) -> list[Answer]:
    return ask(
        connection,
        "with said as (select l.*, e.recorded_at as heard_at from main.model_loads l "
        "join main.events e on e.topic = 'hosts' and e.partition = l.partition and e.position = l.position "
        "where ($1 is null or l.service = $1) and ($2 is null or l.environment = $2) "
        f"qualify {LAST_WORD}) "
        "select s.service, s.environment, s.instance, s.model, s.release, s.training_id, t.version, "
        "s.artifact_sha256, s.source, s.loaded_at, s.heard_at, s.partition, s.position from said s "
        "left join main.trainings t on t.training_id = s.training_id "
        "order by heard_at desc, s.instance, s.model limit $3",
        [service, environment, limit],
    )


def _service(
    key: tuple[str, str],
    current: Answer | None,
    bound: dict[int, tuple[FleetModel, ...]],
    loads: Iterable[Answer],
) -> FleetService:
    models = bound.get(current["position"], ()) if current else ()
    hosts: dict[str, list[FleetLoad]] = {}
    for row in loads:
        agreement = _agreement(row, current, models)
        hosts.setdefault(row.pop("instance"), []).append(FleetLoad(**row, agreement=agreement))
    return FleetService(
        service=key[0],
        environment=key[1],
        release=current["release"] if current else None,
        git_sha=current["git_sha"] if current else None,
        deployment_id=current["deployment_id"] if current else None,
        current_since=current["current_since"] if current else None,
        models=models,
        hosts=tuple(_host(instance, hosts[instance], models) for instance in sorted(hosts)),
    )


def _host(instance: str, loads: list[FleetLoad], models: tuple[FleetModel, ...]) -> FleetHost:
    spoken = {load.model for load in loads}
    return FleetHost(
        instance=instance,
        loads=tuple(sorted(loads, key=lambda load: load.model)),
        unheard=tuple(model.model for model in models if model.model not in spoken),
    )


def _agreement(load: Answer, current: Answer | None, models: tuple[FleetModel, ...]) -> Agreement:
    if current is None:
        return Agreement.NO_RELEASE
    if load["release"] != current["release"]:
        before = load["heard_at"] < current["current_since"]
        return Agreement.SILENT if before else Agreement.OTHER_RELEASE
    bound = next((model for model in models if model.model == load["model"]), None)
    if bound is None:
        return Agreement.NOT_BOUND
    if load["training_id"] != bound.training_id:
        return Agreement.OTHER_TRAINING
    # A host that gives no digest has said nothing that could differ.
    if load["artifact_sha256"] and load["artifact_sha256"] != bound.artifact_sha256:
        return Agreement.OTHER_ARTIFACT
    return Agreement.AGREES
