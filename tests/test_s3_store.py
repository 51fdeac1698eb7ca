"""Artifacts in S3, on a real server: nothing half-written, nothing overwritten, every failure one sentence.

What the contract of all stores says is in `test_artifacts.py`; here is what only S3 has. What the real
server can't be made to answer (another region, an expired token, a broken answer) is answered by `Peer`,
a small HTTP server that says what S3 documents: it stands for the other side of the wire.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError

from deedbook.artifacts.s3.address import S3Address, s3_address
from deedbook.artifacts.s3.client import S3Limits
from deedbook.artifacts.s3.store import S3ArtifactStore
from deedbook.artifacts.store import store_at
from deedbook.events.errors import (
    AccessDenied,
    ArtifactDamaged,
    DeedbookError,
    InvalidInput,
    MissingExtra,
    NotFound,
    StorageFull,
    StorageUnavailable,
)
from tests.servers.s3 import S3Place, own_s3
from tests.servers.shared import Bucket as Fresh

# S3 takes no part smaller than this, but for the last.
PART_BYTES = 5 << 20
IN_PARTS = S3Limits(multipart_over_bytes=PART_BYTES, part_bytes=PART_BYTES)
IMPATIENT = S3Limits(connect_seconds=0.2, read_seconds=0.2, attempts=2)
ONE_TRY = S3Limits(attempts=1)
TWO_TRIES = S3Limits(attempts=2)
THREE_PARTS = os.urandom(2 * PART_BYTES + 1000)
TWO_PARTS = THREE_PARTS[: PART_BYTES + 1000]
ABSENT = "0" * 64
WRONG_SECRET = "this-is-not-it"  # noqa: S105 (nobody's)


@dataclass(frozen=True)
class Bucket:
    """A fresh bucket of the real server, and a client that is none of ours."""

    address: S3Address
    client: Any

    def store(self, limits: S3Limits = IN_PARTS, **options: Any) -> S3ArtifactStore:  # noqa: ANN401 (passed on)
        """A store in the bucket, that sends what is larger than one part in parts."""
        return S3ArtifactStore(self.address, limits=limits, **options)

    def keys(self) -> list[str]:
        """What the bucket holds."""
        return [
            found["Key"]
            for found in self.client.list_objects_v2(Bucket=self.address.bucket).get("Contents", [])
        ]

    def uploads(self) -> list[tuple[str, str]]:
        """The key and id of each unfinished upload."""
        found = self.client.list_multipart_uploads(Bucket=self.address.bucket).get("Uploads", [])
        return [(upload["Key"], upload["UploadId"]) for upload in found]

    def abort_all(self) -> None:
        """Give up every unfinished upload, as a lifecycle rule does."""
        for key, upload_id in self.uploads():
            self.client.abort_multipart_upload(Bucket=self.address.bucket, Key=key, UploadId=upload_id)

    def write(self, data: bytes, digest: str) -> None:
        """Put bytes under a digest, as another program would."""
        self.client.put_object(Bucket=self.address.bucket, Key=self.address.key(digest), Body=data)

    def deny(self, action: str) -> None:
        """Allow nobody this action on the bucket's objects."""
        name = self.address.bucket
        statement = (
            f'"Effect": "Deny", "Principal": "*", "Action": "{action}", "Resource": "arn:aws:s3:::{name}/*"'
        )
        self.client.put_bucket_policy(
            Bucket=name, Policy=f'{{"Version": "2012-10-17", "Statement": [{{{statement}}}]}}'
        )


@pytest.fixture(scope="module", autouse=True)
def parsed_once() -> Iterator[None]:
    """What botocore knows of S3 it reads from its own files once, and not for each client of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", functools.cache(botocore.session.create_loader))
        yield


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set the environment's credentials, and take away every other place where some could be."""

    def give(**variables: str) -> None:
        for name in os.environ:
            if name.startswith("AWS_"):
                monkeypatch.delenv(name)
        nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
        for name, value in {**nowhere, "AWS_EC2_METADATA_DISABLED": "true", **variables}.items():
            monkeypatch.setenv(name, value)

    return give


