"""Subscriptions: every event once, in order, from any position; and how they end."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from deedbook.api.errors import error_info
from deedbook.api.v1 import registry_pb2 as pb
from deedbook.events import facts
from deedbook.events.ids import new_id
from deedbook.service.access.access import Access
from deedbook.service.access.roles import Role
from deedbook.service.access.token_file import TokenFile
from deedbook.service.rpc import subscriptions
from tests.facts_by_hand import Pen
from tests.serving.calling import Spoken, registry_spoken_to, spoken_to, within

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODEL = "home-price"


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spoken]:
    """A registry that is written to by all tests."""
    with registry_spoken_to(tmp_path_factory.mktemp("subscribed") / "registry") as call:
        yield call


def subscribed(call: Spoken, **fields: Any) -> Any:  # noqa: ANN401 - a stream
    """Subscribe, and skip the first sign of life where one comes before any event."""
    return call("Subscribe", **fields)


def events(stream: Any, count: int) -> list[pb.SubscribedEvent]:  # noqa: ANN401 - a stream
    """The next events of a stream, without the signs of life between them."""
    found: list[pb.SubscribedEvent] = []
    while len(found) < count:
        message = next(stream)
        if message.WhichOneof("item") == "event":
            found.append(message.event)
    return found


def the_end(stream: Any) -> tuple[str, str, str]:  # noqa: ANN401 - a stream
    """Take all that is left of a stream: its code, its reason and its sentence."""
    with pytest.raises(grpc.RpcError) as ended:
        list(stream)
    error: Any = ended.value
    info = error_info(error.trailing_metadata())
    return error.code().name, "" if info is None else info.reason, error.details()


def test_a_subscriber_gets_what_was_and_what_comes(call: Spoken) -> None:
    """From the first event on, each once and in order, with what it says."""
    logged = [call.log(float(number)).position for number in range(3)]
    stream = subscribed(call, types=["TrainingLogged"], models=[MODEL], after_position=logged[0] - 1)
    before = events(stream, 3)
    logged += [call.log(float(number)).position for number in range(3, 6)]
    after = events(stream, 3)
    stream.cancel()

    assert logged == [event.position for event in (*before, *after)]
    assert [0.0, 1.0, 2.0, 3.0, 4.0, 5.0] == [
        event.training_logged.training.metrics[0].value for event in (*before, *after)
    ]
    assert {pb.DECISION_ACCEPTED} == {event.decision for event in (*before, *after)}


def test_a_subscription_is_resumed_after_any_position(call: Spoken) -> None:
    """Nothing twice and nothing left out, wherever it broke off."""
    positions = [call.log().position for _ in range(6)]
    first = subscribed(call, after_position=positions[0] - 1, types=["TrainingLogged"])
    seen = [event.position for event in events(first, 2)]
    first.cancel()
    second = subscribed(call, after_position=seen[-1], types=["TrainingLogged"])
    seen += [event.position for event in events(second, 4)]
    second.cancel()

    assert positions == seen


def test_what_was_rejected_is_told_where_it_is_asked_for(call: Spoken) -> None:
    """With the reason, and without the facts where heads are enough."""
    training_id = call.log().training_id
    stream = subscribed(call, include_rejected=True, omit_facts=True, only_new=True)
    assert "heartbeat" == next(stream).WhichOneof("item")
    request = pb.RequestDeploymentRequest(
        service="refused", release="r", models=[pb.ModelBinding(model=MODEL, training_id=training_id)]
    )
    with pytest.raises(grpc.RpcError) as rejected:
        call.stub.RequestDeployment(request)
    (event,) = events(stream, 1)
    stream.cancel()
    error: Any = rejected.value

    assert ("DeploymentRequested", pb.DECISION_REJECTED) == (event.type, event.decision)
    assert error.details() == event.reason
    assert event.WhichOneof("fact") is None


def test_hosts_are_told_of_their_own_service_alone(call: Spoken) -> None:
    """By the topic of deployments, with all that a host needs to load a model."""
    training_id = call.log().training_id
    call("OverrideVerdict", training_id=training_id, deployable=True, reason="made up")
    stream = subscribed(call, topic="deployments", services=["mine"])
    bound = [pb.ModelBinding(model=MODEL, training_id=training_id)]
    for service in ("others", "mine"):
        call("RequestDeployment", service=service, release="r1", models=bound)
    (event,) = events(stream, 1)
    stream.cancel()
    created = event.deployment_created

    assert ("DeploymentCreated", "mine", "r1") == (event.type, created.service, created.release)
    assert training_id == created.models[0].training_id


def test_an_announcement_that_the_registry_never_made_is_not_told(call: Spoken) -> None:
    """Whoever can write to the topic could say anything."""
    training_id = call.log().training_id
    call("OverrideVerdict", training_id=training_id, deployable=True, reason="made up")
    bound = [pb.ModelBinding(model=MODEL, training_id=training_id)]
    accepted = call("RequestDeployment", service="guarded", release="r1", models=bound)
    forged = facts.DeploymentCreated(
        **Pen("mallory").envelope(new_id()),
        deployment_id=accepted.deployment_id,
        service="guarded",
        environment="production",
        release="r1",
        requested_at_position=accepted.position,
        models=(facts.DeployedModel(model=MODEL, training_id=new_id(), version=1),),
    )
    log, codec = call.service.log, call.service.codec
    log.append(facts.DEPLOYMENTS, [codec.encode(forged)])
    again = call("RequestDeployment", service="guarded", release="r2", models=bound)
    stream = subscribed(call, topic="deployments", services=["guarded"])
    told = events(stream, 2)
    stream.cancel()

    assert [accepted.position, again.position] == [
        event.deployment_created.requested_at_position for event in told
    ]


def test_steps_and_hosts_can_be_followed_too(call: Spoken) -> None:
    """Topics that decide nothing, each with positions of its own."""
    training_id = new_id()
    steps = subscribed(call, topic="metrics", only_new=True)
    loads = subscribed(call, topic="hosts", services=["mine"])
    assert ["heartbeat"] * 2 == [next(stream).WhichOneof("item") for stream in (steps, loads)]
    call("LogMetrics", training_id=training_id, producer="p", points=[pb.MetricPoint(name="loss", value=0.5)])
    call("ReportModelLoaded", service="mine", release="r", instance="i", model=MODEL, training_id=training_id)
    (step,), (load,) = events(steps, 1), events(loads, 1)
    steps.cancel()
    loads.cancel()

    assert (training_id, 0.5) == (step.metrics_logged.training_id, step.metrics_logged.points[0].value)
    assert ("i", "hosts") == (load.model_loaded.instance, load.topic)


def test_signs_of_life_say_where_to_resume(call: Spoken) -> None:
    """The position up to which there was nothing that was asked for."""
    position = call.log().position
    stream = subscribed(call, types=["RulesAdopted"], heartbeat_seconds=1)
    first, second = next(stream).heartbeat, next(stream).heartbeat
    stream.cancel()

    assert second.position >= position
    assert second.time.ToMicroseconds() - first.time.ToMicroseconds() >= 900_000


def test_many_subscribers_get_the_same(call: Spoken) -> None:
    """Each all of it, whenever it joined."""
    start = call.log().position
    streams = [subscribed(call, after_position=start, types=["TrainingLogged"]) for _ in range(20)]
    logged = [call.log().position for _ in range(10)]
    found = [[event.position for event in events(stream, 10)] for stream in streams]
    for stream in streams:
        stream.cancel()

    assert [logged] * 20 == found


def test_events_while_a_subscriber_catches_up_are_not_lost(call: Spoken) -> None:
    """However often it falls behind: hundreds of events, while it reads and they are written."""
    start = call.log().position
    requests = [
        pb.LogTrainingRequest(training=pb.Training(model="many", tags=[pb.Tag(name="t", text="x" * 900)]))
        for _ in range(100)
    ]
    writing = threading.Thread(target=lambda: [call("LogTrainings", requests=requests) for _ in range(4)])
    stream = subscribed(call, after_position=start, models=["many"])
    writing.start()
    found = [event.position for event in events(stream, 400)]
    writing.join()
    stream.cancel()

    assert sorted(set(found)) == found


def test_who_falls_behind_reads_from_the_log_again(call: Spoken, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for a subscriber is bounded; beyond that nothing is kept for it, and nothing is lost."""
    monkeypatch.setattr(subscriptions, "MAX_WAITING", 3)
    stream = subscribed(call, models=["hasty"], only_new=True)
    assert "heartbeat" == next(stream).WhichOneof("item")
    requests = [pb.LogTrainingRequest(training=pb.Training(model="hasty"))] * 40
    logged = [
        answer.position for _ in range(3) for answer in call("LogTrainings", requests=requests).responses
    ]
    found = [event.position for event in events(stream, 120)]
    stream.cancel()

    assert logged == found


