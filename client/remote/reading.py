"""What a service is asked: each question a call, each answer the dataclass that the queries give."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from deedbook.api.messages import from_message, to_message
from deedbook.api.moments import timestamp_of_datetime
from deedbook.api.v1 import registry_pb2 as pb
from deedbook.client.remote.answers import series_of, table_of
from deedbook.projector.queries import (
    Comparison,
    Deployment,
    Event,
    Failure,
    LiveRelease,
    PublishedPolicy,
    Standing,
    Story,
    TrainingDetail,
    TrainingSummary,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    import pyarrow as pa

    from deedbook.api.v1.registry_pb2_grpc import RegistryStub
    from deedbook.client.remote.calling import Service
    from deedbook.client.searching import Search, SeriesWanted
    from deedbook.projector.queries import MetricSeries

_PAGE_SIZE: Final = 1_000
_MAX_ROWS: Final = 1_000_000


class _Positioned(Protocol):
    """A request whose answer takes a position into account."""

    min_position: int


class _Paged(Protocol):
    """A request that is answered in pages."""

    page_size: int
    page_token: str


_R = TypeVar("_R", bound=_Positioned)


class Questions:
    """Asks a service; an answer takes into account all that was written through the same ``Service``.

    A training is named by its id, the beginning of it, or MODEL@VERSION. Raises NotFound, InvalidInput, and what
    calling raises.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def training(self, training: str) -> TrainingDetail:
        """Return all that is known of a training."""
        request = self._after_writing(pb.GetTrainingRequest(training=training))
        return from_message(
            self._service.ask(lambda stub: stub.GetTraining, request).training, TrainingDetail
        )

    def trainings(self, training_ids: Sequence[str]) -> list[TrainingDetail]:
        """Return all that is known of some trainings, in the order of their ids."""
        request = self._after_writing(pb.BatchGetTrainingsRequest(training_ids=training_ids))
        return self._service.patiently(
            lambda _: [
                from_message(part.training, TrainingDetail)
                for part in self._service.parts(lambda stub: stub.BatchGetTrainings, request)
            ]
        )

    def search(self, wanted: Search) -> list[TrainingSummary]:
        """Return the trainings that meet all conditions, as of one state however many pages they take."""
        request = self._after_writing(_search_request(wanted))
        found = self._entries(
            lambda stub: stub.SearchTrainings, request, "trainings", wanted.offset + wanted.limit
        )
        return [from_message(one, TrainingSummary) for one in islice(found, wanted.offset, None)]

    def compare(self, trainings: Sequence[str]) -> Comparison:
        """Return trainings side by side."""
        request = self._after_writing(pb.CompareTrainingsRequest(trainings=trainings))
        return from_message(
            self._service.ask(lambda stub: stub.CompareTrainings, request).comparison, Comparison
        )

    def metric_series(self, wanted: SeriesWanted) -> MetricSeries:
        """Return a metric of a model's trainings over time; raises MissingExtra without Arrow."""
        request = self._after_writing(to_message(wanted, pb.GetMetricSeriesRequest))
        return self._service.patiently(
            lambda _: series_of(wanted, self._service.parts(lambda stub: stub.GetMetricSeries, request))
        )

    def standing(self, training: str) -> Standing:
        """Return where a training stands now."""
        request = self._after_writing(pb.GetStandingRequest(training=training))
        return from_message(self._service.ask(lambda stub: stub.GetStanding, request).standing, Standing)

    def failures(self, *, model: str | None, include_superseded: bool, limit: int) -> list[Failure]:
        """Return the verdicts that are no pass, newest first."""
        request = self._after_writing(
            pb.ListFailedValidationsRequest(model=model, exclude_superseded=not include_superseded)
        )
        found = self._entries(lambda stub: stub.ListFailedValidations, request, "failures", limit)
        return [from_message(one, Failure) for one in found]

    def policies(self, model: str) -> list[PublishedPolicy]:
        """Return a model's published policies, oldest version first."""
        request = self._after_writing(pb.ListPoliciesRequest(model=model))
        found = self._entries(lambda stub: stub.ListPolicies, request, "policies", None)
        return [from_message(one, PublishedPolicy) for one in found]

    def binding(self, service: str, release: str, environment: str) -> Deployment:
        """Return what a release is bound to; NotFound says what is bound."""
        return self._deployment(
            pb.GetDeploymentRequest(service=service, release=release, environment=environment)
        )

    def deployment(self, deployment_id: str) -> Deployment:
        """Return a requested deployment, accepted or rejected."""
        return self._deployment(pb.GetDeploymentRequest(deployment_id=deployment_id))

    def _deployment(self, request: pb.GetDeploymentRequest) -> Deployment:
        found = self._service.ask(lambda stub: stub.GetDeployment, self._after_writing(request))
        return from_message(found.deployment, Deployment)

    def deployments(
        self, *, service: str | None, environment: str | None, decision: str | None, limit: int
    ) -> list[Deployment]:
        """Return requested deployments, newest first."""
        request = self._after_writing(
            pb.ListDeploymentsRequest(
                service=service,
                environment=environment,
                decision=f"DECISION_{(decision or 'unspecified').upper()}",
            )
        )
        found = self._entries(lambda stub: stub.ListDeployments, request, "deployments", limit)
        return [from_message(one, Deployment) for one in found]

    def live(self, service: str, environment: str, at: datetime | None) -> LiveRelease | None:
        """Return what is live, or was at a time; None for nothing."""
        moment = None if at is None else timestamp_of_datetime(at)
        request = self._after_writing(pb.GetLiveRequest(service=service, environment=environment, at=moment))
        found = self._service.ask(lambda stub: stub.GetLive, request).releases
        return from_message(found[0], LiveRelease) if found else None

    def live_since(self, service: str, environment: str, position: int) -> LiveRelease | None:
        """Return what was live from a position on; None where nothing began there."""
        request = self._after_writing(pb.ListReleasesRequest(service=service, environment=environment))
        for one in self._entries(lambda stub: stub.ListReleases, request, "releases", None):
            if one.from_position == position:
                return from_message(one, LiveRelease)
        return None

    def explain(self, subject: str) -> Story:
        """Return the whole story of a training, a run or a deployment."""
        request = self._after_writing(pb.ExplainRequest(subject=subject))
        return from_message(self._service.ask(lambda stub: stub.Explain, request).story, Story)

    def events_of_topic(
        self, topic: str, *, after: int | None, types: Sequence[str], newest: bool, limit: int
    ) -> list[Event]:
        """Return events of a topic in log order: the first ones after a position, or the newest."""
        request = self._after_writing(
            pb.ListEventsRequest(topic=topic, after_position=after, types=types, newest_first=newest)
        )
        entries = self._entries(lambda stub: stub.ListEvents, request, "events", limit)
        found = [from_message(one, Event) for one in entries]
        return found[::-1] if newest else found

    def table(self, query: str) -> pa.Table:
        """Return what one SQL statement answers; raises InvalidInput where it has more rows than a service gives."""
        request = self._after_writing(pb.QueryRequest(sql=query, max_rows=_MAX_ROWS))
        return self._service.patiently(
            lambda _: table_of(self._service.parts(lambda stub: stub.Query, request))
        )

    def _entries(
        self, method: Callable[[RegistryStub], Any], request: _Paged, entries: str, limit: int | None
    ) -> Iterator[Any]:
        """Yield the entries of all pages, up to a limit."""
        left = limit
        while left is None or left > 0:
            request.page_size = _PAGE_SIZE if left is None else min(left, _PAGE_SIZE)
            page = self._service.ask(method, request)
            found = getattr(page, entries)
            yield from found if left is None else found[:left]
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token
            left = None if left is None else left - len(found)

    def _after_writing(self, request: _R) -> _R:
        """Have an answer take into account what was written before."""
        position = self._service.min_position()
        if position is not None:
            request.min_position = position
        return request


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
        git_sha=query.git_sha,
        tags=[pb.TagFilter(name=name, text=text) for name, text in query.tags.items()],
        order_by=None if query.order_by is None else to_message(query.order_by, pb.MetricName),
        descending=query.descending,
        show=[to_message(metric, pb.MetricName) for metric in query.show],
    )


def _parameter(name: str, value: str | float) -> pb.ParameterFilter:
    if isinstance(value, str):
        return pb.ParameterFilter(name=name, text=value)
    return pb.ParameterFilter(name=name, number=value)
