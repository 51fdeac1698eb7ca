"""What is announced to the hosts of a service: the `deployments` topic, read as it is, without a projection.

The announcer writes there what the fold decided, at least once, with the service as key. A service's news are
in one partition, until partitions are added: then the older are where they were, and the newer may be elsewhere.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from deedbook.client.following import PATIENCE_SECONDS, WAIT_SECONDS, News
from deedbook.client.patience import within
from deedbook.events.errors import NotFound, Undecodable, UnknownSchema
from deedbook.events.facts import DEPLOYMENTS, DeploymentCreated, DeploymentRejected
from deedbook.events.names import shown
from deedbook.events.shape import problem_of
from deedbook.projector.queries.deployments import BoundModel, Deployment, unbound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deedbook.events.codec import Codec
    from deedbook.events.facts import DeployedModel
    from deedbook.events.log import Log, Record

_LOG = logging.getLogger(__name__)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Partitions besides the service's own are looked at this often: news come there only while partitions are added.
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Listener:
    """Tells what is said to one service in one environment from everything else that the topic holds."""

    codec: Codec
    service: str
    environment: str

    def heard(self, record: Record) -> News | None:
        """Return the news in a record, None where it holds none for this service and environment.

        What has the service's key and can't be its news is passed over with a warning. Raises UnknownSchema
        (a newer release wrote it).
        """
        if record.key != self.service.encode():
            return None
        where = f"{record.topic}:{record.partition}:{record.position}"
        try:
            fact = self.codec.decode(record)
        except Undecodable as error:
            _LOG.warning("%s is passed over: %s", where, error)
            return None
        if not isinstance(fact, DeploymentCreated | DeploymentRejected):
            _LOG.warning("%s is passed over: it is a %s", where, type(fact).__name__)
            return None
        problem = problem_of(fact)
        if problem is None and fact.service != self.service:
            problem = f"its key is {shown(self.service)}, its service {shown(fact.service)}"
        if problem is not None:
            _LOG.warning("%s is passed over: %s", where, problem)
            return None
        return fact if fact.environment == self.environment else None


def announced_binding(log: Log, listener: Listener, release: str) -> Deployment:
    """Return the deployment that binds a release, as far as the topic tells of it.

    The first that was announced counts; a later one of the same release makes that binding current again. What the
    topic does not tell is empty, and `requested_at` is when it was announced. Raises NotFound, which says what is
    bound; UnknownSchema where only a newer release may know; and what reading raises.
    """
    created: list[tuple[tuple[int, int, int], DeploymentCreated]] = []
    unknown: UnknownSchema | None = None
    for record in _everything(log):
        try:
            news = listener.heard(record)
        except UnknownSchema as error:
            unknown = unknown or error
            continue
        if isinstance(news, DeploymentCreated):
            created.append(((record.recorded_at, record.partition, record.position), news))
    created.sort(key=lambda one: one[0])
    first: dict[str, tuple[int, DeploymentCreated]] = {}
    for (recorded_at, _, _), fact in created:
        _, bound = first.setdefault(fact.release, (recorded_at, fact))
        if (fact.deployment_id, fact.models) != (bound.deployment_id, bound.models):
            _LOG.warning(
                "a second binding of release %s is passed over: the first counts", shown(fact.release)
            )
    if release in first:
        # Said again later, a decision is as old as it was.
        newest = max([fact for _, fact in created], key=lambda fact: fact.requested_at_position)
        return _deployment(*first[release], current=newest.release == release)
    if unknown is not None:
        raise unknown
    known = sorted(first.values(), key=lambda one: one[1].requested_at_position, reverse=True)
    instead = unbound(listener.service, release, listener.environment, [fact.release for _, fact in known])
    raise NotFound(f"{instead}; what is accepted is announced by `deedbook project`")


def _everything(log: Log) -> Iterator[Record]:
    """Read all partitions up to where they end now."""
    for (_, partition), end in log.ends([DEPLOYMENTS]).items():
        yield from _records(log, partition, 0, end)


def _records(log: Log, partition: int, start: int, end: int) -> Iterator[Record]:
    while start < end and (records := log.read(DEPLOYMENTS, partition, start)):
        yield from records
        start = records[-1].position + 1


def _deployment(recorded_at: int, fact: DeploymentCreated, *, current: bool) -> Deployment:
    return Deployment(
        deployment_id=fact.deployment_id,
        service=fact.service,
        environment=fact.environment,
        release=fact.release,
        git_sha=fact.git_sha,
        decision="accepted",
        reason="",
        previous=fact.previous or None,
        note="",
        acceptance_passed=None,
        acceptance_requests=0,
        acceptance_summary="",
        acceptance_uri="",
        actor="",
        requested_at=_EPOCH + timedelta(microseconds=recorded_at),
        position=fact.requested_at_position,
        current=current,
        models=tuple(_bound(model) for model in sorted(fact.models, key=lambda model: model.model)),
    )


def _bound(model: DeployedModel) -> BoundModel:
    known = model.version > 0
    return BoundModel(
        model=model.model,
        training_id=model.training_id,
        version=model.version if known else None,
        artifact_uri=model.artifact.uri if known else None,
        artifact_sha256=model.artifact.sha256 if known else None,
        artifact_size_bytes=model.artifact.size_bytes if known else None,
        artifact_format=model.artifact.format if known else None,
    )


class LogFeed:
    """The news that a log brings, from where the topic ends now, or from its beginning.

    `open_log` returns the log, opened or opened before; it is asked again while that is away.
    """

    def __init__(self, open_log: Callable[[], Log], listener: Listener, *, from_the_beginning: bool) -> None:
        self._open_log = open_log
        self._listener = listener
        self._from_the_beginning = from_the_beginning
        self._next: dict[int, int] = {}
        self._look_at = 0.0

    def start(self) -> None:
        """Find where the topic ends; raises LogUnavailable, also where nobody answers."""
        self._next = within(PATIENCE_SECONDS, self._starts, "the registry")

    def _starts(self) -> dict[int, int]:
        ends = self._open_log().ends([DEPLOYMENTS])
        return {partition: 0 if self._from_the_beginning else end for (_, partition), end in ends.items()}

    def heard(self) -> Iterator[News | None]:
        """Yield what is new, waiting for it for a moment; raises LogUnavailable."""
        for record in self._records(self._open_log()):
            yield self._listener.heard(record)
        yield None

    def _records(self, log: Log) -> Iterator[Record]:
        """Yield what is new in the service's own partition, waiting for it, and now and then in the others."""
        if not self._next:
            self._next = self._starts()
        if time.monotonic() >= self._look_at:
            for (_, partition), end in log.ends([DEPLOYMENTS]).items():
                # One that was not there is new, and so is all it holds.
                for record in _records(log, partition, self._next.setdefault(partition, 0), end):
                    self._next[partition] = record.position + 1
                    yield record
            self._look_at = time.monotonic() + _LOOK_SECONDS
        own = _partition_of(self._listener.service.encode(), len(self._next))
        for record in log.read(DEPLOYMENTS, own, self._next[own], timeout_seconds=WAIT_SECONDS):
            self._next[own] = record.position + 1
            yield record

    def interrupt(self) -> None:
        """Nothing waits for longer than a moment."""


def _partition_of(key: bytes, partitions: int) -> int:
    """Return where Kafka's producers put a key: murmur2, as Java's and ours have it."""
    mask = 0xFFFFFFFF
    hashed = 0x9747B28C ^ len(key)
    whole = len(key) - len(key) % 4
    for at in range(0, whole, 4):
        part = int.from_bytes(key[at : at + 4], "little") * 0x5BD1E995 & mask
        hashed = (hashed * 0x5BD1E995 & mask) ^ ((part ^ part >> 24) * 0x5BD1E995 & mask)
    if whole < len(key):
        hashed = (hashed ^ int.from_bytes(key[whole:], "little")) * 0x5BD1E995 & mask
    hashed = (hashed ^ hashed >> 13) * 0x5BD1E995 & mask
    return ((hashed ^ hashed >> 15) & 0x7FFFFFFF) % partitions
