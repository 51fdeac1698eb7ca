"""A search and a series as programs ask for them: texts and times checked, then put to the projection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deedbook.client.values import name_of, number_of, parameter_of, zoned
from deedbook.events.errors import InvalidInput
from deedbook.events.names import shown
from deedbook.projector import queries
from deedbook.projector.queries import MetricFilter, MetricName

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import duckdb

    from deedbook.projector.queries import MetricSeries, TrainingSummary

OUTCOMES = ("pending", "passed", "failed", "error")
_MAX_NUMBER = 1 << 40


def search(
    connection: duckdb.DuckDBPyConnection,
    *,
    model: str | None,
    parameters: Mapping[str, str | float],
    metrics: Sequence[str | MetricFilter],
    created: tuple[datetime | None, datetime | None],
    deployable: bool | None,
    outcome: str | None,
    order_by: str | MetricName | None,
    descending: bool | None,
    show: Sequence[str | MetricName],
    limit: int,
    offset: int,
) -> list[TrainingSummary]:
    """Return the trainings that meet all conditions; raises InvalidInput."""
    for texts in (metrics, show):
        if isinstance(texts, str):
            raise InvalidInput(f"{shown(texts)} must stand in a list: metrics=['mse < 0.2']")
    if outcome is not None and outcome not in OUTCOMES:
        raise InvalidInput(f"the outcome is {shown(outcome)}, not one of {', '.join(OUTCOMES)}")
    for number in (limit, offset):
        if type(number) is not int or number > _MAX_NUMBER:
            raise InvalidInput(f"limit and offset are whole numbers, not {shown(number)}")
    created_after, created_before = _zoned(created)
    found = queries.search(
        connection,
        model=None if model is None else name_of(model, "the model"),
        parameters={name_of(name, "a parameter's name"): _wanted(name, v) for name, v in parameters.items()},
        metrics=[_filter(metric) for metric in metrics],
        created_after=created_after,
        created_before=created_before,
        deployable=deployable,
        outcome=outcome,
        order_by=None if order_by is None else _metric(order_by),
        descending=descending,
        show=[_metric(metric) for metric in show],
        limit=limit,
        offset=offset,
    )
    return list(found)


def metric_series(
    connection: duckdb.DuckDBPyConnection,
    model: str,
    metric: str | MetricName,
    by: str | None,
    *,
    created: tuple[datetime | None, datetime | None],
    deployable: bool | None,
) -> MetricSeries:
    """Return a metric over time by a parameter's value; raises InvalidInput."""
    created_after, created_before = _zoned(created)
    return queries.metric_series(
        connection,
        name_of(model, "the model"),
        _metric(metric),
        by=None if by is None else name_of(by, "the parameter"),
        created_after=created_after,
        created_before=created_before,
        deployable=deployable,
    )


def _zoned(created: tuple[datetime | None, datetime | None]) -> tuple[datetime | None, datetime | None]:
    after, before = created
    return (
        None if after is None else zoned(after, "created_after"),
        None if before is None else zoned(before, "created_before"),
    )


def _wanted(name: object, value: object) -> str | float:
    """Return a parameter's value to look for: as the text it is logged with, or as a number."""
    if isinstance(value, str):
        return name_of(value, f"parameter {shown(name)}")
    if value is None or isinstance(value, bool | list | tuple | dict):
        return parameter_of(name_of(name, "a parameter's name"), value).text
    return number_of(value, f"parameter {shown(name)}")


def _metric(metric: str | MetricName) -> MetricName:
    if isinstance(metric, MetricName):
        return MetricName(name_of(metric.name, "a metric's name"), name_of(metric.slice, "a slice"))
    return MetricName.parse(name_of(metric, "a metric's name"))


def _filter(metric: str | MetricFilter) -> MetricFilter:
    if isinstance(metric, MetricFilter):
        return metric
    return MetricFilter.parse(name_of(metric, "a comparison"))
