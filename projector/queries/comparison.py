"""Trainings side by side: which settings differ, and what each metric came to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deedbook.events.errors import InvalidInput
from deedbook.projector.queries.detail import TrainingDetail, training_detail
from deedbook.projector.queries.filters import MetricName

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

MAX_TRAININGS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedParameter:
    """A parameter's value in each training, None where it has none."""

    name: str
    values: tuple[str | None, ...]
    differs: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedMetric:
    """A metric's value in each training, None where it has none.

    ``best``: the places, from 0, of the best value, where the metric has a direction and the values differ.
    """

    metric: MetricName
    direction: str
    unit: str
    values: tuple[float | None, ...]
    best: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Trainings in the order given, and one row for each parameter and metric that any of them has."""

    trainings: tuple[TrainingDetail, ...]
    parameters: tuple[ComparedParameter, ...]
    metrics: tuple[ComparedMetric, ...]


def compare(
    connection: duckdb.DuckDBPyConnection, training_ids: Sequence[str], *, history: bool = True
) -> Comparison:
    """Return 2 to 50 trainings side by side, each with its ``history`` or without; raises NotFound, InvalidInput."""
    if not 2 <= len(training_ids) <= MAX_TRAININGS or len(set(training_ids)) < len(training_ids):
        raise InvalidInput(f"a comparison takes 2 to {MAX_TRAININGS} trainings, each once")
    trainings = tuple(
        training_detail(connection, training_id, history=history) for training_id in training_ids
    )
    return Comparison(trainings=trainings, parameters=_parameters(trainings), metrics=_metrics(trainings))


def _parameters(trainings: Sequence[TrainingDetail]) -> tuple[ComparedParameter, ...]:
    columns = [{p.name: p.value for p in training.parameters} for training in trainings]
    names = sorted({name for column in columns for name in column})
    rows = [(name, tuple(column.get(name) for column in columns)) for name in names]
    return tuple(
        ComparedParameter(name=name, values=values, differs=len(set(values)) > 1) for name, values in rows
    )


def _metrics(trainings: Sequence[TrainingDetail]) -> tuple[ComparedMetric, ...]:
    columns = [{(m.slice, m.name): m for m in training.metrics} for training in trainings]
    compared = []
    for slice_, name in sorted({key for column in columns for key in column}):
        found = [column.get((slice_, name)) for column in columns]
        defined = next(metric for metric in found if metric is not None)
        values = tuple(None if metric is None else metric.value for metric in found)
        compared.append(
            ComparedMetric(
                metric=MetricName(name, slice_),
                direction=defined.direction,
                unit=defined.unit,
                values=values,
                best=_best(defined.direction, values),
            )
        )
    return tuple(compared)


def _best(direction: str, values: Sequence[float | None]) -> tuple[int, ...]:
    numbers = [value for value in values if value is not None and not math.isnan(value)]
    if direction not in {"lower", "higher"} or len(set(numbers)) < 2:
        return ()
    best = min(numbers) if direction == "lower" else max(numbers)
    return tuple(place for place, value in enumerate(values) if value == best)
