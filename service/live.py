"""The live state: a projection that one thread keeps at the log's end, and all others in this process ask."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from deedbook.events.errors import (
    AccessDenied,
    DeadlineExceeded,
    DeedbookError,
    LogUnavailable,
    ProjectionBusy,
    ServiceEnding,
    StorageFull,
    StorageUnavailable,
)
from deedbook.events.facts import REGISTRY
from deedbook.projector.decision import Accepted, Rejected
from deedbook.projector.following import Following
from deedbook.service.arrivals import Arrivals
from deedbook.service.sharing import let_others_first

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import duckdb

    from deedbook.events.log import Log
    from deedbook.projector.projection import Projection
    from deedbook.projector.store import Batch, Store

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
_READERS = 8
_AWAY_SECONDS = 0.5
_SURVEY_EVERY_SECONDS = 1.0
_REMEMBERED = 4_000
# What passes by itself, or once somebody has seen to it: what is folded goes on to be answered from meanwhile.
_PASSING = (LogUnavailable, ProjectionBusy, StorageFull, StorageUnavailable, AccessDenied)


@dataclass(frozen=True, slots=True)
class Health:
    """How the live state does: ``folded`` and ``ends`` are next positions by (topic, partition), ``lag`` by topic.

    ``log_reachable`` is false while the log is away, with the ``problem`` in a sentence and ``since`` when
    (microseconds). ``quarantined`` records could not be decoded; ``pending`` trainings wait for a verdict.
    """

    log_reachable: bool
    ready: bool
    problem: str
    since: int
    ends: Mapping[tuple[str, int], int]
    folded: Mapping[tuple[str, int], int]
    lag: Mapping[str, int]
    quarantined: int
    pending: int
    rules_version: int


@dataclass(frozen=True, slots=True)
class _Survey:
    """What is counted in the projection now and then."""

    quarantined: int = 0
    pending: int = 0
    rules_version: int = 0


@dataclass(slots=True)
class _State:
    """How the folding thread does; written by it alone."""

    problem: str = ""
    since: int = 0
    caught_up: bool = False
    ended_by: DeedbookError | None = None
    survey: _Survey = field(default_factory=_Survey)
    surveyed_at: int = -1


class Live:
    """The state that the service answers from; made by the composition root, started once.

    ``look``: as `Following` has it. ``clock`` tells microseconds since 1970.
    """

    def __init__(
        self,
        projection: Projection,
        log: Log,
        *,
        clock: Callable[[], int],
        remind: Callable[[Store], None] = lambda _: None,
        remind_seconds: float = 5.0,
        look: Callable[[], object] | None = None,
    ) -> None:
        self.position = 0
        # Up to where all that follows from the events has been announced, too.
        self.announced = 0
        # Told whenever any of these has changed.
        self.arrivals = Arrivals()
        self.ending = False
        # Told of each batch as it is committed, in the folding thread: to be quick, and to raise nothing.
        self.heard: list[Callable[[Batch], None]] = []
        # What was decided lately: those who wait for it need not ask the tables.
        self._decided: OrderedDict[tuple[str, int, int], str | None] = OrderedDict()
        self._clock = clock
        self._state = _State()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._askers = ThreadPoolExecutor(_READERS, thread_name_prefix="deedbook-reader")
        self._remind = remind
        self.following = Following(
            projection,
            log,
            remind=self._see_to,
            told=self._told,
            heard=self._heard,
            remind_seconds=min(remind_seconds, _SURVEY_EVERY_SECONDS),
            look=look,
        )
        self._remind_seconds = remind_seconds
        self._reminded_at = 0.0

    # --- its life ----------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to fold, in a thread of its own."""
        self._thread = threading.Thread(target=self._follow, name="deedbook-fold", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Fold no more: what is being folded is finished, and those who read are waited for."""
        self._stop.set()
        self.following.wake()
        if self._thread is not None:
            self._thread.join()
        self.arrivals.tell()
        self._askers.shutdown(wait=False, cancel_futures=True)

    @property
    def ended_by(self) -> DeedbookError | None:
        """What ended the folding for good; None while it goes on."""
        return self._state.ended_by

    def _follow(self) -> None:
        let_others_first()
        while not self._stop.is_set():
            try:
                self.following.run(self._stop.is_set)
            except _PASSING as error:
                self._away(error)
                self._stop.wait(_AWAY_SECONDS)
            except Exception as error:  # noqa: BLE001 - the thread's last word: who runs the process ends it
                ended = error if isinstance(error, DeedbookError) else None
                if ended is None:
                    _LOG.exception("folding ended")
                    ended = DeedbookError(f"folding ended: {type(error).__name__}: {error}")
                self._away(ended)
                self._state.ended_by = ended
                self.arrivals.tell()
                return

    def _away(self, error: DeedbookError) -> None:
        if not self._state.problem:
            _LOG.warning("%s; answering from what is folded up to %s", error, self.position)
            self._state.since = self._clock()
        self._state.problem = str(error)
        self.arrivals.tell()

    def _heard(self, batch: Batch) -> None:
        if batch.topic == REGISTRY:
            self.position = batch.after.next_position
        for event, decision in batch.decided[-_REMEMBERED:]:
            if isinstance(decision, Accepted | Rejected):
                where = (batch.topic, batch.partition, event.position)
                self._decided[where] = decision.reason if isinstance(decision, Rejected) else None
        while len(self._decided) > _REMEMBERED:
            self._decided.popitem(last=False)
        for hear in self.heard:
            hear(batch)
        self.arrivals.tell()

    def _told(self, position: int) -> None:
        self.position = self.announced = position
        if self._state.problem:
            _LOG.warning("going on: folded up to %s", position)
            self._state.problem = ""
        self._state.caught_up = True
        self.arrivals.tell()

    def _see_to(self, store: Store) -> None:
        """Count what health tells, and remind of what is overdue."""
        now = time.monotonic()
        if self._state.surveyed_at != self.position:
            self._state.surveyed_at = self.position
            self._state.survey = _surveyed(store)
            self.arrivals.tell()
        if now >= self._reminded_at + self._remind_seconds:
            self._reminded_at = now
            self._remind(store)

    # --- asking ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def reading(self, *, timeout_seconds: float = 10.0) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor on the state as of now, for this thread alone; never in an event loop's.

        The time is for waiting and for asking. Raises ProjectionBusy, DeadlineExceeded, DeedbookError.
        """
        with self.following.readers.reading(timeout_seconds=timeout_seconds) as connection:
            yield connection

    async def ask(
        self,
        question: Callable[[duckdb.DuckDBPyConnection], T],
        *,
        min_position: int = 0,
        timeout_seconds: float = 10.0,
    ) -> T:
        """Return what ``question`` makes of the state, which holds all up to ``min_position`` at least.

        It runs in another thread. Raises DeadlineExceeded, ProjectionBusy, and what the question raises.
        """
        deadline = time.monotonic() + timeout_seconds
        if min_position > 0:
            await self.reached(min_position, timeout_seconds=timeout_seconds)
        asked = _Asked(self, question, deadline)
        answer = asyncio.get_running_loop().run_in_executor(self._askers, asked.answer)
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                return await answer
        except TimeoutError:
            raise DeadlineExceeded(
                f"no answer within {timeout_seconds:.1f} s: ask for less, or later"
            ) from None
        finally:
            asked.give_up()

    async def reached(self, position: int, *, timeout_seconds: float) -> None:
        """Wait until all up to and including a registry position is folded. Raises DeadlineExceeded."""
        await self.reached_at(REGISTRY, 0, position, timeout_seconds=timeout_seconds)

    async def reached_at(self, topic: str, partition: int, position: int, *, timeout_seconds: float) -> None:
        """Wait until a record is folded, of any topic. Raises DeadlineExceeded, and what has ended the folding."""
        await self.arrivals.arrival(
            lambda: self.has(topic, partition, position), timeout_seconds=timeout_seconds
        )
        self._check_reached(topic, partition, position, timeout_seconds)

    def wait_until_reached(
        self, topic: str, partition: int, position: int, *, timeout_seconds: float
    ) -> None:
        """Block this thread until a record is folded; as `reached_at`."""
        self.arrivals.wait(lambda: self.has(topic, partition, position), timeout_seconds=timeout_seconds)
        self._check_reached(topic, partition, position, timeout_seconds)

    def has(self, topic: str, partition: int, position: int) -> bool:
        """Say whether a record is folded, or never will be."""
        return self._folded(topic, partition) > position or self._over()

    def _folded(self, topic: str, partition: int) -> int:
        if topic == REGISTRY:
            return self.position
        return self.following.folded.get((topic, partition), 0)

    def _over(self) -> bool:
        return self._state.ended_by is not None or self._stop.is_set()

    def _check_reached(self, topic: str, partition: int, position: int, timeout_seconds: float) -> None:
        if self._folded(topic, partition) > position:
            return
        if self._state.ended_by is not None:
            raise self._state.ended_by
        problem = f" ({self._state.problem})" if self._state.problem else ""
        raise DeadlineExceeded(
            f"{topic}:{position} was not folded within {timeout_seconds:.1f} s{problem}; ask again"
        )

    def decided(self, topic: str, partition: int, position: int) -> tuple[str, str] | None:
        """Return what was decided on an event, accepted or rejected, and why; None where that must be asked for.

        It must be of what was decided long ago, and of what was on the log before.
        """
        reason = self._decided.get((topic, partition, position), "")
        if reason == "":
            return None
        return ("accepted", "") if reason is None else ("rejected", reason)

    async def changed(self, after: int, *, timeout_seconds: float) -> int:
        """Wait until the registry's position is past ``after``, or the time is up; return the position.

        Raises ServiceEnding once no more will be told: whoever follows is to go elsewhere, or come again.
        """
        await self.arrivals.arrival(
            lambda: self.position > after or self.ending or self._over(), timeout_seconds=timeout_seconds
        )
        if self.position <= after and (self.ending or self._over()):
            raise ServiceEnding("the service is being stopped: go on from here a moment later")
        return self.position

    def end_streams(self) -> None:
        """Tell all who wait for changes that the service ends; what was asked before is still answered."""
        self.ending = True
        self.arrivals.tell()

    def wait_until_ready(self, *, timeout_seconds: float) -> bool:
        """Block this thread until all is folded that was there at the start; say whether that is so."""
        self.arrivals.wait(lambda: self._state.caught_up or self._over(), timeout_seconds=timeout_seconds)
        return self._state.caught_up

    def wake(self) -> None:
        """Have a look at the log now: something was appended. From any thread."""
        self.following.wake()

    def snapshot(self, *, min_position: int = 0, timeout_seconds: float = 60.0) -> Path:
        """Return the path of a snapshot that holds all that is folded now; not in an event loop.

        Raises ProjectionBusy, DeadlineExceeded, StorageFull.
        """
        if min_position > 0:
            self.wait_until_reached(REGISTRY, 0, min_position, timeout_seconds=timeout_seconds)
        return self.following.snapshots.holding(dict(self.following.folded), timeout_seconds=timeout_seconds)

    def health(self) -> Health:
        """Return how the state does; from what is known already, so at once."""
        state, ends, folded = self._state, dict(self.following.ends), dict(self.following.folded)
        lag: dict[str, int] = {}
        for (topic, partition), end in ends.items():
            lag[topic] = lag.get(topic, 0) + max(0, end - folded.get((topic, partition), 0))
        return Health(
            log_reachable=not state.problem,
            ready=state.caught_up,
            problem=state.problem,
            since=state.since if state.problem else 0,
            ends=ends,
            folded=folded,
            lag=lag,
            quarantined=state.survey.quarantined,
            pending=state.survey.pending,
            rules_version=state.survey.rules_version,
        )


class _Asked(Generic[T]):
    """A question on its way to a thread that asks it, and maybe given up meanwhile."""

    def __init__(
        self, live: Live, question: Callable[[duckdb.DuckDBPyConnection], T], deadline: float
    ) -> None:
        self._live = live
        self._question = question
        self._deadline = deadline
        self._lock = threading.Lock()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._given_up = False

    def answer(self) -> T:
        """Ask, in a thread for it."""
        left = self._deadline - time.monotonic()
        if self._given_up or left <= 0:
            raise DeadlineExceeded("the question was given up before it was asked")
        with self._live.reading(timeout_seconds=left) as connection:
            with self._lock:
                self._connection = connection
            try:
                return self._question(connection)
            finally:
                with self._lock:
                    self._connection = None

    def give_up(self) -> None:
        """Interrupt the question if it is still asked."""
        with self._lock:
            self._given_up = True
            if self._connection is not None:
                self._connection.interrupt()


def _surveyed(store: Store) -> _Survey:
    (quarantined,) = store.connection.execute("select count(*) from base.quarantine").fetchone() or (0,)
    (pending,) = store.connection.execute(
        "select count(*) from base.request where closed_position is null"
    ).fetchone() or (0,)
    return _Survey(int(quarantined), int(pending), store.rules_version())
