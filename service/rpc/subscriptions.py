"""One subscriber: what it was told, and what waits for it."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from deedbook.events.errors import DeedbookError

if TYPE_CHECKING:
    from deedbook.service.rpc.happenings import Happening
    from deedbook.service.rpc.wanted import Wanted

MAX_WAITING: Final = 1_000
MAX_WAITING_BYTES: Final = 8 << 20


@dataclass(eq=False, slots=True)
class Subscription:
    """A subscriber's place in a topic.

    ``nexts``: of each partition, the first position it was not told of. ``behind``: it reads what it lacks by
    itself, as new ones do and those that more waited for than is kept.
    """

    wanted: Wanted
    nexts: dict[int, int]
    behind: bool = True
    failed: bool = False
    _waiting: deque[Happening] = field(default_factory=deque)
    _waiting_bytes: int = 0
    _something: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, happening: Happening) -> bool:
        """Keep an event for the subscriber where it wants it; return False where too much waits for it already."""
        if happening.position < self.nexts.get(happening.partition, 0):
            return True
        if not self.wanted.wants(happening.type, happening.decision, happening.about):
            return True
        if (
            len(self._waiting) >= MAX_WAITING
            or self._waiting_bytes + happening.size_bytes > MAX_WAITING_BYTES
        ):
            # It is on the log, and will be read from there.
            self.behind = True
            self._waiting.clear()
            self._waiting_bytes = 0
            self.wake()
            return False
        self._waiting.append(happening)
        self._waiting_bytes += happening.size_bytes
        self.wake()
        return True

    def take(self) -> Happening | None:
        """Return what waits longest, if anything does."""
        if not self._waiting:
            return None
        happening = self._waiting.popleft()
        self._waiting_bytes -= happening.size_bytes
        return happening

    def looked_at(self, partition: int, upto: int) -> None:
        """Note that a partition was looked through up to before a position, and that what was found is offered."""
        if not self._waiting:
            self.told(partition, upto - 1)

    def told(self, partition: int, position: int) -> None:
        """Note up to which position a partition was told."""
        self.nexts[partition] = max(self.nexts.get(partition, 0), position + 1)

    async def something(self, timeout_seconds: float) -> bool:
        """Wait until there is something to do; return whether there is. Raises DeedbookError where it can't go on."""
        if not (self._waiting or self.behind or self.failed):
            self._something.clear()
            try:
                async with asyncio.timeout(timeout_seconds):
                    await self._something.wait()
            except TimeoutError:
                return False
        if self.failed:
            raise DeedbookError("the service can't follow the log any further")
        return True

    def wake(self) -> None:
        """Have a look whether there is something to do."""
        self._something.set()

    def fail(self) -> None:
        """Give up: nobody reads for the subscriber any more."""
        self.failed = True
        self.wake()
