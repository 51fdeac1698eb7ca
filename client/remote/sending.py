"""Facts sent to a service: each has its call, and its event's id, so that sending it again changes nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from deedbook.api.messages import to_message
from deedbook.api.v1 import registry_pb2 as pb
from deedbook.api.v1.registry_pb2_grpc import RegistryStub
from deedbook.events import facts
from deedbook.events.errors import DeadlineExceeded, LogUnavailable, RequestRejected
from deedbook.events.facts import Fact

if TYPE_CHECKING:
    from deedbook.client.remote.calling import Service

_MAX_TRAININGS: Final = 1_000
_MAX_BATCH_BYTES: Final = 12 << 20
_WORDS: Final = {
    pb.DECISION_ACCEPTED: "accepted",
    pb.DECISION_IGNORED: "ignored",
    pb.DECISION_REJECTED: "rejected",
}


@dataclass(frozen=True, slots=True)
class Decided:
    """What came of a fact: ``decision`` is accepted, ignored or rejected, or empty where nothing is decided."""

    position: int
    decision: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Call:
    """How a kind of fact is sent: its request has the fact's fields, by their names."""

    request: Any
    method: Callable[[RegistryStub], Any]


_CALLS: Final[Mapping[type[Fact], _Call]] = MappingProxyType(
    {
        facts.TrainingStarted: _Call(pb.StartTrainingRequest, lambda stub: stub.StartTraining),
        facts.TrainingFailed: _Call(pb.FailTrainingRequest, lambda stub: stub.FailTraining),
        facts.TrainingLogged: _Call(pb.LogTrainingRequest, lambda stub: stub.LogTraining),
        facts.TrainingAmended: _Call(pb.AmendTrainingRequest, lambda stub: stub.AmendTraining),
        facts.MetricsLogged: _Call(pb.LogMetricsRequest, lambda stub: stub.LogMetrics),
        facts.PolicyPublished: _Call(pb.PublishPolicyRequest, lambda stub: stub.PublishPolicy),
        facts.RequestsPublished: _Call(pb.PublishRequestsRequest, lambda stub: stub.PublishRequests),
        facts.VerdictIssued: _Call(pb.IssueVerdictRequest, lambda stub: stub.IssueVerdict),
        facts.VerdictOverridden: _Call(pb.OverrideVerdictRequest, lambda stub: stub.OverrideVerdict),
        facts.RevalidationRequested: _Call(
            pb.RevalidateTrainingRequest, lambda stub: stub.RevalidateTraining
        ),
        facts.DeploymentRequested: _Call(pb.RequestDeploymentRequest, lambda stub: stub.RequestDeployment),
        facts.ReleaseActivated: _Call(pb.ActivateReleaseRequest, lambda stub: stub.ActivateRelease),
        facts.ModelLoaded: _Call(pb.ReportModelLoadedRequest, lambda stub: stub.ReportModelLoaded),
    }
)


class Sender:
    """Sends one person's facts to a service, and remembers where they went."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def record(self, recorded: Sequence[Fact]) -> None:
        """Send facts that await no decision: trainings, metrics, a host's word.

        What the fold rejects of them is on the log, and a warning here. Raises LogUnavailable (whether they are on
        the log is unknown: the same ones again are harmless), StorageFull, AccessDenied.
        """
        try:
            answers = self.decided(recorded)
        except DeadlineExceeded as late:
            raise LogUnavailable(str(late)) from None
        for fact, answer in zip(recorded, answers, strict=True):
            if answer.decision == "rejected":
                _warn(f"this {type(fact).__name__} is on the log, and does not count: {answer.reason}")

    def decided(self, sent: Sequence[Fact]) -> list[Decided]:
        """Send facts, and return what came of each, in their order; many trainings go many in a call.

        Raises DeadlineExceeded (some may be on the log), and what the service says.
        """
        trainings = [fact for fact in sent if isinstance(fact, facts.TrainingLogged)]
        if len(trainings) > 1 and len(trainings) == len(sent):
            return [answer for batch in _batches(trainings) for answer in self._logged(batch)]
        return [self._sent(fact) for fact in sent]

    def accepted(self, fact: Fact) -> int:
        """Send a request, and return the position of its event; raises RequestRejected with the fold's reason."""
        answer = self._sent(fact)
        if answer.decision == "rejected":
            raise RequestRejected(answer.reason, position=answer.position)
        return answer.position

    def _sent(self, fact: Fact) -> Decided:
        call = _CALLS[type(fact)]
        request = to_message(fact, call.request)
        request.request_id = fact.event_id
        try:
            answer = self._service.ask(call.method, request)
        except RequestRejected as rejected:
            self._service.wrote(rejected.position)
            return Decided(-1 if rejected.position is None else rejected.position, "rejected", str(rejected))
        if type(fact).topic != facts.REGISTRY:
            self._service.wrote_elsewhere(type(fact).topic, answer.partition, answer.position)
            return Decided(answer.position, "", "")
        self._service.wrote(answer.position)
        return _decided(answer)

    def _logged(self, requests: Sequence[pb.LogTrainingRequest]) -> list[Decided]:
        batch = pb.LogTrainingsRequest(requests=requests)
        answers = self._service.ask(lambda stub: stub.LogTrainings, batch).responses
        for answer in answers:
            self._service.wrote(answer.position)
        return [_decided(answer) for answer in answers]


def _batches(trainings: Sequence[facts.TrainingLogged]) -> list[list[pb.LogTrainingRequest]]:
    """Return the requests that log trainings, as many together as a call takes."""
    batches: list[list[pb.LogTrainingRequest]] = []
    size_bytes = 0
    for fact in trainings:
        request = to_message(fact, pb.LogTrainingRequest)
        request.request_id = fact.event_id
        size_bytes += request.ByteSize()
        if not batches or len(batches[-1]) >= _MAX_TRAININGS or size_bytes > _MAX_BATCH_BYTES:
            batches.append([])
            size_bytes = request.ByteSize()
        batches[-1].append(request)
    return batches


def _decided(answer: Any) -> Decided:  # noqa: ANN401 (the answer to any write)
    return Decided(answer.position, _WORDS.get(answer.decision, ""), answer.reason)


def _warn(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=5)
