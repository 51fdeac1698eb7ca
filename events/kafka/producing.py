"""Appending to Kafka: one idempotent producer for all threads, and a thread that takes its delivery reports.

A producer is given up, and the next append makes another, when librdkafka calls an error fatal and when an
append ran out of time: what it still holds would only be sent long after its caller was told *unknown*.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from deedbook.events.errors import DeedbookError, LogReplaced, LogUnavailable
from deedbook.events.kafka.client import Reports, explained, keep_for_ever, made, native, options
from deedbook.events.kafka.topics import LARGEST_BATCH_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from confluent_kafka import KafkaError, Message

    from deedbook.events.kafka.settings import KafkaSettings
    from deedbook.events.log import NewRecord

_OWN: dict[str, object] = {
    "acks": "all",
    "enable.idempotence": True,
    # Java's partitioner, so that any client's records of one key share a partition.
    "partitioner": "murmur2_random",
}
_DEFAULTS: dict[str, object] = {
    "message.timeout.ms": 60_000,
    # No lingering: one append takes 0.6 ms instead of 1.6, and batches form by themselves while one is on its way.
    "linger.ms": 0,
    "compression.type": "lz4",
    "message.max.bytes": LARGEST_BATCH_BYTES,
    "queue.buffering.max.kbytes": 1 << 16,
}
_POLL_SECONDS = 0.1
# Longer than the polling thread takes to hear why a producer is beyond use.
_TOLD_SECONDS = 2.0
_PAUSE_SECONDS = 0.001
_LOOK_SECONDS = 1.0


class _Batch:
    """The records of one append on their way: where each ended up, and what went wrong."""

    __slots__ = ("_done", "errors", "places", "records", "reported")

    def __init__(self, records: Sequence[NewRecord]) -> None:
        self.records = records
        self.places: list[tuple[int, int] | None] = [None] * len(records)
        self.errors: dict[int, KafkaError] = {}
        self.reported = 0
        self._done = threading.Event()

    def report(self, index: int, error: KafkaError | None, message: Message) -> None:
        """Take one delivery report; called by the one thread that polls, and calls no producer."""
        if error is None:
            # Always there on a message that was delivered.
            self.places[index] = (message.partition() or 0, message.offset() or 0)
        else:
            self.errors[index] = error
        self.reported += 1
        if self.reported == len(self.places):
            self._done.set()

    def wait(self, seconds: float) -> bool:
        """Wait for the last report; say whether it came."""
        return self._done.wait(seconds)


class _Line:
    """One producer and the thread that polls it, until it is given up and its last user has left."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.reports = Reports(settings)
        self.producer: Any = made(
            settings,
            native().Producer,
            options(settings, self.reports, {**_DEFAULTS, **settings.options, **_OWN}),
        )
        self.users = 0
        self.given_up = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="deedbook-kafka-producer", daemon=True)
        self._thread.start()

    def _poll(self) -> None:
        while not self._stopping.is_set():
            try:
                self.producer.poll(_POLL_SECONDS)
            except native().KafkaException as error:  # fatal to the producer: whoever appends is told
                self.reports.on_error(error.args[0])
                self._stopping.wait(_POLL_SECONDS)

    def stop(self) -> None:
        """Drop what was not sent; the thread ends by itself, and the producer with it: nobody waits for them."""
        self._stopping.set()
        self.producer.purge()

    def forget(self) -> None:
        """Leave this line to the process it belongs to."""
        keep_for_ever(self.producer)


