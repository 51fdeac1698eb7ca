"""The plain loop that judges: work orders from the `validations` topic in, verdicts on the registry out."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import TYPE_CHECKING

from deedbook.consumers.sandbox.outcome import printable
from deedbook.events.errors import InvalidInput, Undecodable
from deedbook.events.facts import REGISTRY, VALIDATIONS, Outcome, ValidationRequested, VerdictIssued
from deedbook.events.shape import problem_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from deedbook.consumers.validation import Validator
    from deedbook.events.codec import Codec
    from deedbook.events.log import Log, NewRecord, Record

_LOG = logging.getLogger(__name__)
# An order of a megabyte each: a read stays within a few of them.
_MAX_RECORDS = 100
_MAX_READ_BYTES = 8 << 20
_MAX_REMEMBERED = 10_000


def _unheard(_: VerdictIssued) -> None:
    return


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
    heard: Callable[[VerdictIssued], None] = _unheard,
) -> int:
    """Judge the orders from `start` on, and return the position of the first one that was not looked at.

    Nothing of where it was is kept: begin at the oldest order that may still be unanswered, or at 0.
    `is_pending` says whether an order still waits for its verdict; the others are passed over. An order
    that is judged twice after all does no harm: its verdict has the same id, and the fold counts one.

    It ends when `stop` says so, asked between two orders and every `poll_seconds`; with `until_idle`,
    also when no order is left. `heard` is told of each verdict once it is on the log.

    What can't be judged at all is logged and passed over: it stays pending, so the announcer asks again.
    Raises UnknownSchema (an order of a newer release) and what the log raises: LogUnavailable, LogDamaged.
    """
    answered: OrderedDict[tuple[str, int], None] = OrderedDict()
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
            order = _order(codec, record)
            if order is not None and _request(order) not in answered and is_pending(order):
                verdict = _answer(log, codec, validator, order)
                if verdict is not None:
                    heard(verdict)
                    _remember(answered, verdict)
            position = record.position + 1
    return position


def _order(codec: Codec, record: Record) -> ValidationRequested | None:
    """Return the order a record holds, None if it is damaged or something else."""
    try:
        fact = codec.decode(record)
    except Undecodable as error:
        _LOG.warning("order %s is passed over: %s", record.position, error)
        return None
    if isinstance(fact, ValidationRequested):
        return fact
    _LOG.warning("order %s is passed over: it is a %s", record.position, type(fact).__name__)
    return None


def _request(fact: ValidationRequested | VerdictIssued) -> tuple[str, int]:
    """Return what an order asks for and a verdict answers, whichever attempt it is."""
    training_id = fact.training_id if isinstance(fact, VerdictIssued) else fact.training.training_id
    return training_id, fact.requested_at_position


def _remember(answered: OrderedDict[tuple[str, int], None], verdict: VerdictIssued) -> None:
    """Note that a request is answered; an error may pass with the next attempt, so it is no answer."""
    if verdict.outcome is not Outcome.ERROR:
        answered[_request(verdict)] = None
    if len(answered) > _MAX_REMEMBERED:
        answered.popitem(last=False)


def _answer(log: Log, codec: Codec, validator: Validator, order: ValidationRequested) -> VerdictIssued | None:
    """Judge an order and append the verdict; None if there is none that could be appended."""
    name = printable(order.training.training_id, 36)
    try:
        verdict = validator.verdict(order)
        answer = _record(codec, verdict)
    except Exception as error:  # noqa: BLE001 (one order must not end the worker at every start)
        reason = printable(f"{type(error).__name__}: {error}")
        _LOG.error("training %s could not be judged: %s", name, reason)
        return None
    log.append(REGISTRY, [answer])
    return verdict


def _record(codec: Codec, verdict: VerdictIssued) -> NewRecord:
    """Return the verdict's record; InvalidInput for one that the fold would not take."""
    problem = problem_of(verdict)
    if problem:
        raise InvalidInput(problem)
    return codec.encode(verdict)
