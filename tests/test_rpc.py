"""The gRPC interface, served: every call answers, errors say what a program and a person can act on."""

from __future__ import annotations

import logging
import math
import uuid
from typing import TYPE_CHECKING, Any, cast

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from deedbook.api.v1 import registry_pb2 as pb
from deedbook.events.ids import new_id
from deedbook.service.rpc.registry import DESCRIPTOR, ENDLESS, RECEIVING, STREAMING, UNARY
from tests.serving.calling import Spoken, refused, registry_spoken_to, within

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "home-price"
CHECK = "metric_threshold"


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spoken]:
    """A registry with a policy, a training that passed, one that failed, and a release that is live."""
    with registry_spoken_to(tmp_path_factory.mktemp("rpc") / "registry") as call:
        settings = [
            pb.Parameter(name="metric", text="mse"),
            pb.Parameter(name="max", text="2", number=2.0),
        ]
        policy = pb.Policy(model=MODEL, checks=[pb.CheckSpec(check=CHECK, settings=settings)])
        call("PublishPolicy", policy=policy, source="# as written")
        yield call


def judged(call: Spoken, outcome: pb.Outcome, **training: Any) -> str:  # noqa: ANN401 - fields of a training
    """Log a training and give the verdict that is asked for; return its id."""
    logged = call.log(**training)
    (asked,) = call("GetTraining", training=logged.training_id).training.validations
    check = pb.CheckResult(check=CHECK, outcome=outcome, observed=1.5, threshold=2.0, reason="as measured")
    call(
        "IssueVerdict",
        training_id=logged.training_id,
        requested_at_position=asked.requested_at_position,
        policy_version=asked.policy_version,
        outcome=outcome,
        baseline_training_id=asked.last_deployable,
        checks=[check],
    )
    return logged.training_id


# --- the whole interface -------------------------------------------------------------------------------


def test_every_call_of_the_interface_is_answered_by_something() -> None:
    """Nothing in the .proto is left out, and nothing is answered twice."""
    answered = [*UNARY, *STREAMING, *ENDLESS, *RECEIVING]

    assert sorted(DESCRIPTOR.methods_by_name) == sorted(answered)
    streams = {name for name, method in DESCRIPTOR.methods_by_name.items() if method.server_streaming}
    assert streams == {*STREAMING, *ENDLESS}