def test_who_takes_nothing_is_dropped_and_told_where_to_resume(call: Spoken) -> None:
    """After a bounded time; what it had not taken waits on the log, and a new subscription goes on with it."""
    start = call.log().position
    parameters = [pb.Parameter(name=f"p{number}", text="x" * 1_000) for number in range(100)]
    for _ in range(12):
        call("LogTraining", training=pb.Training(model="wide", parameters=parameters))
    # Its window doesn't grow: a few events fill it.
    with within(call, options=[("grpc.http2.bdp_probe", 0)], stalled_seconds=0.3) as slow:
        stream = subscribed(slow, after_position=start, models=["wide"])
        time.sleep(0.8)
        taken: list[int] = []
        with pytest.raises(grpc.RpcError) as ended:
            taken.extend(message.event.position for message in stream)
        error: Any = ended.value
        told = int(error.details().rpartition(" ")[2])
        again = subscribed(slow, after_position=told, models=["wide"])
        # The one that was on its way arrived, and comes again.
        rest = [event.position for event in events(again, 13 - len(taken))]
        again.cancel()

    assert grpc.StatusCode.RESOURCE_EXHAUSTED == error.code()
    assert "nothing was taken from it" in error.details()
    assert told == ([start, *taken])[-2]
    assert 12 == len({*taken, *rest})


