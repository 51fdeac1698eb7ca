"""Putting facts on the log: checked, encoded, appended."""

from __future__ import annotations

import operator
import threading
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict

from deedbook.client.schemas import publish_schemas
from deedbook.events.clock import now_micros
from deedbook.events.codec import Codec
from deedbook.events.errors import InvalidInput
from deedbook.events.facts import REGISTRY, MetricPoint, MetricsLogged, TrainingLogged
from deedbook.events.ids import new_id
from deedbook.events.shape import MAX_ITEMS, problem_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deedbook.artifacts.store import ArtifactStore
    from deedbook.client.place import Place
    from deedbook.events.facts import Fact
    from deedbook.events.log import Log, NewRecord

_MAX_REMEMBERED = 64


class Envelope(TypedDict):
    """What every fact carries."""

    event_id: str
    occurred_at: int
    actor: str


class Recorder:
    """Appends one person's facts to a registry's log, and makes the log at the first where it is in a folder.

    ``clock`` tells the time in microseconds since 1970. Safe to use from several threads.
    """

    def __init__(self, place: Place, *, actor: str, clock: Callable[[], int] = now_micros) -> None:
        self.place = place
        self.actor = actor
        self.clock = clock
        self.codec = Codec()
        self._log: Log | None = None
        self._artifacts: ArtifactStore | None = None
        self._begun = False
        self._opening = threading.Lock()
        # Names of metrics that were found well-formed: a program logs the same ones again and again.
        self._known_names: OrderedDict[tuple[tuple[str, str, str], ...], None] = OrderedDict()

    def envelope(self) -> Envelope:
        """Return what a new fact carries: an id of its own, the time, who says so."""
        return {"event_id": new_id(), "occurred_at": self.clock(), "actor": self.actor}

    def log(self, *, create: bool = False) -> Log:
        """Return the log; without ``create`` raises NotFound where there is none."""
        with self._opening:
            if self._log is None:
                self._log = self.place.log(create=create, clock=self.clock)
            return self._log

    @property
    def artifacts(self) -> ArtifactStore:
        """The store of the models and request sets; raises InvalidInput where none is named."""
        with self._opening:
            if self._artifacts is None:
                self._artifacts = self.place.artifacts()
            return self._artifacts

    def _log_to_append_to(self) -> Log:
        """Return the log, made where there is none; what comes first on a log is what explains it."""
        log = self.log(create=True)
        if not self._begun:
            if log.end(REGISTRY) == 0:
                publish_schemas(log, self.codec)
            self._begun = True
        return log

    def prepared(self, fact: Fact) -> NewRecord:
        """Return the record of a well-formed fact; raises InvalidInput for any other."""
        if (problem := self._problem_of(fact)) is not None:
            raise InvalidInput(problem)
        return self.codec.encode(fact)

    def append(self, fact: Fact) -> tuple[int, int]:
        """Append a fact to its topic and return its (partition, position) once it is durable.

        Raises InvalidInput before anything is appended, and what ``Log.append`` raises.
        """
        (where,) = self.append_records(fact.topic, [self.prepared(fact)])
        return where

    def append_records(self, topic: str, records: Sequence[NewRecord]) -> list[tuple[int, int]]:
        """Append records to one topic, all or none, and return each one's (partition, position)."""
        return self._log_to_append_to().append(topic, records)

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

    def close(self) -> None:
        """Let go of the log; closing twice is harmless."""
        with self._opening:
            if self._log is not None:
                self._log.close()


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
