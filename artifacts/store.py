"""Where artifacts live: content-addressed, written once, verified on the way in and out."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeAlias

from deedbook.events.errors import ArtifactDamaged, InvalidInput, NotFound, StorageFull

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from io import BufferedReader

# What `put` tells while it works: bytes done, and bytes in all. It is called by the thread that called `put`.
Progress: TypeAlias = "Callable[[int, int], None]"

_CHUNK_BYTES = 1 << 20
_DIGEST = re.compile(r"[0-9a-f]{64}")
LOCAL_SCHEME = "artifact:sha256:"
# EFBIG is a file size limit (ulimit -f): for the caller the same as a full disk.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# File systems without hard links answer one of these.
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


@dataclass(frozen=True, slots=True)
class Stored:
    """What an event says of an artifact: where it is, what it is, and how big it is.

    `uri` is for people and for choosing the store; `sha256` alone decides which bytes are meant.
    """

    uri: str
    sha256: str
    size_bytes: int


class ArtifactStore(Protocol):
    """A content-addressed store: what was put under a digest is what comes back, or an error."""

    def put(self, source: Path | bytes, *, on_progress: Progress | None = None) -> Stored:
        """Keep the bytes; putting the same bytes twice is harmless, and never overwrites.

        `on_progress` is told bytes done and bytes in all, ending with all of them. Raises StorageFull
        (nothing half-written), NotFound (no such source file), ArtifactDamaged (other bytes are there).
        """

    def fetch(self, sha256: str, *, max_bytes: int | None = None) -> bytes:
        """Return the artifact's bytes, verified.

        Raises NotFound, ArtifactDamaged, InvalidInput (not a digest, or more than `max_bytes`).
        """

    def path(self, sha256: str) -> Path:
        """Return a local file that holds the artifact, verified just now; don't write to it.

        Raises NotFound, ArtifactDamaged, InvalidInput.
        """

    def has(self, sha256: str) -> bool:
        """Say whether the digest is there, without reading its bytes."""

    def digest_of(self, uri: str) -> str:
        """Return the digest that one of this store's own URIs names; InvalidInput for a foreign one."""


def checked_digest(sha256: str) -> str:
    """Return the digest unchanged: 64 lower-case hexadecimal digits, else InvalidInput."""
    if not _DIGEST.fullmatch(sha256):
        message = f"{sha256[:80]!r} is not a SHA-256 digest (64 lower-case hexadecimal digits)"
        raise InvalidInput(message)
    return sha256


