"""Calls for analysts: a question in SQL, and the whole registry as a file."""

from __future__ import annotations

import hashlib
import os
from typing import IO, TYPE_CHECKING

import duckdb

from deedbook.api.v1 import registry_pb2 as pb
from deedbook.events.errors import InvalidInput
from deedbook.projector.queries.paging import registry_position
from deedbook.service.rpc.fields import given
from deedbook.service.rpc.limits import CHUNK_BYTES, DEFAULT_ROWS, MAX_ROWS

if TYPE_CHECKING:
    from pathlib import Path

    from deedbook.service.rpc.calls import Call
    from deedbook.service.rpc.sinks import Sink


async def query(call: Call, request: pb.QueryRequest, sink: Sink) -> None:
    """Answer one SQL statement over a snapshot, as an Arrow stream in chunks."""
    if not 0 <= request.max_rows <= MAX_ROWS:
        raise InvalidInput(f"max_rows is {request.max_rows:,}: an answer has up to {MAX_ROWS:,} rows")
    await call.reached(given(request, "min_position"))
    runner = call.service.sql
    async with call.means.answers:
        answer = await runner.run(
            request.sql,
            caller=call.actor,
            max_rows=request.max_rows or DEFAULT_ROWS,
            max_bytes=runner.limits.max_bytes,
            timeout_seconds=call.left(runner.limits.max_seconds),
            min_position=given(request, "min_position") or 0,
        )
        starts = range(0, max(1, len(answer.arrow)), CHUNK_BYTES)
        for start in starts:
            await sink.send(
                pb.QueryResponse(
                    position=answer.position - 1,
                    chunk=answer.arrow[start : start + CHUNK_BYTES],
                    truncated=answer.truncated and start == starts[-1],
                )
            )


async def download_snapshot(call: Call, request: pb.DownloadSnapshotRequest, sink: Sink) -> None:
    """Stream a snapshot that holds all that is folded now."""
    await call.reached(given(request, "min_position"))
    held = call.service.snapshots.held(timeout_seconds=call.left(60.0))
    async with call.means.entered(held) as path:
        file, head = await call.means.with_files(lambda: _opened(path))
        try:
            await sink.send(pb.DownloadSnapshotResponse(head=head))
            while chunk := await call.means.with_files(lambda: file.read(CHUNK_BYTES)):
                await sink.send(pb.DownloadSnapshotResponse(chunk=chunk))
        finally:
            await call.means.with_files(file.close)


def _opened(path: Path) -> tuple[IO[bytes], pb.SnapshotHead]:
    """Return a snapshot's file at its beginning, and what is said of it."""
    with duckdb.connect(str(path), read_only=True) as connection:
        position = registry_position(connection) - 1
    file = path.open("rb")
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0)
    head = pb.SnapshotHead(position=position, size_bytes=os.fstat(file.fileno()).st_size, sha256=sha256)
    return file, head
