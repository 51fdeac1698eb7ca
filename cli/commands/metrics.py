"""`deedbook metrics`: one metric over time, by the value of a parameter."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deedbook.cli.asking import Questions, asked
from deedbook.cli.documents import print_document
from deedbook.cli.moments import moment
from deedbook.cli.numbers import short_number
from deedbook.cli.options import AsJson, Since, Until, settings_of
from deedbook.cli.plain_text import plain
from deedbook.cli.sparkline import sparkline
from deedbook.cli.tables import Column, note, print_table, say
from deedbook.events.errors import NotFound

if TYPE_CHECKING:
    from deedbook.projector.queries import MetricSeries, SeriesPoint

_SPARK_WIDTH = 16
_NO_VALUE = "(none)"


def metrics(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(help="The model's name.")],
    metric: Annotated[str, typer.Argument(help="The metric's name; mse[north] is its slice north.")],
    *,
    by: Annotated[
        str | None, typer.Option(help="Tell trainings apart by this parameter's value.", metavar="PARAMETER")
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option(help="Draw the chart into this file as well.", metavar="FILE", dir_okay=False),
    ] = None,
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
) -> None:
    """Show a metric over time by the value of a parameter."""
    from deedbook.client.searching import series_of

    after = moment(since, "--since") if since else None
    before = moment(until, "--until") if until else None
    wanted = series_of(model=model, metric=metric, by=by, created=(after, before), deployable=None)
    with asked(settings_of(ctx)) as registry, registry.asking() as questions:
        series = questions.metric_series(wanted)
        if not len(series):
            raise NotFound(_nothing(questions, model, metric))
    if png is not None:
        _draw(series, png)
        note(f"The chart is in {png}.")
    if as_json:
        print_document(_document(series))
    else:
        _print(series)


def _nothing(questions: Questions, model: str, metric: str) -> str:
    """Return the sentence for a series without points: no such model, no such metric, or none in that time."""
    names = questions.metric_names(model)
    if names is None:
        return f"there is no training of a model {plain(model, 80)!r}"
    if not names:
        return f"no training of {plain(model, 80)} has a metric"
    shown = ", ".join(plain(name, 40) for name in names)
    return f"no training of {plain(model, 80)} has {plain(metric, 80)!r} in that time; its metrics: {shown}"


def _document(series: MetricSeries) -> dict[str, object]:
    return {
        "model": series.model,
        "metric": series.metric.name,
        "slice": series.metric.slice,
        "by": series.by,
        "direction": series.direction,
        "unit": series.unit,
        "series": [
            {"value": value, "points": [point._asdict() for point in points]}
            for value, points in series.lines().items()
        ],
    }


def _print(series: MetricSeries) -> None:
    unit = f", in {plain(series.unit, 40)}" if series.unit else ""
    better = {"lower": ", lower is better", "higher": ", higher is better"}.get(series.direction, "")
    by = f" by {plain(series.by, 40)}" if series.by else ""
    say(f"{plain(series.metric, 60)} of {plain(series.model, 60)}{by}{unit}{better}", style="bold")
    columns = [
        Column(series.by or "trainings"),
        Column("over time", whole=True),
        Column("n", whole=True, align="right", narrow="drop"),
        *(Column(name, whole=True, align="right") for name in ("first", "last")),
        *(Column(name, whole=True, align="right", narrow="drop") for name in ("min", "max")),
        Column("change", whole=True, align="right"),
    ]
    print_table(columns, (_row(_name(series, value), points) for value, points in series.lines().items()))


def _row(value: str, points: tuple[SeriesPoint, ...]) -> list[object]:
    values = [point.value for point in points]
    known = [v for v in values if v == v]  # noqa: PLR0124 - NaN is what differs from itself
    low, high = (min(known), max(known)) if known else (float("nan"), float("nan"))
    return [
        value,
        sparkline(values, _SPARK_WIDTH),
        len(values),
        *(short_number(v) for v in (values[0], values[-1], low, high)),
        _change(values[0], values[-1]),
    ]


def _name(series: MetricSeries, value: str | None) -> str:
    """Return what a line is called: the parameter's value, or that there is none, or no parameter."""
    if series.by is None:
        return "all"
    return _NO_VALUE if value is None else value


def _change(first: float, last: float) -> str:
    """Return how much the last value differs from the first, in parts of the first."""
    if not (isfinite(first) and isfinite(last)) or first == 0:
        return ""
    return f"{(last / abs(first) - first / abs(first)):+,.1%}"


def _draw(series: MetricSeries, file: Path) -> None:
    from deedbook.cli.chart import Point, chart_spec, write_png

    points = [
        Point(_name(series, value), point.created_at, point.value)
        for value, line in series.lines().items()
        for point in line
    ]
    by = f" by {series.by}" if series.by else ""
    title = f"{series.metric} of {series.model}{by}"
    write_png(
        chart_spec(points, title=title, metric=str(series.metric), parameter=series.by or "trainings"), file
    )
