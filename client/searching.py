"""A search and a series as programs ask for them: texts, numbers and times, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from deedbook.client.values import name_of, number_of, parameter_of, zoned
from deedbook.events.errors import InvalidInput
from deedbook.events.names import shown
from deedbook.projector.queries.conditions import TrainingQuery
from deedbook.projector.queries.filters import MetricFilter, MetricName
from deedbook.projector.queries.search import MAX_LIMIT

OUTCOMES = ("pending", "passed", "failed", "error")
_MAX_OFFSET = 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Which trainings are looked for, and which part of them is wanted."""

    query: TrainingQuery
    limit: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesWanted:
    """What `deedbook.projector.queries.metric_series` is asked, by the same names."""

    model: str
    metric: MetricName
    by: str | None
    created_after: datetime | None
    created_before: datetime | None
    deployable: bool | None


def search_of(
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
) -> Search:
    """Return what is looked for; raises InvalidInput."""
    for texts in (metrics, show):
        if isinstance(texts, str):
            raise InvalidInput(f"{shown(texts)} must stand in a list: metrics=['mse < 0.2']")
    if outcome is not None and outcome not in OUTCOMES:
        raise InvalidInput(f"the outcome is {shown(outcome)}, not one of {', '.join(OUTCOMES)}")
    for number in (limit, offset):
        if type(number) is not int:
            raise InvalidInput(f"limit and offset are whole numbers, not {shown(number)}")
    if not 1 <= limit <= MAX_LIMIT or not 0 <= offset <= _MAX_OFFSET:
        raise InvalidInput(f"a search returns 1 to {MAX_LIMIT:,} trainings, from an offset of 0 or more")
    created_after, created_before = _zoned(created)
    query = TrainingQuery(
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
    )
    return Search(query=query, limit=limit, offset=offset)


def series_of(
    *,
    model: str,
    metric: str | MetricName,
    by: str | None,
    created: tuple[datetime | None, datetime | None],
    deployable: bool | None,
) -> SeriesWanted:
    """Return which values are wanted; raises InvalidInput."""
    created_after, created_before = _zoned(created)
    return SeriesWanted(
        model=name_of(model, "the model"),
        metric=_metric(metric),
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
