"""Facts made ready: who says so and when, looked at for what is not well-formed, encoded."""

from __future__ import annotations

import operator
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypedDict

from deedbook.events.clock import now_micros
from deedbook.events.codec import Codec
from deedbook.events.errors import InvalidInput
from deedbook.events.facts import MetricPoint, MetricsLogged, TrainingLogged
from deedbook.events.ids import new_id
from deedbook.events.shape import MAX_ITEMS, problem_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from deedbook.events.facts import Fact
    from deedbook.events.log import NewRecord

_MAX_REMEMBERED = 64


class Envelope(TypedDict):
    """What every fact carries."""

    event_id: str
    occurred_at: int
    actor: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """A fact that was found well-formed, and the record it is on a log."""

    fact: Fact
    record: NewRecord


class Preparer:
    """Makes one person's facts ready. Safe to use from several threads.

    ``clock`` tells the time in microseconds since 1970.
    """

    def __init__(self, actor: str, clock: Callable[[], int] = now_micros) -> None:
        self.actor = actor
        self.clock = clock
        self.codec = Codec()
        # Names of metrics that were found well-formed: a program logs the same ones again and again.
        self._known_names: OrderedDict[tuple[tuple[str, str, str], ...], None] = OrderedDict()

    def envelope(self) -> Envelope:
        """Return what a new fact carries: an id of its own, the time, who says so."""
        return {"event_id": new_id(), "occurred_at": self.clock(), "actor": self.actor}

    def prepared(self, fact: Fact) -> Prepared:
        """Return a well-formed fact with its record; raises InvalidInput for any other, or one too large."""
        if (problem := self._problem_of(fact)) is not None:
            raise InvalidInput(problem)
        return Prepared(fact, self.codec.encode(fact))

    def _problem_of(self, fact: Fact) -> str | None:
        """Return what ``problem_of`` says, without looking at the same names again and again."""
        match fact:
            case TrainingLogged():
                return self._problem_of_training(fact)
            case MetricsLogged():
                return problem_of(replace(fact, points=_telling(fact.points)))
            case _:
                return problem_of(fact)

    def _problem_of_training(self, fact: TrainingLogged) -> str | None:
        metrics = fact.training.metrics
        names = tuple([(metric.name, metric.slice, metric.unit) for metric in metrics])
        if names in self._known_names and all(type(metric.value) is float for metric in metrics):
            return problem_of(replace(fact, training=replace(fact.training, metrics=())))
        problem = problem_of(fact)
        if problem is None:
            self._known_names[names] = None
            if len(self._known_names) > _MAX_REMEMBERED:
                self._known_names.popitem(last=False)
        return problem


def _telling(points: tuple[MetricPoint, ...]) -> tuple[MetricPoint, ...]:
    """Return the points that tell of all whether they are well-formed: one of each name, and the extremes.

    Values other than floats are left in, to be found; more points than one chunk may have are all left in.
    """
    if len(points) > MAX_ITEMS or any(type(point.value) is not float for point in points):
        return points
    telling = {(point.name, point.slice): point for point in points}
    extremes = [
        extreme(points, key=operator.attrgetter(field))
        for field in ("step", "logged_at")
        for extreme in (min, max)
        if points
    ]
    return (*telling.values(), *extremes)
