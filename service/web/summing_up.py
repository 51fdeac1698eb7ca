"""A chart's points for those who read them: what each line comes to, and the points themselves, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pyarrow as pa

_START: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineSummary:
    """A line of a chart: how many points, the first and the last, the least and the most; NaN counts for neither."""

    series: str | None
    points: int
    first: float
    last: float
    least: float | None
    most: float | None
    failed: int


def summaries_of(table: pa.Table) -> tuple[LineSummary, ...]:
    """Return what each line comes to, in the lines' order."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = table.column("value")
    finite = pc.if_else(pc.is_finite(values), values, pa.scalar(None, pa.float64()))
    failed = pc.cast(pc.equal(table.column("outcome"), "failed"), pa.int64())
    grouped = (
        table.select(["series", "value"])
        .append_column("finite", finite)
        .append_column("failed", failed)
        .group_by("series", use_threads=False)
        .aggregate(
            [
                ("value", "count"),
                ("value", "first"),
                ("value", "last"),
                ("finite", "min"),
                ("finite", "max"),
                ("failed", "sum"),
            ]
        )
    )
    return tuple(
        LineSummary(
            series=row["series"],
            points=row["value_count"],
            first=row["value_first"],
            last=row["value_last"],
            least=row["finite_min"],
            most=row["finite_max"],
            failed=row["failed_sum"] or 0,
        )
        for row in grouped.to_pylist()
    )


def points_of(table: pa.Table, start: int, length: int) -> list[dict[str, Any]]:
    """Return some rows of a chart's table, their times as times."""
    rows: list[dict[str, Any]] = table.slice(start, length).to_pylist()
    return [row | {"created_at": _START + timedelta(microseconds=row["created_at"])} for row in rows]
