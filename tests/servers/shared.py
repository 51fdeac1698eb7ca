"""One Kafka and one S3 server for a whole run of the tests, however many processes it has.

Each is looked for in this order: the one that `DEEDBOOK_TEST_KAFKA` or `DEEDBOOK_TEST_S3` names; one in a container,
where a Docker engine answers; else one from packages alone. The first test that needs it starts it; it ends with the
process that controls the run.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from filelock import FileLock

from tests.servers.leash import OWNER, Leash, held
from tests.servers.ports import GRPC_ABOVE, HOST, free_ports

if TYPE_CHECKING:
    from botocore.client import BaseClient

    from tests.servers.s3 import S3Place

FOLDER = "servers_folder"
_OWNED = pytest.StashKey[tuple[Path, IO[str]]]()
# Whoever started a server keeps its process object, so that Python doesn't complain about it.
_kept: list[object] = []


# --- the run that owns them ----------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    """Hold the lock by whose loss the servers learn that the run is over."""
    if not hasattr(config, "workerinput"):
        folder = Path(tempfile.mkdtemp(prefix="deedbook-servers-"))
        config.stash[_OWNED] = (folder, held(folder / OWNER))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:  # noqa: ANN401 - pytest-xdist says nothing of its types
    """Tell each worker where the servers are noted."""
    folder, _lock = node.config.stash[_OWNED]
    node.workerinput[FOLDER] = str(folder)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let go of the servers, and wait until they are gone."""
    if _OWNED not in config.stash:
        return
    folder, lock = config.stash[_OWNED]
    started = any(folder.glob("*.started"))
    lock.close()
    ends_at = time.monotonic() + 10
    while started and folder.exists() and time.monotonic() < ends_at:
        time.sleep(0.02)
    shutil.rmtree(folder, ignore_errors=True)


def folder_of_run(config: pytest.Config) -> Path:
    """Where the servers of this run are noted."""
    if hasattr(config, "workerinput"):
        return Path(config.workerinput[FOLDER])
    return config.stash[_OWNED][0]


def _shared(config: pytest.Config, kind: str, start: Callable[[Leash, Path], str]) -> str:
    """The address of the run's server of a kind; started by whoever asks first, and if that fails, failed for all."""
    folder = folder_of_run(config)
    address = folder / f"{kind}.address"
    failure = folder / f"{kind}.failure"
    with FileLock(folder / f"{kind}.lock", timeout=600):
        if failure.exists():
            raise RuntimeError(failure.read_text(encoding="utf-8"))
        if not address.exists():
            (folder / kind).mkdir()
            (folder / f"{kind}.started").touch()
            leash = Leash(folder / OWNER, folder / kind, temporary=True)
            _kept.append(leash)
            try:
                address.write_text(start(leash, folder / kind), encoding="utf-8")
            except RuntimeError as error:
                failure.write_text(str(error), encoding="utf-8")
                raise
        return address.read_text(encoding="utf-8")


# --- ways to start one ---------------------------------------------------------------------------


def _start_kafka(leash: Leash, folder: Path) -> str:
    """A broker's address."""
    from tests.servers.kafka import KafkaCluster, quiet_admin

    (port,) = free_ports(1)
    if _in_container("kafka", port, leash, folder):
        _until(lambda: bool(quiet_admin(f"{HOST}:{port}").list_topics(timeout=2).brokers), "Kafka")
        return f"{HOST}:{port}"
    cluster = KafkaCluster(folder / "packages", leash)
    _kept.append(cluster)
    cluster.start()
    return cluster.servers


def _start_s3(leash: Leash, folder: Path) -> str:
    """An S3 server's address, as `DEEDBOOK_TEST_S3` would give it."""
    from tests.servers.containers import KEYS
    from tests.servers.s3 import S3Place, S3Server

    (port,) = free_ports(1, beside=GRPC_ABOVE)
    if _in_container("s3", port, leash, folder):
        _until(S3Place(f"http://{HOST}:{port}", *KEYS).answers, "The S3 server")
        return f"http://{KEYS[0]}:{KEYS[1]}@{HOST}:{port}"
    server = S3Server(folder, leash)
    _kept.append(server)
    server.start()
    access_key, secret_key = server.place.access_key, server.place.secret_key
    return server.place.endpoint.replace("http://", f"http://{access_key}:{secret_key}@")


