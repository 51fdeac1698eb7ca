"""An answer to anybody's query as a page shows it: every value as one text, numbers apart from words."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import pyarrow as pa

if TYPE_CHECKING:
    from deedbook.service.sql import Column

MAX_CHARACTERS: Final = 500
_MAX_BYTES: Final = 64
# What a column of this name leads to, where its values are ids.
_LEADS_TO: Final = {"training_id": "/trainings/", "deployment_id": "/deployments/"}


@dataclass(frozen=True, slots=True)
class Cell:
    """A value's text, None for null; `whole` only where it was cut, `href` only where it leads anywhere."""

    text: str | None
    cut: bool = False
    href: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the table on the page holds: the columns, which of them are numbers, and the rows."""

    columns: Sequence[Column]
    numbers: tuple[bool, ...]
    rows: list[tuple[Cell, ...]]


def shown(table: pa.Table, columns: Sequence[Column], max_rows: int) -> Shown:
    """Return the first rows of an answer."""
    part = table.slice(0, max_rows)
    numbers = tuple(is_number(column.type) for column in part.columns)
    cells = [
        [_cell(value, _LEADS_TO.get(column.name, "")) for value in values(part.column(place))]
        for place, column in enumerate(columns)
    ]
    return Shown(columns, numbers, list(zip(*cells, strict=True)))


def is_number(kind: pa.DataType) -> bool:
    """Say whether a column holds numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def is_moment(kind: pa.DataType) -> bool:
    """Say whether a column holds times or dates."""
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def values(column: pa.ChunkedArray) -> list[Any]:
    """Return a column's values; a time that Python has no way to write comes as a text."""
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError, pa.ArrowException):
        return [_one(value) for value in column]


def _one(scalar: pa.Scalar) -> Any:  # noqa: ANN401 - any value
    try:
        return scalar.as_py()
    except (ValueError, OverflowError, pa.ArrowException):
        return _beyond(scalar)


def _beyond(scalar: pa.Scalar) -> str:
    largest = 2**63 - 1
    raw = getattr(scalar, "value", None)
    if raw in {largest, -largest}:
        return "infinity" if raw == largest else "-infinity"
    return "a time beyond the year 9999" if raw is None or raw > 0 else "a time before the year 1"


def _cell(value: object, leads_to: str) -> Cell:
    if value is None:
        return Cell(None)
    text = text_of(value)
    cut = len(text) > MAX_CHARACTERS
    href = leads_to + text if leads_to and _is_id(text) else ""
    return Cell(text[:MAX_CHARACTERS] + "…" if cut else text, cut, href)


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def text_of(value: object) -> str:
    """Return any value but null as one text; what is nested as JSON."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case float():
            return _float(value)
        case int() | Decimal():
            return str(value)
        case bytes():
            return f"\\x{value[:_MAX_BYTES].hex()}{'…' if len(value) > _MAX_BYTES else ''}"
        case datetime():
            return value.isoformat(" ").replace("+00:00", "Z")
        case _:
            return json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: object) -> Any:  # noqa: ANN401 - what JSON holds
    match value:
        case dict():
            return {str(name): _plain(one) for name, one in value.items()}
        case list() | tuple() if value and all(isinstance(one, tuple) and len(one) == 2 for one in value):
            return {text_of(name): _plain(one) for name, one in value}  # a MAP
        case list() | tuple():
            return [_plain(one) for one in value]
        case bool() | int() | str() | None:
            return value
        case float():
            return value if math.isfinite(value) else _float(value)
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case date() | time() | timedelta():
            return str(value)
        case _:
            return text_of(value) if isinstance(value, bytes) else str(value)


def _float(value: float) -> str:
    return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(
        text := repr(value), text.removesuffix(".0")
    )
