"""Tables as files: CSV that no spreadsheet takes for formulas, and Parquet; both as a stream of pieces."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from starlette.responses import StreamingResponse

if TYPE_CHECKING:
    import pyarrow as pa

CSV: Final = "text/csv; charset=utf-8"
PARQUET: Final = "application/vnd.apache.parquet"
# What a spreadsheet may take for a formula, unless it is a number; a quote before it makes it a text.
_FORMULA: Final = r"^[\s\x00]*[=+\-@\t\r|%]"
_NUMBER: Final = r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"


def download(pieces: Iterable[pa.Table], name: str, kind: str) -> StreamingResponse:
    """Return tables of one schema, at least one, as a file to keep; `kind` is CSV or PARQUET.

    The first piece is made at once, so that what can't be answered is an error and no broken file.
    """
    iterator = iter(pieces)
    first = next(iterator)

    def all_pieces() -> Iterator[pa.Table]:
        yield first
        yield from iterator

    body = csv_chunks(all_pieces()) if kind == CSV else parquet_chunks(all_pieces())
    suffix = "csv" if kind == CSV else "parquet"
    return StreamingResponse(
        body,
        media_type=kind,
        headers={
            "content-disposition": f'attachment; filename="{name}.{suffix}"',
            "cache-control": "no-store",
        },
    )


def csv_chunks(pieces: Iterable[pa.Table]) -> Iterator[bytes]:
    """Yield tables as the parts of one CSV file, its header first; times in ISO 8601, UTC."""
    from pyarrow import csv

    for number, table in enumerate(pieces):
        out = io.BytesIO()
        options = csv.WriteOptions(include_header=number == 0)
        csv.write_csv(_plain(table), out, options)
        yield out.getvalue()


def parquet_chunks(pieces: Iterable[pa.Table]) -> Iterator[bytes]:
    """Yield tables as the parts of one Parquet file, each a row group."""
    from pyarrow import parquet

    out = _Drained()
    writer: parquet.ParquetWriter | None = None
    for table in pieces:
        if writer is None:
            writer = parquet.ParquetWriter(out, table.schema, compression="zstd")
        writer.write_table(table.cast(writer.schema))
        yield out.drained()
    if writer is not None:
        writer.close()
        yield out.drained()


class _Drained(io.RawIOBase):
    """A file that keeps nothing: what was written since is taken away piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self._written: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        """Say that this can be written to."""
        return True

    def tell(self) -> int:
        """Return how much was written in all."""
        return self._position

    def write(self, data: bytes) -> int:  # type: ignore[override] # whatever has a buffer, Arrow's own included
        """Take a part."""
        part = bytes(data)
        self._written.append(part)
        self._position += len(part)
        return len(part)

    def drained(self) -> bytes:
        """Return what was written since this was last asked."""
        parts, self._written = self._written, []
        return b"".join(parts)


def _plain(table: pa.Table) -> pa.Table:
    """Return a table whose texts are safe in a spreadsheet, and whose times are texts; numbers stay numbers."""
    import pyarrow as pa

    columns = []
    for column, field in zip(table.columns, table.schema, strict=True):
        kept = column
        if pa.types.is_timestamp(field.type):
            kept = _times(column)
        elif not _is_plain(field.type):
            kept = _neutral(pa.chunked_array([[_text(one) for one in column.to_pylist()]], pa.string()))
        elif pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            kept = _neutral(column)
        columns.append(kept)
    return pa.table(columns, names=[neutral_text(name) for name in table.column_names])


def _is_plain(type_: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_integer(type_)
        or pa.types.is_floating(type_)
        or pa.types.is_boolean(type_)
        or pa.types.is_string(type_)
        or pa.types.is_large_string(type_)
        or pa.types.is_null(type_)
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _times(column: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    # Cast to microseconds first: `strftime` writes the fraction that the type has.
    return pc.strftime(column.cast(pa.timestamp("us")), format="%Y-%m-%dT%H:%M:%SZ")


def _neutral(column: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    risky = pc.and_not(
        pc.match_substring_regex(column, _FORMULA),
        pc.match_substring_regex(column, _NUMBER),
    )
    if not pc.any(risky, min_count=0).as_py():
        return column
    return pc.if_else(risky, pc.binary_join_element_wise(pa.scalar("'"), column, ""), column)


def neutral_text(text: str) -> str:
    """Return a text as it may stand in a cell of a spreadsheet."""
    import re

    risky = re.match(_FORMULA, text) and not re.match(_NUMBER, text)
    return f"'{text}" if risky else text
