"""What stands behind a registry that a program uses: the log and its fold here, or a service elsewhere.

What is asked of a backend is well-formed already: names and times are checked, facts are made ready. All answers
are the dataclasses of `deedbook.projector.queries`, whoever gives them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from deedbook.artifacts.store import ArtifactStore
    from deedbook.client.preparing import Prepared, Preparer
    from deedbook.client.searching import Search, SeriesWanted
    from deedbook.events.facts import (
        DeploymentRequested,
        PolicyPublished,
        ReleaseActivated,
        RequestsPublished,
        RevalidationRequested,
        TrainingAmended,
        VerdictOverridden,
    )
    from deedbook.projector.queries import (
        Deployment,
        LiveRelease,
        MetricSeries,
        Rows,
        Standing,
        TrainingDetail,
        TrainingSummary,
    )


class Recording(Protocol):
    """Where facts go that await no decision: trainings, as a whole and step by step."""

    @property
    def preparer(self) -> Preparer:
        """What makes facts ready, in the name of whoever speaks."""

    @property
    def artifacts(self) -> ArtifactStore:
        """The store of the models and request sets; raises InvalidInput where none is named."""

    def append(self, facts: Sequence[Prepared]) -> None:
        """Put facts of one topic on the log, and return once they are durable.

        Raises LogUnavailable (whether they are on the log is unknown: the same ones again are harmless),
        StorageFull, AccessDenied.
        """


class Backend(Recording, Protocol):
    """Everything that a registry does and answers. Safe to use from several threads.

    A request is a fact of its own: it is appended, the fold decides, and the answer is what came of it.
    Raises RequestRejected with the fold's reason, and what reading and appending raise.
    """

    def check_can_answer(self) -> None:
        """Raise MissingExtra where what answers take is not installed: such a request is not even appended."""

    def amend(self, fact: TrainingAmended) -> Standing:
        """Return where the training stands then."""

    def revalidate(self, fact: RevalidationRequested) -> int:
        """Return the position of the request."""

    def override(self, fact: VerdictOverridden) -> Standing:
        """Return where the training stands then."""

    def publish_policy(self, fact: PolicyPublished) -> int:
        """Return the version that the policy was given."""

    def publish_requests(self, fact: RequestsPublished) -> None:
        """Return once the set counts."""

    def request_deployment(self, fact: DeploymentRequested) -> Deployment:
        """Return the deployment."""

    def activate_release(self, fact: ReleaseActivated) -> LiveRelease:
        """Return what is live from then on."""

    def deployment(self, service: str, release: str, environment: str) -> Deployment:
        """Return what a release is bound to; raises NotFound, which says what is bound."""

    def live(self, service: str, environment: str, at: datetime | None) -> LiveRelease | None:
        """Return what is live, or was at a time; None for nothing."""

    def search(self, wanted: Search) -> list[TrainingSummary]:
        """Return the trainings that meet all conditions."""

    def training_detail(self, training_id: str) -> TrainingDetail:
        """Return all that is known of a training; raises NotFound."""

    def metric_series(self, wanted: SeriesWanted) -> MetricSeries:
        """Return a metric of a model's trainings over time."""

    def sql(self, query: str) -> Rows:
        """Return what one SQL statement answers; raises InvalidInput where it can't."""

    def close(self) -> None:
        """Let go of all files and connections; closing twice is harmless."""
