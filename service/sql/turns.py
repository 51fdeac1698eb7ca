"""Who comes next: so many at once, the callers in rotation, the queries of each in their order."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from deedbook.events.errors import DeadlineExceeded

_REMEMBERED = 1_000


class Turns:
    """Turns that callers wait for, each until its deadline; for one event loop."""

    def __init__(self, at_once: int, *, queued: int, queued_by_one: int) -> None:
        self._free = at_once
        self._queued = queued
        self._queued_by_one = queued_by_one
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        # Who had turns, the last one last: among those who wait, who had none for longest is next.
        self._had: dict[str, None] = {}

    @asynccontextmanager
    async def turn(self, caller: str, deadline: float) -> AsyncIterator[None]:
        """Wait for a turn until a deadline (monotonic, seconds), and have it for the body's time.

        Raises DeadlineExceeded where it passes, or at once where too many wait already.
        """
        await self._begin(caller, deadline)
        try:
            yield
        finally:
            self._end()

    async def _begin(self, caller: str, deadline: float) -> None:
        if self._free and not self._waiting:
            self._free -= 1
            self._note(caller)
            return
        own = self._waiting.get(caller, ())
        if sum(map(len, self._waiting.values())) >= self._queued or len(own) >= self._queued_by_one:
            raise DeadlineExceeded("too many queries wait for their turn; ask again in a moment")
        mine = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(mine)
        try:
            await asyncio.wait_for(asyncio.shield(mine), max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            self._leave(caller, mine)
            raise DeadlineExceeded("other queries took all the time that this one was given") from None
        except asyncio.CancelledError:
            self._leave(caller, mine)
            raise

    def _leave(self, caller: str, mine: asyncio.Future[None]) -> None:
        if mine.done():  # the turn came in the same moment
            self._end()
            return
        mine.cancel()
        queue = self._waiting[caller]
        queue.remove(mine)
        if not queue:
            del self._waiting[caller]

    def _end(self) -> None:
        """Hand the turn to the next one, or have it back."""
        if not self._waiting:
            self._free += 1
            return
        places = {caller: place for place, caller in enumerate(self._had)}
        caller = min(self._waiting, key=lambda one: places.get(one, -1))
        queue = self._waiting[caller]
        queue.popleft().set_result(None)
        if not queue:
            del self._waiting[caller]
        self._note(caller)

    def _note(self, caller: str) -> None:
        self._had.pop(caller, None)
        self._had[caller] = None
        if len(self._had) > _REMEMBERED:
            del self._had[next(iter(self._had))]