@pytest.fixture
def bucket(s3: Fresh, credentials: Callable[..., None]) -> Bucket:
    """A fresh, empty bucket."""
    credentials(**s3.place.environment())
    return Bucket(S3Address(s3.name, "some/prefix", s3.place.endpoint, s3.place.region), s3.client)


@pytest.fixture
def unmade(bucket: Bucket) -> Iterator[Bucket]:
    """A bucket that isn't there yet."""
    address = replace(bucket.address, bucket=f"{bucket.address.bucket}-unmade")
    yield Bucket(address, bucket.client)
    with contextlib.suppress(ClientError):
        for found in bucket.client.list_objects_v2(Bucket=address.bucket).get("Contents", []):
            bucket.client.delete_object(Bucket=address.bucket, Key=found["Key"])
        bucket.client.delete_bucket(Bucket=address.bucket)


def said_by(error: BaseException) -> str:
    """An error with all that a traceback would show."""
    return "".join(traceback.format_exception(error))


# --- what is kept ------------------------------------------------------------------------------


def test_a_large_file_goes_in_parts_and_comes_back(bucket: Bucket, tmp_path: Path) -> None:
    """S3 keeps the checksum of its parts' checksums; the progress ends with everything."""
    (tmp_path / "model.bin").write_bytes(THREE_PARTS)
    told: list[tuple[int, int]] = []
    store = bucket.store()

    stored = store.put(tmp_path / "model.bin", on_progress=lambda done, total: told.append((done, total)))

    size = len(THREE_PARTS)
    key = f"some/prefix/sha256/{stored.sha256[:2]}/{stored.sha256}"
    head = bucket.client.head_object(Bucket=bucket.address.bucket, Key=key, ChecksumMode="ENABLED")
    assert (sha256(THREE_PARTS).hexdigest(), size) == (stored.sha256, stored.size_bytes)
    assert f"s3://{bucket.address.bucket}/{key}" == stored.uri
    assert [(0, size), (PART_BYTES, size), (2 * PART_BYTES, size), (size, size)] == told
    assert head["ChecksumSHA256"].endswith("-3")
    assert THREE_PARTS == store.fetch(stored.sha256)
    assert THREE_PARTS == store.path(stored.sha256).read_bytes()
    assert [] == bucket.uploads()


def test_the_key_and_the_uri_hold_the_digest(bucket: Bucket) -> None:
    """The store knows its own URIs, and those that name no place."""
    store = bucket.store()
    stored = store.put(b"model")

    assert [f"some/prefix/sha256/{stored.sha256[:2]}/{stored.sha256}"] == bucket.keys()
    assert stored.sha256 == store.digest_of(stored.uri)
    assert stored.sha256 == store.digest_of(f"artifact:sha256:{stored.sha256}")


@pytest.mark.parametrize(
    "foreign",
    [
        "s3://other/some/prefix/sha256/00/" + ABSENT,
        "s3://bucket/some/prefix/sha256/01/" + ABSENT,
        "s3://bucket/some/prefix/sha256/00/../" + ABSENT,
        "s3://bucket/some/prefix/sha256/00/x",
        "s3://bucket/sha256/00/" + ABSENT,
    ],
)
def test_the_uri_of_another_place_is_refused(foreign: str) -> None:
    """Another bucket, another prefix, or a key that is no artifact's."""
    with pytest.raises(InvalidInput):
        S3ArtifactStore(S3Address("bucket", "some/prefix")).digest_of(foreign)


