"""Calls that record trainings: begun, failed, logged, amended, and what they measure step by step."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from deedbook.api.messages import from_message
from deedbook.api.v1 import registry_pb2 as pb
from deedbook.events import facts
from deedbook.events.errors import InvalidInput
from deedbook.events.shape import problem_of
from deedbook.projector.queries.heads import answers_to
from deedbook.service.access.roles import Permission
from deedbook.service.rpc.decisions import DECISIONS
from deedbook.service.rpc.limits import MAX_BATCH
from deedbook.service.rpc.names import normalised

if TYPE_CHECKING:
    from deedbook.projector.queries.heads import Answered
    from deedbook.service.rpc.calls import Call
    from deedbook.service.writing import Answer


async def log_training(call: Call, request: pb.LogTrainingRequest) -> pb.LogTrainingResponse:
    """Record a training that produced a model."""
    fact = await call.made(request, lambda: _logged(call, request))
    answer = await call.decided(fact)
    return _training_answer(fact, answer)


async def log_trainings(call: Call, request: pb.LogTrainingsRequest) -> pb.LogTrainingsResponse:
    """Record trainings, each decided by itself."""
    if len(request.requests) > MAX_BATCH:
        raise InvalidInput(
            f"the batch has {len(request.requests):,} trainings, over the limit of {MAX_BATCH:,}"
        )
    logged = await call.made(request, lambda: _all_logged(call, request))
    if not logged:
        return pb.LogTrainingsResponse()
    positions = await call.service.writer.append(logged, timeout_seconds=call.left())
    await call.service.live.reached(max(positions), timeout_seconds=call.left())

    answers, _ = await call.ask(lambda connection: answers_to(connection, positions))
    return pb.LogTrainingsResponse(
        responses=[_training_answer(fact, answer) for fact, answer in zip(logged, answers, strict=True)]
    )


def _all_logged(call: Call, request: pb.LogTrainingsRequest) -> list[facts.TrainingLogged]:
    logged: list[facts.TrainingLogged] = []
    for number, one in enumerate(request.requests):
        try:
            fact = _logged(call, one)
        except InvalidInput as error:
            raise InvalidInput(f"requests[{number}]: {error}") from None
        if (problem := problem_of(fact)) is not None:
            raise InvalidInput(f"requests[{number}]: {problem}")
        logged.append(fact)
    return logged


def _logged(call: Call, request: pb.LogTrainingRequest) -> facts.TrainingLogged:
    envelope = call.envelope(request.request_id)
    training = normalised(from_message(request.training, facts.Training))
    call.check(Permission.LOG, [training.model])
    training = replace(
        training,
        training_id=training.training_id or envelope["event_id"],
        created_at=training.created_at or envelope["occurred_at"],
    )
    return facts.TrainingLogged(**envelope, training=training)


def _training_answer(fact: facts.TrainingLogged, answer: Answer | Answered) -> pb.LogTrainingResponse:
    return pb.LogTrainingResponse(
        position=answer.position,
        decision=DECISIONS[answer.decision],
        reason=answer.reason,
        training_id=fact.training.training_id,
    )


async def start_training(call: Call, request: pb.StartTrainingRequest) -> pb.StartTrainingResponse:
    """Record that a training run began."""
    envelope = call.envelope(request.request_id)
    fact = normalised(from_message(request, facts.TrainingStarted, **envelope))
    call.check(Permission.LOG, [fact.model])
    fact = replace(
        fact,
        training_id=fact.training_id or fact.event_id,
        started_at=fact.started_at or fact.occurred_at,
    )
    answer = await call.decided(fact)
    return pb.StartTrainingResponse(
        position=answer.position,
        decision=DECISIONS[answer.decision],
        reason=answer.reason,
        training_id=fact.training_id,
    )


async def fail_training(call: Call, request: pb.FailTrainingRequest) -> pb.FailTrainingResponse:
    """Record that a training run ended without a model."""
    fact = normalised(from_message(request, facts.TrainingFailed, **call.envelope(request.request_id)))
    call.check(Permission.LOG, [fact.model])
    answer = await call.decided(replace(fact, failed_at=fact.failed_at or fact.occurred_at))
    return pb.FailTrainingResponse(
        position=answer.position, decision=DECISIONS[answer.decision], reason=answer.reason
    )


async def log_metrics(call: Call, request: pb.LogMetricsRequest) -> pb.LogMetricsResponse:
    """Record step-wise metrics, durably; nobody decides about them."""
    envelope = call.envelope(request.request_id)
    fact = await call.made(
        request, lambda: normalised(from_message(request, facts.MetricsLogged, **envelope))
    )
    # They may come before their training, and decide nothing.
    await call.check_training(Permission.LOG, fact.training_id, may_be_unknown=True)
    partition, position = await call.service.writer.place(fact, timeout_seconds=call.left())
    return pb.LogMetricsResponse(partition=partition, position=position)


async def amend_training(call: Call, request: pb.AmendTrainingRequest) -> pb.AmendTrainingResponse:
    """Correct values of a training."""
    fact = normalised(from_message(request, facts.TrainingAmended, **call.envelope(request.request_id)))
    await call.check_training(Permission.LOG, fact.training_id)
    answer = await call.decided(fact)
    return pb.AmendTrainingResponse(
        position=answer.position, decision=DECISIONS[answer.decision], reason=answer.reason
    )
