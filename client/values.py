"""What people's programs hand over, as the values that facts hold: texts, numbers, times, names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TypeAlias, cast
from uuid import UUID

from deedbook.events.errors import InvalidInput
from deedbook.events.facts import Coefficient, Direction, Feature, Metric, Parameter, Tag
from deedbook.events.names import normalise, shown, text_problem

Number: TypeAlias = object
"""Anything that ``float`` takes and that is no text: also NumPy's numbers, Decimal, tensors of one value."""

Metrics: TypeAlias = "Mapping[str, Number] | Iterable[Metric]"
Features: TypeAlias = "Mapping[str, str] | Iterable[str | Feature]"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_READ_CHARACTERS = 10_000


def name_of(value: object, what: str) -> str:
    """Return a name in Unicode's normal form C; InvalidInput where it is no text that can be one."""
    if not isinstance(value, str):
        raise InvalidInput(f"{what} is {shown(value)}, not a text")
    if (problem := text_problem(value, _MAX_READ_CHARACTERS)) is not None:
        raise InvalidInput(f"{what} {problem}")
    return normalise(value)


def id_of(value: str | UUID) -> str:
    """Return an id as facts hold it."""
    return str(value).lower() if isinstance(value, UUID) else name_of(value, "the id")


def number_of(value: Number, what: str) -> float:
    """Return a number as a float, NaN and infinities too; InvalidInput for what is none."""
    if type(value) is float:
        return value
    if value is None or isinstance(value, str | bytes | bytearray | bool):
        raise InvalidInput(f"{what} is {shown(value)}, not a number")
    try:
        return float(value)  # type: ignore[arg-type] # whatever has no __float__ raises TypeError
    except (TypeError, ValueError):
        raise InvalidInput(f"{what} is {shown(value)}, not a number") from None
    except OverflowError:
        raise InvalidInput(f"{what} is beyond what a float holds") from None


def micros_of(moment: datetime, what: str) -> int:
    """Return a time as microseconds since 1970-01-01T00:00:00Z; InvalidInput where it has no time zone."""
    if not isinstance(moment, datetime):
        raise InvalidInput(f"{what} is {shown(moment)}, not a datetime")
    since = zoned(moment, what) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def zoned(moment: datetime, what: str) -> datetime:
    """Return a time that says its zone, unchanged; InvalidInput for one that does not."""
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise InvalidInput(
            f"{what} ({moment.isoformat()}) has no time zone: give one, such as tzinfo=datetime.UTC"
        )
    return moment


def parameters_of(parameters: Mapping[str, object]) -> tuple[Parameter, ...]:
    """Return parameters: a text as it is, a number with its text, all else (lists, None, true) as JSON."""
    return tuple(
        parameter_of(name_of(name, "a parameter's name"), value)
        for name, value in _items(parameters, "parameters")
    )


def parameter_of(name: str, value: object) -> Parameter:
    """Return one parameter."""
    match value:
        case str():
            return Parameter(name=name, text=str.__str__(value))
        case bool() | None | list() | tuple() | dict():
            return Parameter(name=name, text=_json(value, name))
        case int():
            return Parameter(
                name=name, text=str(int(value)), number=number_of(value, f"parameter {shown(name)}")
            )
        case float():
            return Parameter(name=name, text=repr(float(value)), number=float(value))
        case _:
            return _foreign_parameter(name, value)


def _foreign_parameter(name: str, value: object) -> Parameter:
    """Return a parameter from another library's number; NumPy's are told by what ``item`` gives."""
    item = getattr(value, "item", None)
    plain = value
    if callable(item):
        try:
            plain = item()
        except (TypeError, ValueError):  # an array of several values
            plain = value
    if isinstance(plain, str | bool | int | float):
        return parameter_of(name, plain)
    if plain is value and hasattr(value, "__float__"):
        return Parameter(name=name, text=str(value), number=number_of(value, f"parameter {shown(name)}"))
    raise InvalidInput(f"parameter {shown(name)} is {shown(value)}: give a text, a number or a list of them")


