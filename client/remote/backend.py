"""The backend of a registry behind a service: every question a call, every fact a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deedbook.client.remote.answers import rows_of
from deedbook.client.remote.artifacts import ServiceArtifactStore
from deedbook.client.remote.reading import Questions
from deedbook.client.remote.sending import Sender
from deedbook.events.errors import DeedbookError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from deedbook.artifacts.store import ArtifactStore
    from deedbook.client.preparing import Prepared, Preparer
    from deedbook.client.remote.calling import Service
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


class Remote:
    """A service as a backend. Safe to use from several threads.

    What is written returns once it is durable and decided. What is read takes into account all that was written
    through this backend; what others wrote is there as soon as the service has folded it.
    """

    def __init__(self, service: Service, preparer: Preparer, cache: Path) -> None:
        self._service = service
        self._preparer = preparer
        self._sender = Sender(service)
        self._questions = Questions(service)
        self._artifacts = ServiceArtifactStore(service, cache)

    @property
    def preparer(self) -> Preparer:
        """What makes facts ready, in the name of whoever speaks."""
        return self._preparer

    @property
    def artifacts(self) -> ArtifactStore:
        """The service's store."""
        return self._artifacts

    def append(self, facts: Sequence[Prepared]) -> None:
        """Send facts, and return once they are on the log; what the fold rejected of them is a warning."""
        self._sender.record([prepared.fact for prepared in facts])

    def check_can_answer(self) -> None:
        """What calling takes was looked for when this was made."""

    # --- requests ----------------------------------------------------------------------------------

    def amend(self, fact: TrainingAmended) -> Standing:
        """Correct values of a training, and return where it stands then."""
        self._sender.accepted(self._preparer.prepared(fact).fact)
        return self._questions.standing(fact.training_id)

    def revalidate(self, fact: RevalidationRequested) -> int:
        """Ask for a new verdict, and return the position of the request."""
        return self._sender.accepted(self._preparer.prepared(fact).fact)

    def override(self, fact: VerdictOverridden) -> Standing:
        """Decide otherwise than the verdict, and return where the training stands then."""
        self._sender.accepted(self._preparer.prepared(fact).fact)
        return self._questions.standing(fact.training_id)

    def publish_policy(self, fact: PolicyPublished) -> int:
        """Publish a policy, and return the version it was given."""
        position = self._sender.accepted(self._preparer.prepared(fact).fact)
        for policy in self._questions.policies(fact.policy.model):
            if policy.position == position:
                return policy.version
        raise DeedbookError(f"the policy at position {position} could not be read back")

    def publish_requests(self, fact: RequestsPublished) -> None:
        """Publish that a set of requests is there."""
        self._sender.accepted(self._preparer.prepared(fact).fact)

    def request_deployment(self, fact: DeploymentRequested) -> Deployment:
        """Bind a release to trainings, and return the deployment."""
        self._sender.accepted(self._preparer.prepared(fact).fact)
        return self._questions.deployment(fact.deployment_id)

    def activate_release(self, fact: ReleaseActivated) -> LiveRelease:
        """Make an already bound release the current one again, and return what is live from then on."""
        position = self._sender.accepted(self._preparer.prepared(fact).fact)
        found = self._questions.live(fact.service, fact.environment, None)
        if found is None or found.from_position != position:
            # Somebody has made another one current since.
            found = self._questions.live_since(fact.service, fact.environment, position)
        if found is None:
            raise DeedbookError(f"what is live since position {position} could not be read back")
        return found

    # --- reading -----------------------------------------------------------------------------------

    def deployment(self, service: str, release: str, environment: str) -> Deployment:
        """Return what a release is bound to; raises NotFound, which says what is bound."""
        return self._questions.binding(service, release, environment)

    def live(self, service: str, environment: str, at: datetime | None) -> LiveRelease | None:
        """Return what is live, or was at a time; None for nothing."""
        return self._questions.live(service, environment, at)

    def search(self, wanted: Search) -> list[TrainingSummary]:
        """Return the trainings that meet all conditions."""
        return self._questions.search(wanted)

    def training_detail(self, training_id: str) -> TrainingDetail:
        """Return all that is known of a training; raises NotFound."""
        return self._questions.training(training_id)

    def metric_series(self, wanted: SeriesWanted) -> MetricSeries:
        """Return a metric of a model's trainings over time."""
        return self._questions.metric_series(wanted)

    def sql(self, query: str) -> Rows:
        """Return what one SQL statement answers; raises InvalidInput where it can't, or has too many rows."""
        return rows_of(self._questions.table(query))

    def close(self) -> None:
        """Let go of the connection; closing twice is harmless."""
        self._service.close()
