"""What a serving host asks a service: what it is bound to, the artifacts, and the news as they come."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final

from deedbook.api.messages import from_message
from deedbook.api.v1 import registry_pb2 as pb
from deedbook.client.following import PATIENCE_SECONDS, Following
from deedbook.client.remote.artifacts import ServiceArtifactStore
from deedbook.client.remote.sending import Sender
from deedbook.events.errors import DeadlineExceeded, LogUnavailable, NotFound
from deedbook.events.facts import DEPLOYMENTS, REGISTRY, DeploymentCreated, DeploymentRejected
from deedbook.projector.queries.deployments import Deployment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from deedbook.artifacts.store import ArtifactStore
    from deedbook.client.following import News
    from deedbook.client.preparing import Prepared, Preparer
    from deedbook.client.remote.calling import Parts, Service

# A quiet stream shows so often that it lives; what shows nothing for long is begun anew.
_HEARTBEAT_SECONDS: Final = 1
_SILENCE_SECONDS: Final = 30.0


class ServiceSource:
    """A registry behind a service, as one service's hosts in one environment ask it."""

    def __init__(
        self, service: Service, preparer: Preparer, cache: Path, service_name: str, environment: str
    ) -> None:
        self._service = service
        self._preparer = preparer
        self._artifacts = ServiceArtifactStore(service, cache)
        self._name = service_name
        self._environment = environment

    @property
    def preparer(self) -> Preparer:
        """What makes facts ready, in the name of whoever speaks."""
        return self._preparer

    @property
    def artifacts(self) -> ArtifactStore:
        """The service's store."""
        return self._artifacts

    @property
    def across_a_network(self) -> str:
        """The service."""
        return f"the service at {self._service.address.url}"

    def open(self) -> None:
        """Connect where that isn't done."""
        self._service.stub()

    def binding(self, release: str, *, known: bool) -> Deployment:
        """Return what a release is bound to; raises NotFound, which says what is bound.

        Of several services side by side this one may have folded less than the one that accepted the deployment a
        moment ago: what was not ``known`` is asked for again, as of the log's end.
        """
        request = pb.GetDeploymentRequest(service=self._name, environment=self._environment, release=release)
        try:
            return self._deployment(request)
        except NotFound:
            end = -1 if known else self._registry_end()
            if end <= 0:
                raise
        request.min_position = end - 1
        return self._deployment(request)

    def _deployment(self, request: pb.GetDeploymentRequest) -> Deployment:
        found = self._service.ask(lambda stub: stub.GetDeployment, request)
        return from_message(found.deployment, Deployment)

    def _registry_end(self) -> int:
        status = self._service.ask(lambda stub: stub.GetStatus, pb.GetStatusRequest())
        return next((one.end for one in status.partitions if one.topic == REGISTRY), -1)

    def report(self, loaded: Prepared) -> None:
        """Tell the service that a model is loaded."""
        Sender(self._service).record([loaded.fact])

    def follow(
        self, since_position: int | None, stop: Callable[[], bool], timeout_seconds: float | None
    ) -> Iterator[News]:
        """Subscribe to the topic `deployments`; raises what subscribing raises, but for LogUnavailable."""
        feed = ServiceFeed(
            self._service, self._name, self._environment, from_the_beginning=since_position is not None
        )
        return Following(feed, since_position).until(stop, timeout_seconds)

    def close(self) -> None:
        """Let go of the connection."""
        self._service.close()


class ServiceFeed:
    """The news that a service brings, from now on or from the topic's beginning; after a break, from where it was."""

    def __init__(
        self, service: Service, service_name: str, environment: str, *, from_the_beginning: bool
    ) -> None:
        self._service = service
        self._name = service_name
        self._environment = environment
        self._from_now = not from_the_beginning
        # Of each partition, the last position that was told, looked through or there before.
        self._after: dict[int, int] = {}
        self._call: Parts[pb.SubscribeResponse] | None = None
        self._first: list[pb.SubscribeResponse] = []

    def start(self) -> None:
        """Subscribe; what comes once there is a sign of life is news. Raises LogUnavailable."""
        self._call = self._subscribed()
        self._first = [self._next(self._call, PATIENCE_SECONDS)]

    def heard(self) -> Iterator[News | None]:
        """Yield what is new, and None as a sign of life; raises LogUnavailable when the stream ends."""
        call = self._call or self._subscribed()
        first, self._first = self._first, []
        try:
            for part in chain(first, self._parts(call)):
                yield self._taken(part)
        finally:
            self._call = None
            call.cancel()

    def _parts(self, call: Parts[pb.SubscribeResponse]) -> Iterator[pb.SubscribeResponse]:
        while True:
            yield self._next(call, _SILENCE_SECONDS)

    def _next(self, call: Parts[pb.SubscribeResponse], seconds: float) -> pb.SubscribeResponse:
        try:
            with self._service.errors():
                part = self._service.next_part(call, seconds=seconds)
        except DeadlineExceeded as silent:
            raise LogUnavailable(str(silent)) from None
        if part is None:
            raise LogUnavailable(f"the service at {self._service.address.url} has ended the stream")
        return part

    def _subscribed(self) -> Parts[pb.SubscribeResponse]:
        request = pb.SubscribeRequest(
            topic=DEPLOYMENTS,
            services=[self._name],
            include_rejected=True,
            heartbeat_seconds=_HEARTBEAT_SECONDS,
        )
        if self._from_now:
            # Should this stream break before it has shown how far it came, the next one begins here.
            self._after = self._ends()
            request.only_new = True
        else:
            request.after.extend(
                pb.PartitionPosition(partition=partition, position=position)
                for partition, position in self._after.items()
            )
        self._call = self._service.begin(lambda stub: stub.Subscribe, request)
        return self._call

    def _ends(self) -> dict[int, int]:
        status = self._service.ask(lambda stub: stub.GetStatus, pb.GetStatusRequest())
        return {
            one.partition: one.end - 1 for one in status.partitions if one.topic == DEPLOYMENTS and one.end
        }

    def _taken(self, part: pb.SubscribeResponse) -> News | None:
        """Remember how far the stream came, and return the news in a part of it, None where there are none."""
        self._from_now = False
        if part.WhichOneof("item") == "heartbeat":
            self._came_to(*((one.partition, one.position) for one in part.heartbeat.positions))
            return None
        event = part.event
        self._came_to((event.partition, event.position))
        match event.WhichOneof("fact"):
            case "deployment_created":
                news: News = from_message(event.deployment_created, DeploymentCreated)
            case "deployment_rejected":
                news = from_message(event.deployment_rejected, DeploymentRejected)
            case _:
                return None
        return news if news.environment == self._environment else None

    def _came_to(self, *places: tuple[int, int]) -> None:
        for partition, position in places:
            self._after[partition] = max(self._after.get(partition, -1), position)

    def interrupt(self) -> None:
        """End the stream: whoever reads it stops waiting."""
        if self._call is not None:
            self._call.cancel()