def test_the_whole_story_can_be_told_and_asked_for(call: Spoken) -> None:
    """From a run's start to a rollback, each call answers with what the ones before brought about."""
    run = call("StartTraining", model=MODEL, git_sha="c0ffee")
    call(
        "LogMetrics",
        training_id=run.training_id,
        producer="p",
        points=[pb.MetricPoint(name="loss", value=0.5)],
    )
    lost = call("StartTraining", model=MODEL)
    call("FailTraining", training_id=lost.training_id, model=MODEL, error="out of memory")
    first = judged(call, pb.OUTCOME_PASSED, training_id=run.training_id)
    second = judged(call, pb.OUTCOME_FAILED, mse=9.0)
    call(
        "AmendTraining", training_id=second, reason="a typing error", tags=[pb.Tag(name="team", text="homes")]
    )
    overridden = call("OverrideVerdict", training_id=second, deployable=True, reason="looked at it")
    call("RevalidateTraining", training_id=first, reason="once more")
    call("OverrideVerdict", training_id=first, deployable=True, reason="while it is judged again")
    deployed, *_ = [
        call(
            "RequestDeployment",
            service="pricing",
            release=release,
            models=[pb.ModelBinding(model=MODEL, training_id=training_id)],
        )
        for release, training_id in (("r1", first), ("r2", second))
    ][::-1]
    rollback = call("ActivateRelease", service="pricing", release="r1", reason="slow answers")
    loaded = call(
        "ReportModelLoaded", service="pricing", release="r1", instance="i", model=MODEL, training_id=first
    )
    seen = {"min_position": rollback.position}

    assert pb.DECISION_ACCEPTED == overridden.decision == rollback.decision
    assert (0, 0) == (loaded.partition, loaded.position)
    assert first == call("GetTraining", training=f"{MODEL}@1", **seen).training.training_id
    both = call("BatchGetTrainings", training_ids=[second, first], **seen)
    assert [second, first] == [one.training.training_id for one in both]
    compared = call("CompareTrainings", trainings=[first, second], **seen).comparison
    assert [[1.5, 9.0]] == [[value.value for value in row.values] for row in compared.metrics]
    (model,) = call("ListModels", **seen).models
    assert (MODEL, 2) == (model.model, model.trainings)
    (verdict,) = call("ListVerdicts", training=second, **seen).verdicts
    assert ("as measured", pb.OUTCOME_FAILED) == (verdict.checks[0].reason, verdict.outcome)
    (failure,) = call("ListFailedValidations", check=CHECK, **seen).failures
    assert (second, True) == (failure.verdict.training_id, failure.overridden)
    assert call("GetStanding", training=second, **seen).standing.overridden
    (policy,) = call("ListPolicies", model=MODEL, **seen).policies
    assert (1, "# as written") == (policy.version, policy.source)
    deployment = call("GetDeployment", service="pricing", release="r2", **seen).deployment
    assert (deployed.deployment_id, False) == (deployment.deployment_id, deployment.current)
    same = call("GetDeployment", deployment_id=deployed.deployment_id, **seen).deployment
    assert deployment == same
    listed = call("ListDeployments", service="pricing", model=MODEL, **seen).deployments
    assert ["r2", "r1"] == [one.release for one in listed]
    (live,) = call("GetLive", service="pricing", **seen).releases
    assert ("r1", first) == (live.release, live.models[0].training_id)
    releases = call("ListReleases", service="pricing", **seen).releases
    assert ["r1", "r2", "r1"] == [one.release for one in releases]
    (load,) = call("ListModelLoads", training_id=first, **seen).model_loads
    assert "i" == load.instance
    story = call("Explain", subject=second, **seen).story
    assert ("training", "looked at it") == (story.kind, story.now.rpartition(": ")[2])
    newest = call("ListEvents", newest_first=True, page_size=1, **seen)
    assert [rollback.position] == [event.position for event in newest.events]


def test_metrics_over_time_come_as_columns(call: Spoken) -> None:
    """Each part says by itself which series its points belong to; NaN stays what it is."""
    for mse, city in ((1.0, "Austin"), (math.nan, "Dallas"), (3.0, "Austin")):
        call.log(mse, model="chart", city=city)
    (part,) = call("GetMetricSeries", model="chart", metric=pb.MetricName(name="mse"), by="city")
    (nothing,) = call("GetMetricSeries", model="chart", metric=pb.MetricName(name="none"))

    assert [("Austin", "1.0"), ("Austin", "3.0"), ("Dallas", "nan")] == [
        (part.series_names[series], repr(value))
        for series, value in zip(part.series, part.values, strict=True)
    ]
    assert [1, 3, 2] == list(part.versions)
    assert pb.DIRECTION_LOWER == part.direction
    assert (0, 0) == (len(nothing.values), len(nothing.series))


def test_a_query_is_answered_as_an_arrow_stream(call: Spoken) -> None:
    """The chunks put together are one; the last says whether there was more."""
    import pyarrow as pa

    parts = list(call("Query", sql="select 7 as seven from range(3)", max_rows=2))
    rows = pa.ipc.open_stream(b"".join(part.chunk for part in parts)).read_all()

    assert [{"seven": 7}, {"seven": 7}] == rows.to_pylist()
    assert parts[-1].truncated


def test_failures_that_are_superseded_meanwhile_stay_in_their_list(call: Spoken) -> None:
    """A page shows what was there when the first was read, though a new verdict has come since."""
    failed = [judged(call, pb.OUTCOME_FAILED, mse=9.0) for _ in range(3)]
    wanted: dict[str, Any] = {"exclude_superseded": True, "page_size": 1}
    first = call("ListFailedValidations", **wanted)
    asked = call("RevalidateTraining", training_id=failed[1], reason="once more")
    check = pb.CheckResult(check=CHECK, outcome=pb.OUTCOME_FAILED, reason="still")
    call(
        "IssueVerdict",
        training_id=failed[1],
        requested_at_position=asked.position,
        policy_version=1,
        outcome=pb.OUTCOME_FAILED,
        baseline_training_id=call("GetTraining", training=failed[1]).training.validations[-1].last_deployable,
        checks=[check],
    )
    second = call("ListFailedValidations", page_token=first.next_page_token, **wanted)
    (newest,) = call("ListFailedValidations", **wanted).failures

    assert failed[:0:-1] == [page.failures[0].verdict.training_id for page in (first, second)]
    assert (failed[1], "still") == (newest.verdict.training_id, newest.verdict.checks[0].reason)


