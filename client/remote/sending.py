"""Facts sent to a service: each has its call, and its event's id, so that sending it again changes nothing."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Final

from deedbook.api.messages import to_message
from deedbook.api.v1 import registry_pb2 as pb
from deedbook.events import facts
from deedbook.events.errors import DeadlineExceeded, LogUnavailable, RequestRejected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deedbook.client.remote.calling import Service
    from deedbook.events.facts import Fact, TrainingLogged

_MAX_TRAININGS: Final = 1_000
_MAX_BATCH_BYTES: Final = 12 << 20


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
            trainings = [fact for fact in recorded if isinstance(fact, facts.TrainingLogged)]
            if len(trainings) > 1:
                self._log_trainings(trainings)
            else:
                for fact in recorded:
                    self._record_one(fact)
        except DeadlineExceeded as late:
            raise LogUnavailable(str(late)) from None

    def _record_one(self, fact: Fact) -> None:
        try:
            self._send_one(fact)
        except RequestRejected as rejected:
            self._service.wrote(rejected.position)
            _warn(fact, str(rejected))

    def _send_one(self, fact: Fact) -> None:
        """Send what awaits no decision by its own call."""
        service = self._service
        match fact:
            case facts.TrainingLogged():
                logged = service.ask(lambda stub: stub.LogTraining, _log_training(fact))
                service.wrote(logged.position)
            case facts.TrainingStarted():
                start = to_message(fact, pb.StartTrainingRequest)
                start.request_id = fact.event_id
                service.wrote(service.ask(lambda stub: stub.StartTraining, start).position)
            case facts.TrainingFailed():
                fail = to_message(fact, pb.FailTrainingRequest)
                fail.request_id = fact.event_id
                service.wrote(service.ask(lambda stub: stub.FailTraining, fail).position)
            case facts.MetricsLogged():
                metrics = to_message(fact, pb.LogMetricsRequest)
                metrics.request_id = fact.event_id
                where = service.ask(lambda stub: stub.LogMetrics, metrics)
                service.wrote_elsewhere(facts.METRICS, where.partition, where.position)
            case facts.ModelLoaded():
                loaded = to_message(fact, pb.ReportModelLoadedRequest)
                loaded.request_id = fact.event_id
                heard = service.ask(lambda stub: stub.ReportModelLoaded, loaded)
                service.wrote_elsewhere(facts.HOSTS, heard.partition, heard.position)
            case _:
                self.decide(fact)

    def _log_trainings(self, trainings: Sequence[TrainingLogged]) -> None:
        """Send many trainings, as many in a call as it takes."""
        batch: list[tuple[TrainingLogged, pb.LogTrainingRequest]] = []
        size = 0
        for fact in trainings:
            request = _log_training(fact)
            size += request.ByteSize()
            if batch and (len(batch) >= _MAX_TRAININGS or size > _MAX_BATCH_BYTES):
                self._log_batch(batch)
                batch, size = [], request.ByteSize()
            batch.append((fact, request))
        self._log_batch(batch)

    def _log_batch(self, batch: Sequence[tuple[TrainingLogged, pb.LogTrainingRequest]]) -> None:
        request = pb.LogTrainingsRequest(requests=[one for _, one in batch])
        answers = self._service.ask(lambda stub: stub.LogTrainings, request).responses
        for (fact, _), answer in zip(batch, answers, strict=True):
            self._service.wrote(answer.position)
            if answer.decision == pb.DECISION_REJECTED:
                _warn(fact, answer.reason)

    def decide(self, fact: Fact) -> int:
        """Send a request, and return the position of its event once it is accepted.

        Raises RequestRejected with the fold's reason, and DeadlineExceeded (it may be on the log).
        """
        try:
            position = self._decided_at(fact)
        except RequestRejected as rejected:
            self._service.wrote(rejected.position)
            raise
        self._service.wrote(position)
        return position

    def _decided_at(self, fact: Fact) -> int:
        service = self._service
        match fact:
            case facts.TrainingAmended():
                amend = to_message(fact, pb.AmendTrainingRequest)
                amend.request_id = fact.event_id
                return service.ask(lambda stub: stub.AmendTraining, amend).position
            case facts.RevalidationRequested():
                revalidate = to_message(fact, pb.RevalidateTrainingRequest)
                revalidate.request_id = fact.event_id
                return service.ask(lambda stub: stub.RevalidateTraining, revalidate).position
            case facts.VerdictOverridden():
                override = to_message(fact, pb.OverrideVerdictRequest)
                override.request_id = fact.event_id
                return service.ask(lambda stub: stub.OverrideVerdict, override).position
            case facts.PolicyPublished():
                policy = to_message(fact, pb.PublishPolicyRequest)
                policy.request_id = fact.event_id
                return service.ask(lambda stub: stub.PublishPolicy, policy).position
            case facts.RequestsPublished():
                requests = to_message(fact, pb.PublishRequestsRequest)
                requests.request_id = fact.event_id
                return service.ask(lambda stub: stub.PublishRequests, requests).position
            case facts.DeploymentRequested():
                deploy = to_message(fact, pb.RequestDeploymentRequest)
                deploy.request_id = fact.event_id
                return service.ask(lambda stub: stub.RequestDeployment, deploy).position
            case facts.ReleaseActivated():
                activate = to_message(fact, pb.ActivateReleaseRequest)
                activate.request_id = fact.event_id
                return service.ask(lambda stub: stub.ActivateRelease, activate).position
            case _:
                raise TypeError(f"{type(fact).__name__} is not sent to a service")


def _log_training(fact: TrainingLogged) -> pb.LogTrainingRequest:
    request = to_message(fact, pb.LogTrainingRequest)
    request.request_id = fact.event_id
    return request


def _warn(fact: Fact, reason: str) -> None:
    warnings.warn(
        f"this {type(fact).__name__} is on the log, and does not count: {reason}", UserWarning, stacklevel=6
    )
