"""The service's front door for queries by others: each waits for its turn, and is answered by a child of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from deedbook.consumers.sandbox.outcome import Isolation
from deedbook.events.errors import DeadlineExceeded, DeedbookError, InvalidInput, PermissionRefused
from deedbook.service.sql.answer import Answer
from deedbook.service.sql.asking import Order, ask
from deedbook.service.sql.keeper import Child, Keeper, KeeperGone
from deedbook.service.sql.limits import Limits
from deedbook.service.sql.self_test import isolation_of
from deedbook.service.sql.snapshots import Snapshots
from deedbook.service.sql.turns import Turns

if TYPE_CHECKING:
    from deedbook.service.live import Live

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
# Who starts a service asks it other things first; and one that nobody asks in SQL keeps no process for that.
_AFTER_START_SECONDS = 1.0
_AFTER_TEST_SECONDS = 5.0


class SqlRunner:
    """Answers queries on snapshots of a registry; for one event loop, nothing is started before it is needed.

    `newest` returns a published snapshot that holds what was folded when it was called, and up to a registry
    position at least. `folder` is the registry's: queries' processes get a folder `sql` in it. `projection`: the
    live tables, which must not be read.
    """

    def __init__(
        self,
        newest: Callable[[int], Awaitable[Path]],
        folder: Path,
        projection: Path,
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self._newest = newest
        self._projection = projection
        self._snapshots = Snapshots(folder / "sql")
        self._turns = Turns(
            self.limits.at_once, queued=self.limits.queued, queued_by_one=self.limits.queued_by_one
        )
        self._threads = ThreadPoolExecutor(self.limits.at_once + 1, thread_name_prefix="deedbook-sql")
        # Held while these two are looked at and changed, by the loop and by its threads.
        self._taking = threading.Lock()
        self._keeper: Keeper | None = None
        self._warm: Child | None = None
        self._isolation: tuple[Isolation, ...] | None = None
        self._testing: asyncio.Task[tuple[Isolation, ...]] | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._asking = 0
        self._rest: asyncio.TimerHandle | None = None
        self._closed = False

    @classmethod
    def of(cls, live: Live, folder: Path, limits: Limits | None = None) -> Self:
        """Return one for a live registry in a folder."""

        async def newest(min_position: int) -> Path:
            return await asyncio.to_thread(live.snapshot, min_position=min_position)

        return cls(newest, folder, live.following.projection.path, limits)

    def begin(self) -> None:
        """Have the promises tried in the background, a little later, so that the first query needn't wait for it."""
        task = asyncio.create_task(self._begun())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _begun(self) -> None:
        try:
            await asyncio.sleep(_AFTER_START_SECONDS)
            await self.isolation()
        except DeedbookError as error:  # no snapshot, say: it is tried again by the first query
            _LOG.warning("whether queries are isolated here is not known yet: %s", error)
            return
        if self.off:
            _LOG.warning("%s", self.off)

    # --- what is promised --------------------------------------------------------------------

    @property
    def promises(self) -> tuple[Isolation, ...] | None:
        """What a query is kept from on this system; None while that was not tried yet."""
        return self._isolation

    @property
    def off(self) -> str:
        """Why no query is answered here, in one sentence; empty while none is known."""
        broken = [promise for promise in self._isolation or () if not promise.isolated]
        if not broken:
            return ""
        return "SQL is switched off here, for this system can't keep a promise: " + "; ".join(
            f"that {promise.what} ({promise.how})" for promise in broken
        )

    async def isolation(self) -> tuple[Isolation, ...]:
        """Have every promise tried, once, by a child that does what is forbidden."""
        if self._isolation is None:
            if self._testing is None:
                self._testing = asyncio.create_task(self._tested())
            self._isolation = await asyncio.shield(self._testing)
        return self._isolation

    async def _tested(self) -> tuple[Isolation, ...]:
        try:
            async with self._awake(_AFTER_TEST_SECONDS):
                published = await self._newest(0)
                return await self._in_thread(self._test, published)
        finally:
            self._testing = None

    def _test(self, published: Path) -> tuple[Isolation, ...]:
        name = self._snapshots.shown(published)
        return isolation_of(self._living_keeper(), name, self._projection, self.limits)

    # --- queries -----------------------------------------------------------------------------

    async def run(
        self,
        query: str,
        *,
        caller: str = "",
        max_rows: int = 10_000,
        max_bytes: int = 16 << 20,
        timeout_seconds: float = 30.0,
        min_position: int = 0,
    ) -> Answer:
        """Answer one query, of a snapshot that holds at least what was folded when its turn came.

        `caller`: callers take turns. `min_position`: the snapshot holds this registry position, too. Raises
        InvalidInput with DuckDB's words, or for a query that uses too much; DeadlineExceeded; PermissionRefused where
        queries are switched off.
        """
        self._check(query)
        timeout_seconds = min(timeout_seconds, self.limits.max_seconds)
        order = Order(
            query,
            max(1, min(max_rows, self.limits.max_rows)),
            max(1, min(max_bytes, self.limits.max_bytes)),
            timeout_seconds,
            time.monotonic() + timeout_seconds,
        )
        await self._in_time(self.isolation(), order)
        if self.off:
            raise PermissionRefused(self.off)
        async with self._turns.turn(caller, order.deadline), self._awake(self.limits.idle_seconds):
            published = await self._in_time(self._newest(min_position), order)
            try:
                return await self._asked(published, order)
            except KeeperGone:  # killed by somebody, or the snapshot went before it was opened: once more
                return await self._asked(await self._newest(min_position), order)

    @contextlib.asynccontextmanager
    async def _awake(self, longer_seconds: float) -> AsyncIterator[None]:
        """Keep the processes for the body's time, and a while longer."""
        self._asking += 1
        if self._rest is not None:
            self._rest.cancel()
        try:
            yield
        finally:
            self._asking -= 1
            self._rest = asyncio.get_running_loop().call_later(longer_seconds, self._go_to_rest)

    def _go_to_rest(self) -> None:
        """End the processes, and let go of the snapshot: nobody has asked anything for a while."""
        if not self._asking and not self._closed and self._testing is None:
            with self._taking:
                warm, keeper, self._warm, self._keeper = self._warm, self._keeper, None, None
            self._threads.submit(_end, warm, keeper)

    def _check(self, query: str) -> None:
        if len(query) > self.limits.max_query_characters:
            raise InvalidInput(f"a query has at most {self.limits.max_query_characters:,} characters")
        if "\0" in query:
            raise InvalidInput("a query holds no zero characters")
        try:
            query.encode()
        except UnicodeEncodeError:
            raise InvalidInput("the query is no proper text") from None

    async def _in_time(self, waited: Awaitable[T], order: Order) -> T:
        try:
            return await asyncio.wait_for(waited, max(0.0, order.deadline - time.monotonic()))
        except TimeoutError:
            raise DeadlineExceeded(
                f"the query was not answered within {order.timeout_seconds:g} s, for no snapshot was ready"
            ) from None

    async def _asked(self, published: Path, order: Order) -> Answer:
        child = await self._in_thread(self._child, published)
        try:
            return await self._in_thread(ask, child, order, self.limits.memory_bytes)
        finally:
            # Also where whoever asked is gone: the thread that reads from it sees its end.
            child.end()
            self._warm_up(child.snapshot)

    def _child(self, published: Path) -> Child:
        """Return the warm child, if it has this snapshot, or else a new one."""
        name = self._snapshots.shown(published)
        with self._taking:
            warm, self._warm = self._warm, None
        if warm is not None and warm.snapshot == name:
            return warm
        if warm is not None:
            warm.end()
        return self._living_keeper().child(name)

    def _warm_up(self, snapshot: str) -> None:
        """Have a child ready for the next query of the same snapshot."""
        if self._closed or self._warm is not None:
            return
        task = asyncio.create_task(self._warmed(snapshot))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _warmed(self, snapshot: str) -> None:
        keeper = self._keeper
        if keeper is None or self._closed:
            return
        with contextlib.suppress(KeeperGone):
            child = await self._in_thread(keeper.child, snapshot)
            # Meanwhile all may have gone to rest, or another query have left a child.
            with self._taking:
                is_wanted = self._keeper is keeper and self._warm is None
                if is_wanted:
                    self._warm = child
            if not is_wanted:
                child.end()

    def _living_keeper(self) -> Keeper:
        with self._taking:
            if self._keeper is not None and not self._keeper.alive():
                self._keeper.close()
                self._keeper = None
            if self._keeper is None:
                self._snapshots.folder.mkdir(mode=0o700, exist_ok=True)
                self._keeper = Keeper(self._snapshots.folder, self.limits)
            return self._keeper

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def close(self) -> None:
        """End every process; queries that run are answered no more."""
        self._closed = True
        for task in self._background:
            task.cancel()
        if self._rest is not None:
            self._rest.cancel()
        with self._taking:
            warm, keeper, self._warm, self._keeper = self._warm, self._keeper, None, None
        _end(warm, keeper)
        self._threads.shutdown(wait=False, cancel_futures=True)


def _end(warm: Child | None, keeper: Keeper | None) -> None:
    if warm is not None:
        warm.end()
    if keeper is not None:
        keeper.close()
