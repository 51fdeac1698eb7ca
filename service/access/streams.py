"""Answers that stay open: they end when their caller would no longer be let in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from deedbook.service.access.access import Access
from deedbook.service.access.roles import Caller

CHECK_SECONDS: Final = 1.0


class OpenStreams:
    """The streams that are open, looked at together each second; belongs to one loop."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._open: dict[int, tuple[Caller, Callable[[], None]]] = {}
        self._next_key = 0
        self._watch: asyncio.Task[None] | None = None

    @contextmanager
    def entered(self, caller: Caller, end: Callable[[], None]) -> Iterator[None]:
        """Look after a stream while the context lasts; `end` is called, in the loop, once it must end."""
        key = self._next_key
        self._next_key += 1
        self._open[key] = (caller, end)
        if self._watch is None:
            self._watch = asyncio.create_task(self._watching())
        try:
            yield
        finally:
            self._open.pop(key, None)

    async def _watching(self) -> None:
        try:
            while self._open:
                await asyncio.sleep(CHECK_SECONDS)
                for key, (caller, end) in list(self._open.items()):
                    if not self._access.still_valid(caller):
                        self._open.pop(key, None)
                        end()
        finally:
            self._watch = None