@pytest.mark.parametrize("data", [b"model", TWO_PARTS], ids=["whole", "in parts"])
def test_one_of_eight_writers_wins_and_all_succeed(bucket: Bucket, data: bytes) -> None:
    """The same bytes at once: one object, no upload left open."""
    store = bucket.store()
    stored = []
    threads = [threading.Thread(target=lambda: stored.append(store.put(data))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)

    assert [stored[0]] * 8 == stored
    assert [bucket.address.key(stored[0].sha256)] == bucket.keys()
    assert [] == bucket.uploads()
    assert data == store.fetch(stored[0].sha256)


def test_what_is_there_is_not_written_again(bucket: Bucket) -> None:
    """The second put leaves the object as it was."""
    store = bucket.store()
    key = bucket.address.key(store.put(THREE_PARTS).sha256)
    before = bucket.client.head_object(Bucket=bucket.address.bucket, Key=key)["LastModified"]
    bucket.deny("s3:PutObject")

    store.put(THREE_PARTS)

    assert before == bucket.client.head_object(Bucket=bucket.address.bucket, Key=key)["LastModified"]


def test_the_right_bytes_from_another_program_are_taken_as_they_are(bucket: Bucket) -> None:
    """Without a checksum of ours to compare, the object is read."""
    digest = sha256(THREE_PARTS).hexdigest()
    bucket.write(THREE_PARTS, digest)

    assert digest == bucket.store().put(THREE_PARTS).sha256


def test_a_large_object_that_was_damaged_is_noticed(bucket: Bucket) -> None:
    """Of the same size, in one piece instead of parts."""
    store = bucket.store()
    digest = store.put(THREE_PARTS).sha256
    bucket.write(bytes(len(THREE_PARTS)), digest)

    with pytest.raises(ArtifactDamaged, match=digest):
        store.put(THREE_PARTS)


# --- local copies ------------------------------------------------------------------------------


def test_a_local_copy_is_verified_each_time_and_mended(bucket: Bucket, tmp_path: Path) -> None:
    """A copy that rotted is fetched again; the object itself is whole."""
    store = bucket.store(cache=tmp_path / "cache")
    digest = store.put(b"model").sha256
    copy = store.path(digest)
    copy.chmod(0o644)
    copy.write_bytes(b"modem")

    assert tmp_path / "cache" / "sha256" / digest[:2] / digest == store.path(digest)
    assert b"model" == copy.read_bytes()


def test_a_local_copy_does_without_the_server(bucket: Bucket, tmp_path: Path) -> None:
    """What was downloaded once is there when S3 is not."""
    store = bucket.store(cache=tmp_path)
    digest = store.put(b"model").sha256
    store.path(digest)
    elsewhere = S3ArtifactStore(
        S3Address("bucket", "", "http://127.0.0.1:1"), cache=tmp_path, limits=IMPATIENT
    )

    assert b"model" == elsewhere.path(digest).read_bytes()


def test_a_damaged_object_leaves_no_local_copy(bucket: Bucket, tmp_path: Path) -> None:
    """Nothing is in the cache that was not verified."""
    digest = sha256(b"model").hexdigest()
    bucket.write(b"modem", digest)

    with pytest.raises(ArtifactDamaged):
        bucket.store(cache=tmp_path).path(digest)
    assert [] == [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_temporary_copies_go_with_the_process(bucket: Bucket, s3_place: S3Place) -> None:
    """Without a cache folder, `path` uses one that nobody else can open, and that is removed at the end."""
    digest = bucket.store().put(b"model").sha256
    program = f"path = store.path({digest!r}); print(path, oct(path.parents[2].stat().st_mode & 0o777))"
    folder, mode = child(bucket, s3_place, program).split()

    assert "0o700" == mode
    assert not Path(folder).exists()


# --- unfinished uploads ------------------------------------------------------------------------


def child(bucket: Bucket, s3_place: S3Place, program: str) -> str:
    """What a program prints that has the bucket's `store`, in a process of its own."""
    text = f"{opening(bucket)}{program}"
    done = subprocess.run(
        [sys.executable, "-c", text],
        env=surroundings(s3_place),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ("", 0) == (done.stderr, done.returncode)
    return done.stdout


def opening(bucket: Bucket) -> str:
    """Program text that binds the bucket's store to `store`."""
    return (
        "import os, sys, time\n"
        "from deedbook.artifacts.s3.address import S3Address\n"
        "from deedbook.artifacts.s3.client import S3Limits\n"
        "from deedbook.artifacts.s3.store import S3ArtifactStore\n"
        f"limits = S3Limits(multipart_over_bytes={PART_BYTES}, part_bytes={PART_BYTES})\n"
        f"store = S3ArtifactStore({bucket.address!r}, limits=limits)\n"
    )


def surroundings(s3_place: S3Place) -> dict[str, str]:
    """An environment with the credentials."""
    return {**os.environ, **s3_place.environment()}


def test_an_upload_that_is_killed_leaves_no_object(bucket: Bucket, s3_place: S3Place, tmp_path: Path) -> None:
    """`kill -9` in mid-upload: parts that nothing refers to, and a second put succeeds."""
    (tmp_path / "model.bin").write_bytes(THREE_PARTS)
    program = (
        "def wait(done, total):\n"
        "    if done:\n"
        "        print('sent', flush=True)\n"
        "        time.sleep(60)\n"
        "from pathlib import Path\n"
        f"store.put(Path({str(tmp_path / 'model.bin')!r}), on_progress=wait)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", opening(bucket) + program],
        env=surroundings(s3_place),
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        assert "sent\n" == writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
    store = bucket.store()

    assert [] == bucket.keys()
    assert 1 == len(bucket.uploads())
    assert not store.has(sha256(THREE_PARTS).hexdigest())
    assert THREE_PARTS == store.fetch(store.put(tmp_path / "model.bin").sha256)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, RuntimeError])
def test_an_upload_that_fails_is_aborted(bucket: Bucket, interruption: type[BaseException]) -> None:
    """Neither an object nor parts stay."""

    def fail(done: int, total: int) -> None:  # noqa: ARG001 (a progress callback's signature)
        if done:
            raise interruption

    with pytest.raises(interruption):
        bucket.store().put(THREE_PARTS, on_progress=fail)
    assert ([], []) == (bucket.keys(), bucket.uploads())


def test_an_upload_that_expired_is_started_again(bucket: Bucket) -> None:
    """Once: somebody's rule may have removed it while this process slept."""
    aborted: list[int] = []

    def abort_once(done: int, total: int) -> None:  # noqa: ARG001
        if done and not aborted:
            bucket.abort_all()
            aborted.append(done)

    store = bucket.store()
    stored = store.put(THREE_PARTS, on_progress=abort_once)

    assert [PART_BYTES] == aborted
    assert THREE_PARTS == store.fetch(stored.sha256)
    assert [] == bucket.uploads()


def test_an_upload_that_always_expires_is_given_up(bucket: Bucket) -> None:
    """The sentence names the rule to look at."""
    with pytest.raises(StorageUnavailable, match="lifecycle rule"):
        bucket.store().put(THREE_PARTS, on_progress=lambda done, _: bucket.abort_all() if done else None)
    assert ([], []) == (bucket.keys(), bucket.uploads())


@pytest.mark.parametrize("size", [1000, len(THREE_PARTS)], ids=["whole", "in parts"])
@pytest.mark.parametrize("change", ["other bytes", "longer", "shorter"])
def test_a_file_that_changes_meanwhile_is_noticed(
    bucket: Bucket, tmp_path: Path, size: int, change: str
) -> None:
    """What was measured and what is sent must be the same bytes."""
    file = tmp_path / "model.bin"
    file.write_bytes(THREE_PARTS[:size])

    def rewrite(done: int, total: int) -> None:  # noqa: ARG001
        if done == 0:
            with file.open("r+b") as opened:
                match change:
                    case "other bytes":
                        opened.seek(size - 1)
                        opened.write(bytes([THREE_PARTS[size - 1] ^ 1]))
                    case "longer":
                        opened.seek(size)
                        opened.write(b"!")
                    case _:
                        opened.truncate(size - 1)

    with pytest.raises(InvalidInput, match="changed while it was being stored; nothing was stored"):
        bucket.store().put(file, on_progress=rewrite)
    assert ([], []) == (bucket.keys(), bucket.uploads())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_can_not_be_read_is_refused(bucket: Bucket, tmp_path: Path) -> None:
    """A folder, a pipe: nobody waits for a writer."""
    os.mkfifo(tmp_path / "pipe")

    for source in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(InvalidInput, match="is not a file"):
            bucket.store().put(source)
    assert [] == bucket.keys()


# --- buckets and credentials -------------------------------------------------------------------


def every_call(store: S3ArtifactStore) -> list[Callable[[], object]]:
    """Each way to ask the server something."""
    return [
        lambda: store.put(b"model"),
        lambda: store.fetch(ABSENT),
        lambda: store.path(ABSENT),
        lambda: store.has(ABSENT),
    ]


def test_a_missing_bucket_is_named_with_the_way_to_make_it(unmade: Bucket) -> None:
    """Whichever call notices it; none of them makes the bucket by the way."""
    for call in every_call(unmade.store()):
        with pytest.raises(NotFound, match=rf"no bucket {unmade.address.bucket} at http.*`deedbook init`"):
            call()


def test_a_bucket_is_made_once(unmade: Bucket) -> None:
    """The second time there is nothing to do."""
    store = unmade.store()

    assert [True, False] == [store.make_bucket(), store.make_bucket()]
    assert b"model" == store.fetch(store.put(b"model").sha256)


def test_a_wrong_secret_is_one_sentence(
    bucket: Bucket, s3_place: S3Place, credentials: Callable[..., None]
) -> None:
    """It says what is wrong, and shows neither key nor secret."""
    credentials(AWS_ACCESS_KEY_ID=s3_place.access_key, AWS_SECRET_ACCESS_KEY=WRONG_SECRET)
    store = bucket.store()
    for call in [*every_call(store), store.make_bucket]:
        with pytest.raises(AccessDenied, match="does not accept the credentials") as refused:
            call()
        assert WRONG_SECRET not in said_by(refused.value)


def test_an_unknown_key_is_one_sentence(bucket: Bucket, credentials: Callable[..., None]) -> None:
    """The same sentence as for a wrong secret: which of the two is wrong is nobody's business."""
    credentials(AWS_ACCESS_KEY_ID="nobodys-key", AWS_SECRET_ACCESS_KEY=WRONG_SECRET)
    for call in every_call(bucket.store()):
        with pytest.raises(AccessDenied, match="does not accept the credentials") as refused:
            call()
        assert "nobodys-key" not in said_by(refused.value)


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({}, "no credentials for http.* were found: set AWS_ACCESS_KEY_ID"),
        ({"AWS_ACCESS_KEY_ID": "half"}, "the credentials for http.* are incomplete"),
        ({"AWS_PROFILE": "nobody"}, "AWS_PROFILE"),
    ],
)
def test_absent_credentials_are_one_sentence(
    bucket: Bucket, credentials: Callable[..., None], variables: dict[str, str], sentence: str
) -> None:
    """Before anything is asked of the server."""
    credentials(**variables)
    for call in every_call(bucket.store()):
        with pytest.raises(AccessDenied, match=sentence):
            call()