# --- writing ------------------------------------------------------------------------------------------


def test_the_same_request_again_is_the_same_answer(call: Spoken) -> None:
    """Whether it was accepted or rejected, and however often it is asked."""
    asked: dict[str, Any] = {"request_id": new_id(), "training": pb.Training(model="again")}
    bad: dict[str, Any] = {
        "request_id": new_id(),
        "training_id": new_id(),
        "deployable": True,
        "reason": "why not",
    }

    assert call("LogTraining", **asked) == call("LogTraining", **asked)
    first = refused(lambda: call("OverrideVerdict", **bad))
    assert "FAILED_PRECONDITION" == first[0]
    assert first == refused(lambda: call("OverrideVerdict", **bad))


def test_the_same_id_with_another_body_is_a_visible_rejection(call: Spoken) -> None:
    """On the log, with its position, and nothing of the first is changed."""
    request_id = new_id()
    first = call("LogTraining", request_id=request_id, training=pb.Training(model="twice"))
    code, reason, metadata, sentence = refused(
        lambda: call("LogTraining", request_id=request_id, training=pb.Training(model="other"))
    )

    assert ("FAILED_PRECONDITION", "REJECTED", "rejected") == (code, reason, metadata["decision"])
    assert int(metadata["position"]) > first.position
    (event,) = call("ListEvents", after_position=int(metadata["position"]) - 1, page_size=1).events
    assert (pb.DECISION_REJECTED, sentence) == (event.decision, event.reason)


def test_a_rejection_is_a_status_with_the_folds_reason(call: Spoken) -> None:
    """A sentence for people, a reason, a decision and a position for programs."""
    pending = call.log().training_id
    bound = [pb.ModelBinding(model=MODEL, training_id=pending)]
    code, reason, metadata, sentence = refused(
        lambda: call("RequestDeployment", service="other", release="x", models=bound)
    )
    position = int(metadata["position"])
    (rejected,) = call("ListDeployments", service="other", min_position=position).deployments

    assert ("FAILED_PRECONDITION", "REJECTED", {"decision": "rejected", "position": str(position)}) == (
        code,
        reason,
        metadata,
    )
    assert (sentence, position) == (rejected.reason, rejected.position)


def test_each_training_of_a_batch_has_its_own_answer(call: Spoken) -> None:
    """One that is rejected is an answer among others; one that is malformed refuses all."""
    training_id = new_id()
    trainings = [
        pb.Training(model="batch", training_id=training_id),
        pb.Training(model="other", training_id=training_id),
    ]
    answers = call(
        "LogTrainings", requests=[pb.LogTrainingRequest(training=one) for one in trainings]
    ).responses
    before = call("GetStatus").position
    malformed = refused(
        lambda: call(
            "LogTrainings", requests=[pb.LogTrainingRequest(training=trainings[0]), pb.LogTrainingRequest()]
        )
    )

    assert [pb.DECISION_ACCEPTED, pb.DECISION_REJECTED] == [answer.decision for answer in answers]
    assert ("INVALID_ARGUMENT", "requests[1]: training.model is empty") == (malformed[0], malformed[3])
    assert before == call("GetStatus").position
    assert [] == list(call("LogTrainings").responses)


@pytest.mark.parametrize(("actor", "expected"), [("ada", "ada"), ("", "anonymous@127.0.0.1")])
def test_the_actor_is_the_one_claimed_on_an_open_service(call: Spoken, actor: str, expected: str) -> None:
    """Else the machine that the call came from: the same one for each of its connections."""
    logged = call("LogTraining", actor=actor, training=pb.Training(model="acted"))

    assert expected == call("GetTraining", training=logged.training_id).training.actor


