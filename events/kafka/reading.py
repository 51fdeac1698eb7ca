"""Reading from Kafka: what was fetched and not yet asked for is kept, and who waits is told at once.

Two kinds of consumers, for a cluster answers one connection's requests in order, and a fetch that waits for new
records holds up whatever comes after it for half a second. A *jumper*, shared by all partitions, fetches from
wherever a read begins, and lets go at the end. A *follower* of its own waits at the end of each partition that
somebody waits on.
"""

from __future__ import annotations

import bisect
import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deedbook.events.errors import LogUnavailable
from deedbook.events.kafka.fetching import FOLLOWING, JUMPING, Fetcher, OutOfRange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deedbook.events.kafka.settings import KafkaSettings
    from deedbook.events.log import Record

# However slow the cluster: records that are there are returned, or this has passed and an error says so.
_LIMIT_SECONDS = 60.0
_FILLING_SECONDS = 0.02
_SLICE_SECONDS = 0.1
# While nothing comes, the cluster is asked this often whether the log is still what it was.
_LOOK_SECONDS = 1.0
_MAX_FOLLOWERS = 16
# An answer this small may be asked for again (a peek, then a batch): it is kept.
_KEPT_RECORDS = 64
# A follower that fell this far behind is not read up to where it is needed: another one begins there.
_WORTH_SKIPPING = 1_000
_FOLLOWED_RECORDS = 2_000


@dataclass(slots=True)
class _Partition:
    """What is known of one partition: ``kept`` holds all records of [``start``, ``next``) that it has."""

    topic: str
    number: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    kept: list[Record] = field(default_factory=list)
    start: int = 0
    next: int = 0
    end: int = 0
    following: threading.Lock = field(default_factory=threading.Lock)
    follower: Fetcher | None = None

    @property
    def where(self) -> tuple[str, int]:
        """Topic and number."""
        return self.topic, self.number

    def turn_to(self, start: int) -> None:
        """Let go of what is kept unless it reaches to ``start``, and go on from there."""
        if not self.start <= start <= self.next:
            self.kept = []
            self.start = self.next = start

    def add(self, records: list[Record], since: int, upto: int) -> None:
        """Keep what was read of [``since``, ``upto``), as far as it goes on from what is kept."""
        if since > self.next:
            return
        if records and records[0].position < self.next:
            records = [record for record in records if record.position >= self.next]
        self.kept += records
        self.next = max(self.next, upto)

    def count(self, start: int) -> int:
        """Return how many records are kept from a position on."""
        return len(self.kept) - self._index(start)

    def answer(self, start: int, max_records: int, max_bytes: int) -> list[Record]:
        """Return what is kept from a position on, and let go of what came before it."""
        kept = self.kept
        first = last = self._index(start)
        most = min(len(kept), first + max_records)
        size = 0
        while last < most:
            size += len(kept[last].value)
            if size > max_bytes and last > first:
                break
            last += 1
        answer = kept[first:last]
        if len(answer) <= _KEPT_RECORDS:
            self.start = start
            del kept[:first]
        else:
            self.start = answer[-1].position + 1
            del kept[:last]
        return answer

    def _index(self, start: int) -> int:
        return bisect.bisect_left(self.kept, start, key=_position)


def _position(record: Record) -> int:
    return record.position


