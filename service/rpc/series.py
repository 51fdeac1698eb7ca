"""A metric over time as messages: columns, straight from Arrow, as many points to a message as one holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from deedbook.api.v1 import registry_pb2 as pb
from deedbook.events.facts import Direction
from deedbook.projector import queries
from deedbook.service.rpc.fields import given, moment_given, name_given, name_in
from deedbook.service.rpc.limits import FULL_PAGE_BYTES, POINTS_PER_MESSAGE
from deedbook.service.rpc.searches import metric_name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

    from deedbook.projector.queries import MetricSeries

_DIRECTIONS: Final = {
    Direction.UNSPECIFIED: pb.DIRECTION_UNSPECIFIED,
    Direction.LOWER: pb.DIRECTION_LOWER,
    Direction.HIGHER: pb.DIRECTION_HIGHER,
}


def series_messages(
    connection: duckdb.DuckDBPyConnection, request: pb.GetMetricSeriesRequest
) -> list[pb.GetMetricSeriesResponse]:
    """Return a series, every point of it; one message without points where it has none. Raises InvalidInput."""
    series = queries.metric_series(
        connection,
        name_given(request.model, "model"),
        metric_name_of(request.metric, "metric"),
        by=name_in(request, "by"),
        created_after=moment_given(request, "created_after"),
        created_before=moment_given(request, "created_before"),
        deployable=given(request, "deployable"),
    )
    return messages_of(series)


def messages_of(series: MetricSeries) -> list[pb.GetMetricSeriesResponse]:
    """Return all points of a series, as many to a message as one holds."""
    table = series.table
    parts = [table.slice(start, POINTS_PER_MESSAGE) for start in range(0, table.num_rows, POINTS_PER_MESSAGE)]
    return [message for part in parts or [table] for message in _messages(series, part)]


def _messages(series: MetricSeries, table: pa.Table) -> Iterator[pb.GetMetricSeriesResponse]:
    """Yield the points of a table in as few messages as hold them."""
    message = _message(series, table)
    if message.ByteSize() <= FULL_PAGE_BYTES or table.num_rows == 1:
        yield message
        return
    half = table.num_rows // 2
    yield from _messages(series, table.slice(0, half))
    yield from _messages(series, table.slice(half))


def _message(series: MetricSeries, table: pa.Table) -> pb.GetMetricSeriesResponse:
    coded = pc.dictionary_encode(table.column("series").combine_chunks())
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.combine_chunks()
    created_at = table.column("created_at").cast(pa.timestamp("us")).cast(pa.int64())
    return pb.GetMetricSeriesResponse(
        direction=_DIRECTIONS[Direction(series.direction)],
        unit=series.unit,
        series_names=coded.dictionary.to_pylist(),
        series=coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).tolist(),
        created_at_micros=created_at.to_numpy().tolist(),
        values=table.column("value").to_numpy().tolist(),
        training_ids=table.column("training_id").to_numpy().tolist(),
        versions=table.column("version").to_numpy().tolist(),
    )