def _json(value: object, name: str) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=_plain)
    except (TypeError, ValueError, RecursionError):
        raise InvalidInput(
            f"parameter {shown(name)} holds what JSON has no word for: give a text, a number or a list of them"
        ) from None


def _plain(value: object) -> object:
    item = getattr(value, "item", None)
    if callable(item):
        return item()
    raise TypeError(type(value).__name__)


def metrics_of(metrics: Metrics) -> tuple[Metric, ...]:
    """Return metrics from values by name, or from metrics with slice, direction and unit."""
    if isinstance(metrics, Mapping):
        return tuple(
            Metric(
                name=normalise(name) if type(name) is str else name_of(name, "a metric's name"),
                value=value if type(value) is float else number_of(value, f"metric {shown(name)}"),
            )
            for name, value in metrics.items()
        )
    return tuple(
        _metric(metric) for metric in _listed(metrics, "metrics", "values by name, or Metric objects")
    )


def _metric(metric: object) -> Metric:
    if not isinstance(metric, Metric):
        raise InvalidInput(f"metrics holds {shown(metric)}: give values by name, or Metric objects")
    return metric_of(metric.name, metric.value, metric.slice, metric.direction, metric.unit)


def metric_of(
    name: str, value: Number, slice_: str = "", direction: str | None = None, unit: str = ""
) -> Metric:
    """Return one metric; ``direction``: lower, higher, or None."""
    return Metric(
        name=name_of(name, "a metric's name"),
        value=number_of(value, f"metric {shown(name)}"),
        slice=name_of(slice_, "a metric's slice"),
        direction=direction_of(direction),
        unit=name_of(unit, "a metric's unit"),
    )


def direction_of(direction: str | None) -> Direction:
    """Return a direction by its name; InvalidInput for another word."""
    if direction is None:
        return Direction.UNSPECIFIED
    if direction in list(Direction):
        return Direction(direction)
    raise InvalidInput(f"a metric's direction is {shown(direction)}: it is lower or higher better")


def tags_of(tags: Mapping[str, str]) -> tuple[Tag, ...]:
    """Return tags: texts by name."""
    return tuple(
        Tag(name=name_of(name, "a tag's name"), text=name_of(text, f"tag {shown(name)}"))
        for name, text in _items(tags, "tags")
    )


def features_of(features: Features) -> tuple[Feature, ...]:
    """Return features in order: names, dtypes by name, or features."""
    if isinstance(features, Mapping):
        return tuple(
            Feature(name=name_of(name, "a feature's name"), dtype=name_of(str(dtype), "a feature's dtype"))
            for name, dtype in features.items()
        )
    if isinstance(features, str | bytes) or not isinstance(features, Iterable):
        raise InvalidInput(
            f"features is {shown(features)}: give the names of the model's inputs, in their order"
        )
    return tuple(
        Feature(name=name_of(feature.name, "a feature's name"), dtype=feature.dtype)
        if isinstance(feature, Feature)
        else Feature(name=name_of(feature, "a feature's name"))
        for feature in _listed(features, "features", "the names of the model's inputs, in their order")
    )


def coefficients_of(coefficients: Mapping[str, Number]) -> tuple[Coefficient, ...]:
    """Return coefficients: values by name."""
    return tuple(
        Coefficient(
            name=name_of(name, "a coefficient's name"), value=number_of(value, f"coefficient {shown(name)}")
        )
        for name, value in _items(coefficients, "coefficients")
    )


def _items(given: object, what: str) -> Iterable[tuple[object, object]]:
    if not isinstance(given, Mapping):
        raise InvalidInput(f"{what} is {shown(given)}: give values by name")
    return cast("Mapping[object, object]", given).items()


def _listed(given: object, what: str, wanted: str) -> Iterable[object]:
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise InvalidInput(f"{what} is {shown(given)}: give {wanted}")
    return given
