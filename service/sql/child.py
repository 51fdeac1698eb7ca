"""One query's process: it opens the snapshot, gives everything else up, and only then reads the query.

Open before that, and all it has left: the snapshot, and the channel to the service. It answers once and ends.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
from typing import TYPE_CHECKING, Any, NoReturn

import duckdb
import pyarrow as pa

from deedbook.consumers.sandbox import kernel
from deedbook.events.errors import InvalidInput
from deedbook.projector.queries.question import SETTINGS, question
from deedbook.service.sql import frames, probes

if TYPE_CHECKING:
    from deedbook.consumers.sandbox.confinement import Confinement

_ROWS_AT_ONCE = 2_048
_MAX_SENTENCE_CHARACTERS = 1_000
# What programs can't make much of as Arrow has it, or Arrow has no way to say: sent as DuckDB's text.
_AS_TEXT = frozenset({"bit", "bignum", "varint", "union", "interval", "time with time zone"})


def run(
    confinement: Confinement, job: dict[str, Any], channel: socket.socket, snapshot: str, proc: int
) -> NoReturn:
    """Do the job and end the process.

    `snapshot`: the path of the file, as it is seen here. `proc`: the old /proc, to count this process's threads.
    """
    status = 70
    try:
        limits = job["limits"]
        connection = _opened(snapshot)
        position = _position(connection)
        _only_thread(proc)
        confinement.apply(limits["cpu_seconds"], limits["memory_bytes"], limits["processes"])
        with contextlib.suppress(OSError):
            kernel.die_with_parent(signal.SIGKILL)
        _settle(connection, limits, locked=job["kind"] != "probe")
        frames.send(channel, frames.READY, json.dumps({"position": position}).encode())
        _serve(connection, channel, job["kind"], limits)
        status = 0
    except (frames.Gone, BrokenPipeError):
        status = 0
    except BaseException as error:  # noqa: BLE001 - whatever it is, the service is told
        with contextlib.suppress(OSError):
            frames.send(
                channel, frames.FAILED, repr(error)[:_MAX_SENTENCE_CHARACTERS].encode("utf-8", "replace")
            )
    finally:
        os._exit(status)


def _opened(snapshot: str) -> duckdb.DuckDBPyConnection:
    # One thread until this process is confined: a thread begun before would not be.
    return duckdb.connect(snapshot, read_only=True, config={"threads": "1", "temp_directory": ""})


def _position(connection: duckdb.DuckDBPyConnection) -> int:
    """Return the registry position after the last one that the snapshot holds."""
    row = connection.execute(
        "select max(next_position) from base.progress where topic = 'registry'"
    ).fetchone()
    return int(row[0] or 0) if row else 0


def _only_thread(proc: int) -> None:
    if proc < 0:
        return
    descriptor = os.open("self/task", os.O_RDONLY | os.O_DIRECTORY, dir_fd=proc)
    count = len(os.listdir(descriptor))  # noqa: PTH208 - of an open folder, which has no path here
    os.close(descriptor)
    os.close(proc)
    if count != 1:
        raise RuntimeError(f"{count} threads run before the process is confined")


def _settle(connection: duckdb.DuckDBPyConnection, limits: dict[str, Any], *, locked: bool) -> None:
    for setting in (
        f"threads = {int(limits['threads'])}",
        f"memory_limit = '{int(limits['duckdb_memory_bytes'])}B'",
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "allow_community_extensions = false",
    ):
        connection.execute(f"set {setting}")
    for setting in SETTINGS if locked else SETTINGS[:-2]:
        connection.execute(f"set {setting}")


def _serve(
    connection: duckdb.DuckDBPyConnection, channel: socket.socket, kind: str, limits: dict[str, Any]
) -> None:
    """Wait for the one order there is, and answer it."""
    channel.settimeout(None)
    order = json.loads(_order(channel, limits["max_order_bytes"]))
    if kind != "query":
        worked = (
            probes.run(connection, order)
            if kind == "probe"
            else probes.asked(connection, order["statements"])
        )
        frames.send(channel, frames.PROBES, json.dumps(worked).encode())
        return
    try:
        _answer(connection, channel, order)
    except MemoryError:
        frames.send(channel, frames.MEMORY)
    except duckdb.OutOfMemoryException:
        frames.send(channel, frames.MEMORY)
    except InvalidInput as error:
        _refuse(channel, str(error))
    except (duckdb.Error, pa.ArrowException, ValueError, OverflowError, RuntimeError) as error:
        _refuse(channel, f"the query was refused: {_said(error)}")


def _order(channel: socket.socket, max_bytes: int) -> bytes:
    return frames.receive(channel, float("inf"), max_bytes)[1]


def _answer(connection: duckdb.DuckDBPyConnection, channel: socket.socket, order: dict[str, Any]) -> None:
    """Send columns, rows as an Arrow stream, and whether there were more of them."""
    asked = question(connection, order["query"])
    names, kinds = asked.columns, asked.types
    columns = [{"name": name, "type": str(kind)} for name, kind in zip(names, kinds, strict=True)]
    frames.send(channel, frames.COLUMNS, json.dumps(columns).encode())
    texts = [kind.id in _AS_TEXT for kind in kinds]
    if any(texts):
        asked = asked.project(", ".join(f"#{n}{'::varchar' * text}" for n, text in enumerate(texts, start=1)))
    reader = asked.limit(order["max_rows"] + 1).to_arrow_reader(_ROWS_AT_ONCE)
    schema = pa.schema([field.with_name(name) for field, name in zip(reader.schema, names, strict=True)])
    rows = taken = 0
    truncated = ""
    with pa.ipc.new_stream(_Pieces(channel), schema) as stream:
        for batch in reader:
            kept = batch.slice(0, order["max_rows"] - rows)
            truncated = "rows" if kept.num_rows < batch.num_rows else ""
            taken += kept.nbytes
            if taken > order["max_bytes"]:
                truncated = "bytes"
                break
            stream.write_batch(pa.RecordBatch.from_arrays(kept.columns, schema=schema))
            rows += kept.num_rows
            if truncated:
                break
    if truncated == "bytes" and rows == 0:
        raise InvalidInput(f"the first rows alone have more than {order['max_bytes']} bytes: ask for less")
    frames.send(channel, frames.END, json.dumps({"rows": rows, "truncated": bool(truncated)}).encode())


class _Pieces(io.RawIOBase):
    """What Arrow writes, sent in frames of a bounded size."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:  # noqa: ANN401 - any buffer
        view = memoryview(data).cast("B")
        for start in range(0, len(view), frames.MAX_PIECE_BYTES):
            frames.send(self._channel, frames.ARROW, bytes(view[start : start + frames.MAX_PIECE_BYTES]))
        return len(view)


def _refuse(channel: socket.socket, sentence: str) -> None:
    frames.send(
        channel, frames.REFUSED, sentence[:_MAX_SENTENCE_CHARACTERS].encode("utf-8", "backslashreplace")
    )


def _said(error: Exception) -> str:
    """Return what DuckDB has against a query, in one line, with where it stands."""
    text = str(error).partition("\n\nLINE ")[0].split("\n\nStack")[0]
    return " ".join(text.split())