def test_credentials_that_may_not_write_are_told_which_action(bucket: Bucket) -> None:
    """The name is the one that policies use."""
    bucket.deny("s3:PutObject")
    for data in (b"model", THREE_PARTS):
        with pytest.raises(AccessDenied, match="do not allow s3:PutObject in s3://"):
            bucket.store().put(data)
    assert ([], []) == (bucket.keys(), bucket.uploads())


def test_credentials_that_may_not_read_can_still_write(bucket: Bucket) -> None:
    """A reader is told which action it lacks, and that this may mean that nothing is there."""
    bucket.deny("s3:GetObject")
    store = bucket.store()
    digest = store.put(b"model").sha256

    for call in (lambda: store.fetch(digest), lambda: store.has(digest), lambda: store.put(b"model")):
        with pytest.raises(AccessDenied, match=r"do not allow s3:GetObject in s3://.*s3:ListBucket"):
            call()


# --- a server that is away or answers otherwise ------------------------------------------------


def test_a_server_that_is_down_is_unavailable(credentials: Callable[..., None]) -> None:
    """Nobody listens on the port: the calls end, and say who is away."""
    credentials(AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY=WRONG_SECRET)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        endpoint = f"http://127.0.0.1:{listening.getsockname()[1]}"
    for call in every_call(S3ArtifactStore(S3Address("bucket", "", endpoint), limits=IMPATIENT)):
        with pytest.raises(StorageUnavailable, match=f"{endpoint} could not be reached"):
            call()


