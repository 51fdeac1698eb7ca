"""The log on Kafka: one topic of the cluster for each of ours, in order within a partition.

An append is acknowledged once all in-sync replicas have it. A batch is not one transaction: of one that failed,
the first records of each partition may have been appended. Reads see what is committed.
"""

from __future__ import annotations

import contextlib
import os
import time
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deedbook.events.errors import (
    DeedbookError,
    InvalidInput,
    LogDamaged,
    LogReplaced,
    LogUnavailable,
)
from deedbook.events.facts import TOPICS
from deedbook.events.kafka.client import Admin, explained, keep_for_ever, native
from deedbook.events.kafka.fetching import OutOfRange
from deedbook.events.kafka.producing import Producing
from deedbook.events.kafka.reading import Reading
from deedbook.events.kafka.topics import check, describe
from deedbook.events.log import MAX_BODY_BYTES, MAX_HEAD_BYTES, NewRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import KafkaError

    from deedbook.events.kafka.settings import KafkaSettings
    from deedbook.events.log import Record

_ASKING_SECONDS = 30.0
_LOOK_SECONDS = 1.0
_LOOKS = 3
_PAUSE_SECONDS = 0.2
_RETRY_SECONDS = 0.05
_SETTLING_SECONDS = 3.0
_OPEN: weakref.WeakSet[KafkaLog] = weakref.WeakSet()


@dataclass(slots=True)
class _Clients:
    """The clients of one process."""

    pid: int
    admin: Admin
    producing: Producing
    reading: Reading

    def forget(self) -> None:
        """Leave them to the process they belong to."""
        keep_for_ever(self.admin.client)
        self.producing.forget()
        self.reading.forget()


