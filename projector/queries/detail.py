"""All that is known of one training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deedbook.events.errors import InvalidInput, NotFound
from deedbook.events.facts import Coefficient, Feature
from deedbook.projector.queries.asking import ask, ask_one
from deedbook.projector.queries.deployments import Deployment, ModelLoad, deployments, model_loads
from deedbook.projector.queries.timeline import Event, events
from deedbook.projector.queries.validations import (
    Standing,
    Validation,
    Verdict,
    standings,
    validations_of,
    verdicts_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    import duckdb

_MIN_PREFIX = 6
_MAX_EVENTS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricValue:
    """A final metric of a training; ``slice`` is empty where it holds for all data."""

    name: str
    slice: str
    value: float
    direction: str
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMetric:
    """What was logged of a metric step by step: how often, and its last value."""

    name: str
    slice: str
    count: int
    last_step: int
    last_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterValue:
    """A parameter of a training, with its number where it has one."""

    name: str
    value: str
    value_number: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendment:
    """A corrected value; ``kind``: metric, parameter or tag. The old value is what it replaced."""

    kind: str
    name: str
    slice: str
    old_value: str | None
    old_value_number: float | None
    value: str | None
    value_number: float | None
    reason: str
    actor: str
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A named person's decision against, or without, a verdict."""

    deployable: bool
    reason: str
    actor: str
    overridden_at: datetime
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingDetail:
    """A training, what was decided about it, and where it is used; lists are oldest first.

    ``standings``: the last is the one that holds. ``deployments``: every request that named it.
    ``model_loads``: the last word of each instance. ``events``: the registry's events about it.
    """

    training_id: str
    model: str
    version: int
    model_type: str
    framework: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    actor: str
    git_sha: str
    data_fingerprint: str
    artifact_uri: str
    artifact_sha256: str
    artifact_size_bytes: int
    artifact_format: str
    outcome: str
    deployable: bool
    overridden: bool
    reason: str
    position: int
    features: tuple[Feature, ...]
    coefficients: tuple[Coefficient, ...]
    tags: Mapping[str, str]
    parameters: tuple[ParameterValue, ...]
    metrics: tuple[MetricValue, ...]
    step_metrics: tuple[StepMetric, ...]
    amendments: tuple[Amendment, ...]
    validations: tuple[Validation, ...]
    verdicts: tuple[Verdict, ...]
    overrides: tuple[Override, ...]
    standings: tuple[Standing, ...]
    deployments: tuple[Deployment, ...]
    model_loads: tuple[ModelLoad, ...]
    events: tuple[Event, ...]