def test_a_server_that_never_answers_is_unavailable(credentials: Callable[..., None]) -> None:
    """Connections are accepted, and nothing comes: the time-outs end the calls."""
    credentials(AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY=WRONG_SECRET)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        endpoint = f"http://127.0.0.1:{listening.getsockname()[1]}"
        store = S3ArtifactStore(S3Address("bucket", "", endpoint), limits=IMPATIENT)
        for call in [*every_call(store), store.make_bucket]:
            with pytest.raises(StorageUnavailable, match=f"{endpoint} did not answer before the deadline"):
                call()


def test_a_server_that_dies_meanwhile_is_unavailable_and_keeps_nothing(
    credentials: Callable[..., None],
) -> None:
    """A server of this test's own, killed between two parts; up again, it takes the whole artifact."""
    with own_s3() as server:
        place = server.place
        credentials(**place.environment())
        address = S3Address("artifacts", "", place.endpoint, place.region)
        store = S3ArtifactStore(address, limits=replace(IN_PARTS, attempts=1))
        store.make_bucket()
        with pytest.raises(StorageUnavailable, match=r"could not be reached|broke off"):
            store.put(THREE_PARTS, on_progress=lambda done, _: server.kill() if done else None)
        server.start()

        assert not store.has(sha256(THREE_PARTS).hexdigest())
        assert THREE_PARTS == store.fetch(store.put(THREE_PARTS).sha256)


