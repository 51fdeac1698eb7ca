"""Where a registry is, and how what it is made of is opened there: its log, what is folded here, its artifacts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deedbook.artifacts.store import LocalArtifactStore, store_at
from deedbook.client.remote.address import SCHEMES as SERVICE_SCHEMES
from deedbook.client.remote.address import ServiceAddress, service_address
from deedbook.client.urls import folder_of
from deedbook.events.errors import InvalidInput
from deedbook.events.sqlite_log import SqliteLog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deedbook.artifacts.store import ArtifactStore
    from deedbook.events.kafka.settings import KafkaSettings
    from deedbook.events.log import Log

KAFKA_SCHEME = "kafka"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the environment says beside a URL; an empty text where it says nothing.

    `folder`: where this machine folds a log that is on Kafka. `artifacts`: where artifacts are kept. `kafka_config`:
    a properties file with librdkafka's settings. `state`: where programs keep their state here. `token`: what a service
    knows this program by; `insecure_token`: it may be sent without TLS. `ca_file`: the certificates that the service is
    known by.
    """

    folder: str = ""
    artifacts: str = ""
    kafka_config: str = ""
    state: str = ""
    token: str = field(default="", repr=False)
    insecure_token: bool = False
    ca_file: str = ""

    @staticmethod
    def read(environment: Mapping[str, str]) -> Surroundings:
        """Return what an environment says."""
        # The XDG specification: a path that is not absolute does not count.
        shared = environment.get("XDG_STATE_HOME", "")
        return Surroundings(
            folder=environment.get("DEEDBOOK_FOLDER", ""),
            artifacts=environment.get("DEEDBOOK_ARTIFACTS", ""),
            kafka_config=environment.get("DEEDBOOK_KAFKA_CONFIG", ""),
            state=shared if shared.startswith("/") else "",
            token=environment.get("DEEDBOOK_TOKEN", "").strip(),
            insecure_token=environment.get("DEEDBOOK_INSECURE_TOKEN", "") not in {"", "0"},
            ca_file=environment.get("DEEDBOOK_CA_FILE", ""),
        )


@dataclass(frozen=True, slots=True)
class Place:
    """A registry's place: `folder` holds what is folded here and, without `kafka` and `service`, the log itself.

    Of a registry behind a `service` there is nothing here but copies of what it answered.
    """

    url: str
    folder: Path
    artifacts_at: str = ""
    kafka: KafkaSettings | None = None
    service: ServiceAddress | None = None

    def log(self, *, create: bool, clock: Callable[[], int]) -> Log:
        """Open the log; a folder's is made where there is none and `create` says so, Kafka's by `make` alone.

        Raises NotFound, and what opening raises: LogUnavailable, LogDamaged, InvalidInput, MissingExtra.
        """
        self.check_log_is_here()
        if self.kafka is None:
            return SqliteLog(self.folder, create=create, clock=clock)
        from deedbook.events.kafka.log import KafkaLog

        return KafkaLog(self.kafka)

    def make(self, *, partitions: int) -> None:
        """Make what a registry needs before it is first used; what is there already stays as it is."""
        self.check_log_is_here()
        if self.kafka is None:
            SqliteLog.create(self.folder).close()
        else:
            from deedbook.events.kafka.topics import create_topics

            create_topics(self.kafka, partitions=partitions)
        if self.artifacts_at:
            from deedbook.artifacts.s3.store import S3ArtifactStore

            store = self.artifacts()
            if isinstance(store, S3ArtifactStore):
                store.make_bucket()

    def artifacts(self) -> ArtifactStore:
        """Return the store of the models and request sets; InvalidInput where none is named for a log on Kafka."""
        self.check_log_is_here()
        if self.artifacts_at:
            return store_at(self.artifacts_at, cache=self.folder / "artifact-copies")
        if self.kafka is not None:
            raise InvalidInput(
                f"where the artifacts of {self.url} are is not known: set DEEDBOOK_ARTIFACTS to s3://bucket/prefix, "
                "or to a folder that all machines share"
            )
        return LocalArtifactStore(self.folder / "artifacts")

    def key(self) -> str:
        """Return what tells this registry from another, however its URL is written."""
        return self.url if self.kafka is not None or self.service is not None else self.folder.as_uri()

    def check_log_is_here(self) -> None:
        """Raise InvalidInput where the log is behind a service: what needs it is to be run elsewhere."""
        if self.service is not None:
            raise InvalidInput(
                f"this needs the log itself, and {self.url} is a service: run it where the log is, with the URL that "
                "the service has there"
            )


def place_of(url: str, surroundings: Surroundings) -> Place:
    """Return the place that a URL names, without opening anything; raises InvalidInput where it names none."""
    scheme = url.partition("://")[0].lower()
    if scheme in SERVICE_SCHEMES:
        address = service_address(
            url,
            token=surroundings.token,
            ca_file=surroundings.ca_file,
            insecure_token=surroundings.insecure_token,
        )
        return Place(address.url, _folder_for(address.url, surroundings), service=address)
    if scheme != KAFKA_SCHEME:
        return Place(url, folder_of(url), surroundings.artifacts)
    from deedbook.events.kafka.settings import kafka_settings

    config = Path(surroundings.kafka_config) if surroundings.kafka_config else None
    settings = kafka_settings(url, config)
    written = f"kafka://{settings.servers}/{settings.prefix}".removesuffix("/")
    return Place(written, _folder_for(written, surroundings), surroundings.artifacts, settings)


def _folder_for(url: str, surroundings: Surroundings) -> Path:
    """Return where this machine keeps what a log elsewhere comes to: one folder for each URL."""
    if surroundings.folder:
        return Path(surroundings.folder).absolute()
    state = Path(surroundings.state) if surroundings.state else Path.home() / ".local" / "state"
    kind = url.partition("://")[0]
    return state / "deedbook" / f"{kind}-{hashlib.sha256(url.encode()).hexdigest()[:16]}"