def training_detail(
    connection: duckdb.DuckDBPyConnection, training_id: str, *, history: bool = True
) -> TrainingDetail:
    """Return all that is known of a training; raises NotFound.

    Without its ``history``: validations, standings, deployments, loads and events are left out.
    """
    row = ask_one(
        connection,
        "select training_id, model, version, model_type, framework, created_at, started_at, finished_at, actor, "
        "git_sha, data_fingerprint, artifact_uri, artifact_sha256, artifact_size_bytes, artifact_format, outcome, "
        "deployable, overridden, reason, position, features, coefficients, tags from main.trainings "
        "where training_id = ?",
        [training_id],
    )
    if row is None:
        raise NotFound(f"there is no training {training_id} in this registry")
    features, coefficients = row.pop("features") or (), row.pop("coefficients") or ()
    return TrainingDetail(
        **row,
        features=tuple(Feature(**feature) for feature in features),
        coefficients=tuple(Coefficient(**coefficient) for coefficient in coefficients),
        parameters=_parameters(connection, training_id),
        metrics=_metrics(connection, row["position"], row["model"]),
        step_metrics=_step_metrics(connection, training_id),
        amendments=_amendments(connection, training_id),
        validations=validations_of(connection, training_id) if history else (),
        verdicts=verdicts_of(connection, training_id),
        overrides=overrides_of(connection, [training_id]).get(training_id, ()),
        standings=standings(connection, training_id) if history else (),
        deployments=deployments(connection, training_id=training_id, limit=_MAX_EVENTS)[::-1]
        if history
        else (),
        model_loads=model_loads(connection, training_id=training_id) if history else (),
        events=events(connection, subject=training_id, limit=_MAX_EVENTS) if history else (),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingName:
    """What people call a training, by its id."""

    training_id: str
    model: str
    version: int


def training_names(
    connection: duckdb.DuckDBPyConnection, training_ids: Collection[str]
) -> dict[str, TrainingName]:
    """Return the names of trainings by id; unknown ones are left out."""
    rows = ask(
        connection,
        "select training_id, model, version from base.training where training_id in (select unnest(?::varchar[]))",
        [list(training_ids)],
    )
    return {row["training_id"]: TrainingName(**row) for row in rows}


def training_id_of(connection: duckdb.DuckDBPyConnection, text: str) -> str:
    """Return the id of the training a person means.

    ``text``: an id, the beginning of one (six characters or more), or MODEL@VERSION. Raises NotFound,
    and InvalidInput where several trainings are meant.
    """
    model, at, version = text.rpartition("@")
    if at and version.isascii() and version.isdigit() and len(version) < 19:
        found = ask(
            connection,
            "select training_id from main.trainings where model = ? and version = ?",
            [model, int(version)],
        )
    else:
        found = ask(connection, "select training_id from main.trainings where training_id = ?", [text])
    if not found and len(text) >= _MIN_PREFIX:
        found = ask(
            connection,
            "select training_id from main.trainings where starts_with(training_id, ?) order by position limit 3",
            [text.lower()],
        )
    if not found:
        raise NotFound(f"there is no training {text[:200]} in this registry")
    if len(found) > 1:
        raise InvalidInput(
            f"several trainings begin with {text[:200]}, {found[0]['training_id']} and "
            f"{found[1]['training_id']} among them: give more of the id"
        )
    return str(found[0]["training_id"])


def _parameters(connection: duckdb.DuckDBPyConnection, training_id: str) -> tuple[ParameterValue, ...]:
    rows = ask(
        connection,
        "select name, value, value_number from main.parameters where training_id = ? order by name",
        [training_id],
    )
    return tuple(ParameterValue(**row) for row in rows)


def _metrics(connection: duckdb.DuckDBPyConnection, position: int, model: str) -> tuple[MetricValue, ...]:
    # By position, which the table is sorted by: the view would look through the metrics of all trainings.
    rows = ask(
        connection,
        "select n.term as name, s.term as slice, m.value, coalesce(d.direction, 'unspecified') as direction, "
        "coalesce(d.unit, '') as unit from base.metric m join base.term n on n.term_key = m.name_key "
        "join base.term s on s.term_key = m.slice_key "
        "left join main.metric_definitions d on d.model = ? and d.name = n.term "
        "where m.training_key = ? order by s.term, n.term",
        [model, position],
    )
    return tuple(MetricValue(**row) for row in rows)


def _step_metrics(connection: duckdb.DuckDBPyConnection, training_id: str) -> tuple[StepMetric, ...]:
    rows = ask(
        connection,
        "select name, slice, count(*) as count, max(step) as last_step, arg_max(value, step) as last_value "
        "from main.metrics where training_id = ? and step is not null group by name, slice order by slice, name",
        [training_id],
    )
    return tuple(StepMetric(**row) for row in rows)


def _amendments(connection: duckdb.DuckDBPyConnection, training_id: str) -> tuple[Amendment, ...]:
    rows = ask(
        connection,
        "select kind, name, slice, old_value, old_value_number, value, value_number, reason, actor, position "
        "from main.amendments where training_id = ? order by position, kind, name, slice",
        [training_id],
    )
    return tuple(Amendment(**row) for row in rows)


def overrides_of(
    connection: duckdb.DuckDBPyConnection, training_ids: Sequence[str]
) -> dict[str, tuple[Override, ...]]:
    """Return all overrides of some trainings by training, oldest first; those without any are left out."""
    found: dict[str, list[Override]] = {}
    for row in ask(
        connection,
        "select training_id, deployable, reason, actor, overridden_at, position from main.overrides "
        "where training_id in (select unnest(?::varchar[])) order by position",
        [list(training_ids)],
    ):
        found.setdefault(row.pop("training_id"), []).append(Override(**row))
    return {training_id: tuple(overrides) for training_id, overrides in found.items()}
