"""One consumer of one Kafka partition at a time, that no group moves and that commits nothing."""

from __future__ import annotations

import contextlib
import operator
from typing import TYPE_CHECKING, Any

from deedbook.events.copied_from import copied_from
from deedbook.events.errors import LogDamaged
from deedbook.events.kafka.client import Reports, explained, keep_for_ever, made, native, options
from deedbook.events.log import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import KafkaError, Message

    from deedbook.events.kafka.settings import KafkaSettings

_OWN: dict[str, object] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
    "check.crcs": True,
    "enable.partition.eof": True,
    "allow.auto.create.topics": False,
}
_DEFAULTS: dict[str, object] = {
    # Never joined; a name that access rules can allow.
    "group.id": "deedbook",
    # How much is fetched ahead: bounded, and taken up again at once (librdkafka's own pause is a whole second, which
    # halves the speed of reading).
    "queued.min.messages": 20_000,
    "queued.max.messages.kbytes": 1 << 14,
    "fetch.queue.backoff.ms": 5,
}
# A consumer that follows is told of a new record the moment it is there. But its cluster answers one connection's
# requests in order, so one that jumps about must never leave a fetch waiting.
FOLLOWING = {"fetch.wait.max.ms": 500}
JUMPING = {"fetch.wait.max.ms": 5}
_CHUNK = 2_000
_LOOKING_SECONDS = 5.0
# A header's name that is no UTF-8 makes the library return both an error and a half-made list. A call from C looks at
# the error, which the interpreter's own short cut for methods does not.
_headers_of = operator.methodcaller("headers")
_value = operator.itemgetter(1)
# librdkafka's number for a time that the broker stamped (TIMESTAMP_LOG_APPEND_TIME).
_BY_THE_LOG = 2


class OutOfRange(Exception):
    """The position asked for is not in the partition; only the cluster can say on which side."""


class Fetcher:
    """A consumer, assigned to one partition or none; ``position`` is that of the next record it will give."""

    def __init__(self, settings: KafkaSettings, manner: dict[str, int]) -> None:
        self._settings = settings
        self._reports = Reports(settings)
        configuration = options(settings, self._reports, {**_DEFAULTS, **settings.options, **_OWN, **manner})
        self._consumer: Any = made(settings, native().Consumer, configuration)
        self._eof = native().KafkaError._PARTITION_EOF  # noqa: SLF001 - librdkafka's name for it
        self._known: set[str] = set()
        self.where: tuple[str, int] | None = None
        self.position = 0
        self._ahead: Exception | None = None

    def assign(self, topic: str, partition: int, start: int) -> None:
        """Read a partition from a position on; what was fetched of another is dropped."""
        full = self._settings.topic(topic)
        if full not in self._known:
            # Unasked, a consumer looks for the leaders of further topics once a second.
            with contextlib.suppress(native().KafkaException):  # it tries again by itself
                self._consumer.list_topics(full, _LOOKING_SECONDS)
                self._known.add(full)
        self._consumer.assign([native().TopicPartition(full, partition, start)])
        self.where, self.position, self._ahead = (topic, partition), start, None

    def unassign(self) -> None:
        """Read nothing more; an idle consumer asks its cluster for nothing."""
        if self.where is not None:
            self._consumer.unassign()
            self.where = None

    def fetch(self, most: int, wait_seconds: float) -> list[Record]:
        """Return the next records, up to ``most``: those that are here, or the first to come in the time given.

        Moves ``position`` past them, and past positions that hold none of ours. Raises OutOfRange, LogDamaged,
        and what an error of the cluster means.
        """
        if self._ahead is not None:
            raise self._ahead
        messages = self._consumer.consume(1, wait_seconds) if wait_seconds > 0 else []
        if messages and messages[0].error() is not None:
            return self._taken(messages)
        if most > len(messages):
            messages += self._consumer.consume(min(most - len(messages), _CHUNK), 0)
        return self._taken(messages)

    def trouble(self) -> str:
        """Return the last trouble with the cluster, as the end of a sentence."""
        return self._reports.told()

    def close(self) -> None:
        """Close the consumer."""
        self.where = None
        self._consumer.close()

    def forget(self) -> None:
        """Leave this consumer to the process it belongs to."""
        keep_for_ever(self._consumer)

    def _taken(self, messages: list[Message]) -> list[Record]:
        """Return the records of messages, up to the first error that means something: it is raised after them."""
        if self.where is None:
            return []
        topic, partition = self.where
        records: list[Record] = []
        for message in messages:
            error = message.error()
            if error is None:
                records.append(_record(topic, partition, message))
            elif error.code() == self._eof:
                # Past the last record there may be positions that hold none: a transaction's markers.
                self.position = max(self.position, message.offset() or 0)
            elif (meaning := self._meaning(error, records)) is not None:
                if not records:
                    raise meaning
                self._ahead = meaning
                break
        if records:
            self.position = max(self.position, records[-1].position + 1)
        return records

    def _meaning(self, error: KafkaError, before: list[Record]) -> Exception | None:
        """Return what an error means to a reader; None where the consumer sees to it by itself."""
        topic, partition = self.where or ("", 0)
        match error.name():
            case "_AUTO_OFFSET_RESET" | "OFFSET_OUT_OF_RANGE" | "_LOG_TRUNCATION":
                return OutOfRange(f"{error.name()}: {error.str()}")
            case "_BAD_MSG" | "INVALID_MSG" | "_BAD_COMPRESSION":
                at = before[-1].position + 1 if before else self.position
                said = self._settings.redacted(error.str())
                return LogDamaged(
                    f"{topic}:{partition} holds records that are not as they were stored, from position {at} on: {said}"
                )
            case "_ALL_BROKERS_DOWN" | "_TRANSPORT" | "_RESOLVE" | "_TIMED_OUT" | "_MAX_POLL_EXCEEDED":
                return None
            case "GROUP_AUTHORIZATION_FAILED":
                return None  # no group is joined
            case _:
                return explained(error, topic, self._settings)


def _record(topic: str, partition: int, message: Message) -> Record:
    """Return what a message holds; what another client left out (key, value, a header's value) is empty."""
    kind, stamp = message.timestamp()
    try:
        headers: tuple[tuple[str, bytes], ...] = tuple(_headers_of(message) or ())
        intact = True
    except SystemError:
        headers, intact = (), False
    if not all(map(_value, headers)):
        headers = tuple([(name, value or b"") for name, value in headers])
    return Record(
        topic,
        partition,
        message.offset() or 0,
        stamp * 1000 if kind == _BY_THE_LOG else _stamped_by_its_writer(stamp, headers),
        message.key() or b"",
        message.value() or b"",
        headers,
        intact,
    )


def _stamped_by_its_writer(millis: int, headers: Sequence[tuple[str, bytes]]) -> int:
    """Return when a copied record was recorded, in microseconds: its header's count within the stamp's millisecond."""
    origin = copied_from(headers)
    if origin is not None and origin.recorded_at // 1000 == millis:
        return origin.recorded_at
    return millis * 1000
