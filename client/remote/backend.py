"""The backend of a registry behind a service: every question a call, every fact a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from deedbook.api.messages import from_message, to_message
from deedbook.api.moments import timestamp_of_datetime
from deedbook.api.v1 import registry_pb2 as pb
from deedbook.client.remote.answers import rows_of, series_of
from deedbook.client.remote.artifacts import ServiceArtifactStore
from deedbook.client.remote.sending import Sender
from deedbook.events.errors import DeedbookError
from deedbook.projector.queries import (
    Deployment,
    LiveRelease,
    PublishedPolicy,
    Standing,
    TrainingDetail,
    TrainingSummary,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
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
    from deedbook.projector.queries import MetricSeries, Rows

_PAGE_SIZE: Final = 1_000
_MAX_ROWS: Final = 1_000_000


class Remote:
    """A service as a backend. Safe to use from several threads.

    What is written returns once it is durable and decided. What is read takes into account all that was written
    through this backend; what others wrote is there as soon as the service has folded it.
    """

    def __init__(self, service: Service, preparer: Preparer, cache: Path) -> None:
        self._service = service
        self._preparer = preparer
        self._sender = Sender(service)
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
        self._sender.decide(self._preparer.prepared(fact).fact)
        return self._standing(fact.training_id)

    def revalidate(self, fact: RevalidationRequested) -> int:
        """Ask for a new verdict, and return the position of the request."""
        return self._sender.decide(self._preparer.prepared(fact).fact)

    def override(self, fact: VerdictOverridden) -> Standing:
        """Decide otherwise than the verdict, and return where the training stands then."""
        self._sender.decide(self._preparer.prepared(fact).fact)
        return self._standing(fact.training_id)

    def publish_policy(self, fact: PolicyPublished) -> int:
        """Publish a policy, and return the version it was given."""
        position = self._sender.decide(self._preparer.prepared(fact).fact)
        for policy in self._policies(fact.policy.model):
            if policy.position == position:
                return policy.version
        raise DeedbookError(f"the policy at position {position} could not be read back")

    def publish_requests(self, fact: RequestsPublished) -> None:
        """Publish that a set of requests is there."""
        self._sender.decide(self._preparer.prepared(fact).fact)

    def request_deployment(self, fact: DeploymentRequested) -> Deployment:
        """Bind a release to trainings, and return the deployment."""
        self._sender.decide(self._preparer.prepared(fact).fact)
        return self._deployment(pb.GetDeploymentRequest(deployment_id=fact.deployment_id))

    def activate_release(self, fact: ReleaseActivated) -> LiveRelease:
        """Make an already bound release the current one again, and return what is live from then on."""
        position = self._sender.decide(self._preparer.prepared(fact).fact)
        found = self.live(fact.service, fact.environment, None)
        if found is not None and found.from_position == position:
            return found
        for release in self._releases(fact.service, fact.environment):
            if release.from_position == position:
                return release
        raise DeedbookError(f"what is live since position {position} could not be read back")

    # --- reading -----------------------------------------------------------------------------------

    def deployment(self, service: str, release: str, environment: str) -> Deployment:
        """Return what a release is bound to; raises NotFound, which says what is bound."""
        return self._deployment(
            pb.GetDeploymentRequest(service=service, release=release, environment=environment)
        )

    def _deployment(self, request: pb.GetDeploymentRequest) -> Deployment:
        self._after_writing(request)
        return from_message(
            self._service.ask(lambda stub: stub.GetDeployment, request).deployment, Deployment
        )

    def live(self, service: str, environment: str, at: datetime | None) -> LiveRelease | None:
        """Return what is live, or was at a time; None for nothing."""
        moment = None if at is None else timestamp_of_datetime(at)
        request = pb.GetLiveRequest(service=service, environment=environment, at=moment)
        self._after_writing(request)
        found = self._service.ask(lambda stub: stub.GetLive, request).releases
        return from_message(found[0], LiveRelease) if found else None

    def search(self, wanted: Search) -> list[TrainingSummary]:
        """Return the trainings that meet all conditions, read page by page as of one state."""
        request = _search_request(wanted)
        self._after_writing(request)
        found: list[TrainingSummary] = []
        left_out = wanted.offset
        while True:
            missing = left_out + wanted.limit - len(found)
            request.page_size = min(missing, _PAGE_SIZE)
            page = self._service.ask(lambda stub: stub.SearchTrainings, request)
            skipped = min(left_out, len(page.trainings))
            left_out -= skipped
            found += [from_message(one, TrainingSummary) for one in page.trainings[skipped:]]
            if len(found) >= wanted.limit or not page.next_page_token:
                return found[: wanted.limit]
            request.page_token = page.next_page_token

    def training_detail(self, training_id: str) -> TrainingDetail:
        """Return all that is known of a training; raises NotFound."""
        request = pb.GetTrainingRequest(training=training_id)
        self._after_writing(request)
        return from_message(
            self._service.ask(lambda stub: stub.GetTraining, request).training, TrainingDetail
        )

    def metric_series(self, wanted: SeriesWanted) -> MetricSeries:
        """Return a metric of a model's trainings over time."""
        request = to_message(wanted, pb.GetMetricSeriesRequest)
        self._after_writing(request)
        return self._service.patiently(
            lambda _: series_of(wanted, self._service.parts(lambda stub: stub.GetMetricSeries, request))
        )

    def sql(self, query: str) -> Rows:
        """Return what one SQL statement answers; raises InvalidInput where it can't, or has too many rows."""
        request = pb.QueryRequest(sql=query, max_rows=_MAX_ROWS)
        self._after_writing(request)
        return self._service.patiently(
            lambda _: rows_of(self._service.parts(lambda stub: stub.Query, request))
        )

    def _standing(self, training_id: str) -> Standing:
        request = pb.GetStandingRequest(training=training_id)
        self._after_writing(request)
        return from_message(self._service.ask(lambda stub: stub.GetStanding, request).standing, Standing)

    def _policies(self, model: str) -> Iterator[PublishedPolicy]:
        request = pb.ListPoliciesRequest(model=model, page_size=_PAGE_SIZE)
        self._after_writing(request)
        while True:
            page = self._service.ask(lambda stub: stub.ListPolicies, request)
            yield from (from_message(one, PublishedPolicy) for one in page.policies)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def _releases(self, service: str, environment: str) -> Iterator[LiveRelease]:
        request = pb.ListReleasesRequest(service=service, environment=environment, page_size=_PAGE_SIZE)
        self._after_writing(request)
        while True:
            page = self._service.ask(lambda stub: stub.ListReleases, request)
            yield from (from_message(one, LiveRelease) for one in page.releases)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def _after_writing(self, request: _Reading) -> None:
        """Have an answer take into account what was written through this backend."""
        position = self._service.min_position()
        if position is not None:
            request.min_position = position

    def close(self) -> None:
        """Let go of the connection; closing twice is harmless."""
        self._service.close()


class _Reading(Protocol):
    """A request that waits for a position."""

    min_position: int


def _search_request(wanted: Search) -> pb.SearchTrainingsRequest:
    query = wanted.query
    return pb.SearchTrainingsRequest(
        model=query.model,
        parameters=[_parameter(name, value) for name, value in query.parameters.items()],
        metrics=[to_message(metric, pb.MetricFilter) for metric in query.metrics],
        created_after=None if query.created_after is None else timestamp_of_datetime(query.created_after),
        created_before=None if query.created_before is None else timestamp_of_datetime(query.created_before),
        deployable=query.deployable,
        outcome=f"OUTCOME_{(query.outcome or 'unspecified').upper()}",
        order_by=None if query.order_by is None else to_message(query.order_by, pb.MetricName),
        descending=query.descending,
        show=[to_message(metric, pb.MetricName) for metric in query.show],
    )


def _parameter(name: str, value: str | float) -> pb.ParameterFilter:
    if isinstance(value, str):
        return pb.ParameterFilter(name=name, text=value)
    return pb.ParameterFilter(name=name, number=value)