class Producing:
    """Appends to topics of one cluster; shared by threads, made anew in a process that was forked."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._line: _Line | None = None

    def prepare(self) -> None:
        """Begin to connect, so that the first append need not wait for it.

        librdkafka asks for a producer's id half a second after it looked in vain for a connection.
        """
        with self._lock:
            if self._line is None:
                self._line = _Line(self._settings)
                self._line.reports.quiet = (
                    True  # who only reads may not be allowed to write, and need not hear of it
                )

    def append(
        self,
        topic: str,
        records: Sequence[NewRecord],
        deadline: float,
        *,
        timestamp_of: Callable[[NewRecord], int] | None = None,
        while_waiting: Callable[[], None] | None = None,
    ) -> list[tuple[int, int]]:
        """Append records in order and return their places once every one is acknowledged.

        ``timestamp_of`` gives the milliseconds a record is stamped with, where the topic lets its writers.
        ``while_waiting`` is called now and then, and may raise what ends the waiting.
        Raises LogUnavailable (saying how many are known to be appended), and what a refusal means.
        """
        batch = _Batch(records)
        line = self._enter()
        try:
            try:
                self._hand_over(line, topic, batch, deadline, timestamp_of)
                while not batch.wait(max(0.0, min(_LOOK_SECONDS, deadline - time.monotonic()))):
                    if time.monotonic() >= deadline:
                        raise self._unknown(topic, batch, "was not acknowledged in time", line)
                    if while_waiting is not None:
                        while_waiting()
            except (LogUnavailable, LogReplaced):
                self._give_up(line)
                raise
        finally:
            self._leave(line)
        if batch.errors:
            raise self._failed(topic, batch, line)
        return [place for place in batch.places if place is not None]

    def close(self) -> None:
        """End the producer once those who use it have left; what they handed over is still sent."""
        with self._lock:
            line, self._line = self._line, None
            if line is not None:
                line.given_up = True
        if line is not None and line.users == 0:
            line.stop()

    def forget(self) -> None:
        """Leave the producer to the process it belongs to: this is a child of it."""
        if self._line is not None:
            self._line.forget()

    def _enter(self) -> _Line:
        with self._lock:
            broken = self._line
            if broken is not None and broken.reports.fatal is not None:
                broken.given_up, self._line = True, None
            else:
                broken = None
            if self._line is None:
                self._line = _Line(self._settings)
            line = self._line
            line.reports.quiet = False
            line.users += 1
        if broken is not None and broken.users == 0:
            broken.stop()
        return line

    def _leave(self, line: _Line) -> None:
        with self._lock:
            line.users -= 1
            last = line.given_up and line.users == 0
        if last:
            line.stop()

    def _give_up(self, line: _Line) -> None:
        with self._lock:
            line.given_up = True
            if self._line is line:
                self._line = None

    def _hand_over(
        self,
        line: _Line,
        topic: str,
        batch: _Batch,
        deadline: float,
        timestamp_of: Callable[[NewRecord], int] | None,
    ) -> None:
        """Queue all records; a full queue only means to wait for those before."""
        kafka = native()
        full = self._settings.topic(topic)
        produce = line.producer.produce
        for index, record in enumerate(batch.records):
            stamp = {} if timestamp_of is None else {"timestamp": timestamp_of(record)}
            while True:
                try:
                    produce(
                        full,
                        record.value,
                        record.key or None,
                        headers=list(record.headers),
                        on_delivery=partial(batch.report, index),
                        **stamp,
                    )
                    break
                except BufferError:
                    if time.monotonic() >= deadline:
                        raise self._unknown(topic, batch, "could not be sent in time", line) from None
                    time.sleep(_PAUSE_SECONDS)
                except kafka.KafkaException as error:
                    cause = _cause(line, error.args[0])
                    if index == 0:
                        refused = explained(cause, topic, self._settings)
                    else:
                        refused = self._unknown(topic, batch, f"could not be sent: {cause.str()}", line)
                    if cause.fatal():
                        self._give_up(line)
                    raise refused from None

    def _unknown(self, topic: str, batch: _Batch, what: str, line: _Line) -> LogUnavailable:
        size = len(batch.places)
        unknown = sum(place is None for place in batch.places)
        return LogUnavailable(
            f"{_some(unknown, size)} for {self._settings.topic(topic)} {what}, so whether "
            f"they were appended is unknown: append all again with the same event ids{line.reports.told()}"
        )

    def _failed(self, topic: str, batch: _Batch, line: _Line) -> DeedbookError:
        """Return what failed deliveries mean: a refusal only where all were refused, else unknown."""
        first = batch.errors[min(batch.errors)]
        causes = [line.reports.fatal or error for error in batch.errors.values()]
        meanings = [explained(cause, topic, self._settings) for cause in causes]
        if len(meanings) == len(batch.places) and not any(
            isinstance(one, LogUnavailable) for one in meanings
        ):
            return meanings[0]
        said = self._settings.redacted(first.str())
        return self._unknown(
            topic, batch, f"failed ({said}; the first is number {min(batch.errors) + 1})", line
        )


def _cause(line: _Line, error: KafkaError) -> KafkaError:
    """Return what is behind an error: of a producer that is beyond use, its polling thread is told a moment later."""
    if error.name() != "_FATAL":
        return error
    until = time.monotonic() + _TOLD_SECONDS
    while line.reports.fatal is None and time.monotonic() < until:
        time.sleep(_PAUSE_SECONDS)
    return line.reports.fatal or error


def _some(some: int, of: int) -> str:
    return "the record" if of == 1 else f"{some:,} of {of:,} records"
