"""What was live when: each time a release became the current one, and until when it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deedbook.projector.queries.asking import ask

if TYPE_CHECKING:
    from datetime import datetime

    import duckdb


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePeriod:
    """A time in which a release was the current one of a service in an environment.

    ``live_until`` and ``to_position`` are None while it still is. ``rollback``: an already bound release
    became the current one again, instead of being bound. ``actor`` and ``reason`` are of who made it current.
    """

    service: str
    environment: str
    release: str
    deployment_id: str
    actor: str
    reason: str | None
    live_from: datetime
    live_until: datetime | None
    from_position: int
    to_position: int | None
    rollback: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """What was live of a service in an environment: its newest periods, oldest first, of ``count`` in all."""

    service: str
    environment: str
    periods: tuple[LivePeriod, ...]
    count: int

    @property
    def current(self) -> LivePeriod:
        """The period that holds now: once a service has a release it always has one."""
        return self.periods[-1]


_PERIOD = (
    "select l.service, l.environment, l.release, l.deployment_id, l.actor, l.reason, l.live_from, l.live_until, "
    "l.from_position, l.to_position, c.deployment_position != l.from_position as rollback "
    "from main.releases_live l join base.current_release c on c.from_position = l.from_position "
)


def timelines(
    connection: duckdb.DuckDBPyConnection,
    *,
    service: str | None = None,
    environment: str | None = None,
    limit: int = 100,
    services: int = 1_000,
    skipped: int = 0,
) -> tuple[Timeline, ...]:
    """Return services, what changed last first, each with its newest periods, up to ``limit`` of each.

    ``services``: so many of them, after ``skipped`` ones.
    """
    newest = ask(
        connection,
        "select service, environment, count(*) as count from main.releases_live "
        "where ($1 is null or service = $1) and ($2 is null or environment = $2) "
        "group by all order by max(from_position) desc limit $3 offset $4",
        [service, environment, services, skipped],
    )
    rows = ask(
        connection,
        f"select p.* from ({_PERIOD}) p join (select unnest($1::varchar[]) as service, "
        "unnest($2::varchar[]) as environment) chosen using (service, environment) "
        "qualify row_number() over (partition by service, environment order by from_position desc) <= $3 "
        "order by from_position",
        [[row["service"] for row in newest], [row["environment"] for row in newest], limit],
    )
    found: dict[tuple[str, str], list[LivePeriod]] = {}
    for row in rows:
        found.setdefault((row["service"], row["environment"]), []).append(LivePeriod(**row))
    return tuple(Timeline(**row, periods=tuple(found[row["service"], row["environment"]])) for row in newest)


def live_periods(
    connection: duckdb.DuckDBPyConnection,
    *,
    training_id: str | None = None,
    deployment_id: str | None = None,
) -> tuple[LivePeriod, ...]:
    """Return when a training, or a deployment's release, was live, oldest first."""
    rows = ask(
        connection,
        f"{_PERIOD} where ($1 is null or c.deployment_position in "
        "(select position from main.deployment_models where training_id = $1)) "
        "and ($2 is null or l.deployment_id = $2) order by l.from_position",
        [training_id, deployment_id],
    )
    return tuple(LivePeriod(**row) for row in rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedNames:
    """The services, environments and models of all deployments that were ever asked for, by name."""

    services: tuple[str, ...]
    environments: tuple[str, ...]
    models: tuple[str, ...]


def deployed_names(connection: duckdb.DuckDBPyConnection) -> DeployedNames:
    """Return what deployments, and the fleet, can be asked for by."""
    spoken = ask(
        connection,
        "select service, environment from main.deployments union select service, environment from main.model_loads",
    )
    models = ask(connection, "select distinct model from main.deployment_models order by model")
    return DeployedNames(
        services=tuple(sorted({row["service"] for row in spoken})),
        environments=tuple(sorted({row["environment"] for row in spoken})),
        models=tuple(row["model"] for row in models),
    )


def first_recorded_at(connection: duckdb.DuckDBPyConnection) -> datetime | None:
    """Return when the log's first registry event was recorded, None while there is none."""
    found = ask(connection, "select recorded_at from main.events where topic = 'registry' and position = 0")
    return found[0]["recorded_at"] if found else None
