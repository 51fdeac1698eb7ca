"""What most commands need of a registry: to ask it, and to have it decide; in its own folder or behind a service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from deedbook.cli.settings import Settings

if TYPE_CHECKING:
    from datetime import datetime

    from deedbook.cli.sql_query import Answer
    from deedbook.client.backend import Recording
    from deedbook.client.preparing import Envelope, Prepared
    from deedbook.client.searching import Search, SeriesWanted
    from deedbook.projector.queries import (
        Comparison,
        Deployment,
        Event,
        Failure,
        LiveRelease,
        MetricSeries,
        PublishedPolicy,
        Standing,
        Story,
        TrainingDetail,
        TrainingSummary,
    )


@dataclass(frozen=True, slots=True)
class Decided:
    """What came of a fact on the log: `decision` is accepted, ignored or rejected."""

    position: int
    decision: str
    reason: str


class Questions(Protocol):
    """What can be asked. A training is named by its id, the beginning of it, or MODEL@VERSION."""

    def training(self, text: str) -> TrainingDetail:
        """Return all that is known of a training; raises NotFound."""

    def training_id(self, text: str) -> str:
        """Return a training's id; raises NotFound, and InvalidInput where several are meant."""

    def versions(self, training_ids: Sequence[str]) -> Mapping[str, int]:
        """Return the versions of those of these trainings that are there."""

    def search(self, wanted: Search) -> Sequence[TrainingSummary]:
        """Return the trainings that meet all conditions."""

    def with_metrics(self, found: Sequence[TrainingSummary]) -> Sequence[TrainingSummary]:
        """Return the trainings with all their metrics over all data."""

    def has_trainings(self) -> bool:
        """Say whether there is any training at all."""

    def short_ids(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Return each training's id as short as a person can give it."""

    def compare(self, trainings: Sequence[str]) -> Comparison:
        """Return trainings side by side."""

    def metric_series(self, wanted: SeriesWanted) -> MetricSeries:
        """Return a metric of a model's trainings over time."""

    def metric_names(self, model: str) -> Sequence[str] | None:
        """Return some metrics that trainings of a model have; None where there is no training of it."""

    def failures(self, *, model: str | None, include_superseded: bool, limit: int) -> Sequence[Failure]:
        """Return the verdicts that are no pass, newest first."""

    def policies(self, model: str) -> Sequence[PublishedPolicy]:
        """Return a model's published policies, oldest version first."""

    def standing(self, training_id: str) -> Standing:
        """Return where a training stands."""

    def deployment(self, deployment_id: str) -> Deployment:
        """Return a requested deployment."""

    def deployments(
        self, *, service: str | None, environment: str | None, decision: str | None, limit: int
    ) -> Sequence[Deployment]:
        """Return requested deployments, newest first."""

    def live(self, service: str, environment: str, at: datetime | None) -> LiveRelease | None:
        """Return what is live, or was at a time; None for nothing."""

    def explain(self, subject: str) -> Story:
        """Return the whole story of a training, a run or a deployment."""

    def events(
        self, topic: str | None, *, after: int, types: Sequence[str], newest: bool, limit: int
    ) -> Sequence[Event]:
        """Return events of a topic, of all for None: the first ones after a position, or the newest."""


class Asked(Protocol):
    """A registry that commands ask and write to."""

    @property
    def recording(self) -> Recording:
        """What prepares trainings and stores their artifacts."""

    def envelope(self) -> Envelope:
        """Return what a new fact carries: an id of its own, the time, who says so."""

    def asking(self) -> AbstractContextManager[Questions]:
        """Hand out what can be asked, with all that was written before taken into account; keep it briefly."""

    def deciding(
        self, facts: Sequence[Prepared]
    ) -> AbstractContextManager[tuple[Sequence[Decided], Questions]]:
        """Put facts on the log; hand out what was decided on each, in their order, and what can be asked of that."""

    def answered(self, query: str) -> AbstractContextManager[Answer]:
        """Ask one SQL statement; raises InvalidInput."""

    def snapshot(self) -> Path:
        """Return a snapshot's file on this machine that holds all up to now."""

    def wait_for_news(self, places: Mapping[str, int]) -> bool:
        """Wait for a moment; say whether there may be something in a topic after its place."""


@contextmanager
def asked(settings: Settings, *, create: bool = False) -> Iterator[Asked]:
    """Open the registry that the settings name, wherever it is, and close it at the end.

    Raises NotFound where there is none, unless `create`; InvalidInput, LogUnavailable, LogDamaged, MissingExtra.
    """
    place = settings.place()
    if place.service is None:
        from deedbook.cli.asked_here import Here
        from deedbook.cli.wiring import opened

        with opened(settings, create=create) as registry:
            yield Here(registry)
        return
    from deedbook.client.remote.needed import check_can_call

    check_can_call()
    from deedbook.cli.asked_there import There

    there = There(place, place.service, settings.actor)
    try:
        yield there
    finally:
        there.close()
