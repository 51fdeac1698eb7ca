"""The log: an append-only sequence of records per topic and partition.

Two adapters keep this contract, SQLite (embedded) and Kafka; one set of tests holds both to it. What a caller may
lean on is what both keep: records are in order within a partition, `registry` has one; the records of one key share
a partition; what was acknowledged stays. What only one of them keeps is no part of it: that a batch is appended
whole or not at all, and that positions have no gaps (a transaction of somebody else's leaves some).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_BODY_BYTES = 1 << 20
MAX_HEAD_BYTES = 1 << 15


@dataclass(frozen=True, slots=True)
class NewRecord:
    """What is to be appended: a body, its key (chooses the partition), its headers."""

    value: bytes
    key: bytes = b""
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """What was appended, and where: ``recorded_at`` is the log's own time, microseconds UTC.

    ``intact`` is False where the log itself sees that the bytes are not those it stored;
    ``value_sha256`` is the digest of ``value`` where the log has just computed it, so that nobody
    computes it twice, else empty.
    """

    topic: str
    partition: int
    position: int
    recorded_at: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    intact: bool = True
    value_sha256: bytes = field(default=b"", compare=False, repr=False)


class Log(Protocol):
    """An ordered, durable record of events."""

    def append(
        self, topic: str, records: Sequence[NewRecord], *, timeout_seconds: float = 30.0
    ) -> list[tuple[int, int]]:
        """Append all records, in order, and return each one's (partition, position) once all are durable.

        Raises LogUnavailable (time-out: whether they were appended, or the first of them, is unknown;
        appending all again with the same event ids is harmless), StorageFull, LogReplaced, and after which
        nothing was appended: AccessDenied and InvalidInput (unknown topic, body over MAX_BODY_BYTES, key
        and headers over MAX_HEAD_BYTES).
        """

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
        """Return the records from ``start`` on, in order: at least one unless none came before the time-out.

        A read may return fewer records than there are; with a time-out of 0 it still returns one if the log
        has any at ``start`` or later. None of the positions before the end is lost where it returns nothing:
        they hold no records. Raises LogDamaged (records are missing or changed), LogReplaced (recreated; on
        Kafka also where the log ends before ``start``), LogUnavailable, AccessDenied, InvalidInput.
        """

    def partitions(self, topic: str) -> int:
        """Return how many partitions the topic has."""

    def end(self, topic: str, partition: int = 0) -> int:
        """Return the position the next record will get."""

    def ends(self, topics: Sequence[str]) -> dict[tuple[str, int], int]:
        """Return the position the next record will get, for each (topic, partition) of these topics."""

    def identity(self) -> str:
        """Return what tells this log from one recreated in its place."""

    def close(self) -> None:
        """Let go of files and connections; closing twice is harmless."""
