"""The Faust driver of validation: workers on Kafka that share out the orders among them.

One agent reads `validations` as raw bytes; `worker.Judge` does with each record what it does on the
embedded log. Every worker is a member of one consumer group, so a partition's orders come to one of them,
in their order. A check blocks for as long as a model takes: it runs in a thread of its own, and heartbeats
go on beside it.

What Faust is trusted with, and what not. Faust 0.15 counts as done what it had merely buffered when
partitions change hands, so that a commit may go past an order that nobody judged; it takes what a crashed
agent had in hand for done; and its exactly-once is broken. So nothing rests on offsets: they spare work. An
order that got lost is announced again by the announcer, because its training has no verdict; one that is
judged twice has the same verdict twice, which counts once. There is no table, no changelog, no leader's
topic, no web server and no producer of Faust's: verdicts go through the log's own `append` (acks=all).

Nor does a rebalance wait for the check in hand, which would keep every worker waiting: it is finished
beside it, and whoever gets the partition then may judge that order once more. Offsets are forgotten when no
worker ran for a week, and a copied log never had any: orders come again from the first one then, and
`AnswersOnLog` knows which of them have their verdict.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

from deedbook.consumers.faust.answers import AnswersOnLog, Interrupted
from deedbook.consumers.faust.app import faust_settings, group_of, new_app, record_of
from deedbook.consumers.faust.logging import AWAY, Translated, in_our_words
from deedbook.consumers.sandbox.outcome import printable
from deedbook.consumers.worker import Judge
from deedbook.events.errors import AccessDenied, LogUnavailable
from deedbook.events.facts import REGISTRY, ValidationRequested, VerdictIssued

if TYPE_CHECKING:
    import faust
    from faust.streams import Stream
    from faust.types import TP, EventT, StreamT

    from deedbook.consumers.validation import Validator
    from deedbook.events.codec import Codec
    from deedbook.events.kafka.settings import KafkaSettings
    from deedbook.events.log import Log, NewRecord, Record

_T = TypeVar("_T")
_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 0.1
_STOP_SECONDS = 10.0
# Whether it was appended is unknown after that, and appending it again harmless.
_APPEND_SECONDS = 10.0
_MAX_BACKOFF_SECONDS = 30.0
_SETTLED_SECONDS = 60.0
# What Kafka answers to somebody who may not: waiting mends none of it.
_REFUSALS = ("Authorization", "Authentication", "Sasl", "SASL")


def follow(
    kafka: KafkaSettings,
    log: Log,
    codec: Codec,
    validator: Validator,
    *,
    stop: Callable[[], bool],
    heard: Callable[[ValidationRequested, VerdictIssued], None],
    start_seconds: float = 30.0,
) -> None:
    """Judge this worker's share of the orders until `stop` says so; the check in hand is finished first.

    Verdicts are appended through `log`, for as long as it takes when Kafka is away; `heard` is told of each
    order and its verdict after that, in the thread that judges. `start_seconds`: how long Kafka may take to
    let the worker in at first.

    Raises UnknownSchema (an order of a newer release), InvalidInput (options that Faust can't honour),
    MissingExtra, AccessDenied, LogUnavailable (Kafka did not let the worker in in time, or was away at the
    end with a verdict in hand), and what else the log raises. Whatever it raises, the order in hand is not
    counted as done.
    """
    answers = AnswersOnLog(log, codec, clock=validator.clock, stop=stop)

    def append(answer: NewRecord) -> None:
        try:
            _patiently(lambda: log.append(REGISTRY, [answer], timeout_seconds=_APPEND_SECONDS), stop)
        except LogUnavailable as error:
            raise LogUnavailable(
                f"a verdict is not on the log, so its order will be judged again: {error}"
            ) from error

    def is_pending(order: ValidationRequested, record: Record) -> bool:
        return _patiently(lambda: answers.is_pending(order, record), stop)

    judge = Judge(codec, validator, append=append, is_pending=is_pending, heard=heard)
    settings = faust_settings(kafka)
    with in_our_words() as said, ThreadPoolExecutor(max_workers=1, thread_name_prefix="judging") as bench:
        worker = _Worker(kafka, settings, judge, bench, said, stop=stop, start_seconds=start_seconds)
        asyncio.run(worker.run())


class _Worker:
    """One worker's membership of its group, begun anew whenever Faust gives it up."""

    def __init__(
        self,
        kafka: KafkaSettings,
        settings: Mapping[str, Any],
        judge: Judge,
        bench: ThreadPoolExecutor,
        said: Translated,
        *,
        stop: Callable[[], bool],
        start_seconds: float,
    ) -> None:
        self._kafka = kafka
        self._settings = settings
        self._said = said
        self._start_seconds = start_seconds
        self._judge = judge
        self._bench = bench
        self._stop = stop
        # What is judged now, and whether the agent still waits for it: Faust may have cancelled that.
        self._in_hand: Future[None] | None = None
        self._awaited = False
        self._failure: Exception | None = None
        self._was_let_in = False

    async def run(self) -> None:
        """Belong to the group until the end is asked for; raises what else ended it."""
        give_up_at = time.monotonic() + self._start_seconds
        backoff_seconds = 1.0
        while not self._ended():
            began = time.monotonic()
            lost = await self._belong()
            if lost is None or self._ended():
                continue
            refusal = self._refusal(lost)
            if refusal:
                self._failure = AccessDenied(f"Kafka refuses this worker: {refusal}")
            elif not self._was_let_in and time.monotonic() > give_up_at:
                self._failure = LogUnavailable(self._left_outside(lost))
            else:
                if time.monotonic() - began > _SETTLED_SECONDS:
                    backoff_seconds = 1.0
                _LOG.warning("this worker joins its group anew: %s", _said(lost))
                await _until(self._ended, backoff_seconds)
                backoff_seconds = min(backoff_seconds * 2, _MAX_BACKOFF_SECONDS)
        await self._finish()
        if self._failure is not None:
            raise self._failure

    def _refusal(self, lost: BaseException | None = None) -> str:
        """Return what Kafka said if it refuses this worker, empty if it was merely lost."""
        if lost is not None and any(word in type(lost).__name__ for word in _REFUSALS):
            return _said(lost)
        return "" if self._was_let_in else self._said.refusal.removeprefix("Kafka's client says: ")

    def _left_outside(self, lost: BaseException) -> str:
        """Return the sentence for a worker that no group took in."""
        where = f"Kafka at {self._kafka.servers} did not let this worker in"
        if isinstance(lost, TimeoutError):
            # Its client says nothing to a user who may not belong to the group.
            return (
                f"{where} within {self._start_seconds:g} s: may it read in the group {group_of(self._kafka)}?"
            )
        return f"{where}: {_said(lost)}"

    async def _belong(self) -> BaseException | None:
        """Be a member of the group until the end is asked for, or Faust gives up: then for what reason."""
        app, topic = new_app(self._kafka, self._settings)
        app.agent(topic, concurrency=1, name="validation")(self._judge_all)
        app.on_partitions_assigned.connect(self._on_assigned)
        try:
            await self._start(app)
            await _until(lambda: self._ended() or app.crashed)
            await self._finish()
            # A commit that meets another under way waits for that one and does nothing more.
            for _ in range(2):
                await asyncio.wait_for(app.consumer.commit(), _STOP_SECONDS)
        except Exception as error:  # noqa: BLE001 (Faust and its client raise what they like)
            return app.crash_reason or error
        else:
            return app.crash_reason
        finally:
            with suppress(Exception):
                await asyncio.wait_for(app.stop(), _STOP_SECONDS)

    async def _start(self, app: faust.App) -> None:
        """Start an app; raises TimeoutError where that takes too long, is refused, or the end is asked for."""
        starting = asyncio.ensure_future(app.start())
        await _until(lambda: starting.done() or self._ended() or bool(self._refusal()), self._start_seconds)
        if not starting.done():
            starting.cancel()
            await asyncio.wait({starting}, timeout=_LOOK_SECONDS)
            raise TimeoutError
        await starting

    async def _on_assigned(self, sender: Any, /, *given: Any, signal: Any, **_: Any) -> None:  # noqa: ANN401, ARG002 (as signals of Faust call)
        self._was_let_in = True
        assigned: set[TP] = given[0]
        numbers = ", ".join(str(number) for number in sorted(found.partition for found in assigned))
        _LOG.info("this worker's partitions: %s", numbers or "none, for others have them all")

    async def _judge_all(self, stream: StreamT[bytes]) -> None:
        """Judge what comes, in order; each order counts as done only after its verdict is on the log."""
        by_hand = cast("Stream[bytes]", stream).noack()
        async for event in by_hand.events():
            if not self._ended():
                await self._judge_one(event, by_hand)
            if self._ended():
                # What is buffered is left to others. The agent must not end: Faust would start it anew.
                await asyncio.Event().wait()

    async def _judge_one(self, event: EventT[bytes], stream: StreamT[bytes]) -> None:
        self._in_hand = self._bench.submit(self._judge.hear, record_of(event.message))
        self._awaited = True
        try:
            await asyncio.wrap_future(self._in_hand)
            # Also where partitions changed hands meanwhile: Faust commits nothing of what is no longer its own.
            await stream.ack(event)
        except Interrupted:
            pass
        except Exception as error:  # noqa: BLE001 (raised again where the worker ends)
            self._failure = error
        finally:
            self._awaited = False

    async def _finish(self) -> None:
        """Wait until the order in hand has its verdict and counts as done; its check has limits of its own."""
        await _until(lambda: not self._awaited and (self._in_hand is None or self._in_hand.done()))

    def _ended(self) -> bool:
        return self._failure is not None or self._stop()


async def _until(so: Callable[[], bool], max_seconds: float = math.inf) -> None:
    """Wait until it is so: what signals, other threads and Faust's crashes change tells no event loop."""
    end = time.monotonic() + max_seconds
    while not so() and time.monotonic() < end:  # noqa: ASYNC110 (there is no event to wait for)
        await asyncio.sleep(_LOOK_SECONDS)


def _patiently(ask: Callable[[], _T], stop: Callable[[], bool]) -> _T:
    """Ask the log until it answers; once the end is asked for, no more often. Raises what else it raises."""
    pause_seconds = 1.0
    level = logging.WARNING
    while True:
        try:
            return ask()
        except LogUnavailable as error:
            if stop():
                raise
            _LOG.log(level, "%s (%s)", AWAY, error)
            level = logging.INFO
        until = time.monotonic() + pause_seconds
        while not stop() and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
        pause_seconds = min(pause_seconds * 2, _MAX_BACKOFF_SECONDS)


def _said(error: BaseException) -> str:
    name = type(error).__name__
    said = str(error).removeprefix(f"{name}: ")
    return printable(f"{name}: {said}" if said else name, 200)
