"""A whole log carried into another one: every record as it is, at the time it was recorded at.

Each copied record says in one header where it comes from (`copied_from`), so what is already there is
known from the target alone, and a copy that was ended at any moment goes on with exactly the rest.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from deedbook.events.copied_from import CopiedFrom, copied_from, stamped
from deedbook.events.errors import InvalidInput, LogDamaged
from deedbook.events.facts import REGISTRY, TOPICS
from deedbook.events.log import NewRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from deedbook.events.log import Log, Record

    Progress = Callable[[int, int], None]
    Place = tuple[str, int]

# One batch: what is acknowledged before the next one is sent.
MAX_RECORDS = 4_000
MAX_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Restored(NewRecord):
    """A record as it is put into a copy: ``recorded_at`` is the source's time, microseconds UTC."""

    recorded_at: int = 0


class CopyTarget(Protocol):
    """A log while a copy fills it: nobody else can open it from `begin` to `finish`."""

    def log(self) -> Log | None:
        """Return what is there, for reading; None where nothing is yet."""

    def begin(self) -> None:
        """Make the log, if there is none, and keep everybody else from opening it."""

    def restore(self, topic: str, records: Sequence[Restored]) -> list[tuple[int, int]]:
        """Add records, in order, at the times given with them; return where each is, once all are durable.

        Raises LogUnavailable (what was added is unknown: look again), StorageFull, InvalidInput.
        """

    def finish(self) -> None:
        """Let everybody open it."""

    def close(self) -> None:
        """Let go of files and connections; closing twice is harmless."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What is in the target, ``log``: so many records, so many of them carried just now, up to these ends of both."""

    log: Log
    records: int
    carried: int
    source_ends: Mapping[Place, int]
    target_ends: Mapping[Place, int]


@dataclass(slots=True)
class _Rest:
    """What is still to be carried of one partition: its next position, and which after it are there already."""

    next_position: int = 0
    present: bytearray = field(default_factory=bytearray)

    def has(self, position: int) -> bool:
        """Tell whether the target holds the record."""
        return position < len(self.present) and self.present[position] != 0


class Copy:
    """One log's copy into another: first `look` at both, then `carry` what is missing.

    Raises InvalidInput where the target is no place for this copy, LogDamaged where the source cannot be
    carried as it is, and what reading and writing raise.
    """

    def __init__(self, source: Log, target: CopyTarget) -> None:
        self._source = source
        self._target = target
        self._identity = source.identity()
        self._rest: dict[Place, _Rest] = {}
        self._held = dict.fromkeys(TOPICS, 0)

    def look(self, *, on_progress: Progress) -> None:
        """Read both sides to their ends, and refuse what could not be copied before anything is written."""
        ends = self._source.ends(TOPICS)
        self._rest = {where: _Rest(present=bytearray(end)) for where, end in ends.items()}
        log = self._target.log()
        if log is not None and log.identity() == self._identity:
            raise InvalidInput("a registry cannot be copied into itself: name another place")
        there = log.ends(TOPICS) if log is not None else {}
        told = _Told(on_progress, sum(there.values()) + sum(ends.values()))
        if log is not None:
            for where, end in there.items():
                self._look_at_target(log, where, end, told)
        for (topic, partition), end in ends.items():
            for record in told.each(_records(self._source, topic, partition, 0, end)):
                _check_whole(record)
            rest = self._rest[topic, partition]
            missing = rest.present.find(0)
            rest.next_position = end if missing < 0 else missing

    def _look_at_target(self, log: Log, where: Place, end: int, told: _Told) -> None:
        """Note what of the source is there; refuse a target that holds anything else."""
        topic, partition = where
        for record in told.each(_records(log, topic, partition, 0, end)):
            place = f"{topic}:{partition}:{record.position}"
            origin = copied_from(record.headers) if record.intact else None
            if origin is None:
                raise InvalidInput(
                    f"the registry to copy to holds {place}, which is no copy: copy into an empty place"
                )
            if origin.source not in ("", self._identity):
                raise InvalidInput(
                    f"the registry to copy to holds a copy of another log, {origin.source}: copy into an empty place"
                )
            self._note(topic, origin, record)

    def _note(self, topic: str, origin: CopiedFrom, record: Record) -> None:
        rest = self._rest.get((topic, origin.partition))
        if rest is None or not 0 <= origin.position < len(rest.present):
            raise InvalidInput(
                f"the registry to copy to holds {topic}:{origin.partition}:{origin.position} of its source, which "
                "this source does not have: copy into an empty place"
            )
        if rest.present[origin.position] or not _is_in_place(topic, origin.position, record.position):
            raise LogDamaged(_spoilt(f"{topic}:{record.partition}:{record.position} is twice or misplaced"))
        rest.present[origin.position] = 1
        self._held[topic] += 1

    def carry(self, *, on_progress: Progress) -> Copied:
        """Copy up to the ends there are, and again until nothing is new; return what is there then."""
        before = sum(self._held.values())
        log = self._target.log()
        ends = self._source.ends(TOPICS)
        while log is None or any(self._rest_of(where).next_position < end for where, end in ends.items()):
            self._target.begin()
            told = _Told(on_progress, sum(ends.values()), sum(self._held.values()))
            for topic in TOPICS:
                self._carry_topic(topic, ends, told)
            log = self._target.log()
            ends = self._source.ends(TOPICS)
        there = log.ends(TOPICS)
        for topic, held in self._held.items():
            found = sum(end for where, end in there.items() if where[0] == topic)
            if found != held:
                raise LogDamaged(_spoilt(f"{topic} holds {found:,} records instead of {held:,}"))
        records = sum(self._held.values())
        return Copied(log, records, records - before, ends, there)

    def _rest_of(self, where: Place) -> _Rest:
        return self._rest.setdefault(where, _Rest())

    def _carry_topic(self, topic: str, ends: Mapping[Place, int], told: _Told) -> None:
        """Carry one topic up to these ends, in batches, each acknowledged before the next."""
        streams = [
            _in_time(
                _records(self._source, topic, partition, self._rest_of((topic, partition)).next_position, end)
            )
            for (of, partition), end in ends.items()
            if of == topic
        ]
        batch: list[Record] = []
        size = 0
        for _, partition, position, record in streams[0] if len(streams) == 1 else heapq.merge(*streams):
            if self._rest_of((topic, partition)).has(position):
                continue
            _check_whole(record)
            batch.append(record)
            size += len(record.value)
            if len(batch) >= MAX_RECORDS or size >= MAX_BYTES:
                self._write(topic, batch, told)
                batch, size = [], 0
        self._write(topic, batch, told)
        for where, end in ends.items():
            if where[0] == topic:
                self._rest_of(where).next_position = end

    def _write(self, topic: str, batch: Sequence[Record], told: _Told) -> None:
        if not self._held[topic] and len(batch) > 1:
            # The very first names the source, and is there before anything else: no other is ever mixed in.
            self._write(topic, batch[:1], told)
            batch = batch[1:]
        if not batch:
            return
        restored = [self._restored(record) for record in batch]
        for record, (_, position) in zip(batch, self._target.restore(topic, restored), strict=True):
            if not _is_in_place(topic, record.position, position):
                raise LogDamaged(_spoilt(f"{topic}:{record.position} came to be at position {position}"))
        self._held[topic] += len(batch)
        told.tell(len(batch))

    def _restored(self, record: Record) -> Restored:
        is_first = record.position == 0 or not self._held[record.topic]
        source = self._identity if is_first else ""
        origin = CopiedFrom(record.partition, record.position, record.recorded_at, source)
        return Restored(record.value, record.key, stamped(record.headers, origin), record.recorded_at)


