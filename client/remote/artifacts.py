"""The service's artifact store: what is put there and fetched comes in parts, and is verified on either side."""

from __future__ import annotations

import hashlib
import io
import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from deedbook.api.v1 import registry_pb2 as pb
from deedbook.artifacts.local_cache import make_room, used
from deedbook.artifacts.store import (
    LocalArtifactStore,
    Stored,
    checked_digest,
    compare_digests,
    no_progress,
)
from deedbook.client.remote.calling import transfer_seconds
from deedbook.events.errors import ArtifactDamaged, InvalidInput, NotFound

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from io import BufferedReader

    from deedbook.api.v1.registry_pb2_grpc import RegistryStub
    from deedbook.artifacts.store import Progress
    from deedbook.client.remote.calling import Service

_CHUNK_BYTES: Final = 1 << 20
_DIGEST_AT_END = re.compile(r"(?:^|[:/])([0-9a-f]{64})$")


class ServiceArtifactStore:
    """Artifacts behind a service. Safe to use from several threads.

    ``cache``: the folder for local copies, which are made only where a file is asked for.
    """

    def __init__(self, service: Service, cache: Path) -> None:
        self._service = service
        self._cache = LocalArtifactStore(cache)

    def put(self, source: Path | bytes, *, on_progress: Progress | None = None) -> Stored:
        """Keep the bytes; putting the same bytes twice is harmless. The service refuses others than were meant.

        Raises NotFound (no such source file), StorageFull, InvalidInput (larger than the service takes).
        """
        size_bytes, digest = _measured(source)
        tell = on_progress or no_progress

        def call(stub: RegistryStub) -> pb.UploadArtifactResponse:
            return stub.UploadArtifact(
                _parts(source, size_bytes, digest, tell),
                timeout=transfer_seconds(size_bytes),
                metadata=self._service.metadata,
            )

        stored = self._service.patiently(call).artifact
        compare_digests(digest, stored.sha256)
        return Stored(uri=stored.uri, sha256=stored.sha256, size_bytes=stored.size_bytes)

    def fetch(self, sha256: str, *, max_bytes: int | None = None) -> bytes:
        """Return the artifact's bytes, verified."""
        checked_digest(sha256)

        data = self._service.patiently(lambda _: b"".join(self._chunks(sha256, max_bytes)))
        compare_digests(sha256, hashlib.sha256(data).hexdigest())
        return data

    def path(self, sha256: str) -> Path:
        """Return a local file that holds the artifact, verified just now."""
        checked_digest(sha256)
        try:
            copy = self._cache.path(sha256)
        except (NotFound, ArtifactDamaged):
            copy = self._service.patiently(lambda _: self._cache.keep(sha256, self._chunks(sha256, None)))
            make_room(self._cache.folder)
        used(copy)
        return copy

    def has(self, sha256: str) -> bool:
        """Say whether the digest is there: the service is asked for it, and its bytes are not read."""
        checked_digest(sha256)

        try:
            self._service.patiently(lambda _: self._size_bytes(sha256))
        except NotFound:
            return False
        return True

    def digest_of(self, uri: str) -> str:
        """Return the digest that a URI of the service's store ends with, whatever kind of store that is."""
        found = _DIGEST_AT_END.search(uri)
        if found is None:
            raise InvalidInput(f"{uri[:200]!r} names no digest")
        return found[1]

    def _begun(self, sha256: str) -> tuple[int, Generator[pb.DownloadArtifactResponse, None, None]]:
        """Ask for an artifact; return how many bytes will come, and what they come in."""
        request = pb.DownloadArtifactRequest(sha256=sha256)
        parts = self._service.parts(lambda stub: stub.DownloadArtifact, request)
        head = next(parts, None)
        if head is None or head.WhichOneof("part") != "head":
            raise ArtifactDamaged(f"artifact {sha256} came without a word of what it is")
        return head.head.size_bytes, parts

    def _size_bytes(self, sha256: str) -> int:
        size_bytes, parts = self._begun(sha256)
        parts.close()
        return size_bytes

    def _chunks(self, sha256: str, max_bytes: int | None) -> Iterator[bytes]:
        """Yield an artifact's bytes, exactly as many as were announced."""
        size_bytes, parts = self._begun(sha256)
        with closing(parts):
            if max_bytes is not None and size_bytes > max_bytes:
                raise InvalidInput(
                    f"artifact {sha256} has {size_bytes} bytes; at most {max_bytes} are read here"
                )
            came = 0
            for part in parts:
                came += len(part.chunk)
                if came > size_bytes:
                    break
                yield part.chunk
            if came != size_bytes:
                raise ArtifactDamaged(f"artifact {sha256} came with {came} bytes instead of {size_bytes}")


def _measured(source: Path | bytes) -> tuple[int, str]:
    """Return the size and digest of what is to be put."""
    if isinstance(source, bytes):
        return len(source), hashlib.sha256(source).hexdigest()
    with _opened(source) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), digest


def _parts(
    source: Path | bytes, size_bytes: int, digest: str, tell: Progress
) -> Iterator[pb.UploadArtifactRequest]:
    """Yield what an upload is made of, from the beginning."""
    yield pb.UploadArtifactRequest(head=pb.ArtifactHead(size_bytes=size_bytes, sha256=digest))
    done = 0
    tell(done, size_bytes)
    with io.BytesIO(source) if isinstance(source, bytes) else _opened(source) as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield pb.UploadArtifactRequest(chunk=chunk)
            done += len(chunk)
            tell(done, max(done, size_bytes))


def _opened(source: Path) -> BufferedReader:
    try:
        return source.open("rb")
    except FileNotFoundError:
        raise NotFound(f"no file {str(source)!r} to store") from None
    except OSError as error:
        raise InvalidInput(f"cannot read {str(source)!r}: {error.strerror}") from error
