"""Writing: a fact is appended, the fold decides, and its answer comes back."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from deedbook.events.errors import DeadlineExceeded, DeedbookError, InvalidInput
from deedbook.events.ids import new_id
from deedbook.events.shape import problem_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import duckdb

    from deedbook.artifacts.store import ArtifactStore
    from deedbook.events.codec import Codec
    from deedbook.events.facts import Fact
    from deedbook.events.log import Log, NewRecord
    from deedbook.service.live import Live

_APPENDERS = 4
_MAX_REMEMBERED = 10_000
_ANSWER = """
select f.position, f.decision, f.reason
from main.events e join main.events f
  on f.topic = e.topic and f.partition = e.partition and f.event_id = e.event_id
  and (f.position = e.position or e.decision = 'ignored')
where e.topic = ? and e.partition = ? and e.position = ? order by f.position limit 1
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the fold decided on an event: ``decision`` is accepted or rejected, with its reason."""

    position: int
    decision: str
    reason: str


class Envelope(TypedDict):
    """What every fact carries."""

    event_id: str
    occurred_at: int
    actor: str


class Writer:
    """Puts facts on the log for all callers of the service; safe to use from loops and from threads.

    ``begin`` is called before the first append: it puts on an empty log what explains it. ``appended`` is told of
    each append: its topic, how many events, the seconds it took, and "durable" or the error's name.
    """

    def __init__(
        self,
        live: Live,
        log: Log,
        codec: Codec,
        artifacts: ArtifactStore,
        *,
        clock: Callable[[], int],
        begin: Callable[[], None] = lambda: None,
        appended: Callable[[str, int, float, str], None] = lambda *_: None,
    ) -> None:
        self.codec = codec
        self.artifacts = artifacts
        self.clock = clock
        self._live = live
        self._log = log
        self._begin = begin
        self._begun = False
        self._tell_appended = appended
        self._appenders = ThreadPoolExecutor(_APPENDERS, thread_name_prefix="deedbook-append")
        self._times: OrderedDict[str, int] = OrderedDict()

    def envelope(self, actor: str, request_id: str = "") -> Envelope:
        """Return what a new fact carries; of the same request the same, whenever it is made.

        ``request_id``: a UUID that the caller chose; the time is the one in it (version 7), else when this process
        first saw it. Raises InvalidInput for what is no UUID.
        """
        if not request_id:
            return {"event_id": new_id(), "occurred_at": self.clock(), "actor": actor}
        try:
            chosen = uuid.UUID(request_id)
        except ValueError:
            raise InvalidInput("a request's id must be a UUID, best of version 7") from None
        event_id = str(chosen)
        return {"event_id": event_id, "occurred_at": self._time_of(chosen), "actor": actor}

    def _time_of(self, chosen: uuid.UUID) -> int:
        if chosen.version == 7:
            return (chosen.int >> 80) * 1_000
        event_id = str(chosen)
        self._times[event_id] = occurred_at = self._times.get(event_id) or self.clock()
        if len(self._times) > _MAX_REMEMBERED:
            self._times.popitem(last=False)
        return occurred_at

    async def decide(self, fact: Fact, *, timeout_seconds: float = 30.0) -> Answer:
        """Append a fact and return the fold's answer; to the same event sent again, the first one.

        Raises InvalidInput (nothing was appended), LogUnavailable, StorageFull, AccessDenied, DeadlineExceeded (it
        may be on the log, and is not folded yet: the same event again asks again).
        """
        deadline = time.monotonic() + timeout_seconds
        ((partition, position),) = await self._appended(fact.topic, [fact], timeout_seconds)
        await self._live.reached_at(fact.topic, partition, position, timeout_seconds=_left(deadline))
        if (decided := self._live.decided(fact.topic, partition, position)) is not None:
            return Answer(position, *decided)
        return await self._live.ask(
            lambda connection: answer_to(connection, fact.topic, partition, position),
            timeout_seconds=_left(deadline),
        )

    async def append(self, facts: Sequence[Fact], *, timeout_seconds: float = 30.0) -> list[int]:
        """Append facts of one topic, durably, without waiting for decisions; return their positions.

        Raises as `decide` does.
        """
        if not facts:
            return []
        topics = {fact.topic for fact in facts}
        if len(topics) > 1:
            raise InvalidInput("facts of several topics can't be appended together")
        appended = await self._appended(topics.pop(), facts, timeout_seconds)
        return [position for _, position in appended]

    async def place(self, fact: Fact, *, timeout_seconds: float = 30.0) -> tuple[int, int]:
        """Append one fact, durably, and return its (partition, position); raises as `decide` does."""
        ((partition, position),) = await self._appended(fact.topic, [fact], timeout_seconds)
        return partition, position

    def decide_blocking(self, fact: Fact, *, timeout_seconds: float = 30.0) -> Answer:
        """Do what `decide` does, in a thread that may wait: never in an event loop's."""
        deadline = time.monotonic() + timeout_seconds
        ((partition, position),) = self._append_now(fact.topic, [fact], deadline)
        self._live.wait_until_reached(fact.topic, partition, position, timeout_seconds=_left(deadline))
        with self._live.reading(timeout_seconds=_left(deadline)) as connection:
            return answer_to(connection, fact.topic, partition, position)

    async def _appended(
        self, topic: str, facts: Sequence[Fact], timeout_seconds: float
    ) -> list[tuple[int, int]]:
        """Append in a thread: encoding and syncing both take their time."""
        deadline = time.monotonic() + timeout_seconds
        appending = asyncio.get_running_loop().run_in_executor(
            self._appenders, self._append_now, topic, facts, deadline
        )
        # What fails after nobody waits for it any more is nobody's: the loop would tell of it as of a bug.
        appending.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            async with asyncio.timeout(timeout_seconds):
                return await asyncio.shield(appending)
        except TimeoutError:
            raise DeadlineExceeded(
                f"the log did not answer within {timeout_seconds:.1f} s: it may have taken the request; the same id "
                "again asks again"
            ) from None

    def _append_now(self, topic: str, facts: Sequence[Fact], deadline: float) -> list[tuple[int, int]]:
        records = [self._prepared(fact) for fact in facts]
        if not self._begun:
            self._begin()
            self._begun = True
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded("the request waited too long to be appended; nothing was written")
        begun, outcome = time.monotonic(), "durable"
        try:
            return self._log.append(topic, records, timeout_seconds=left)
        except DeedbookError as error:
            outcome = type(error).__name__
            raise
        finally:
            self._live.wake()
            self._tell_appended(topic, len(records), time.monotonic() - begun, outcome)

    def _prepared(self, fact: Fact) -> NewRecord:
        if (problem := problem_of(fact)) is not None:
            raise InvalidInput(problem)
        return self.codec.encode(fact)

    def close(self) -> None:
        """Let go of the threads; what is being appended is finished."""
        self._appenders.shutdown()


def answer_to(connection: duckdb.DuckDBPyConnection, topic: str, partition: int, position: int) -> Answer:
    """Return the fold's answer to the event at a position: of an event that was sent again, the first one."""
    row = connection.execute(_ANSWER, [topic, partition, position]).fetchone()
    if row is None:
        raise DeedbookError(f"{topic}:{partition}:{position} is on the log, but could not be read back")
    return Answer(int(row[0]), "accepted" if row[1] == "ignored" else str(row[1]), str(row[2] or ""))


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())
