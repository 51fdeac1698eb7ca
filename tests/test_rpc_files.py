"""Files over the gRPC interface: stored whole or not at all, and sent verified."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from deedbook.api.v1 import registry_pb2 as pb
from deedbook.service.settings import Limits
from tests.serving.calling import Spoken, refused, registry_spoken_to

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BYTES = b"".join(hashlib.sha256(number.to_bytes(4)).digest() for number in range(90_000))
SHA256 = hashlib.sha256(BYTES).hexdigest()


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spoken]:
    """A registry that takes files of up to four megabytes."""
    limits = Limits(artifact_bytes=4_000_000, stalled_seconds=0.5)
    with registry_spoken_to(tmp_path_factory.mktemp("files") / "registry", limits=limits) as call:
        yield call


def parts(data: bytes, chunk_bytes: int = 1 << 20, **head: Any) -> Iterator[pb.UploadArtifactRequest]:  # noqa: ANN401
    """The messages of an upload."""
    yield pb.UploadArtifactRequest(head=pb.ArtifactHead(**head))
    for start in range(0, len(data), chunk_bytes):
        yield pb.UploadArtifactRequest(chunk=data[start : start + chunk_bytes])


def left_over(call: Spoken) -> list[Path]:
    """What lies where uploads are kept until they are whole."""
    return list((call.service.settings.folder / "uploads").iterdir())


def test_a_file_comes_back_as_it_was_stored(call: Spoken) -> None:
    """Under its digest, which the service works out, in chunks with a head before them."""
    stored = call.stub.UploadArtifact(
        parts(BYTES, format="skops", sha256=SHA256, size_bytes=len(BYTES))
    ).artifact
    head, *chunks = call("DownloadArtifact", sha256=stored.sha256)

    assert (SHA256, len(BYTES), "skops") == (stored.sha256, stored.size_bytes, stored.format)
    assert (len(BYTES), SHA256) == (head.head.size_bytes, head.head.sha256)
    assert BYTES == b"".join(part.chunk for part in chunks)
    assert stored == call.stub.UploadArtifact(parts(BYTES, 65_536, format="skops")).artifact
    assert [] == left_over(call)


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "its head"),
        ([pb.UploadArtifactRequest(chunk=b"x")], "its head"),
        ([*parts(b"x"), *parts(b"")], "no other head"),
        (list(parts(b"x", sha256="0" * 64)), "not 0000"),
        (list(parts(b"x", sha256="X")), "not a SHA-256"),
        (list(parts(b"x", size_bytes=2)), "1 bytes came instead of 2"),
        (list(parts(b"x", size_bytes=-1)), "stores up to 4,000,000"),
        (list(parts(b"x", size_bytes=4_000_001)), "stores up to 4,000,000"),
        (list(parts(b"x" * 5_000_000)), "stores up to 4,000,000"),
        (list(parts(b"x" * 1_500_000, 1_500_000)), "over the limit of 1,048,576"),
        (list(parts(b"x", format="a\nb")), "head.format"),
    ],
)
def test_an_upload_that_is_not_what_it_says_stores_nothing(
    call: Spoken, messages: list[pb.UploadArtifactRequest], words: str
) -> None:
    """Said in a sentence, and nothing is left of it."""
    code, reason, _, sentence = refused(lambda: call.stub.UploadArtifact(iter(messages)))

    assert ("INVALID_ARGUMENT", "INVALID_INPUT") == (code, reason)
    assert words in sentence
    assert not call.service.artifacts.has(hashlib.sha256(b"x").hexdigest())
    assert [] == left_over(call)


def test_an_upload_that_stands_still_is_ended(call: Spoken) -> None:
    """After a bounded time, and nothing is left of it."""
    released = threading.Event()

    def standing_still() -> Iterator[pb.UploadArtifactRequest]:
        yield from parts(b"x")
        released.wait(20)

    code, _, _, sentence = refused(lambda: call.stub.UploadArtifact(standing_still()))
    released.set()

    assert "DEADLINE_EXCEEDED" == code
    assert "nothing was stored" in sentence
    assert [] == left_over(call)


def test_a_file_that_was_damaged_is_never_sent_as_whole(call: Spoken) -> None:
    """Whoever changed it: the digest decides."""
    data = BYTES[:100_000]
    stored = call.stub.UploadArtifact(parts(data)).artifact
    path = call.service.artifacts.path(stored.sha256)
    path.chmod(0o644)
    path.write_bytes(b"other bytes")
    code, reason, _, _ = refused(lambda: call("DownloadArtifact", sha256=stored.sha256))

    assert ("DATA_LOSS", "ARTIFACT_DAMAGED") == (code, reason)


def test_a_snapshot_is_a_file_that_any_duckdb_opens(call: Spoken, tmp_path: Path) -> None:
    """With everything up to the position that was asked for, and a digest to check."""
    position = call.log().position
    head, *chunks = call("DownloadSnapshot", min_position=position)
    data = b"".join(part.chunk for part in chunks)
    path = tmp_path / "snapshot.duckdb"
    path.write_bytes(data)
    with duckdb.connect(str(path), read_only=True) as connection:
        found = connection.execute("select count(*) from trainings").fetchone()

    assert (len(data), hashlib.sha256(data).hexdigest()) == (head.head.size_bytes, head.head.sha256)
    assert head.head.position >= position
    assert (1,) == found
