"""Which orders have their verdict already: told from the registry itself, without a projection."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from deedbook.consumers.worker import request_of
from deedbook.events.errors import Undecodable, UnknownSchema
from deedbook.events.facts import REGISTRY, Outcome, ValidationRequested, VerdictIssued

if TYPE_CHECKING:
    from collections.abc import Callable

    from deedbook.events.codec import Codec
    from deedbook.events.log import Log, Record

# An order this young has just been announced: it is judged without looking.
_FRESH_MICROSECONDS = 5_000_000
_MAX_REMEMBERED = 1_000_000
_VERDICT = b"deedbook.VerdictIssued."


class Interrupted(Exception):
    """The worker is to end while it still reads what was answered; nothing was decided."""


class AnswersOnLog:
    """The verdicts that stand on the registry after the request of the oldest order that was asked about.

    It reads the registry no further back than that, each record once, and holds a few words for each verdict.
    `clock`: microseconds since 1970; `stop` says whether to break off.
    """

    def __init__(self, log: Log, codec: Codec, *, clock: Callable[[], int], stop: Callable[[], bool]) -> None:
        self._log = log
        self._codec = codec
        self._clock = clock
        self._stop = stop
        # What was read: the positions from `_start` to before `_next`.
        self._start = self._next = 0
        self._answered: OrderedDict[tuple[str, int], int] = OrderedDict()

    def is_pending(self, order: ValidationRequested, record: Record) -> bool:
        """Say whether no verdict followed on an order.

        Only what was recorded after the order answers it: an order that is announced again says that no
        verdict before it counted. A verdict that is an error is no answer.
        Raises Interrupted, and what the log raises.
        """
        if self._clock() - record.recorded_at < _FRESH_MICROSECONDS:
            return True
        asked_at = max(0, order.requested_at_position)
        if self._start == self._next:
            self._start = self._next = asked_at
        elif asked_at < self._start:
            self._read(asked_at, self._start)
            self._start = asked_at
        self._next = self._read(self._next, self._log.end(REGISTRY))
        return self._answered.get(request_of(order), -1) < record.recorded_at

    def _read(self, position: int, end: int) -> int:
        """Note the verdicts from a position up to `end`, and return the first position not looked at."""
        while position < end:
            if self._stop():
                raise Interrupted
            records = self._log.read(REGISTRY, 0, position)
            if not records:
                return position
            for record in records:
                if record.position < end:
                    self._note(record)
            position = min(end, records[-1].position + 1)
        return position

    def _note(self, record: Record) -> None:
        if not dict(record.headers).get("ce_type", b"").startswith(_VERDICT):
            return
        try:
            fact = self._codec.decode(record)
        except (Undecodable, UnknownSchema):
            return
        if isinstance(fact, VerdictIssued) and fact.outcome is not Outcome.ERROR:
            request = request_of(fact)
            self._answered[request] = max(record.recorded_at, self._answered.get(request, -1))
            if len(self._answered) > _MAX_REMEMBERED:
                self._answered.popitem(last=False)