def test_names_are_kept_in_one_spelling(call: Spoken) -> None:
    """Two ways to write a letter with an accent are one name, when it is written and when it is asked for."""
    call("LogTraining", training=pb.Training(model="Caf\u0065\u0301"))

    found = call("SearchTrainings", model="Caf\u00e9").trainings
    again = call("SearchTrainings", model="Caf\u0065\u0301").trainings
    assert ["Caf\u00e9"] == [one.model for one in found] == [one.model for one in again]


# --- what is refused ----------------------------------------------------------------------------------

LATE = Timestamp(seconds=1 << 60)
HOSTILE: list[tuple[str, dict[str, Any], str]] = [
    ("LogTraining", {"request_id": "1"}, "request_id '1' is not a UUID"),
    ("LogTraining", {"training": pb.Training(model="a\nb")}, "training.model"),
    ("LogTraining", {"training": pb.Training(model="m", training_id="1")}, "training.training_id"),
    ("LogTraining", {"training": pb.Training(model="m" * 201)}, "over the limit"),
    ("LogTraining", {"training": pb.Training(model="m", created_at=LATE)}, "created_at"),
    ("LogTraining", {"training": pb.Training(model="m", created_at=Timestamp(nanos=-1))}, "nanoseconds"),
    (
        "LogTraining",
        {"training": pb.Training(model="m", metrics=[pb.Metric(name="a", direction=cast("Any", 9))])},
        "direction",
    ),
    ("LogMetrics", {"training_id": new_id(), "producer": ""}, "producer is empty"),
    ("LogMetrics", {"training_id": new_id(), "producer": "p", "sequence": -1}, "sequence"),
    ("AmendTraining", {"training_id": new_id(), "reason": "because"}, "amends nothing"),
    ("OverrideVerdict", {"training_id": new_id()}, "an override says why"),
    ("PublishPolicy", {}, "policy.model is empty"),
    ("RequestDeployment", {"service": "s", "release": "r"}, "models is empty"),
    ("GetTraining", {}, "training is empty"),
    ("GetTraining", {"training": "x", "min_position": -5}, "counted from 0"),
    ("BatchGetTrainings", {"training_ids": [new_id()] * 1001}, "over the limit of 1,000"),
    ("BatchGetTrainings", {"training_ids": ["x"]}, "training_ids[0]"),
    ("LogTrainings", {"requests": [pb.LogTrainingRequest()] * 1001}, "over the limit of 1,000"),
    ("SearchTrainings", {"page_size": 1001}, "1 to 1,000"),
    ("SearchTrainings", {"page_size": -1}, "1 to 1,000"),
    ("SearchTrainings", {"metrics": [pb.MetricFilter(name="mse")]}, "give a comparison"),
    (
        "SearchTrainings",
        {"metrics": [pb.MetricFilter(name="a", comparison=pb.METRIC_COMPARISON_LESS, value=math.nan)]},
        "NaN",
    ),
    ("SearchTrainings", {"parameters": [pb.ParameterFilter(name="a")]}, "without a value"),
    ("SearchTrainings", {"parameters": [pb.ParameterFilter(name="a", text="b")] * 2}, "twice"),
    ("SearchTrainings", {"show": [pb.MetricName(name="a")] * 101}, "over the limit of 100"),
    ("SearchTrainings", {"outcome": 77}, "outcome"),
    ("SearchTrainings", {"created_after": LATE}, "created_after"),
    ("CompareTrainings", {"trainings": ["x"]}, "2 to 50"),
    ("GetMetricSeries", {"model": "m"}, "metric is missing"),
    ("DownloadArtifact", {"sha256": "../../etc/passwd"}, "not a SHA-256"),
    ("ListDeployments", {"decision": pb.DECISION_IGNORED}, "accepted or rejected"),
    ("ListEvents", {"topic": "secrets"}, "the topic is 'secrets'"),
    ("ListEvents", {"types": ["Nonsense"]}, "no type of event"),
    ("GetDeployment", {"service": "s"}, "release is empty"),
    ("GetDeployment", {"service": "s", "deployment_id": new_id()}, "not both"),
    ("Query", {"sql": "select 1; select 2"}, ""),
    ("Query", {"sql": "select 1", "max_rows": -1}, "max_rows"),
    ("Subscribe", {"topic": "quarantine"}, "the topic is"),
    ("Subscribe", {"heartbeat_seconds": 301}, "1 to 300"),
    ("Subscribe", {"after_position": 1, "only_new": True}, "not both"),
    ("Subscribe", {"after_position": -2}, "counted from 0"),
    ("Subscribe", {"types": ["Nonsense"]}, "no type of event"),
    ("Subscribe", {"models": [""]}, "models[0] is empty"),
]


