"""A metric over time, by the value of a parameter: the data behind the chart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from deedbook.projector.queries.asking import ask_one, in_utc, micros
from deedbook.projector.queries.filters import MetricName

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb
    import pyarrow as pa


class SeriesPoint(NamedTuple):
    """One training's value of the metric."""

    created_at: datetime
    value: float
    training_id: str
    version: int


@dataclass(frozen=True, slots=True)
class MetricSeries:
    """One metric of one model over time, every training of it, nothing sampled.

    ``direction``: lower, higher or unspecified. ``by``: the parameter it is told apart by, or None.
    ``table``: Arrow, with the columns ``series`` (the parameter's value; null where a training has none),
    ``created_at`` (UTC), ``value``, ``training_id``, ``version``, ordered by series and time.
    """

    model: str
    metric: MetricName
    by: str | None
    direction: str
    unit: str
    table: pa.Table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def lines(self) -> Mapping[str | None, tuple[SeriesPoint, ...]]:
        """Return the points of each value of the parameter, oldest first."""
        columns: list[list[Any]] = [self.table.column(name).to_pylist() for name in self.table.column_names]
        rows = zip(*columns, strict=True)
        return {
            series: tuple(SeriesPoint(in_utc(time), *rest) for _, time, *rest in group)
            for series, group in groupby(rows, key=lambda row: row[0])
        }


def metric_series(
    connection: duckdb.DuckDBPyConnection,
    model: str,
    metric: MetricName,
    *,
    by: str | None = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    deployable: bool | None = None,
) -> MetricSeries:
    """Return a metric of a model's trainings over time, told apart by a parameter's value.

    No such model, metric or parameter is an empty or undivided series, not an error.
    """
    conditions = ["t.model = ?"]
    arguments: list[object] = [by, metric.name, metric.slice, model]
    if created_after is not None:
        conditions.append("t.created_at >= ?")
        arguments.append(micros(created_after))
    if created_before is not None:
        conditions.append("t.created_at < ?")
        arguments.append(micros(created_before))
    if deployable is not None:
        conditions.append(
            "t.key in (select training_key from base.standing where to_position is null and deployable = ?)"
        )
        arguments.append(deployable)
    table = connection.execute(
        "with p as (select training_key, text from base.parameter where name = ?), "
        "m as (select training_key, value from base.metric "
        "where name_key = (select term_key from base.term where term = ?) "
        "and slice_key = (select term_key from base.term where term = ?)) "
        "select p.text as series, make_timestamp(t.created_at) as created_at, m.value, t.training_id, t.version "
        "from m join base.training t on t.key = m.training_key left join p on p.training_key = t.key "
        f"where {' and '.join(conditions)} order by series nulls last, t.created_at, t.key",
        arguments,
    ).to_arrow_table()
    defined = ask_one(
        connection,
        "select direction, unit from main.metric_definitions where model = ? and name = ?",
        [model, metric.name],
    )
    direction, unit = ("unspecified", "") if defined is None else (defined["direction"], defined["unit"])
    return MetricSeries(model, metric, by, direction, unit, table)
