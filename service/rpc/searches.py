"""A search as it is asked for in a message: names, numbers and times checked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, TypeVar

from deedbook.api.v1 import registry_pb2 as pb
from deedbook.events.errors import InvalidInput
from deedbook.events.names import MAX_TEXT_CHARACTERS, shown, text_problem
from deedbook.projector.queries.conditions import TrainingQuery
from deedbook.projector.queries.filters import Comparison, MetricFilter, MetricName
from deedbook.service.rpc.fields import given, moment_given, name_given, name_in
from deedbook.service.rpc.limits import MAX_FILTERS

if TYPE_CHECKING:
    pass

T = TypeVar("T")
_COMPARISONS: Final = {
    pb.METRIC_COMPARISON_LESS: Comparison.LESS,
    pb.METRIC_COMPARISON_AT_MOST: Comparison.AT_MOST,
    pb.METRIC_COMPARISON_MORE: Comparison.MORE,
    pb.METRIC_COMPARISON_AT_LEAST: Comparison.AT_LEAST,
    pb.METRIC_COMPARISON_EQUAL: Comparison.EQUAL,
    pb.METRIC_COMPARISON_OTHER: Comparison.OTHER,
}
_OUTCOMES: Final[dict[int, str]] = {
    pb.OUTCOME_PASSED: "passed",
    pb.OUTCOME_FAILED: "failed",
    pb.OUTCOME_ERROR: "error",
    pb.OUTCOME_PENDING: "pending",
}


def query_of(request: pb.SearchTrainingsRequest) -> TrainingQuery:
    """Return what a request searches for. Raises InvalidInput."""
    for name in ("parameters", "metrics", "tags", "show"):
        if (count := len(getattr(request, name))) > MAX_FILTERS:
            raise InvalidInput(f"{name} has {count:,} entries, over the limit of {MAX_FILTERS}")
    return TrainingQuery(
        model=name_in(request, "model"),
        parameters=_once("parameter", (_parameter(one) for one in request.parameters)),
        metrics=[_metric(one) for one in request.metrics],
        created_after=moment_given(request, "created_after"),
        created_before=moment_given(request, "created_before"),
        deployable=given(request, "deployable"),
        outcome=_outcome(request.outcome),
        git_sha=name_given(request.git_sha, "git_sha") if request.git_sha else None,
        tags=_once("tag", (_tag(one) for one in request.tags)),
        order_by=metric_name_of(request.order_by, "order_by") if request.HasField("order_by") else None,
        descending=given(request, "descending"),
        show=[metric_name_of(one, "show") for one in request.show],
    )


def metric_name_of(message: pb.MetricName, what: str) -> MetricName:
    """Return a metric's name. Raises InvalidInput."""
    slice_ = name_given(message.slice, f"{what}.slice") if message.slice else ""
    return MetricName(name_given(message.name, f"{what}.name"), slice_)


def _once(what: str, pairs: Iterable[tuple[str, T]]) -> Mapping[str, T]:
    found: dict[str, T] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidInput(f"{what} {shown(name)} is asked for twice")
        found[name] = value
    return found


def _parameter(message: pb.ParameterFilter) -> tuple[str, str | float]:
    name = name_given(message.name, "parameters.name")
    match message.WhichOneof("value"):
        case "text":
            return name, _text(message.text, f"parameter {shown(name)}")
        case "number":
            return name, message.number
        case _:
            raise InvalidInput(
                f"parameter {shown(name)} is asked for without a value: give a text or a number"
            )


def _tag(message: pb.TagFilter) -> tuple[str, str]:
    name = name_given(message.name, "tags.name")
    return name, _text(message.text, f"tag {shown(name)}")


def _text(value: str, what: str) -> str:
    if (problem := text_problem(value, MAX_TEXT_CHARACTERS)) is not None:
        raise InvalidInput(f"{what} {problem}")
    return value


def _metric(message: pb.MetricFilter) -> MetricFilter:
    metric = metric_name_of(pb.MetricName(name=message.name, slice=message.slice), "metrics")
    comparison = _COMPARISONS.get(message.comparison)
    if comparison is None:
        raise InvalidInput(f"metric {shown(metric.name)} is not compared: give a comparison")
    if math.isnan(message.value):
        raise InvalidInput(
            f"metric {shown(metric.name)} is compared with NaN, which nothing is less or more than"
        )
    return MetricFilter(metric.name, comparison, message.value, metric.slice)


def _outcome(number: int) -> str | None:
    if number == pb.OUTCOME_UNSPECIFIED:
        return None
    if number not in _OUTCOMES:
        raise InvalidInput(f"no training stands like the outcome {number}")
    return _OUTCOMES[number]
