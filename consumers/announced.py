"""What `validations` says of each work order: how often it was announced, and when last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deedbook.events.facts import VALIDATIONS

if TYPE_CHECKING:
    from deedbook.events.log import Log

_READ_AT_ONCE = 200
# Whoever asks has other things to do: more than this is read the next time.
_READ_MOST = 2_000


class AnnouncedOrders:
    """The work orders announced since a time, by their ids; read on from where it was, a bounded part each time."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._next: dict[int, int] = {}
        self._recorded_at: dict[str, int] = {}

    def read_on(self, *, since: int) -> bool:
        """Take in what was announced since a time (microseconds), or since the last call; say whether that was all."""
        left = _READ_MOST
        for partition in range(self._log.partitions(VALIDATIONS)):
            position = self._next.get(partition)
            if position is None:
                position = first_position_since(self._log, VALIDATIONS, since, partition)
            while left > 0 and (
                records := self._log.read(
                    VALIDATIONS, partition, position, max_records=min(left, _READ_AT_ONCE)
                )
            ):
                position = records[-1].position + 1
                left -= len(records)
                for record in records:
                    event_id = dict(record.headers).get("ce_id", b"").decode("utf-8", "replace")
                    self._recorded_at[event_id] = record.recorded_at
            self._next[partition] = position
        return left > 0

    def recorded_at(self, event_id: str) -> int | None:
        """Return when an order was announced last (microseconds); None where it was not."""
        return self._recorded_at.get(event_id)

    def forget(self) -> None:
        """Let go of all: nobody waits for an answer to any of them."""
        self._next.clear()
        self._recorded_at.clear()


def first_position_since(log: Log, topic: str, recorded_at: int, partition: int = 0) -> int:
    """Return the first position of a topic recorded at or after a time (microseconds), by bisection."""
    low, high = 0, log.end(topic, partition)
    while low < high:
        middle = (low + high) // 2
        records = log.read(topic, partition, middle, max_records=1)
        if records and records[0].recorded_at < recorded_at:
            low = middle + 1
        else:
            high = middle
    return low