@dataclass
class Peer:
    """The other side of the wire: answers each request with what `answer(method, headers)` returns.

    An answer is a status, headers and a body; a `Content-Length` among the headers stands as it is.
    """

    answer: Callable[[str, dict[str, str]], tuple[int, dict[str, str], bytes]]
    methods: list[str] = field(default_factory=list)
    endpoint: str = ""

    def store(self, limits: S3Limits = TWO_TRIES) -> S3ArtifactStore:
        """A store on this server."""
        return S3ArtifactStore(S3Address("bucket", "", self.endpoint, "us-east-1"), limits=limits)


@pytest.fixture
def peer(credentials: Callable[..., None]) -> Iterator[Peer]:
    """A server of the test's own, which answers 500 until it is told otherwise."""
    secrets = {"AWS_SECRET_ACCESS_KEY": "the-secret-itself", "AWS_SESSION_TOKEN": "the-token"}
    credentials(AWS_ACCESS_KEY_ID="key", **secrets)
    running = Peer(lambda _method, _headers: (500, {}, b""))

    class Handler(BaseHTTPRequestHandler):
        # A client that announces a body waits for the word to go on, which HTTP/1.0 doesn't have.
        protocol_version = "HTTP/1.1"

        def __getattr__(self, name: str) -> object:
            """Every method is answered alike (`do_GET`, `do_PUT`, …)."""
            if name.startswith("do_"):
                return self.answer_it
            raise AttributeError(name)

        def answer_it(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            running.methods.append(self.command)
            status, headers, body = running.answer(self.command, dict(self.headers))
            self.close_connection = True
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), "Connection": "close", **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        running.endpoint = f"http://127.0.0.1:{server.server_port}"
        yield running
        server.shutdown()
        thread.join()


def refusal(code: str, more: str = "") -> bytes:
    """An error's body as S3 writes it, with things in it that must not be shown."""
    return (
        f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>the-secret-itself</Message>{more}"
        "<AWSAccessKeyId>the-secret-itself</AWSAccessKeyId><StringToSign>the-secret-itself</StringToSign></Error>"
    ).encode()


