"""Arrivals: threads and event loops wait here for what the folding thread brings about."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Arrivals:
    """Wakes whoever waits, each time something arrived; a waiter costs nothing while nothing does."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._futures: dict[asyncio.AbstractEventLoop, asyncio.Future[None]] = {}

    def tell(self) -> None:
        """Wake all who wait, to look whether it is what they wait for; from any thread."""
        with self._changed:
            self._changed.notify_all()
            futures, self._futures = self._futures, {}
        for loop, future in futures.items():
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(_finish, future)

    def wait(self, arrived: Callable[[], bool], *, timeout_seconds: float) -> bool:
        """Block this thread until ``arrived`` says so, or the time is up; return whether it did."""
        with self._changed:
            return self._changed.wait_for(arrived, timeout_seconds)

    async def arrival(self, arrived: Callable[[], bool], *, timeout_seconds: float) -> bool:
        """Wait in an event loop until ``arrived`` says so, or the time is up; return whether it did."""
        deadline = time.monotonic() + timeout_seconds
        while not arrived():
            with self._changed:
                loop = asyncio.get_running_loop()
                future = self._futures.get(loop)
                if future is None:
                    future = self._futures[loop] = loop.create_future()
                # What arrived just now has told nobody of this future.
                if arrived():
                    return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            # One future for all: waiting neither cancels nor owns it.
            await asyncio.wait([future], timeout=left)
        return True


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
