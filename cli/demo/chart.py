"""The chart: the error of every retrain over time, one line for each city."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from deedbook.cli.chart import Point, chart_spec, write_png
from deedbook.cli.demo.models import MODEL
from deedbook.cli.demo.stage import chapter, tell
from deedbook.cli.numbers import short_number
from deedbook.cli.sparkline import sparkline
from deedbook.cli.tables import Column, print_table

if TYPE_CHECKING:
    from deedbook.cli.demo.scene import Scene

_WIDTH: Final = 25


def chart(scene: Scene) -> None:
    """Draw the mean squared error by city, in the terminal and as a picture."""
    from deedbook.projector.queries import MetricName, metric_series

    chapter("5. The chart that everybody looks at: MSE over time, by city")
    with scene.registry.reading() as connection:
        series = metric_series(connection, MODEL, MetricName.parse("mse"), by="city")
    lines = {str(city): points for city, points in series.lines().items()}
    columns = [
        Column("city"),
        Column("over time", whole=True),
        Column("first", align="right"),
        Column("last", align="right"),
    ]
    rows = []
    for city, points in lines.items():
        values = [point.value for point in points]
        rows.append((city, sparkline(values, _WIDTH), short_number(values[0]), short_number(values[-1])))
    print_table(columns, rows)
    drawn = [Point(city, point.created_at, point.value) for city, line in lines.items() for point in line]
    write_png(
        chart_spec(drawn, title=f"mse of {MODEL} by city", metric="mse", parameter="city"),
        scene.folder.chart,
    )
    tell(f"The same as a picture: {scene.folder.chart}")
