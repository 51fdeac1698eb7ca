"""A chart of anybody's answer: a number over a time or another number, a line for each text of a third column."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from deedbook.service.web.cells import is_moment, is_number, values
from deedbook.service.web.charting import SCHEMA

if TYPE_CHECKING:
    from deedbook.service.sql import Column

MAX_SERIES: Final = 50
_HEIGHT: Final = 360
_COUNTING: Final = frozenset({"position", "version", "partition", "ordinal", "from_position", "to_position"})


@dataclass(frozen=True, slots=True)
class Axes:
    """The places of the columns that a chart is made of; `series` None: one line."""

    x: int
    y: int
    series: int | None


@dataclass(frozen=True, slots=True)
class Chartable:
    """The columns that may be chosen from, by their places, and what is chosen."""

    xs: tuple[int, ...]
    ys: tuple[int, ...]
    series: tuple[int, ...]
    axes: Axes


def chartable(table: pa.Table, x: int | None, y: int | None, series: int | None) -> Chartable | None:
    """Return what an answer can be charted by, and by which columns it is: those asked for, where they fit.

    `series` -1: by none. None where nothing fits: no rows, or no number to draw.
    """
    kinds = table.schema.types
    moments = [place for place, kind in enumerate(kinds) if is_moment(kind)]
    numbers = [place for place, kind in enumerate(kinds) if is_number(kind)]
    texts = [place for place in range(len(kinds)) if _tells_lines_apart(table, place)]
    xs = (*moments, *numbers)
    if table.num_rows < 2 or not numbers or len(xs) < 2:
        return None
    chosen_x = x if x in xs else xs[0]
    left = [place for place in numbers if place != chosen_x]
    if not left:
        return None
    chosen_series = series if series in texts else texts[0] if texts and series != -1 else None
    # What comes last is most often what was measured; but for what only counts rows.
    measured = [place for place in left if table.schema.names[place] not in _COUNTING] or left
    axes = Axes(chosen_x, y if y in left else measured[-1], chosen_series)
    return Chartable(xs, tuple(numbers), tuple(texts), axes)


def _tells_lines_apart(table: pa.Table, place: int) -> bool:
    kind = table.schema.types[place]
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)
    return bool(is_text and pc.count_distinct(_texts(table.column(place)), mode="all").as_py() <= MAX_SERIES)


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column


def chart_json(table: pa.Table, columns: Sequence[Column], axes: Axes) -> bytes:
    """Return the chart's spec and points as JSON; the fields have fixed names, what users called things is data.

    `names`: those of the lines, by their places. What is not finite is left out, and counted in `left_out`.
    """
    moment = is_moment(table.schema.types[axes.x])
    xs = [_number(value) for value in values(table.column(axes.x))]
    ys = [_number(value) for value in values(table.column(axes.y))]
    lines = values(_texts(table.column(axes.series))) if axes.series is not None else [""] * len(xs)
    names = list(dict.fromkeys(lines))
    places = {name: place for place, name in enumerate(names)}
    points = [
        {"x": x, "y": y, "series": places[line]}
        for x, y, line in zip(xs, ys, lines, strict=True)
        if x is not None and y is not None
    ]
    whole = {
        "spec": _spec(moment=moment, x=columns[axes.x].name, y=columns[axes.y].name),
        "names": ["no value" if name is None else str(name) for name in names],
        "points": points,
        "left_out": len(xs) - len(points),
    }
    return json.dumps(whole, separators=(",", ":"), allow_nan=False).encode()


def _number(value: Any) -> float | None:  # noqa: ANN401 - any value of a column
    match value:
        case datetime():
            aware = value if value.tzinfo else value.replace(tzinfo=UTC)
            return aware.timestamp() * 1000
        case date():
            return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp() * 1000
        case None | str():
            return None
        case _:
            number = float(value)
            return number if math.isfinite(number) else None


def _spec(*, moment: bool, x: str, y: str) -> dict[str, Any]:
    kind = (
        {"type": "temporal", "scale": {"type": "utc"}}
        if moment
        else {"type": "quantitative", "scale": {"zero": False}}
    )
    encoding = {
        "x": {"field": "x", "axis": {"title": x[:80], "labelOverlap": True}, **kind},
        "y": {"field": "y", "type": "quantitative", "scale": {"zero": False}, "axis": {"title": y[:80]}},
        "color": {"field": "colour", "type": "nominal", "scale": None, "legend": None},
        "detail": {"field": "series", "type": "nominal"},
    }
    return {
        "$schema": SCHEMA,
        "width": "container",
        "height": _HEIGHT,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "layer": [
            {
                "mark": {"type": "line", "strokeWidth": 1.5},
                "encoding": encoding
                | {"strokeDash": {"field": "dash", "type": "nominal", "scale": None, "legend": None}},
            },
            {"mark": {"type": "point", "filled": True, "size": 28}, "encoding": encoding},
        ],
    }