class LocalArtifactStore:
    """Artifacts in a folder: `sha256/ab/abcdef…`, one read-only file each.

    The URI is `artifact:sha256:<digest>`: it names no folder, so the folder can be moved, copied or
    shared under another path, and every recorded URI still holds.
    """

    def __init__(self, folder: Path) -> None:
        """Use `folder`; it is made at the first `put`, and nothing is touched before."""
        self.folder = folder
        self._incoming = folder / "incoming"

    def put(self, source: Path | bytes, *, on_progress: Progress | None = None) -> Stored:
        """Keep the bytes: write them beside, make them durable, then give them their name."""
        with _plain_errors(self.folder), self._temporary() as (temporary, file):
            chunks, total_bytes = ([source], len(source)) if isinstance(source, bytes) else _chunks(source)
            digest, size_bytes = _copy(chunks, file, total_bytes, on_progress or no_progress)
            self._publish(temporary, file, self._file(digest), _give_name)
        # What was there before may have rotted since: a put that succeeds means a fetch will.
        self._verify(digest)
        return Stored(LOCAL_SCHEME + digest, digest, size_bytes)

    def keep(self, sha256: str, chunks: Iterable[bytes]) -> Path:
        """Keep what the chunks add up to, if it has this digest; a damaged file in its place is replaced.

        So a copy from another store is taken in. Raises ArtifactDamaged (nothing is kept), StorageFull.
        """
        final = self._file(sha256)
        with _plain_errors(self.folder), self._temporary() as (temporary, file):
            digest, _ = _copy(chunks, file, 0, no_progress)
            compare_digests(sha256, digest)
            self._publish(temporary, file, final, Path.replace)
        return final

    def fetch(self, sha256: str, *, max_bytes: int | None = None) -> bytes:
        """Return the artifact's bytes, read once and verified as read."""
        with self._open(sha256) as file:
            size_bytes = os.fstat(file.fileno()).st_size
            if max_bytes is not None and size_bytes > max_bytes:
                message = f"artifact {sha256} has {size_bytes} bytes; at most {max_bytes} are read here"
                raise InvalidInput(message)
            data = file.read(size_bytes)
        compare_digests(sha256, hashlib.sha256(data).hexdigest())
        return data

    def path(self, sha256: str) -> Path:
        """Return the artifact's own file, verified just now."""
        self._verify(sha256)
        return self._file(sha256)

    def has(self, sha256: str) -> bool:
        """Say whether the digest is there, without reading its bytes."""
        return self._file(sha256).is_file()

    def digest_of(self, uri: str) -> str:
        """Return the digest that an `artifact:sha256:…` URI names."""
        if not uri.startswith(LOCAL_SCHEME):
            message = f"{uri[:200]!r} is not in this store, whose URIs look like {LOCAL_SCHEME}<digest>"
            raise InvalidInput(message)
        return checked_digest(uri.removeprefix(LOCAL_SCHEME))

    def _file(self, sha256: str) -> Path:
        checked_digest(sha256)
        return self.folder / "sha256" / sha256[:2] / sha256

    def _open(self, sha256: str) -> BufferedReader:
        file = self._file(sha256)
        try:
            return file.open("rb")
        except FileNotFoundError:
            message = f"no artifact {sha256} in {self.folder}"
            raise NotFound(message) from None
        except OSError as error:
            message = f"cannot read artifact {sha256} in {self.folder}: {error.strerror}"
            raise InvalidInput(message) from error

    def _publish(
        self, temporary: Path, file: BinaryIO, final: Path, name: Callable[[Path, Path], object]
    ) -> None:
        """Make the finished file durable, then its name."""
        file.flush()
        os.fsync(file.fileno())
        final.parent.mkdir(parents=True, exist_ok=True)
        name(temporary, final)
        for folder in (final.parent, final.parent.parent, self.folder):
            _sync_folder(folder)

    def _verify(self, sha256: str) -> None:
        with self._open(sha256) as file:
            compare_digests(sha256, hashlib.file_digest(file, "sha256").hexdigest())

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[tuple[Path, BinaryIO]]:
        """A locked file in `incoming/`; the lock tells a living writer's file from a dead one's."""
        self._incoming.mkdir(parents=True, exist_ok=True)
        _sweep(self._incoming)
        while True:
            temporary = self._incoming / secrets.token_hex(16)
            # 0o444 less the umask: read-only for everybody from the start, writable through this descriptor.
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
            with os.fdopen(descriptor, "wb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                # Another writer's sweep may have taken it between the open and the lock: start again.
                if os.fstat(file.fileno()).st_nlink == 0:
                    continue
                try:
                    yield temporary, file
                finally:
                    temporary.unlink(missing_ok=True)
            return


def store_at(location: str | Path, *, cache: Path | None = None) -> ArtifactStore:
    """Return the store at a folder, or at a URL: `file:///folder`, or `s3://bucket/prefix?endpoint=…&region=…`.

    `cache`: the folder for local copies of what is in S3 (without one, a temporary folder of the process).
    Raises InvalidInput (another scheme, a URL that is not well-formed), MissingExtra.
    """
    if isinstance(location, Path):
        return LocalArtifactStore(location)
    scheme, separator, rest = location.partition("://")
    if not separator:
        return LocalArtifactStore(Path(location))
    if scheme == "file" and rest.startswith("/"):
        return LocalArtifactStore(Path(rest))
    if scheme == "s3":
        from deedbook.artifacts.s3.address import s3_address
        from deedbook.artifacts.s3.store import S3ArtifactStore

        return S3ArtifactStore(s3_address(location), cache=cache)
    # What follows the scheme may hold credentials.
    message = (
        f"cannot keep artifacts at {scheme[:20]!r} URLs: give a folder, file:///folder, or s3://bucket/prefix"
    )
    raise InvalidInput(message)


def no_progress(done_bytes: int, total_bytes: int) -> None:
    """Tell nobody."""


def compare_digests(expected: str, actual: str) -> None:
    """Raise ArtifactDamaged unless the bytes have the digest they are stored under."""
    if actual != expected:
        message = f"artifact {expected} is damaged: its bytes have the digest {actual}"
        raise ArtifactDamaged(message)


def _copy(chunks: Iterable[bytes], target: BinaryIO, total_bytes: int, progress: Progress) -> tuple[str, int]:
    """Write the chunks to the target, and return the digest and size of what was written."""
    digest = hashlib.sha256()
    size_bytes = 0
    progress(0, total_bytes)
    for chunk in chunks:
        digest.update(chunk)
        target.write(chunk)
        size_bytes += len(chunk)
        # A file may grow while it is read: what is done is never more than there is.
        progress(size_bytes, max(size_bytes, total_bytes))
    return digest.hexdigest(), size_bytes


def _chunks(source: Path) -> tuple[Iterator[bytes], int]:
    """A file's bytes in chunks, and how many there seem to be."""
    try:
        file = source.open("rb")
    except FileNotFoundError:
        message = f"no file {str(source)!r} to store"
        raise NotFound(message) from None
    except OSError as error:
        message = f"cannot read {str(source)!r}: {error.strerror}"
        raise InvalidInput(message) from error
    return _read(file), os.fstat(file.fileno()).st_size


def _read(file: BufferedReader) -> Iterator[bytes]:
    with file:
        read: Callable[[], bytes] = lambda: file.read(_CHUNK_BYTES)  # noqa: E731 (iter needs a callable)
        yield from iter(read, b"")


def _give_name(temporary: Path, final: Path) -> None:
    """Give the finished file its name, unless the name is taken: then those are the same bytes."""
    try:
        os.link(temporary, final)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Without hard links a rename must do; it could only replace a file by its own bytes.
        if not final.exists():
            temporary.rename(final)


def _sweep(incoming: Path) -> None:
    """Remove what killed writers left: files that nobody holds a lock on."""
    for leftover in incoming.iterdir():
        with contextlib.suppress(OSError), leftover.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _plain_errors(folder: Path) -> Iterator[None]:
    """Turn what the operating system says while writing into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            message = f"no room left for an artifact in {folder} ({error.strerror}); nothing was stored"
            raise StorageFull(message) from error
        message = f"cannot store an artifact in {folder}: {error.strerror}"
        raise InvalidInput(message) from error
