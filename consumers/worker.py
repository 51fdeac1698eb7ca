"""Judging as the log brings it: work orders from the `validations` topic in, verdicts on the registry out.

What becomes of one order is told once, by `Judge`. Two drivers bring it their records: the plain loop
below, and Faust's on Kafka (`faust_worker`).
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import TYPE_CHECKING

from deedbook.consumers.sandbox.outcome import printable
from deedbook.events.errors import InvalidInput, Undecodable
from deedbook.events.facts import REGISTRY, VALIDATIONS, Outcome, ValidationRequested, VerdictIssued
from deedbook.events.shape import problem_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deedbook.consumers.validation import Validator
    from deedbook.events.codec import Codec
    from deedbook.events.log import Log, NewRecord, Record

_LOG = logging.getLogger(__name__)
# An order of a megabyte each: a read stays within a few of them.
_MAX_RECORDS = 100
_MAX_READ_BYTES = 8 << 20
_MAX_REMEMBERED = 10_000


def _unheard(_: ValidationRequested, __: VerdictIssued) -> None:
    return


class Judge:
    """What a worker does with a record of the `validations` topic, whoever brings it.

    `is_pending` says of an order, and the record it came in, whether it still waits for its verdict; the
    others are passed over, and so is what this judge has answered itself. `append` puts a verdict's record
    on the registry; `heard` is told of an order and its verdict after that.
    """

    def __init__(
        self,
        codec: Codec,
        validator: Validator,
        *,
        append: Callable[[NewRecord], None],
        is_pending: Callable[[ValidationRequested, Record], bool],
        heard: Callable[[ValidationRequested, VerdictIssued], None] = _unheard,
    ) -> None:
        self._codec = codec
        self._validator = validator
        self._append = append
        self._is_pending = is_pending
        self._heard = heard
        self._answered: OrderedDict[tuple[str, int], None] = OrderedDict()

    def hear(self, record: Record) -> None:
        """Judge the order in a record and append its verdict, if it is an order that waits for one.

        What can't be judged at all is logged and passed over: it stays pending, so the announcer asks again.
        Raises UnknownSchema (an order of a newer release), and what `append` and `is_pending` raise.
        """
        order = self._order(record)
        if order is None or request_of(order) in self._answered or not self._is_pending(order, record):
            return
        judged = self._judged(order)
        if judged is not None:
            verdict, answer = judged
            self._append(answer)
            self._remember(verdict)
            self._heard(order, verdict)

    def _order(self, record: Record) -> ValidationRequested | None:
        """Return the order a record holds, None if it is damaged or something else."""
        where = f"{record.partition}:{record.position}" if record.partition else f"{record.position}"
        try:
            fact = self._codec.decode(record)
        except Undecodable as error:
            _LOG.warning("order %s is passed over: %s", where, error)
            return None
        if isinstance(fact, ValidationRequested):
            return fact
        _LOG.warning("order %s is passed over: it is a %s", where, type(fact).__name__)
        return None

    def _judged(self, order: ValidationRequested) -> tuple[VerdictIssued, NewRecord] | None:
        """Return the verdict on an order and its record; None if there is none that could be appended."""
        name = printable(order.training.training_id, 36)
        try:
            verdict = self._validator.verdict(order)
            problem = problem_of(verdict)
            if problem:
                raise InvalidInput(problem)  # noqa: TRY301 (the fold would not take it: said as all the rest is)
            return verdict, self._codec.encode(verdict)
        except Exception as error:  # noqa: BLE001 (one order must not end the worker at every start)
            reason = printable(f"{type(error).__name__}: {error}")
            _LOG.error("training %s could not be judged: %s", name, reason)
            return None

    def _remember(self, verdict: VerdictIssued) -> None:
        """Note that a request is answered; an error may pass with the next attempt, so it is no answer."""
        if verdict.outcome is not Outcome.ERROR:
            self._answered[request_of(verdict)] = None
        if len(self._answered) > _MAX_REMEMBERED:
            self._answered.popitem(last=False)


def work(
    log: Log,
    codec: Codec,
    validator: Validator,
    *,
    start: int,
    is_pending: Callable[[ValidationRequested], bool],
    stop: Callable[[], bool] = lambda: False,
    until_idle: bool = False,
    poll_seconds: float = 1.0,
    partition: int = 0,
    heard: Callable[[VerdictIssued], None] | None = None,
) -> int:
    """Judge a partition's orders from `start` on, and return the position of the first one not looked at.

    Nothing of where it was is kept: begin at the oldest order that may still be unanswered, or at 0.
    `is_pending` says whether an order still waits for its verdict; the others are passed over. An order
    that is judged twice after all does no harm: its verdict has the same id, and the fold counts one.

    It ends when `stop` says so, asked between two orders and every `poll_seconds`; with `until_idle`,
    also when no order is left. `heard` is told of each verdict once it is on the log.

    What can't be judged at all is logged and passed over: it stays pending, so the announcer asks again.
    Raises UnknownSchema (an order of a newer release) and what the log raises: LogUnavailable, LogDamaged.
    """
    judge = Judge(
        codec,
        validator,
        append=lambda answer: _appended(log, answer),
        is_pending=lambda order, _: is_pending(order),
        heard=lambda _, verdict: heard(verdict) if heard is not None else None,
    )
    position = start
    while not stop():
        records = log.read(
            VALIDATIONS,
            partition,
            position,
            max_records=_MAX_RECORDS,
            max_bytes=_MAX_READ_BYTES,
            timeout_seconds=0.0 if until_idle else poll_seconds,
        )
        if not records and until_idle:
            return position
        for record in records:
            if stop():
                return position
            judge.hear(record)
            position = record.position + 1
    return position


def work_through(
    log: Log,
    codec: Codec,
    validator: Validator,
    *,
    starts: Sequence[int] = (),
    is_pending: Callable[[ValidationRequested], bool],
    stop: Callable[[], bool] = lambda: False,
    heard: Callable[[VerdictIssued], None] | None = None,
) -> list[int]:
    """Judge the orders of every partition until none is left, and return where the next ones will begin.

    `starts` gives each partition's first position to look at; for those it doesn't name that is 0. All else
    is as `work` has it.
    """
    ends = []
    for partition in range(log.partitions(VALIDATIONS)):
        end = work(
            log,
            codec,
            validator,
            start=starts[partition] if partition < len(starts) else 0,
            is_pending=is_pending,
            stop=stop,
            until_idle=True,
            partition=partition,
            heard=heard,
        )
        ends.append(end)
    return ends


def request_of(fact: ValidationRequested | VerdictIssued) -> tuple[str, int]:
    """Return what an order asks for and a verdict answers, whichever attempt it is."""
    training_id = fact.training_id if isinstance(fact, VerdictIssued) else fact.training.training_id
    return training_id, fact.requested_at_position


def _appended(log: Log, answer: NewRecord) -> None:
    log.append(REGISTRY, [answer])
