"""Those who follow the log live: one task reads what is new, once for all, and hands it to each by a bounded queue."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from starlette.requests import Request

from deedbook.events.errors import DeedbookError, InvalidInput
from deedbook.events.facts import TOPICS
from deedbook.projector.queries.journal import Ends, arrived, folded_ends
from deedbook.projector.queries.timeline import Event
from deedbook.service.web.rendering import service_of

if TYPE_CHECKING:
    from deedbook.service.live import Live

_LOG = logging.getLogger(__name__)
_MOST_AT_ONCE: Final = 200
# So many batches may wait for a reader; one that is slower than that goes, and may come again.
_WAITING: Final = 32
_LOOK_SECONDS: Final = 1.0
# While much happens it is told in strides, not one by one.
_STRIDE_SECONDS: Final = 0.1
_MAX_PARTITIONS: Final = 4_096


@dataclass(frozen=True, slots=True)
class News:
    """Records in the order they were recorded in, and up to where all is told with them."""

    events: tuple[Event, ...]
    ends: Ends


@dataclass(slots=True, eq=False)
class _Reader:
    """One who follows: None in the queue is the end."""

    queue: asyncio.Queue[News | None] = field(default_factory=lambda: asyncio.Queue(_WAITING))
    dropped: bool = False

    def tell(self, news: News | None) -> None:
        """Hand on what is new, or drop the reader: never wait for it."""
        try:
            self.queue.put_nowait(news)
        except asyncio.QueueFull:
            self.dropped = True
            with contextlib.suppress(asyncio.QueueEmpty):
                self.queue.get_nowait()
            self.queue.put_nowait(None)


class Followers:
    """All who follow the log of one service, in one event loop."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._readers: set[_Reader] = set()
        self._ends: Ends = {}
        self._tail: asyncio.Task[None] | None = None

    async def follow(self, since: Ends | None) -> AsyncGenerator[News, None]:
        """Yield what was folded since, then what comes, until the service ends or the reader is too slow.

        `since` None: from now on.
        """
        now = await self._live.ask(folded_ends)
        mine = dict(now if since is None else since)
        reader = _Reader()
        if self._tail is None or self._tail.done():
            self._ends = now
            self._tail = asyncio.create_task(self._follow_log())
        self._readers.add(reader)
        try:
            while True:
                events, ends = await self._live.ask(partial(arrived, since=mine, most=_MOST_AT_ONCE))
                mine = dict(ends)
                if not events:
                    break
                yield News(events, mine)
            while (news := await reader.queue.get()) is not None and not reader.dropped:
                fresh = tuple(
                    event
                    for event in news.events
                    if event.position >= mine.get((event.topic, event.partition), 0)
                )
                mine |= {where: max(end, mine.get(where, 0)) for where, end in news.ends.items()}
                if fresh:
                    yield News(fresh, dict(mine))
        finally:
            self._readers.discard(reader)

    async def _follow_log(self) -> None:
        """Read what is new as long as anybody follows."""
        position = self._live.position
        try:
            while self._readers:
                # The other topics don't move the registry's position: they are looked at each second.
                position = await self._live.changed(position, timeout_seconds=_LOOK_SECONDS)
                await self._tell_what_is_new()
                await asyncio.sleep(_STRIDE_SECONDS)
        except DeedbookError as error:  # the service ends, or can't be asked: who follows comes again
            _LOG.debug("nobody is told of the log any more: %s", error)
        finally:
            for reader in self._readers:
                reader.tell(None)

    async def _tell_what_is_new(self) -> None:
        while True:
            events, ends = await self._live.ask(partial(arrived, since=self._ends, most=_MOST_AT_ONCE))
            self._ends = ends
            if not events:
                return
            for reader in self._readers:
                reader.tell(News(events, ends))


def followers_of(request: Request) -> Followers:
    """Return those who follow the log of the service that a request is to; called in its event loop."""
    state = request.app.state
    found: Followers | None = getattr(state, "followers", None)
    if found is None:
        found = state.followers = Followers(service_of(request).live)
    return found


def written(ends: Ends) -> str:
    """Return positions as one text, such as ``registry.0.220,hosts.0.3``."""
    return ",".join(f"{topic}.{partition}.{end}" for (topic, partition), end in sorted(ends.items()))


def read(text: str) -> dict[tuple[str, int], int]:
    """Return what `written` wrote. Raises InvalidInput."""
    found: dict[tuple[str, int], int] = {}
    for part in text.split(",")[: _MAX_PARTITIONS + 1] if text else []:
        topic, _, rest = part.partition(".")
        partition, _, end = rest.partition(".")
        if topic not in TOPICS or not _is_number(partition, 9) or not _is_number(end, 18):
            raise InvalidInput("what to go on after is not written as registry.0.220,hosts.0.3")
        found[topic, int(partition)] = int(end)
    if len(found) > _MAX_PARTITIONS:
        raise InvalidInput(f"a log has at most {_MAX_PARTITIONS:,} partitions here")
    return found


def _is_number(text: str, digits: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= digits
