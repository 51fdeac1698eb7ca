"""One upload to S3: measured first, sent with its SHA-256, refused where the key is taken, aborted on failure."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import os
import stat
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from deedbook.artifacts.s3.client import needed
from deedbook.artifacts.s3.errors import EXISTS, code_of, told
from deedbook.events.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deedbook.artifacts.s3.client import S3Limits
    from deedbook.artifacts.store import Progress

_CHUNK_BYTES = 1 << 20
_MAX_PARTS = 10_000


class UploadLost(Exception):
    """S3 no longer knows the multipart upload: it expired, was aborted, or was completed after all."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What is to be sent: its digest, its size, and each part's digest, raw, in order.

    One part means one PUT; more mean a multipart upload.
    """

    sha256: str
    size_bytes: int
    part_bytes: int
    parts: tuple[bytes, ...]

    @property
    def checksum(self) -> str:
        """The `ChecksumSHA256` that S3 keeps for such an upload: of the object, or of its parts' checksums."""
        if len(self.parts) == 1:
            return base64.b64encode(self.parts[0]).decode()
        composite = base64.b64encode(hashlib.sha256(b"".join(self.parts)).digest()).decode()
        return f"{composite}-{len(self.parts)}"


@contextlib.contextmanager
def opened(source: Path | bytes) -> Iterator[BinaryIO]:
    """The source as a file that can be read twice; NotFound, InvalidInput (unreadable, not a plain file)."""
    if isinstance(source, bytes):
        yield io.BytesIO(source)
        return
    try:
        # A pipe would make `open` wait for a writer, and can't be read twice.
        if not stat.S_ISREG(source.stat().st_mode):
            raise InvalidInput(f"cannot read {str(source)!r}: it is not a file")
        file = source.open("rb")
    except FileNotFoundError:
        raise NotFound(f"no file {str(source)!r} to store") from None
    except OSError as error:
        raise InvalidInput(f"cannot read {str(source)!r}: {error.strerror}") from error
    with file:
        yield file


def measure(file: BinaryIO, limits: S3Limits) -> Measured:
    """Read the file once, in chunks, and take down what S3 and the event have to be told."""
    size_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size_bytes <= limits.multipart_over_bytes:
        part_bytes = max(size_bytes, 1)
    else:
        part_bytes = max(limits.part_bytes, -(-size_bytes // _MAX_PARTS))
    whole = hashlib.sha256()
    parts: list[bytes] = []
    read_bytes = 0
    while read_bytes < size_bytes or not parts:
        part = hashlib.sha256()
        end = min(read_bytes + part_bytes, size_bytes)
        while read_bytes < end:
            chunk = _read(file, min(_CHUNK_BYTES, end - read_bytes))
            if not chunk:
                raise _changed()
            whole.update(chunk)
            part.update(chunk)
            read_bytes += len(chunk)
        parts.append(part.digest())
    return Measured(whole.hexdigest(), size_bytes, part_bytes, tuple(parts))


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload of a measured file to one key, through a client that threads may share."""

    client: Any
    bucket: str
    key: str
    file: BinaryIO
    measured: Measured
    limits: S3Limits
    progress: Progress

    def run(self) -> bool:
        """Send the file; False if the key is taken, or another writer got in between: look, then try again.

        Raises InvalidInput (the file changed since it was measured: nothing was stored), UploadLost, and
        what boto3 raises. A multipart upload that can't be completed is aborted.
        """
        self.file.seek(0)
        self.progress(0, self.measured.size_bytes)
        try:
            if len(self.measured.parts) == 1:
                self._put()
            else:
                self._put_in_parts()
        except needed("botocore.exceptions").ClientError as error:
            match code_of(error):
                case code if code in EXISTS:
                    return False
                case "NoSuchUpload":
                    raise UploadLost from None
                case _:
                    raise
        return True

    def _put(self) -> None:
        (digest,) = self.measured.parts
        data = self._part(digest)
        self._check_end()
        self.client.put_object(
            Bucket=self.bucket,
            Key=self.key,
            # A file is sent in blocks, and the time-out is for each: a slow line is no server that is away.
            Body=io.BytesIO(data),
            ChecksumSHA256=base64.b64encode(digest).decode(),
            IfNoneMatch="*",
        )

    def _put_in_parts(self) -> None:
        begun = self.client.create_multipart_upload(
            Bucket=self.bucket, Key=self.key, ChecksumAlgorithm="SHA256"
        )
        upload_id = told(begun, "UploadId", self.client.meta.endpoint_url)
        try:
            parts = self._send_parts(upload_id)
            self._check_end()
            self.client.complete_multipart_upload(
                Bucket=self.bucket,
                Key=self.key,
                UploadId=upload_id,
                MultipartUpload={"Parts": parts},
                IfNoneMatch="*",
            )
        except BaseException:
            self._abort(upload_id)
            raise

    def _send_parts(self, upload_id: str) -> list[dict[str, object]]:
        """Send every part, some at a time; they are read in order, by this thread alone."""
        window = max(1, min(self.limits.threads, self.limits.window_bytes // self.measured.part_bytes))
        waiting: deque[Future[dict[str, object]]] = deque()
        sent: list[dict[str, object]] = []

        def settle() -> None:
            sent.append(waiting.popleft().result())
            # That everything is done is said when the object is there, not when its last part is.
            if len(sent) < len(self.measured.parts):
                self.progress(len(sent) * self.measured.part_bytes, self.measured.size_bytes)

        with ThreadPoolExecutor(window, thread_name_prefix="deedbook-upload") as pool:
            try:
                for number, digest in enumerate(self.measured.parts, 1):
                    if len(waiting) == window:
                        settle()
                    waiting.append(
                        pool.submit(self._send_part, upload_id, number, digest, self._part(digest))
                    )
                while waiting:
                    settle()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return sent

    def _send_part(self, upload_id: str, number: int, digest: bytes, data: bytes) -> dict[str, object]:
        checksum = base64.b64encode(digest).decode()
        answer = self.client.upload_part(
            Bucket=self.bucket,
            Key=self.key,
            UploadId=upload_id,
            PartNumber=number,
            Body=io.BytesIO(data),
            ChecksumSHA256=checksum,
        )
        return {
            "PartNumber": number,
            "ETag": told(answer, "ETag", self.client.meta.endpoint_url),
            "ChecksumSHA256": checksum,
        }

    def _abort(self, upload_id: str) -> None:
        """Give up the parts that were sent; where even that fails, the bucket's lifecycle rule has to."""
        library = needed("botocore.exceptions")
        with contextlib.suppress(library.ClientError, library.BotoCoreError):
            self.client.abort_multipart_upload(Bucket=self.bucket, Key=self.key, UploadId=upload_id)

    def _part(self, digest: bytes) -> bytes:
        """The file's next part, if it still is what was measured."""
        data = _read(self.file, self.measured.part_bytes)
        if hashlib.sha256(data).digest() != digest:
            raise _changed()
        return data

    def _check_end(self) -> None:
        if _read(self.file, 1):
            raise _changed()


def _read(file: BinaryIO, size_bytes: int) -> bytes:
    try:
        return file.read(size_bytes)
    except OSError as error:
        raise InvalidInput(f"cannot read the file to store: {error.strerror}") from error


def _changed() -> InvalidInput:
    return InvalidInput("the file changed while it was being stored; nothing was stored")