class KafkaLog:
    """The `Log` kept on Kafka, in topics that `create_topics` made.

    ``copying`` opens one that a copy is filling, to be read only; opening waits for the cluster until the time-out.
    Raises NotFound, InvalidInput (a topic that would
    lose events), AccessDenied, LogUnavailable, MissingExtra.
    """

    def __init__(
        self, settings: KafkaSettings, *, copying: bool = False, timeout_seconds: float = 15.0
    ) -> None:
        self._settings = settings
        self._copying = copying
        self._closed = False
        self._replaced = ""
        self._reached: dict[tuple[str, int], int] = {}
        self._clients = self._new_clients()
        deadline = time.monotonic() + timeout_seconds
        self._topics = describe(self._clients.admin, deadline, at_once_if_denied=True)
        check(self._clients.admin, self._topics, deadline, copying=copying)
        if not copying:
            self._clients.producing.prepare()
        self._partitions = dict(self._topics.partitions)
        self._looked = time.monotonic()
        _notice_forks()
        _OPEN.add(self)
        # A log that was forgotten rather than closed leaves no thread behind.
        weakref.finalize(self, _let_go, os.getpid(), self._clients.producing).atexit = False

    def append(
        self, topic: str, records: Sequence[NewRecord], *, timeout_seconds: float = 30.0
    ) -> list[tuple[int, int]]:
        """Append records in order and return each one's (partition, position) once all are acknowledged.

        Raises LogUnavailable (time-out, or a part failed: what was appended is unknown or said), LogReplaced,
        AccessDenied, InvalidInput.
        """
        _check_topic(topic)
        deadline = time.monotonic() + timeout_seconds
        for record in records:
            _check_size(record)
        clients = self._current()
        if self._copying:
            raise InvalidInput("this log is being copied into: nothing else is appended to it meanwhile")
        if not records:
            return []
        self._glance()
        try:
            places = clients.producing.append(topic, records, deadline, while_waiting=self._glance)
        except LogReplaced as error:
            raise self._verified(error) from None
        for partition, last in dict(places).items():
            self._reach(topic, partition, last + 1)
        return places

    def read(
        self,
        topic: str,
        partition: int,
        start: int,
        *,
        max_records: int = 10_000,
        max_bytes: int = 32 << 20,
        timeout_seconds: float = 0.0,
    ) -> list[Record]:
        """Return the records from ``start`` on, in order; waits for the first until the time-out.

        Raises LogDamaged (records are missing or changed), LogReplaced, LogUnavailable, AccessDenied, InvalidInput.
        """
        if start < 0 or max_records < 1 or max_bytes < 1:
            raise InvalidInput(
                "a read starts at position 0 or later, and asks for at least one record and byte"
            )
        clients = self._current()
        self._check_partition(topic, partition)
        self._reach(topic, partition, start)
        for tries_left in range(_LOOKS, -1, -1):
            try:
                return clients.reading.read(
                    topic,
                    partition,
                    start,
                    max_records=max_records,
                    max_bytes=max_bytes,
                    timeout_seconds=timeout_seconds,
                )
            except OutOfRange:
                meaning = self._out_of_range(topic, partition, start)
                if not tries_left or not isinstance(meaning, LogUnavailable):
                    raise meaning from None
                time.sleep(_PAUSE_SECONDS)
            except LogReplaced as error:
                raise self._verified(error) from None
        raise AssertionError  # the last try returned or raised

    def partitions(self, topic: str) -> int:
        """Return how many partitions the topic has, as of a second ago."""
        _check_topic(topic)
        self._current()
        self._look_again()
        return self._known_partitions(topic)

    def end(self, topic: str, partition: int = 0) -> int:
        """Return the position the next record will get, as the cluster says now."""
        self._current()
        self._check_partition(topic, partition)
        return self._offsets([(topic, partition)])[topic, partition]

    def ends(self, topics: Sequence[str]) -> dict[tuple[str, int], int]:
        """Return the position the next record will get, for each (topic, partition), in one round trip."""
        for topic in topics:
            _check_topic(topic)
        self._current()
        self._look_again()
        return self._offsets(
            [(topic, one) for topic in topics for one in range(self._known_partitions(topic))]
        )

    def identity(self) -> str:
        """Return the ids of the cluster and of each topic."""
        return self._topics.identity()

    def close(self) -> None:
        """End all clients; a read that waits returns with nothing. Closing twice is harmless."""
        if self._closed:
            return
        self._closed = True
        if self._clients.pid == os.getpid():
            self._clients.producing.close()
            self._clients.reading.close()

    def after_fork(self) -> None:
        """Leave the parent's clients alone: called in a child, where their threads are not."""
        self._clients.forget()

    def _new_clients(self) -> _Clients:
        reading = Reading(self._settings, self._end_of)
        return _Clients(os.getpid(), Admin(self._settings), Producing(self._settings), reading)

    def _current(self) -> _Clients:
        if self._closed:
            raise InvalidInput(f"the log at {self._settings.servers} was closed by this program")
        if self._replaced:
            raise LogReplaced(self._replaced)
        if self._clients.pid != os.getpid():
            self._clients = self._new_clients()
        return self._clients

    def _end_of(self, topic: str, partition: int) -> int:
        self._look_again()
        return self._offsets([(topic, partition)])[topic, partition]

    def _reach(self, topic: str, partition: int, position: int) -> None:
        """Remember that a partition reaches to a position: it was acknowledged, or somebody goes on from there."""
        if position > self._reached.get((topic, partition), 0):
            self._reached[topic, partition] = position

    def _offsets(
        self, wanted: Sequence[tuple[str, int]], *, earliest: bool = False
    ) -> dict[tuple[str, int], int]:
        """Return where partitions end (the last committed), or begin; tries again while leaders change.

        A broker that comes back from a power failure tells of an earlier end for a moment: one before what was
        acknowledged is believed only when it stays so.
        """
        kafka = native()
        admin = self._current().admin
        settled = time.monotonic() + _SETTLING_SECONDS
        deadline = time.monotonic() + _ASKING_SECONDS
        spec = kafka.admin.OffsetSpec.earliest() if earliest else kafka.admin.OffsetSpec.latest()
        name = self._settings.topic
        places = {kafka.TopicPartition(name(topic), number): (topic, number) for topic, number in wanted}
        found: dict[tuple[str, int], int] = {}
        while places:
            waits = time.monotonic() < settled
            is_stale = False
            futures = admin.client.list_offsets(
                dict.fromkeys(places, spec),
                isolation_level=kafka.IsolationLevel.READ_COMMITTED,
                request_timeout=max(1.0, deadline - time.monotonic()),
            )
            for place, answer in admin.answers(futures, deadline).items():
                failed = _failure(answer)
                if failed is None:
                    where = places[place]
                    if earliest or answer.offset >= self._reached.get(where, 0) or not waits:
                        found[where] = answer.offset
                        del places[place]
                    continue
                meaning = explained(failed, places[place][0], self._settings)
                if isinstance(meaning, LogReplaced):
                    raise self._verified(meaning)
                if not isinstance(meaning, LogUnavailable) or time.monotonic() >= deadline:
                    raise meaning
                is_stale |= failed.name() == "FENCED_LEADER_EPOCH"
            if is_stale:
                # After a restart librdkafka goes on asking by the leader's old epoch: this tells it the new one.
                with contextlib.suppress(kafka.KafkaException):
                    admin.client.list_topics(timeout=_LOOK_SECONDS)
            if places:
                time.sleep(_RETRY_SECONDS)
        if not earliest:
            self._reached |= {where: end for where, end in found.items() if end < self._reached.get(where, 0)}
        return {where: found[where] for where in wanted}

    def _glance(self) -> None:
        """Look again, if the cluster says at once what there is to see."""
        with contextlib.suppress(LogUnavailable):
            self._look_again(time.monotonic() + _LOOK_SECONDS)

    def _look_again(self, deadline: float | None = None) -> None:
        """See, at most once a second, that the topics are still those this log was opened with."""
        if time.monotonic() - self._looked >= _LOOK_SECONDS:
            self._look(deadline)

    def _look(self, deadline: float | None = None) -> None:
        self._looked = time.monotonic()
        deadline = deadline or self._looked + _ASKING_SECONDS
        changed = ""
        for _ in range(_LOOKS):
            now = describe(self._current().admin, deadline)
            changed = now.changed_since(self._topics)
            if not changed:
                self._partitions = dict(now.partitions)
                return
            # A broker that is behind may not know a topic yet, and one that was deleted may be on its way back.
            time.sleep(_PAUSE_SECONDS)
        self._replaced = f"the log at {self._settings.servers} is not the one that was opened: {changed}"
        raise LogReplaced(self._replaced)

    def _verified(self, error: LogReplaced) -> DeedbookError:
        """Return what is behind an error that says a topic is gone: brokers that just started say so, too."""
        try:
            self._look()
        except LogReplaced as found:
            return found
        return LogUnavailable(f"{error}, or its brokers do not know it yet: try again")

    def _out_of_range(self, topic: str, partition: int, start: int) -> DeedbookError:
        """Return what it means that a partition does not have a position."""
        try:
            self._look()
            end = self._offsets([(topic, partition)])[topic, partition]
            first = self._offsets([(topic, partition)], earliest=True)[topic, partition]
        except DeedbookError as error:
            return error
        if start > end:
            return LogReplaced(
                f"{topic}:{partition} ends at {end}, and was to be read from {start} on: the log lost records or was "
                "recreated"
            )
        if start < first:
            return LogDamaged(
                f"{topic}:{partition} begins at {first}, and was to be read from {start} on: the records before were "
                "deleted"
            )
        return LogUnavailable(f"{topic}:{partition} could not be read from {start} on just now: try again")

    def _known_partitions(self, topic: str) -> int:
        if topic not in self._partitions:
            raise explained(
                native().KafkaError(native().KafkaError.TOPIC_AUTHORIZATION_FAILED), topic, self._settings
            )
        return self._partitions[topic]

    def _check_partition(self, topic: str, partition: int) -> None:
        _check_topic(topic)
        if not 0 <= partition < self._known_partitions(topic):
            self._look()
        if not 0 <= partition < self._known_partitions(topic):
            raise InvalidInput(
                f"there is no partition {partition} of {topic!r}: it has {self._known_partitions(topic)}, from 0 on"
            )