class _Told:
    """What has been told of a long work's progress."""

    def __init__(self, on_progress: Progress, total: int, done: int = 0) -> None:
        self._on_progress = on_progress
        self._total = total
        self._done = done

    def tell(self, more: int) -> None:
        """Tell that so many more are done."""
        self._done += more
        self._on_progress(self._done, self._total)

    def each(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the records, and tell of some of them."""
        number = 0
        for record in records:
            yield record
            number += 1
            if number == MAX_RECORDS:
                self.tell(number)
                number = 0
        self.tell(number)


def _records(log: Log, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
    """Yield a partition's records from a position to another; refuses a gap where positions count."""
    while start < end:
        records = log.read(
            topic, partition, start, max_records=min(MAX_RECORDS, end - start), max_bytes=MAX_BYTES
        )
        for record in records:
            if record.position >= end:
                return
            if topic == REGISTRY and record.position != start:
                break
            yield record
            start = record.position + 1
        else:
            if records:
                continue
        if topic != REGISTRY:
            return  # no more records: what is left are positions that hold none of ours
        raise LogDamaged(
            f"{topic} holds no record at position {start}, such as a broker's transaction marker in its place, and a "
            "copy cannot keep the positions after it: it cannot be copied"
        )


def _in_time(records: Iterable[Record]) -> Iterator[tuple[int, int, int, Record]]:
    """Yield a partition's records with what they are sorted by among those of others: time never goes back."""
    latest = 0
    for record in records:
        latest = max(latest, record.recorded_at)
        yield latest, record.partition, record.position, record


def _check_whole(record: Record) -> None:
    if not record.intact:
        raise LogDamaged(
            f"{record.topic}:{record.partition}:{record.position} is damaged in the registry to copy from: "
            "`deedbook check` says what is wrong with it, and nothing can be copied until it is restored"
        )


def _is_in_place(topic: str, wanted: int, found: int) -> bool:
    """Tell whether a record is at the position it has to have, which counts on one topic."""
    return topic != REGISTRY or wanted == found


def _spoilt(what: str) -> str:
    return (
        f"the copy is spoilt, for another program wrote to it: {what}; remove what is there, and copy into an "
        "empty place"
    )
