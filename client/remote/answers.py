"""Answers that come as columns: a metric over time, and the rows of a query."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from deedbook.api.v1 import registry_pb2 as pb
from deedbook.events.errors import DeedbookError, InvalidInput, MissingExtra
from deedbook.projector.queries import MetricSeries, Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pyarrow as pa

    from deedbook.client.searching import SeriesWanted

_DIRECTIONS = {pb.DIRECTION_LOWER: "lower", pb.DIRECTION_HIGHER: "higher"}


def _arrow() -> Any:  # noqa: ANN401 (a module without types)
    """Return Arrow, which columns are read with; raises MissingExtra."""
    try:
        import pyarrow as pa
        import pyarrow.ipc
    except ImportError as error:
        raise MissingExtra(
            "a metric over time and the rows of a query need pyarrow: pip install pyarrow"
        ) from error
    return pa


def series_of(wanted: SeriesWanted, parts: Iterable[pb.GetMetricSeriesResponse]) -> MetricSeries:
    """Return a series from the parts it comes in; its table is as `MetricSeries` describes it."""
    arrow = _arrow()
    schema = arrow.schema(
        [
            ("series", arrow.string()),
            ("created_at", arrow.timestamp("us")),
            ("value", arrow.float64()),
            ("training_id", arrow.string()),
            ("version", arrow.int64()),
        ]
    )
    batches = []
    direction, unit = "unspecified", ""
    for part in parts:
        direction, unit = _DIRECTIONS.get(part.direction, direction), part.unit or unit
        names = [*part.series_names, None]  # -1 is the last of them
        columns = [
            arrow.array([names[number] for number in part.series], arrow.string()),
            arrow.array(part.created_at_micros, arrow.timestamp("us")),
            arrow.array(part.values, arrow.float64()),
            arrow.array(part.training_ids, arrow.string()),
            arrow.array(part.versions, arrow.int64()),
        ]
        batches.append(arrow.record_batch(columns, schema=schema))
    table = arrow.Table.from_batches(batches, schema=schema)
    return MetricSeries(wanted.model, wanted.metric, wanted.by, direction, unit, table)


def table_of(parts: Iterable[pb.QueryResponse]) -> pa.Table:
    """Return the table of an Arrow stream that comes in parts; raises InvalidInput where some rows are missing."""
    arrow = _arrow()
    stream = io.BytesIO()
    truncated = False
    for part in parts:
        stream.write(part.chunk)
        truncated = truncated or part.truncated
    if truncated:
        raise InvalidInput(
            "the answer has more rows than a service gives: ask for fewer, with a limit or an aggregate"
        )
    stream.seek(0)
    try:
        return arrow.ipc.open_stream(stream).read_all()
    except arrow.ArrowInvalid as error:
        raise DeedbookError(f"the answer of the service is no table: {error}") from error


def rows_of(table: pa.Table) -> Rows:
    """Return the rows of a table as DuckDB itself returns them, times in UTC; an interval is a text here."""
    columns = [_values(column) for column in table.columns]
    return Rows(tuple(table.column_names), tuple(zip(*columns, strict=True)))


def _values(column: pa.ChunkedArray) -> list[Any]:
    """Return a column's values as DuckDB itself returns them, times in UTC."""
    arrow = _arrow()
    kind = column.type
    if arrow.types.is_timestamp(kind) and kind.unit == "ns":
        column = column.cast(arrow.timestamp("us", kind.tz), safe=False)
    plain = _plain_maker(arrow, kind)
    values: list[Any] = column.to_pylist()
    return values if plain is None else [None if value is None else plain(value) for value in values]


def _plain_maker(arrow: Any, kind: Any) -> Callable[[Any], Any] | None:  # noqa: ANN401 (Arrow has no types)
    """Return what makes DuckDB's value of Arrow's, None where they are the same."""
    types = arrow.types
    if types.is_timestamp(kind):
        return _in_utc
    if types.is_decimal(kind) and kind.scale == 0:
        return int
    if types.is_map(kind):
        return _map_maker(arrow, kind)
    if types.is_struct(kind):
        makers = {field.name: _plain_maker(arrow, field.type) for field in kind}
        return lambda value: {name: _made(makers[name], one) for name, one in value.items()}
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        item = _plain_maker(arrow, kind.value_type)
        return None if item is None else lambda value: [_made(item, one) for one in value]
    return None


def _map_maker(arrow: Any, kind: Any) -> Callable[[Any], Any]:  # noqa: ANN401 (Arrow has no types)
    key, item = _plain_maker(arrow, kind.key_type), _plain_maker(arrow, kind.item_type)
    return lambda value: {_made(key, name): _made(item, one) for name, one in value}


def _made(maker: Callable[[Any], Any] | None, value: Any) -> Any:  # noqa: ANN401 (any value)
    return value if maker is None or value is None else maker(value)


def _in_utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
