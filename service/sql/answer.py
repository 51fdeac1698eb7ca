"""What a query comes to: columns, rows as Arrow, and of what state of the registry."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import pyarrow as pa

from deedbook.service.sql.frames import Malformed

# <Message.fbs> of Arrow's format: where a message's header and a record batch's compression are in their tables.
_HEADER_FIELD, _COMPRESSION_FIELD = 2, 3


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, which may stand twice in an answer, and its type as DuckDB calls it.

    BIT, BIGNUM, UNION, INTERVAL and TIME WITH TIME ZONE come as text.
    """

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A query's answer.

    `arrow` is an Arrow IPC stream of `rows` rows; `truncated`: there were more rows, or more bytes, than were
    asked for. `position`: the registry position after the last one that the snapshot holds.
    `seconds`: how long the query itself took, without waiting for its turn.
    """

    columns: tuple[Column, ...]
    arrow: bytes
    rows: int
    truncated: bool
    position: int
    seconds: float

    def table(self) -> pa.Table:
        """Return the rows as a table, looked through first: the bytes were written by a process nobody vouches for.

        Raises Malformed.
        """
        try:
            _refuse_compression(self.arrow)
            table = pa.ipc.open_stream(self.arrow).read_all()
            table.validate(full=True)
        except (pa.ArrowException, OSError, ValueError, struct.error) as error:
            raise Malformed(f"the answer is no proper Arrow stream: {error}") from error
        if table.num_rows != self.rows or table.num_columns != len(self.columns):
            raise Malformed("the answer has other rows or columns than it said")
        return table


def _refuse_compression(stream: bytes) -> None:
    """Raise Malformed if a batch says it is compressed: a few bytes could be told to become very many."""
    messages = pa.ipc.MessageReader.open_stream(stream)
    while True:
        try:
            message = messages.read_next_message()
        except StopIteration:
            return
        if message.type == "record batch":
            metadata = message.metadata.to_pybytes()
            header = _table(metadata, 0, _HEADER_FIELD)
            if header and _field(metadata, header, _COMPRESSION_FIELD):
                raise Malformed("the answer's batches are compressed")


def _table(data: bytes, start: int, field: int) -> int:
    """Return where the table is that a field of the root table refers to; 0 if it has none."""
    (root,) = struct.unpack_from("<I", data, start)
    at = _field(data, root, field)
    return at + int(struct.unpack_from("<I", data, at)[0]) if at else 0


def _field(data: bytes, table: int, number: int) -> int:
    """Return where a table's field stands; 0 if it is absent."""
    (back,) = struct.unpack_from("<i", data, table)
    (size,) = struct.unpack_from("<H", data, table - back)
    entry = 4 + 2 * number
    if entry + 2 > size:
        return 0
    (offset,) = struct.unpack_from("<H", data, table - back + entry)
    return table + int(offset) if offset else 0