class Reading:
    """Reads partitions of one cluster's topics; shared by threads.

    ``end_of`` asks the cluster where a partition ends; it raises where the log is not what it was.
    """

    def __init__(self, settings: KafkaSettings, end_of: Callable[[str, int], int]) -> None:
        self._settings = settings
        self._end_of = end_of
        self._partitions: dict[tuple[str, int], _Partition] = {}
        self._lock = threading.Lock()
        self._jumping = threading.Lock()
        self._jumper: Fetcher | None = None
        self._closed = False

    def read(
        self, topic: str, number: int, start: int, *, max_records: int, max_bytes: int, timeout_seconds: float
    ) -> list[Record]:
        """Return at least one record from ``start`` on, unless none came before the time-out.

        Raises OutOfRange, LogDamaged, LogReplaced, LogUnavailable.
        """
        deadline = time.monotonic() + timeout_seconds
        look = 0.0
        with self._lock:
            partition = self._partitions.setdefault((topic, number), _Partition(topic, number))
        while True:
            with partition.lock:
                partition.turn_to(start)
                if time.monotonic() >= look:
                    self._fill(partition, start, max_records, max_bytes)
                    look = time.monotonic() + _LOOK_SECONDS
                found = partition.answer(start, max_records, max_bytes)
                upto = partition.next
            left = deadline - time.monotonic()
            if found or left <= 0 or self._closed:
                return found
            self._await(partition, upto, min(left, _SLICE_SECONDS))

    def close(self) -> None:
        """Close all consumers; who waits returns with nothing."""
        self._closed = True
        with self._lock:
            partitions = list(self._partitions.values())
        for partition in partitions:
            with partition.following:
                if partition.follower is not None:
                    partition.follower.close()
                    partition.follower = None
        with self._jumping:
            if self._jumper is not None:
                self._jumper.close()
                self._jumper = None

    def forget(self) -> None:
        """Leave all consumers to the process they belong to: this is a child of it."""
        followers = [partition.follower for partition in self._partitions.values()]
        for fetcher in (self._jumper, *followers):
            if fetcher is not None:
                fetcher.forget()

    def _fill(self, partition: _Partition, start: int, max_records: int, max_bytes: int) -> None:
        """Fetch what an answer still lacks: what is here at once, and at least one record if there is any."""
        since = time.monotonic()
        size = sum([len(record.value) for record in partition.kept])
        is_fresh = False
        while not self._closed:
            if partition.next >= partition.end:
                if not partition.count(start) and not is_fresh:
                    self._take_what_is_here(partition, max_records)
                if partition.count(start) or is_fresh:
                    return
                # Up to the end that was known there may be only positions that hold none of ours, and records since.
                partition.end = self._end_of(*partition.where)
                is_fresh = True
                if start > partition.end:
                    raise OutOfRange
                continue
            have = partition.count(start)
            waited = time.monotonic() - since
            if have >= max_records or size >= max_bytes or (have and waited > _FILLING_SECONDS):
                return
            if waited > _LIMIT_SECONDS:
                raise LogUnavailable(
                    f"the cluster did not deliver {partition.topic}:{partition.number} from position "
                    f"{partition.next} on, within {_LIMIT_SECONDS:.0f} seconds{self._trouble()}"
                )
            with self._fetcher(partition) as fetcher:
                before = fetcher.position
                wait = _FILLING_SECONDS if have else _SLICE_SECONDS
                records = fetcher.fetch(max_records - have, wait)
                partition.add(records, before, fetcher.position)
                size += sum([len(record.value) for record in records])
                if partition.next >= partition.end and fetcher is self._jumper:
                    fetcher.unassign()

    def _take_what_is_here(self, partition: _Partition, max_records: int) -> None:
        """Keep what a follower has got meanwhile."""
        if not partition.following.acquire(blocking=False):
            return
        try:
            follower = partition.follower
            if follower is not None and follower.position <= partition.next:
                before = follower.position
                partition.add(follower.fetch(max_records, 0), before, follower.position)
        finally:
            partition.following.release()

    @contextlib.contextmanager
    def _fetcher(self, partition: _Partition) -> Iterator[Fetcher]:
        """Lend a consumer that goes on where what is kept ends: the follower if it does, else the jumper."""
        if partition.following.acquire(blocking=False):
            try:
                follower = partition.follower
                if follower is not None and 0 <= partition.next - follower.position <= _WORTH_SKIPPING:
                    try:
                        yield follower
                    except Exception:
                        partition.follower = None
                        follower.close()
                        raise
                    return
            finally:
                partition.following.release()
        with self._jumping:
            if self._closed:
                raise LogUnavailable("the log was closed while it was read")
            if self._jumper is None:
                self._jumper = Fetcher(self._settings, JUMPING)
            if self._jumper.where != partition.where or self._jumper.position != partition.next:
                self._jumper.assign(*partition.where, partition.next)
            try:
                yield self._jumper
            except Exception:
                self._jumper.unassign()
                raise

    def _await(self, partition: _Partition, start: int, seconds: float) -> None:
        """Wait for the next record at the end of a partition, and keep it."""
        if not partition.following.acquire(timeout=seconds):
            return
        try:
            if self._closed:
                return
            follower = self._follower(partition, start)
            before = follower.position
            try:
                records = follower.fetch(_FOLLOWED_RECORDS, seconds)
            except Exception:
                partition.follower = None
                follower.close()
                raise
            with partition.lock:
                partition.add(records, before, follower.position)
        finally:
            partition.following.release()

    def _follower(self, partition: _Partition, start: int) -> Fetcher:
        """Return the consumer that waits at the end of a partition; its lock is held."""
        follower = partition.follower
        if follower is not None and not 0 <= start - follower.position <= _WORTH_SKIPPING:
            partition.follower = None
            follower.close()
            follower = None
        if follower is None:
            self._part_with_one()
            follower = Fetcher(self._settings, FOLLOWING)
            follower.assign(*partition.where, start)
            partition.follower = follower
        return follower

    def _part_with_one(self) -> None:
        """Close a follower that nobody waits with, where there are many."""
        with self._lock:
            followed = [one for one in self._partitions.values() if one.follower is not None]
        if len(followed) < _MAX_FOLLOWERS:
            return
        for other in followed:
            if other.following.acquire(blocking=False):
                try:
                    if other.follower is not None:
                        other.follower.close()
                        other.follower = None
                        return
                finally:
                    other.following.release()

    def _trouble(self) -> str:
        return "" if self._jumper is None else self._jumper.trouble()