@pytest.mark.parametrize(
    ("answer", "error", "sentence"),
    [
        ((301, "PermanentRedirect", ""), InvalidInput, "in another region than the one asked"),
        (
            (400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"),
            InvalidInput,
            "region eu-west-1: put",
        ),
        ((400, "ExpiredToken", ""), AccessDenied, "have expired"),
        ((403, "RequestTimeTooSkewed", ""), AccessDenied, "this machine's clock"),
        ((403, "SignatureDoesNotMatch", ""), AccessDenied, "does not accept the credentials"),
        ((403, "AccessDenied", ""), AccessDenied, "do not allow s3:"),
        ((404, "NoSuchBucket", ""), NotFound, "there is no bucket bucket at http"),
        ((400, "BadDigest", ""), ArtifactDamaged, "did not arrive whole"),
        ((503, "SlowDown", ""), StorageUnavailable, r"can't answer now \(SlowDown\)"),
        ((500, "InternalError", ""), StorageUnavailable, "can't answer now"),
        ((507, "InsufficientStorage", ""), StorageFull, "no room left"),
        ((400, "the-secret-itself, no code", ""), InvalidInput, r"refused .* \(400\)"),
        ((400, "KMS.DisabledException", ""), InvalidInput, r"refused .* \(KMS.DisabledException\)"),
    ],
)
def test_what_s3_answers_becomes_one_sentence_without_secrets(
    peer: Peer, answer: tuple[int, str, str], error: type[DeedbookError], sentence: str
) -> None:
    """Of the class that says what to do; HEAD's answers have no body, and are asked about."""
    status, code, more = answer
    peer.answer = lambda _method, _headers: (status, {"Content-Type": "application/xml"}, refusal(code, more))
    store = peer.store(ONE_TRY)

    for call in every_call(store):
        with pytest.raises(error, match=sentence) as refused:
            call()
        assert "the-secret-itself" not in said_by(refused.value)
        assert "the-token" not in said_by(refused.value)


def test_the_region_that_s3_names_is_named(peer: Peer) -> None:
    """In a header, as for a bucket that is elsewhere."""
    peer.answer = lambda _method, _headers: (
        301,
        {"x-amz-bucket-region": "eu-west-1"},
        refusal("PermanentRedirect"),
    )
    for call in every_call(peer.store()):
        with pytest.raises(InvalidInput, match=r"is in the region eu-west-1: put region=eu-west-1 into"):
            call()


@pytest.mark.parametrize(
    ("status", "code", "sentence"),
    [
        (403, "AccessDenied", "they don't allow s3:CreateBucket: have whoever runs the storage make it"),
        (409, "BucketAlreadyExists", "belongs to somebody else"),
    ],
)
def test_a_bucket_that_can_not_be_made_says_what_to_do(
    peer: Peer, status: int, code: str, sentence: str
) -> None:
    """Whoever reads it isn't the one who runs the storage."""
    peer.answer = lambda method, _: (404, {}, b"") if method == "HEAD" else (status, {}, refusal(code))
    with pytest.raises(AccessDenied, match=sentence):
        peer.store().make_bucket()


def test_what_is_no_s3_server_is_said(peer: Peer) -> None:
    """A web server, for example, that answers every question with its page."""
    page = b"<html><p>the-secret-itself</p></html>"
    peer.answer = lambda method, _: (200, {}, page) if method == "POST" else (403, {}, b"")
    with pytest.raises(InvalidInput, match="is not an S3 server") as refused:
        peer.store(IN_PARTS).put(THREE_PARTS)
    assert "the-secret-itself" not in said_by(refused.value)


def test_an_answer_that_breaks_off_is_taken_up_where_it_ended(peer: Peer) -> None:
    """The rest is asked for, and the digest is of the whole."""
    data = THREE_PARTS[:100_000]

    def answer(_method: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        start = int(headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        rest = data[start:]
        return (206 if start else 200), {"Content-Length": str(len(rest))}, (rest if start else rest[:1000])

    peer.answer = answer
    assert data == peer.store().fetch(sha256(data).hexdigest())
    assert ["GET", "GET"] == peer.methods


def test_an_answer_that_always_breaks_off_is_unavailable(peer: Peer) -> None:
    """It is not taken up for ever."""
    peer.answer = lambda _method, _headers: (200, {"Content-Length": "100000"}, b"x")
    with pytest.raises(StorageUnavailable, match="broke off its answer"):
        peer.store().fetch(ABSENT)


def test_more_bytes_than_allowed_are_not_downloaded(peer: Peer) -> None:
    """The announced size decides, before a byte of the body is read: none of it ever comes."""
    peer.answer = lambda _method, _headers: (200, {"Content-Length": str(1 << 40)}, b"")
    with pytest.raises(InvalidInput, match="has 1099511627776 bytes; at most 10 are read here"):
        peer.store().fetch(ABSENT, max_bytes=10)


# --- processes ---------------------------------------------------------------------------------


def test_a_forked_process_has_connections_of_its_own(bucket: Bucket, s3_place: S3Place) -> None:
    """Parent and child use the store at the same time, after the parent did."""
    program = (
        "digest = store.put(b'model').sha256\n"
        "pid = os.fork()\n"
        "for number in range(10):\n"
        "    assert store.fetch(digest) == b'model'\n"
        "    store.put(f'{pid == 0} {number}'.encode())\n"
        "if pid:\n"
        "    print(os.waitpid(pid, 0)[1])\n"
    )
    assert "0\n" == child(bucket, s3_place, program)
    assert 21 == len(bucket.keys())


def test_a_pickled_store_is_its_address_and_no_secret(bucket: Bucket, s3_place: S3Place) -> None:
    """Another process opens the same place with its own credentials."""
    store = bucket.store()
    digest = store.put(b"model").sha256
    data = pickle.dumps(store)

    assert s3_place.secret_key.encode() not in data
    assert b"model" == pickle.loads(data).fetch(digest)  # noqa: S301 (made above)


def test_without_boto3_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is needed where a store in S3 is opened, and nowhere before."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingExtra, match=r"pip install 'deedbook\[s3\]'"):
        store_at("s3://bucket")


def test_the_module_of_stores_imports_no_boto3() -> None:
    """A training job that keeps artifacts in a folder does not pay for it."""
    program = (
        "import sys, deedbook.artifacts.store; print('boto3' in sys.modules or 'botocore' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "False\n" == done.stdout


# --- URLs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("s3://bucket", S3Address("bucket")),
        ("s3://my.bucket-2/", S3Address("my.bucket-2")),
        ("s3://bucket/a/b_c=1/", S3Address("bucket", "a/b_c=1")),
        (
            "s3://bucket/a?endpoint=http://127.0.0.1:8333/&region=eu-west-1",
            S3Address("bucket", "a", "http://127.0.0.1:8333", "eu-west-1"),
        ),
        ("s3://bucket?endpoint=https%3A%2F%2F[::1]:9000", S3Address("bucket", "", "https://[::1]:9000")),
    ],
)
def test_a_url_names_bucket_prefix_endpoint_and_region(url: str, address: S3Address) -> None:
    """A slash at the end changes nothing."""
    assert address == s3_address(url)
    store = store_at(url)
    assert isinstance(store, S3ArtifactStore)
    assert address == store.address


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ab",
        "a" * 64,
        "Bucket",
        "a_b",
        "-ab",
        "ab-",
        "a..b",
        "192.168.5.4",
        "xn--ab",
        "ab-s3alias",
        "a%62c",
        "a:1",
    ],
)
def test_an_impossible_bucket_name_is_refused(name: str) -> None:
    """By S3's own rules."""
    with pytest.raises(InvalidInput, match="names no possible bucket"):
        s3_address(f"s3://{name}/prefix")


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIAKEY:hunter2@bucket/prefix",
        "s3://hunter2@bucket",
        "s3://bucket?endpoint=http://user:hunter2@127.0.0.1:8333",
        "s3://bucket?secret=hunter2",
        "s3://bucket?hunter2",
        "s3://bucket?hunter2=1",
        "s3://bucket?endpoint=hunter2",
        "s3://bucket?endpoint=http://host/hunter2",
        "s3://bucket?endpoint=http://host:99999&region=hunter2",
        "s3://bucket?endpoint=ftp://hunter2",
        "s3://bucket?endpoint=http://hunter2%0a",
        "s3://bucket?region=Hunter2/hunter2",
        "s3://bucket?region=a&region=hunter2",
        "s3://bucket#hunter2",
        "s3://bucket/a//hunter2",
        "s3://bucket/../hunter2",
        "s3://bucket/%2e/hunter2",
        "s3://bucket/a b/hunter2",
        "s3://bucket/a\thunter2",
        "s3://bucket/" + "hunter2" * 100,
        "s3://[hunter2/",
        "https://user:hunter2@host/bucket",
    ],
)
def test_a_url_that_is_refused_is_not_repeated(url: str) -> None:
    """People paste credentials into URLs: no sentence shows them again."""
    with pytest.raises(InvalidInput) as refused:
        store_at(url)
    assert "hunter2" not in said_by(refused.value).replace(f'"{url}"', "")
    assert "hunter2" not in str(refused.value)


def test_the_peer_of_these_tests_speaks_s3s_language(bucket: Bucket) -> None:
    """The real server's refusal has the shape that `refusal` writes."""
    with pytest.raises(ClientError) as refused:
        bucket.client.get_object(Bucket=bucket.address.bucket, Key="nothing")
    assert "NoSuchKey" == refused.value.response["Error"]["Code"]
