"""Tails: of each topic that anybody follows, one task that reads what is new, once for all who follow it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from deedbook.events import facts
from deedbook.events.errors import DeedbookError
from deedbook.projector.queries.heads import Stretch
from deedbook.service.rpc.happenings import Happening, happened

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deedbook.projector.store import Batch
    from deedbook.service.context import Service
    from deedbook.service.rpc.subscriptions import Subscription

_LOG = logging.getLogger(__name__)
_MOST_AT_ONCE: Final = 500
_THREADS: Final = 3
# While much happens it is told in strides, not one by one.
_STRIDE_SECONDS: Final = 0.01
# What others may have brought about is looked for so often: other replicas announce deployments too.
_LOOK_SECONDS: Final = 1.0
# An announcement follows its decision so soon, and is looked for so often until then.
_ANNOUNCED_SECONDS: Final = 0.5
_ANNOUNCED_LOOK_SECONDS: Final = 0.01
_ANNOUNCING = frozenset({"DeploymentRequested", "ReleaseActivated"})


class Tails:
    """The tails of all topics, in one loop; made in that loop, and closed in it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="deedbook-stream")
        # So many subscribers may read for themselves at once: the tails need a thread too.
        self._catching_up = asyncio.Semaphore(_THREADS - 1)
        self._tails: dict[str, Tail] = {}
        self._closed = False
        service.live.heard.append(self._hear)

    def _hear(self, batch: Batch) -> None:
        """Wake the tails that a batch concerns; called by the folding thread."""
        if self._tails and not self._closed:
            announcing = any(event.type in _ANNOUNCING for event, _ in batch.decided)
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                self._loop.call_soon_threadsafe(self._wake, batch.topic, announcing)

    def _wake(self, topic: str, announcing: bool) -> None:  # noqa: FBT001 - called by the loop
        for name in (topic, facts.DEPLOYMENTS) if announcing else (topic,):
            if (tail := self._tails.get(name)) is not None:
                tail.woken.set()
                if announcing and name == facts.DEPLOYMENTS:
                    tail.expected_until = self._loop.time() + _ANNOUNCED_SECONDS

    async def tail(self, topic: str) -> Tail:
        """Return the tail of a topic, which begins where the topic ends now unless somebody follows it."""
        tail = self._tails.get(topic)
        if tail is None or not tail.followed:
            ends = await self.ends(topic)
            tail = self._tails.setdefault(topic, Tail(self, topic))
            if not tail.followed:
                tail.nexts = dict(ends)
        return tail

    async def ends(self, topic: str) -> Mapping[int, int]:
        """Return where each partition of a topic ends, as far as it can be told of. Raises LogUnavailable."""
        if topic == facts.REGISTRY:
            return {0: self._service.live.position}
        if topic == facts.DEPLOYMENTS:
            log = self._service.log
            ends = await self._loop.run_in_executor(self._threads, lambda: log.ends([topic]))
        else:
            ends = dict(self._service.live.following.folded)
        return {partition: end for (name, partition), end in ends.items() if name == topic}

    async def happened(
        self, subscriptions: list[Subscription], stretch: Stretch
    ) -> tuple[list[Happening], int]:
        """Return what happened in a stretch that any of these may want; in a thread."""
        wanted = [*{subscription.wanted for subscription in subscriptions}]
        return await self._loop.run_in_executor(self._threads, happened, self._service, wanted, stretch)

    async def caught_up(self, subscription: Subscription, partition: int, end: int) -> list[Happening]:
        """Return the next events that a subscriber lacks in a partition, and note up to where it was looked."""
        start = subscription.nexts.get(partition, 0)
        stretch = Stretch(subscription.wanted.topic, partition, start, end, _MOST_AT_ONCE)
        async with self._catching_up:
            found, upto = await self.happened([subscription], stretch)
        wanted = subscription.wanted
        chosen = [each for each in found if wanted.wants(each.type, each.decision, each.about)]
        if not chosen:
            subscription.told(partition, upto - 1)
        return chosen

    def close(self) -> None:
        """Let go of the threads; the subscribers were ended before."""
        self._closed = True
        # Another list: the folding thread may be going through this one.
        live = self._service.live
        live.heard = [hear for hear in live.heard if hear != self._hear]
        self._threads.shutdown(wait=False, cancel_futures=True)


class Tail:
    """The end of one topic, and who follows it there.

    ``nexts``: of each partition, the first position that the followers were not told of.
    """

    def __init__(self, tails: Tails, topic: str) -> None:
        self.topic = topic
        self.nexts: dict[int, int] = {}
        self.woken = asyncio.Event()
        self.expected_until = 0.0
        self._tails = tails
        self._followers: set[Subscription] = set()
        # Whoever joins does so between two looks: what is found is offered to all who followed when it was looked for.
        self._looking = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    @property
    def followed(self) -> bool:
        """Whether anybody follows."""
        return bool(self._followers)

    async def join(self, subscription: Subscription) -> bool:
        """Let a subscriber follow, if it was told of all up to here; return whether that is so."""
        async with self._looking:
            nexts = {partition: subscription.nexts.get(partition, 0) for partition in self.nexts}
            if any(nexts[partition] < position for partition, position in self.nexts.items()):
                return False
            if not self._followers:
                self.nexts = nexts
            subscription.behind = False
            self._followers.add(subscription)
            if self._task is None:
                self._task = asyncio.create_task(self._follow(), name=f"tail of {self.topic}")
            return True

    def leave(self, subscription: Subscription) -> None:
        """Let a subscriber go; harmless for one that doesn't follow."""
        self._followers.discard(subscription)
        self.woken.set()

    async def _follow(self) -> None:
        """Look, and look again, as long as anybody follows."""
        loop = asyncio.get_running_loop()
        try:
            while self._followers:
                looked_at = loop.time()
                self.woken.clear()
                try:
                    await self._look()
                except DeedbookError as error:
                    # What is folded goes on to be told when the log answers again.
                    _LOG.warning("the tail of %s waits: %s", self.topic, error)
                    await asyncio.sleep(_LOOK_SECONDS)
                await asyncio.sleep(max(0.0, looked_at + _STRIDE_SECONDS - loop.time()))
                await self._wait(loop.time())
        except Exception:
            for follower in self._followers:
                follower.fail()
            self._followers.clear()
            _LOG.exception("the tail of %s ended", self.topic)
            raise
        finally:
            self._task = None

    async def _wait(self, now: float) -> None:
        pause = _ANNOUNCED_LOOK_SECONDS if now < self.expected_until else _LOOK_SECONDS
        try:
            async with asyncio.timeout(pause):
                await self.woken.wait()
        except TimeoutError:
            return

    async def _look(self) -> None:
        """Read what is new, and offer it to all who follow."""
        for partition, end in (await self._tails.ends(self.topic)).items():
            while (start := self.nexts.get(partition, 0)) < end:
                async with self._looking:
                    followers = list(self._followers)
                    stretch = Stretch(self.topic, partition, start, end, _MOST_AT_ONCE)
                    found, upto = await self._tails.happened(followers, stretch)
                    for follower in followers:
                        for happening in found:
                            if not follower.offer(happening):
                                self._followers.discard(follower)
                                break
                        else:
                            follower.looked_at(partition, upto)
                    self.nexts[partition] = upto
                if upto == start:  # what comes next was announced, and is not folded here yet
                    self.expected_until = asyncio.get_running_loop().time() + _ANNOUNCED_SECONDS
                    break