def test_more_streams_than_are_allowed_are_refused(call: Spoken) -> None:
    """With a sentence; those that are open go on, and the place of one that ended is free."""
    with within(call, streams=1) as narrow:
        first = subscribed(narrow)
        next(first)
        code, _, sentence = the_end(subscribed(narrow))

        assert "RESOURCE_EXHAUSTED" == code
        assert "1 streams are open" in sentence
        first.cancel()


def test_a_subscription_ends_with_the_service(tmp_path: Path) -> None:
    """With a status that says to come again, and where to resume."""
    with registry_spoken_to(tmp_path / "registry") as call:
        position = call.log().position
        stream = subscribed(call, heartbeat_seconds=1)
        events(stream, position + 1)
        # Behind it nothing is on its way any more.
        quiet = next(stream).heartbeat
        call.service.live.end_streams()
        code, reason, sentence = the_end(stream)

        assert ("UNAVAILABLE", "SERVICE_ENDING", position) == (code, reason, quiet.position)
        assert f"the server is stopping; resume after position {position}" == sentence


def test_a_subscription_ends_when_its_token_is_revoked(call: Spoken, tmp_path: Path) -> None:
    """Within moments, though nothing happens on the log."""
    tokens = tmp_path / "tokens.json"
    made, text = TokenFile(tokens).create("ana", frozenset({Role.ANALYST}))
    with spoken_to(replace(call.service, access=Access(tokens))) as guarded:
        metadata = (("authorization", f"Bearer {text}"),)
        stream = guarded.stub.Subscribe(pb.SubscribeRequest(only_new=True), metadata=metadata)
        assert "heartbeat" == next(stream).WhichOneof("item")
        TokenFile(tokens).revoke(made.id)
        code, _, _ = the_end(stream)

        assert "UNAUTHENTICATED" == code