@pytest.mark.parametrize(("name", "fields", "words"), HOSTILE)
def test_what_can_not_be_is_an_invalid_argument(
    call: Spoken, name: str, fields: dict[str, Any], words: str
) -> None:
    """With a sentence that names the field; never an error of the service's own."""
    code, reason, _, sentence = refused(lambda: call(name, **fields))

    assert ("INVALID_ARGUMENT", "INVALID_INPUT") == (code, reason)
    assert words in sentence


@pytest.mark.parametrize("name", ["LogTraining", "UploadArtifact", "GetMetricSeries", "Subscribe"])
def test_bytes_that_are_no_message_are_an_invalid_argument(call: Spoken, name: str) -> None:
    """Of each kind of call; whoever sends them learns what is wrong, and the service logs no fault of its own."""
    make = call.channel.stream_unary if name in RECEIVING else call.channel.unary_stream
    made: Any = (call.channel.unary_unary if name in UNARY else make)(f"/{DESCRIPTOR.full_name}/{name}")
    sent: Any = iter([b"\xff\xff"]) if name in RECEIVING else b"\xff\xff"
    code, _, _, sentence = refused(lambda: made(sent, timeout=30))

    assert ("INVALID_ARGUMENT", "the bytes of the request are no message of this call") == (code, sentence)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("GetTraining", {"training": "home-price@99"}),
        ("GetTraining", {"training": "x" * 5_000}),
        ("BatchGetTrainings", {"training_ids": [new_id()]}),
        ("GetStanding", {"training": "ffffffff"}),
        ("GetDeployment", {"service": "nobody", "release": "r"}),
        ("GetDeployment", {"deployment_id": new_id()}),
        ("Explain", {"subject": "' or 1=1 --"}),
        ("DownloadArtifact", {"sha256": "0" * 64}),
    ],
)
def test_what_is_not_there_is_not_found(call: Spoken, name: str, fields: dict[str, Any]) -> None:
    """Said in a sentence."""
    code, reason, _, sentence = refused(lambda: call(name, **fields))

    assert ("NOT_FOUND", "NOT_FOUND") == (code, reason)
    assert sentence