def _notice_forks() -> None:
    """See, once in a process, that no child destroys its parent's clients."""
    if not _NOTICING:
        os.register_at_fork(after_in_child=_after_fork)
        _NOTICING.append(True)


_NOTICING: list[bool] = []


def _let_go(pid: int, producing: Producing) -> None:
    if pid == os.getpid():
        producing.close()


def _after_fork() -> None:
    for log in list(_OPEN):
        log.after_fork()


def _failure(answer: Any) -> KafkaError | None:  # noqa: ANN401 - of the library
    """Return why a partition's offset is not known, None where it is."""
    error: type[KafkaError] = native().KafkaError
    if isinstance(answer, error):
        return answer
    # A broker that did not answer in time is no error to librdkafka here: it tells an offset that is none.
    return error(error._TIMED_OUT) if answer.offset < 0 else None  # noqa: SLF001 - its name for it


def _check_topic(topic: str) -> None:
    if topic not in TOPICS:
        raise InvalidInput(f"there is no topic {topic[:60]!r}: the topics are {', '.join(TOPICS)}")


def _check_size(record: NewRecord) -> None:
    if len(record.value) > MAX_BODY_BYTES:
        raise InvalidInput(f"a body of {len(record.value):,} bytes is over the limit of {MAX_BODY_BYTES:,}")
    head = len(record.key) + sum([len(name.encode()) + len(value) for name, value in record.headers])
    if head > MAX_HEAD_BYTES:
        raise InvalidInput(f"key and headers are over the limit of {MAX_HEAD_BYTES:,} bytes")
