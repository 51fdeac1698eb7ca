"""Calls that carry files: stored whole and under their digest, or not at all; sent verified."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from deedbook.api.v1 import registry_pb2 as pb
from deedbook.artifacts.store import checked_digest, compare_digests
from deedbook.events.errors import DeadlineExceeded, InvalidInput, StorageFull
from deedbook.events.names import sha256_problem
from deedbook.service.rpc.fields import given, name_given
from deedbook.service.rpc.limits import CHUNK_BYTES
from deedbook.service.rpc.reading import readable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from deedbook.service.rpc.calls import Call
    from deedbook.service.rpc.sinks import Sink

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


async def upload_artifact(
    call: Call, requests: AsyncIterator[pb.UploadArtifactRequest]
) -> pb.UploadArtifactResponse:
    """Store a file: beside the store until all of it is there, then under its digest."""
    limits = call.service.settings.limits
    first = await _next(requests, limits.stalled_seconds)
    if first is None or first.WhichOneof("part") != "head":
        raise InvalidInput("the first message of an upload says what will come: its head")
    head = first.head
    most_bytes = limits.artifact_bytes
    if head.sha256 and (problem := sha256_problem(head.sha256)) is not None:
        raise InvalidInput(f"head.sha256 {problem}")
    file_format = name_given(head.format, "head.format") if head.format else ""
    announced = given(head, "size_bytes")
    if announced is not None and not 0 <= announced <= most_bytes:
        raise InvalidInput(_too_large(announced, most_bytes))
    upload = await call.means.with_files(lambda: _Upload(call.means.uploads))
    try:
        while (message := await _next(requests, limits.stalled_seconds)) is not None:
            chunk = _chunk(message)
            if upload.size_bytes + len(chunk) > most_bytes:
                raise InvalidInput(_too_large(upload.size_bytes + len(chunk), most_bytes))
            await call.means.with_files(lambda chunk=chunk: upload.take(chunk))  # type: ignore[misc]  # a lambda's default
        upload.check(head.sha256, announced)
        stored = await call.means.with_files(lambda: call.service.artifacts.put(upload.finished()))
    finally:
        await asyncio.shield(call.means.with_files(upload.close))
    artifact = pb.Artifact(
        uri=stored.uri, sha256=stored.sha256, size_bytes=stored.size_bytes, format=file_format
    )
    return pb.UploadArtifactResponse(artifact=artifact)


def _chunk(message: pb.UploadArtifactRequest) -> bytes:
    if message.WhichOneof("part") != "chunk":
        raise InvalidInput("after the head of an upload come its bytes, and no other head")
    if len(message.chunk) > CHUNK_BYTES:
        raise InvalidInput(f"a chunk has {len(message.chunk):,} bytes, over the limit of {CHUNK_BYTES:,}")
    return message.chunk


def _too_large(size_bytes: int, most_bytes: int) -> str:
    return f"the file has {size_bytes:,} bytes or more: this service stores up to {most_bytes:,}"


async def _next(
    requests: AsyncIterator[pb.UploadArtifactRequest], seconds: float
) -> pb.UploadArtifactRequest | None:
    """Return the next message, None at the end. Raises DeadlineExceeded where none comes for too long."""
    try:
        async with asyncio.timeout(seconds):
            return readable(await anext(requests, None))  # type: ignore[no-any-return]  # one of the requests
    except TimeoutError:
        raise DeadlineExceeded(f"nothing of the upload came for {seconds:g} s; nothing was stored") from None


class _Upload:
    """A file on its way into the store; in a thread for files, all of it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # Its name goes when it is closed; after a kill, with the next start.
        self._file: IO[bytes] = tempfile.NamedTemporaryFile(dir=folder)  # noqa: SIM115 - closed by whoever made it
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def take(self, chunk: bytes) -> None:
        """Take the next bytes. Raises StorageFull."""
        try:
            self._file.write(chunk)
        except OSError as error:
            if error.errno in _FULL:
                raise StorageFull("no room is left for an upload; nothing was stored") from error
            raise
        self._digest.update(chunk)
        self.size_bytes += len(chunk)

    def check(self, sha256: str, announced: int | None) -> None:
        """Refuse other bytes than were announced. Raises InvalidInput."""
        if announced is not None and self.size_bytes != announced:
            raise InvalidInput(f"{self.size_bytes:,} bytes came instead of {announced:,}; nothing was stored")
        if sha256 and self._digest.hexdigest() != sha256:
            raise InvalidInput(
                f"the bytes have the SHA-256 {self._digest.hexdigest()}, not {sha256}; nothing was stored"
            )

    def finished(self) -> Path:
        """Return where all the bytes are."""
        self._file.flush()
        return Path(self._file.name)

    def close(self) -> None:
        """Remove the file."""
        self._file.close()


async def download_artifact(call: Call, request: pb.DownloadArtifactRequest, sink: Sink) -> None:
    """Stream a stored file; where its bytes change on the way, the stream ends as damaged."""
    sha256 = checked_digest(request.sha256)
    file = await call.means.with_files(lambda: call.service.artifacts.path(sha256).open("rb"))
    try:
        head = pb.DownloadHead(size_bytes=os.fstat(file.fileno()).st_size, sha256=sha256)
        await sink.send(pb.DownloadArtifactResponse(head=head))
        digest = hashlib.sha256()

        def read() -> bytes:
            chunk = file.read(CHUNK_BYTES)
            digest.update(chunk)
            return chunk

        while chunk := await call.means.with_files(read):
            await sink.send(pb.DownloadArtifactResponse(chunk=chunk))
        compare_digests(sha256, digest.hexdigest())
    finally:
        await asyncio.shield(call.means.with_files(file.close))
