"""A metric over time as a picture: a Vega-Lite chart, drawn without a network and without leaving points out."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deedbook.cli.plain_text import plain
from deedbook.events.errors import InvalidInput, MissingExtra, StorageFull

if TYPE_CHECKING:
    from datetime import datetime

_WIDTH_PIXELS = 900
_HEIGHT_PIXELS = 420
_SCALE = 2.0
_MAX_NAME_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a metric: which line it is on, when its training was made, and how big it is."""

    series: str
    time: datetime
    value: float


def chart_spec(points: Sequence[Point], *, title: str, metric: str, parameter: str) -> dict[str, Any]:
    """Return the Vega-Lite spec of one line for each series.

    The fields have fixed names; what users called things is in the data and the titles only. A value
    that is not finite has no place on an axis: it is a gap in its line.
    """
    try:
        import altair as alt
    except ModuleNotFoundError as error:
        raise MissingExtra("a picture needs Altair: pip install 'deedbook[server]'") from error

    # Handed over as values, not as a data frame: Altair's row limit doesn't apply to them.
    values: list[dict[str, object]] = [
        {
            "series": _name(point.series),
            "time": point.time.isoformat(),
            "value": point.value if isfinite(point.value) else None,
        }
        for point in points
    ]
    lines = alt.Chart(_inline(values)).mark_line(
        point=alt.OverlayMarkDef(size=18), strokeWidth=1.5, strokeJoin="round"
    )
    chart = lines.encode(
        x=alt.X(field="time", type="temporal", scale=alt.Scale(type="utc"), title="training created (UTC)"),
        y=alt.Y(field="value", type="quantitative", scale=alt.Scale(zero=False), title=_name(metric)),
        color=alt.Color(
            field="series",
            type="nominal",
            legend=alt.Legend(title=_name(parameter), symbolLimit=0, labelLimit=300),
        ),
    )
    spec: dict[str, Any] = chart.properties(
        width=_WIDTH_PIXELS, height=_HEIGHT_PIXELS, title=_name(title)
    ).to_dict()
    return spec


def write_png(spec: dict[str, Any], file: Path) -> None:
    """Draw a spec into a file, whole or not at all. Raises InvalidInput, StorageFull, MissingExtra."""
    try:
        import vl_convert
    except ModuleNotFoundError as error:
        raise MissingExtra("a picture needs vl-convert: pip install 'deedbook[server]'") from error

    version = spec["$schema"].rpartition("/v")[2].removesuffix(".json")
    png: bytes = vl_convert.vegalite_to_png(
        spec, vl_version=".".join(version.split(".")[:2]), scale=_SCALE, allowed_base_urls=[]
    )
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        draft.write_bytes(png)
        draft.replace(file)
    except OSError as error:
        draft.unlink(missing_ok=True)
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StorageFull(f"no room left for {plain(file, 200)}") from error
        raise InvalidInput(f"cannot write {plain(file, 200)}: {error.strerror}") from error


def _inline(values: list[dict[str, object]]) -> Any:  # noqa: ANN401 - Altair's own type
    import altair as alt

    return alt.InlineData(values=values)


def _name(text: str) -> str:
    return plain(text, _MAX_NAME_CHARACTERS)
