"""Artifacts in S3: content-addressed, written once, verified on the way in and out."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import tempfile
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deedbook.artifacts.local_cache import make_room, used
from deedbook.artifacts.s3.client import S3Limits, needed, new_client
from deedbook.artifacts.s3.errors import answered, code_of, missing_bucket, plain_errors, says_nothing, told
from deedbook.artifacts.s3.upload import Measured, Upload, UploadLost, measure, opened
from deedbook.artifacts.store import (
    LOCAL_SCHEME,
    LocalArtifactStore,
    Stored,
    checked_digest,
    compare_digests,
    no_progress,
)
from deedbook.events.errors import AccessDenied, ArtifactDamaged, InvalidInput, NotFound, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deedbook.artifacts.s3.address import S3Address
    from deedbook.artifacts.store import Progress

_CHUNK_BYTES = 256 << 10
_CONFLICTS = 5
_FIRST_PAUSE_SECONDS = 0.1
_ABSENT = frozenset({"NoSuchKey", "NotFound", "404"})


class S3ArtifactStore:
    """Artifacts in a bucket: `prefix/sha256/ab/abcdef…`, one object each.

    The URI is `s3://bucket/prefix/sha256/ab/abcdef…`. Threads may share a store; a forked process makes a
    client of its own, and a pickled store is its address again, without credentials. Every method raises
    AccessDenied, NotFound (no such bucket), StorageUnavailable (in bounded time), InvalidInput (a wrong
    region, a server that is none) and MissingExtra besides what it names itself.
    """

    def __init__(
        self, address: S3Address, *, cache: Path | None = None, limits: S3Limits | None = None
    ) -> None:
        """Use the bucket; nothing is asked of it before the first call.

        `cache`: the folder of the local copies that `path` makes; without one, a private temporary folder,
        gone when the process ends. Raises MissingExtra.
        """
        needed("boto3")
        self.address = address
        self._cache = cache
        self._limits = limits or S3Limits()
        self._locks: dict[int, threading.Lock] = {}
        self._clients: dict[int, Any] = {}
        self._temporary: dict[int, Path] = {}
        self._bucket_was_seen = False

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle as what the store was made from."""
        return _made_again, (self.address, self._cache, self._limits)

    def put(self, source: Path | bytes, *, on_progress: Progress | None = None) -> Stored:
        """Keep the bytes: measure them, then send them unless they are there; what is there is verified.

        A file of any size is read twice, in parts. Raises NotFound (no such file), InvalidInput (unreadable,
        or changed while it was sent), ArtifactDamaged (other bytes under this digest, or damage on the way),
        StorageFull; in every case no object was stored, and no upload of parts is left open.
        """
        progress = on_progress or no_progress
        with opened(source) as file, plain_errors(self.address):
            measured = measure(file, self._limits)
            upload = Upload(
                self._client(),
                self.address.bucket,
                self.address.key(measured.sha256),
                file,
                measured,
                self._limits,
                progress,
            )
            if not self._probably_holds(measured):
                self._send(upload)
        progress(measured.size_bytes, measured.size_bytes)
        return Stored(self.address.uri_of(measured.sha256), measured.sha256, measured.size_bytes)

    def fetch(self, sha256: str, *, max_bytes: int | None = None) -> bytes:
        """Return the artifact's bytes, verified; the size is checked before the bytes are read."""
        buffer = io.BytesIO()
        for chunk in self._chunks(checked_digest(sha256), max_bytes):
            buffer.write(chunk)
        data = buffer.getvalue()
        compare_digests(sha256, hashlib.sha256(data).hexdigest())
        return data

    def path(self, sha256: str) -> Path:
        """Return a local copy, verified just now; it is downloaded where there is none, or a damaged one."""
        copies = self._copies()
        try:
            copy = copies.path(sha256)
        except (NotFound, ArtifactDamaged):
            copy = copies.keep(sha256, self._chunks(sha256, None))
            make_room(copies.folder)
        used(copy)
        return copy

    def has(self, sha256: str) -> bool:
        """Say whether the digest is there, without reading its bytes."""
        with plain_errors(self.address):
            return self._head(checked_digest(sha256)) is not None

    def digest_of(self, uri: str) -> str:
        """Return the digest that an `s3://` URI of this store, or an `artifact:sha256:…` one, names."""
        own = f"{self.address.uri}/sha256/"
        if uri.startswith(LOCAL_SCHEME):
            return checked_digest(uri.removeprefix(LOCAL_SCHEME))
        digest = uri.rpartition("/")[2]
        if not uri.startswith(own):
            raise InvalidInput(f"{uri[:200]!r} is not in this store, whose URIs look like {own}ab/<digest>")
        if self.address.uri_of(checked_digest(digest)) != uri:
            raise InvalidInput(f"{uri[:200]!r} is no artifact's URI: those look like {own}ab/<digest>")
        return digest

    def make_bucket(self) -> bool:
        """Make the bucket unless it is there; say whether it was made.

        Raises AccessDenied where it can't be made with these credentials, with what to do.
        """
        library = needed("botocore.exceptions")
        with plain_errors(self.address):
            client = self._client()
            with contextlib.suppress(library.ClientError):
                client.head_bucket(Bucket=self.address.bucket)
                return False
            region = client.meta.region_name
            # S3 refuses to be told its first region, where buckets are made unless another is named.
            elsewhere = region not in {None, "us-east-1", "aws-global"}
            where = {"CreateBucketConfiguration": {"LocationConstraint": region}} if elsewhere else {}
            try:
                client.create_bucket(Bucket=self.address.bucket, **where)
            except library.ClientError as error:
                return self._not_made(error)
        return True

    def _not_made(self, error: Any) -> bool:  # noqa: ANN401 (botocore's ClientError)
        bucket = self.address.bucket
        match code_of(error):
            case "BucketAlreadyOwnedByYou":
                return False
            case "BucketAlreadyExists":
                raise AccessDenied(
                    f"the bucket {bucket} belongs to somebody else, and these credentials don't open it: take another"
                    " name, or ask its owner for access"
                ) from None
            case "AccessDenied":
                raise AccessDenied(
                    f"there is no bucket {bucket} that these credentials open, and they don't allow s3:CreateBucket:"
                    " have whoever runs the storage make it, then go on"
                ) from None
            case _:
                raise error

    def _client(self) -> Any:  # noqa: ANN401 (a boto3 client)
        """This process's client: one that was made before a fork shares its connections with the parent."""
        process = os.getpid()
        # A lock for each process, too: a fork may inherit its parent's while another thread holds it.
        with self._locks.setdefault(process, threading.Lock()):
            if process not in self._clients:
                self._clients[process] = new_client(self.address, self._limits)
            return self._clients[process]

    def _send(self, upload: Upload) -> None:
        """Upload; where the key turns out to be taken, verify what is there."""
        lost = False
        for attempt in range(_CONFLICTS):
            try:
                if upload.run():
                    return
            except UploadLost:
                # It may have been completed by a request whose answer was lost: looking decides.
                if lost:
                    raise StorageUnavailable(
                        f"S3 gave up an upload to {self.address.uri} twice before it was complete: look at the"
                        " bucket's lifecycle rule for unfinished uploads, and try again"
                    ) from None
                lost = True
            if self._holds(upload.measured):
                return
            time.sleep(_FIRST_PAUSE_SECONDS * 2**attempt)
        raise StorageUnavailable(
            f"other writers of the same artifact got in between in {self.address.uri}; try again"
        )

    def _probably_holds(self, measured: Measured) -> bool:
        """Look before sending; credentials that may write and not read are left to the upload's own answer."""
        try:
            with plain_errors(self.address):
                return self._holds(measured)
        except AccessDenied:
            return False

    def _holds(self, measured: Measured) -> bool:
        """Say whether the object is there, and whole; ArtifactDamaged if it is another.

        The checksum that S3 computed when it took the bytes proves it; only an object without a comparable
        one (from another program, or in other parts) is read.
        """
        head = self._head(measured.sha256)
        if head is None:
            return False
        size_bytes = told(head, "ContentLength", self.address.server)
        if size_bytes != measured.size_bytes:
            raise ArtifactDamaged(
                f"artifact {measured.sha256} is damaged: it has {size_bytes} bytes in {self.address.uri},"
                f" not {measured.size_bytes}"
            )
        if head.get("ChecksumSHA256") != measured.checksum:
            digest = hashlib.sha256()
            for chunk in self._chunks(measured.sha256, None):
                digest.update(chunk)
            compare_digests(measured.sha256, digest.hexdigest())
        return True

    def _head(self, sha256: str) -> Any:  # noqa: ANN401 (boto3's answer, or None where nothing is)
        client, library = self._client(), needed("botocore.exceptions")
        place = {"Bucket": self.address.bucket, "Key": self.address.key(sha256)}
        try:
            return client.head_object(**place, ChecksumMode="ENABLED")
        except library.ClientError as error:
            if code_of(error) in _ABSENT:
                self._check_bucket()
                return None
            if says_nothing(error):
                # An answer to HEAD has no body: ask for a byte, to be told what is wrong.
                client.get_object(**place, Range="bytes=0-0")["Body"].close()
            raise

    def _check_bucket(self) -> None:
        """Raise NotFound if it is the bucket that isn't there; credentials that may not ask are let by."""
        if self._bucket_was_seen:
            return
        try:
            self._client().head_bucket(Bucket=self.address.bucket)
        except needed("botocore.exceptions").ClientError as error:
            if code_of(error) in {*_ABSENT, "NoSuchBucket"}:
                raise missing_bucket(self.address) from None
        self._bucket_was_seen = True

    def _chunks(self, sha256: str, max_bytes: int | None) -> Iterator[bytes]:
        """The object's bytes as they come, unverified; an answer that breaks off is taken up where it ended."""
        with plain_errors(self.address):
            body, size_bytes = self._opened(sha256, max_bytes)
            limits, done_bytes, failures = self._limits, 0, 0
            deadline = time.monotonic() + limits.read_seconds * limits.attempts
            deadline += size_bytes / limits.min_bytes_per_second
            while True:
                try:
                    for chunk in body.iter_chunks(_CHUNK_BYTES):
                        done_bytes += len(chunk)
                        yield chunk
                        if time.monotonic() > deadline:
                            raise StorageUnavailable(f"{self.address.server} sends too slowly; try again")
                    return
                except needed("botocore.exceptions").BotoCoreError:
                    failures += 1
                    if failures >= limits.attempts or done_bytes >= size_bytes:
                        raise
                finally:
                    body.close()
                body, _ = self._opened(sha256, None, Range=f"bytes={done_bytes}-")

    def _opened(self, sha256: str, max_bytes: int | None, **part: str) -> tuple[Any, int]:
        """Ask for the object, and return its unread body and size; NotFound, InvalidInput (too large)."""
        try:
            answer = self._client().get_object(
                Bucket=self.address.bucket, Key=self.address.key(checked_digest(sha256)), **part
            )
        except needed("botocore.exceptions").ClientError as error:
            if code_of(error) in _ABSENT:
                raise NotFound(f"no artifact {sha256} in {self.address.uri}") from None
            raise answered(error, self.address) from None
        size_bytes = told(answer, "ContentLength", self.address.server)
        if max_bytes is not None and size_bytes > max_bytes:
            answer["Body"].close()
            raise InvalidInput(f"artifact {sha256} has {size_bytes} bytes; at most {max_bytes} are read here")
        return answer["Body"], size_bytes

    def _copies(self) -> LocalArtifactStore:
        """Where local copies are kept: the cache, or this process's own temporary folder."""
        if self._cache is not None:
            return LocalArtifactStore(self._cache)
        process = os.getpid()
        with self._locks.setdefault(process, threading.Lock()):
            if process not in self._temporary:
                self._temporary[process] = Path(tempfile.mkdtemp(prefix="deedbook-artifacts-"))
                weakref.finalize(self, _remove, process, self._temporary[process])
            return LocalArtifactStore(self._temporary[process])


def _made_again(address: S3Address, cache: Path | None, limits: S3Limits) -> S3ArtifactStore:
    return S3ArtifactStore(address, cache=cache, limits=limits)


def _remove(process: int, folder: Path) -> None:
    """Remove a temporary folder, in the process that made it: a forked child leaves its parent's alone."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
