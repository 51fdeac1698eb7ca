"""A log as it was: everything up to some earlier ends, whatever came since."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deedbook.events.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deedbook.events.log import Log, NewRecord, Record


class EarlierLog:
    """A `Log`, for reading, that ends where ``ends`` says: by topic and partition, those it leaves out not there."""

    def __init__(self, log: Log, ends: Mapping[tuple[str, int], int]) -> None:
        self._log = log
        self._ends = ends

    def append(
        self, topic: str, records: Sequence[NewRecord], *, timeout_seconds: float = 30.0
    ) -> list[tuple[int, int]]:
        """Refuse: the past takes no more records."""
        del records, timeout_seconds
        raise InvalidInput(f"nothing can be appended to {topic} as it was at some earlier time")

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
        """Return records up to the earlier end."""
        end = self.end(topic, partition)
        if start >= end:
            return []
        records = self._log.read(
            topic,
            partition,
            start,
            max_records=min(max_records, end - start),
            max_bytes=max_bytes,
            timeout_seconds=timeout_seconds,
        )
        return [record for record in records if record.position < end]

    def partitions(self, topic: str) -> int:
        """Return how many partitions the topic has."""
        return sum(of == topic for of, _ in self._ends)

    def end(self, topic: str, partition: int = 0) -> int:
        """Return the earlier end."""
        return self._ends[topic, partition]

    def ends(self, topics: Sequence[str]) -> dict[tuple[str, int], int]:
        """Return the earlier ends."""
        return {where: end for where, end in self._ends.items() if where[0] in topics}

    def identity(self) -> str:
        """Return the log's identity."""
        return self._log.identity()

    def close(self) -> None:
        """Leave the log open: it is its owner's."""