def test_an_unforeseen_error_tells_no_more_than_where_to_look(
    call: Spoken, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The traceback is in the service's log, under the request's id, and nowhere else."""

    def broken() -> None:
        raise RuntimeError("the secret is 1234")

    monkeypatch.setattr(call.service.live, "health", broken)
    with caplog.at_level(logging.ERROR), pytest.raises(grpc.RpcError) as ended:
        call("GetStatus")
    error: Any = ended.value
    request_id = dict(error.trailing_metadata())["x-request-id"]

    assert grpc.StatusCode.INTERNAL == error.code()
    assert request_id in error.details()
    assert "1234" not in error.details()
    (record,) = [one for one in caplog.records if one.exc_info]
    assert request_id in record.getMessage()


# --- waiting ------------------------------------------------------------------------------------------


def test_a_read_waits_until_it_can_take_a_position_into_account(call: Spoken) -> None:
    """So whoever wrote reads what it wrote."""
    position = call.log().position

    assert call("ListModels", min_position=position).position >= position


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("ListModels", {}),
        ("GetMetricSeries", {"model": "m", "metric": pb.MetricName(name="a")}),
        ("DownloadSnapshot", {}),
        ("Query", {"sql": "select 1"}),
        ("GetDeployment", {"service": "s", "release": "r"}),
    ],
)
def test_a_position_that_does_not_come_ends_with_the_deadline(
    call: Spoken, name: str, fields: dict[str, Any]
) -> None:
    """Whatever the call would have done with it."""
    code, *_ = refused(lambda: call(name, min_position=1 << 40, seconds=0.2, **fields))

    assert "DEADLINE_EXCEEDED" == code


def test_without_a_deadline_the_service_has_one(call: Spoken) -> None:
    """Nothing is waited for without end."""
    with within(call, request_seconds=0.2) as hasty:
        request = pb.ListModelsRequest(min_position=1 << 40)
        code, reason, _, _ = refused(lambda: hasty.stub.ListModels(request))

        assert ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED") == (code, reason)


# --- around it ----------------------------------------------------------------------------------------


def test_a_message_beyond_the_limit_is_refused(call: Spoken) -> None:
    """Before it is read."""
    with within(call, message_bytes=10_000) as small:
        code, _, _, sentence = refused(lambda: small.log(git_sha="x" * 20_000))

        assert "RESOURCE_EXHAUSTED" == code
        assert "larger than max" in sentence


def test_health_says_that_it_serves_and_reflection_what(call: Spoken) -> None:
    """As load balancers and people with grpcurl ask."""
    stub: Any = health_pb2_grpc.HealthStub(call.channel)
    answers = [
        stub.Check(health_pb2.HealthCheckRequest(service=name)).status
        for name in ("", "deedbook.v1.Registry")
    ]
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    reflecting: Any = reflection_pb2_grpc.ServerReflectionStub(call.channel)
    (listed,) = reflecting.ServerReflectionInfo(iter([asked]))

    assert [health_pb2.HealthCheckResponse.SERVING] * 2 == answers
    assert "deedbook.v1.Registry" in {one.name for one in listed.list_services_response.service}


def test_the_status_tells_how_far_the_service_has_read(call: Spoken) -> None:
    """With the release and the rules that it decides by."""
    position = call.log().position
    status = call("GetStatus")

    assert status.position >= position
    assert (1, True) == (status.rules_version, status.log_reachable)


def test_an_answer_comes_in_one_piece_and_a_stream_is_told_of_first(call: Spoken) -> None:
    """The id of a call is in what its answer ends with; nothing is sent ahead of an answer, only of a stream."""
    named = (("x-request-id", "a-call.8"),)
    _, answered = call.stub.GetStatus.with_call(pb.GetStatusRequest(), metadata=named)
    stream: Any = call.stub.Query(pb.QueryRequest(sql="select 1"), timeout=30, metadata=named)
    list(stream)

    assert "x-request-id" not in dict(answered.initial_metadata())
    for trailing in (answered.trailing_metadata(), stream.trailing_metadata(), stream.initial_metadata()):
        assert "a-call.8" == dict(trailing)["x-request-id"]


def test_a_refused_call_has_its_id_too(call: Spoken) -> None:
    """Beside what says why."""
    with pytest.raises(grpc.RpcError) as ended:
        call.stub.GetTraining(pb.GetTrainingRequest(), timeout=30, metadata=(("x-request-id", "a-call.9"),))
    error: Any = ended.value

    assert "a-call.9" == dict(error.trailing_metadata())["x-request-id"]
    assert grpc.StatusCode.INVALID_ARGUMENT == error.code()


def test_a_remembered_binding_is_as_new_as_the_state(call: Spoken) -> None:
    """It has the position as of which it is asked for, and is not remembered past the next deployment."""
    one = judged(call, pb.OUTCOME_PASSED)
    bound = [pb.ModelBinding(model=MODEL, training_id=one)]
    call("OverrideVerdict", training_id=one, deployable=True, reason="to bind it")
    call("RequestDeployment", service="kept", release="r1", models=bound)
    first = call("GetDeployment", service="kept", release="r1")
    logged = call.log()
    again = call("GetDeployment", service="kept", environment="production", release="r1")
    call("RequestDeployment", service="kept", release="r2", models=bound)
    after = call("GetDeployment", service="kept", release="r1")

    assert first.deployment == again.deployment
    assert again.position >= logged.position > first.position
    assert (True, False) == (again.deployment.current, after.deployment.current)


def test_a_request_id_of_any_version_is_taken(call: Spoken) -> None:
    """What is no version 7 has no time in it: the service keeps when it first saw it."""
    asked: dict[str, Any] = {"request_id": str(uuid.uuid4()), "training": pb.Training(model="again")}

    assert call("LogTraining", **asked) == call("LogTraining", **asked)