def _in_container(kind: str, port: int, leash: Leash, folder: Path) -> bool:
    """Whether there is a container now; an engine that can't start it is told of, and done without."""
    from tests.servers import containers

    if not containers.engine_answers():
        return False
    log_path, started = folder / "container.log", folder / "container.started"
    command = [sys.executable, "-P", containers.__file__, kind, str(port), str(started)]
    process = leash.start(command, log_path)
    _kept.append(process)
    _until(lambda: started.exists() or process.poll() is not None, f"The container of {kind}", seconds=300)
    if not started.exists():
        said = log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        warnings.warn(f"Docker answers, but starts no {kind}: {said[-1:]}", stacklevel=2)
    return started.exists()


def _until(is_so: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Wait for a server in a container."""
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        try:
            if is_so():
                return
        except Exception:  # noqa: BLE001, S110 - whatever its client raises: it isn't there yet
            pass
        time.sleep(0.1)
    raise RuntimeError(f"{what} isn't up after {seconds:.0f} s.")


# --- what tests ask for --------------------------------------------------------------------------


@pytest.fixture(scope="session")
def kafka(pytestconfig: pytest.Config) -> str:
    """The `bootstrap.servers` of the run's Kafka: one broker, shared by all tests."""
    return os.environ.get("DEEDBOOK_TEST_KAFKA") or _shared(pytestconfig, "kafka", _start_kafka)


@pytest.fixture
def kafka_url(kafka: str) -> Iterator[str]:
    """The URL of a registry that nobody else uses; its topics are removed after the test."""
    prefix = f"t{uuid4().hex[:12]}"
    yield f"kafka://{kafka}/{prefix}"
    delete_topics(kafka, prefix)


def delete_topics(servers: str, prefix: str) -> None:
    """Remove the topics of a prefix."""
    from tests.servers.kafka import quiet_admin

    admin = quiet_admin(servers)
    topics = [name for name in admin.list_topics(timeout=10).topics if name.startswith(f"{prefix}.")]
    if topics:
        for deleted in admin.delete_topics(topics).values():
            deleted.result(timeout=30)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket of one test's own."""

    place: S3Place
    name: str
    client: BaseClient

    @property
    def url(self) -> str:
        """The bucket as deedbook names it."""
        return self.place.url(self.name)

    def keys(self) -> list[str]:
        """The keys of all objects."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]


@pytest.fixture(scope="session")
def s3_place(pytestconfig: pytest.Config) -> S3Place:
    """Where the run's S3 server is, and its keys."""
    from tests.servers.s3 import S3Place

    address = os.environ.get("DEEDBOOK_TEST_S3") or _shared(pytestconfig, "s3", _start_s3)
    parts = urlsplit(address)
    if not (parts.hostname and parts.username and parts.password):
        raise RuntimeError("DEEDBOOK_TEST_S3 is written http://access-key:secret-key@host:port.")
    return S3Place(f"{parts.scheme}://{parts.hostname}:{parts.port}", parts.username, parts.password)


@pytest.fixture(scope="session")
def s3_client(s3_place: S3Place) -> BaseClient:
    """A boto3 client of the run's S3 server."""
    return s3_place.client()


@pytest.fixture
def s3(s3_place: S3Place, s3_client: BaseClient) -> Iterator[Bucket]:
    """A new bucket, removed after the test with all that is in it."""
    bucket = Bucket(s3_place, f"t{uuid4().hex[:12]}", s3_client)
    s3_client.create_bucket(Bucket=bucket.name)
    yield bucket
    for found in s3_client.list_multipart_uploads(Bucket=bucket.name).get("Uploads", []):
        s3_client.abort_multipart_upload(Bucket=bucket.name, Key=found["Key"], UploadId=found["UploadId"])
    for key in bucket.keys():  # noqa: SIM118 - no dictionary
        s3_client.delete_object(Bucket=bucket.name, Key=key)
    s3_client.delete_bucket(Bucket=bucket.name)
