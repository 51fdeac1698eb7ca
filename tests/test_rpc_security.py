"""The gRPC interface's door: every call, listed from its description, for every role; streams, metadata, the log."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from deedbook.api.v1 import registry_pb2 as pb
from deedbook.api.v1 import registry_pb2_grpc
from deedbook.service.access import rpc, streams
from deedbook.service.access.access import Access
from deedbook.service.access.calls import PERMISSIONS
from deedbook.service.access.roles import GRANTED, Permission, Role
from deedbook.service.access.sessions import form_token
from deedbook.service.access.token_file import TokenFile
from deedbook.service.rpc.registry import DESCRIPTOR
from tests.facts_by_hand import Pen, id_of
from tests.folded import Registry
from tests.serving.calling import Spoken, spoken_to
from tests.serving.in_process import live_registry
from tests.serving.program import served

OWN, OTHER = "rent", "home-price"
PATIENCE_SECONDS = 30.0
Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]

# What each call needs; the service's own description is held against this, so that none is forgotten.
TABLE = {
    "LogTraining": "log",
    "LogTrainings": "log",
    "StartTraining": "log",
    "FailTraining": "log",
    "LogMetrics": "log",
    "AmendTraining": "log",
    "UploadArtifact": "log",
    "PublishRequests": "log",
    "GetTraining": "read",
    "BatchGetTrainings": "read",
    "SearchTrainings": "read",
    "CompareTrainings": "read",
    "ListModels": "read",
    "GetMetricSeries": "read",
    "ListVerdicts": "read",
    "ListFailedValidations": "read",
    "GetStanding": "read",
    "ListPolicies": "read",
    "ListRequestSets": "read",
    "ListDeployments": "read",
    "ListReleases": "read",
    "ListModelLoads": "read",
    "Explain": "read",
    "ListEvents": "read",
    "IssueVerdict": "verdict",
    "OverrideVerdict": "override",
    "RevalidateTraining": "revalidate",
    "PublishPolicy": "policy",
    "RequestDeployment": "deploy",
    "ActivateRelease": "deploy",
    "GetDeployment": "binding",
    "GetLive": "binding",
    "DownloadArtifact": "binding",
    "GetStatus": "binding",
    "Subscribe": "read",
    "ReportModelLoaded": "report",
    "Query": "sql",
    "DownloadSnapshot": "sql",
}


@dataclass(frozen=True, slots=True)
class House:
    """A gRPC interface with a token for everybody."""

    spoken: Spoken
    access: Access
    file: TokenFile
    tokens: dict[str, str]

    def made(
        self,
        name: str,
        who: str = "",
        metadata: Metadata = (),
        **fields: Any,  # noqa: ANN401 - any field of a request
    ) -> str:
        """Make a call with somebody's token; return the name of the status that it ended with."""
        token = self.tokens.get(who, "")
        sent = (*metadata, ("authorization", f"Bearer {token}")) if token else metadata
        return status_of(self.spoken.stub, name, sent, **fields)


def status_of(
    stub: registry_pb2_grpc.RegistryStub,
    name: str,
    metadata: Metadata,
    **fields: Any,  # noqa: ANN401 - any field of a request
) -> str:
    """Make a call; a stream is left after its first message."""
    request: Any = getattr(pb, f"{name}Request")(**fields)
    method = DESCRIPTOR.methods_by_name[name]
    try:
        answer = getattr(stub, name)(
            iter([request]) if method.client_streaming else request,
            timeout=PATIENCE_SECONDS,
            metadata=metadata,
        )
        if method.server_streaming:
            next(answer, None)
            answer.cancel()
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


REFUSED = {"UNAUTHENTICATED": "unknown", "PERMISSION_DENIED": "refused"}
# What lets a call end soon for those who are let in.
SOON: dict[str, dict[str, Any]] = {"Subscribe": {"heartbeat_seconds": 1, "topic": "registry"}}


def walked(house: House, who: str) -> dict[str, str]:
    """What becomes of each call of the interface."""
    names = sorted(DESCRIPTOR.methods_by_name)
    with ThreadPoolExecutor(8) as pool:
        statuses = pool.map(lambda name: house.made(name, who, **SOON.get(name, {})), names)
        return {name: REFUSED.get(status, "in") for name, status in zip(names, statuses, strict=True)}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A registry with trainings of two models, and a token for each role; `scoped` is everything, of one model."""
    registry = Registry(tmp_path_factory.mktemp("rpc") / "registry")
    pen = Pen()
    registry.append(
        pen.logged("theirs", model=OTHER),
        pen.logged("mine", model=OWN),
        pen.started("their run", model=OTHER),
        pen.overridden("theirs", deployable=True),
        pen.deploy("r1", "theirs", models=(OTHER,)),
    )
    registry.log.close()
    file = TokenFile(tmp_path_factory.mktemp("tokens") / "tokens.json")
    tokens = {role.value: file.create(f"a {role}", frozenset({role}))[1] for role in Role}
    for name in ("revoked", "expired"):
        tokens[name] = file.create(name, frozenset({Role.ADMIN}))[1]
    tokens["scoped"] = file.create("scoped", frozenset({Role.ADMIN}), frozenset({OWN}))[1]
    end_tokens(file)
    with live_registry(registry.folder) as service:
        access = Access(file.path)
        with spoken_to(replace(service, access=access)) as spoken:
            yield House(spoken, access, file, tokens)


def end_tokens(file: TokenFile) -> None:
    """Revoke one token, and let the other one's time be over."""
    by_name = {token.name: token.id for token in file.tokens()}
    file.revoke(by_name["revoked"])
    document = json.loads(file.path.read_text(encoding="utf-8"))
    for row in document["tokens"]:
        if row["name"] == "expired":
            row["expires_at"] = "2020-01-01T00:00:00+00:00"
    file.path.write_text(json.dumps(document), encoding="utf-8")


# --- every call, every role --------------------------------------------------------------------


def test_every_call_is_in_the_table_and_no_other() -> None:
    """A call that is new is in nobody's hand before somebody has decided in whose."""
    assert sorted(TABLE) == sorted(DESCRIPTOR.methods_by_name)
    assert {f"/{DESCRIPTOR.full_name}/{name}" for name in TABLE} == set(PERMISSIONS)


@pytest.mark.parametrize("role", Role)
def test_a_role_makes_its_calls_and_no_other(house: House, role: Role) -> None:
    """With a token of each role."""
    granted = {permission.value for permission in GRANTED[role]}

    assert {name: "in" if needed in granted else "refused" for name, needed in TABLE.items()} == walked(
        house, role.value
    )


@pytest.mark.parametrize("who", ["", "revoked", "expired"])
def test_who_is_not_known_makes_no_call(house: House, who: str) -> None:
    """Without a token, or with one that is over."""
    assert dict.fromkeys(TABLE, "unknown") == walked(house, who)


def test_a_host_is_told_of_deployments_and_nothing_else(house: House) -> None:
    """It subscribes to one topic."""
    topics = ("deployments", "registry", "metrics", "hosts", "")

    found = {topic: house.made("Subscribe", "host", topic=topic, heartbeat_seconds=1) for topic in topics}

    assert {"deployments": "OK"} | dict.fromkeys(topics[1:], "PERMISSION_DENIED") == found


def test_what_is_not_in_the_interface_is_not_there(house: House) -> None:
    """For an administrator either."""
    channel = house.spoken.channel
    for path in (f"/{DESCRIPTOR.full_name}/Drop", "/deedbook.v1.Other/Get", "/"):
        call: Any = channel.unary_unary(path)
        with pytest.raises(grpc.RpcError) as ended:
            call(b"", timeout=PATIENCE_SECONDS, metadata=bearer(house.tokens["admin"]))
        assert ended.value.code() is grpc.StatusCode.UNIMPLEMENTED


def bearer(token: str) -> Metadata:
    """The metadata that carries a token."""
    return (("authorization", f"Bearer {token}"),)


def test_health_and_reflection_need_no_token(house: House) -> None:
    """They tell that there is a registry, and what it can be asked."""
    healths: Any = health_pb2_grpc.HealthStub(house.spoken.channel)
    health = healths.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_SECONDS)
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    reflection: Any = reflection_pb2_grpc.ServerReflectionStub(house.spoken.channel)
    reflected = reflection.ServerReflectionInfo(iter([asked]), timeout=PATIENCE_SECONDS)

    assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert DESCRIPTOR.full_name in {each.name for each in next(reflected).list_services_response.service}


def test_who_needs_no_token_takes_no_others_place(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many watch the health and ask for the description at once; each that ends makes room."""
    monkeypatch.setattr(rpc, "MAX_STRANGERS", 2)
    healths: Any = health_pb2_grpc.HealthStub(house.spoken.channel)

    def watch() -> Any:  # noqa: ANN401 - a stream
        return healths.Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE_SECONDS)

    watching = [watch(), watch()]
    assert [health_pb2.HealthCheckResponse.SERVING] * 2 == [next(each).status for each in watching]
    with pytest.raises(grpc.RpcError) as ended:
        next(watch())
    assert ended.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert house.made("GetStatus", "host") == "OK"
    for each in watching:
        each.cancel()


# --- models ------------------------------------------------------------------------------------

CHECKS = [pb.CheckSpec(check="metric_threshold")]
FOREIGN: dict[str, dict[str, Any]] = {
    "LogTraining": {"training": pb.Training(model=OTHER)},
    "LogTrainings": {
        "requests": [pb.LogTrainingRequest(training=pb.Training(model=model)) for model in (OWN, OTHER)]
    },
    "StartTraining": {"model": OTHER},
    "FailTraining": {"training_id": id_of("their run"), "model": OTHER, "error": "none"},
    "LogMetrics": {"training_id": id_of("theirs"), "points": [pb.MetricPoint(name="mse", value=1)]},
    "AmendTraining": {"training_id": id_of("theirs"), "reason": "mine now"},
    "PublishRequests": {"requests": pb.RequestSet(model=OTHER, count=1)},
    "IssueVerdict": {"training_id": id_of("theirs")},
    "OverrideVerdict": {"training_id": id_of("theirs"), "deployable": True, "reason": "mine now"},
    "RevalidateTraining": {"training_id": id_of("theirs"), "reason": "mine now"},
    "PublishPolicy": {"policy": pb.Policy(model=OTHER, checks=CHECKS), "source": "#"},
    "RequestDeployment": {
        "service": "pricing-api",
        "environment": "production",
        "release": "r9",
        "models": [
            pb.ModelBinding(model=OWN, training_id=id_of("mine")),
            pb.ModelBinding(model=OTHER, training_id=id_of("theirs")),
        ],
    },
    "ActivateRelease": {"service": "pricing-api", "environment": "production", "release": "r1"},
    "ReportModelLoaded": {
        "service": "pricing-api",
        "environment": "production",
        "release": "r1",
        "instance": "i",
        "model": OTHER,
        "training_id": id_of("theirs"),
    },
}
# Bytes belong to no model: what they are of, the record says that names them.
OF_NO_MODEL = {"UploadArtifact"}


def test_every_call_that_writes_is_tried_for_another_model() -> None:
    """None of them is left out below."""
    reading = {"read", "binding", "sql"}

    assert {name for name, needed in TABLE.items() if needed not in reading} - OF_NO_MODEL == set(FOREIGN)


@pytest.mark.parametrize("name", FOREIGN)
def test_a_token_for_one_model_writes_for_no_other(house: House, name: str) -> None:
    """Its holder is an administrator, of another model; nothing is appended."""
    before = house.spoken.service.log.end("registry")

    assert house.made(name, "scoped", **FOREIGN[name]) == "PERMISSION_DENIED"
    assert before == house.spoken.service.log.end("registry")


@pytest.mark.parametrize(
    "name", ["AmendTraining", "OverrideVerdict", "RevalidateTraining", "IssueVerdict", "ActivateRelease"]
)
def test_what_is_not_folded_yet_may_be_anybodys(house: House, name: str) -> None:
    """A token for one model can't be ahead of what tells whose a training is."""
    before = house.spoken.service.log.end("registry")
    fields = {k: v for k, v in FOREIGN[name].items() if k not in {"training_id", "release"}}
    unknown: dict[str, Any] = (
        {"release": "r-unknown"} if name == "ActivateRelease" else {"training_id": id_of("unknown")}
    )

    assert house.made(name, "scoped", **fields, **unknown) == "NOT_FOUND"
    assert before == house.spoken.service.log.end("registry")


def test_a_token_for_one_model_writes_for_it_and_reads_all(house: House) -> None:
    """Its own model, and others' trainings."""
    assert house.made("StartTraining", "scoped", model=OWN) == "OK"
    assert house.made("GetTraining", "scoped", training=id_of("theirs")) == "OK"


# --- who it was --------------------------------------------------------------------------------


def test_the_recorded_actor_is_the_tokens_whatever_is_claimed(house: House) -> None:
    """Also where somebody claims to be somebody else."""
    request = pb.StartTrainingRequest(model=OWN, training_id=id_of("claimed"))
    metadata = (*bearer(house.tokens["trainer"]), ("deedbook-actor", "root"))

    house.spoken.stub.StartTraining(request, timeout=PATIENCE_SECONDS, metadata=metadata)

    with house.spoken.service.live.reading() as connection:
        actors = connection.execute(
            "select actor from main.events where type = 'TrainingStarted' order by position desc limit 1"
        ).fetchall()
    assert [("a trainer",)] == actors


ODD: dict[str, Metadata] = {
    "no scheme": (("authorization", "db_000000000000_0"),),
    "another scheme": (("authorization", "Basic YTpi"),),
    "nothing": (("authorization", ""),),
    "no token": (("authorization", "Bearer "),),
    "another key": (("token", "admin"), ("x-forwarded-user", "admin")),
    "a session": (("cookie", "session"),),
    "a long one": (("authorization", "Bearer " + "x" * 4_000),),
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_metadata_lets_nobody_in(house: House, odd: str) -> None:
    """Malformed, in the wrong place, too long."""
    assert house.made("GetStatus", metadata=ODD[odd]) == "UNAUTHENTICATED"


def test_two_tokens_are_none(house: House) -> None:
    """It is not for the server to choose."""
    twice = bearer(house.tokens["admin"]) * 2

    assert house.made("GetStatus", metadata=twice) == "UNAUTHENTICATED"


def test_metadata_without_end_is_not_taken(house: House) -> None:
    """More than a few kilobytes end the call."""
    much = tuple((f"x-{number}", "y" * 1_000) for number in range(100))

    assert house.made("GetStatus", "admin", metadata=much) in {
        "RESOURCE_EXHAUSTED",
        "UNAVAILABLE",
        "INTERNAL",
    }
    assert house.made("GetStatus", "admin") == "OK"


@pytest.mark.parametrize("name", ["a\x7fb", "x" * 201])
def test_a_claimed_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    """On an open service, before anything is written."""
    with (
        live_registry(tmp_path / "registry") as service,
        spoken_to(replace(service, access=Access())) as spoken,
    ):
        sent = (("deedbook-actor-bin", name.encode()),)
        found = status_of(spoken.stub, "StartTraining", sent, model=OWN)

    assert found == "INVALID_ARGUMENT"


# --- streams -----------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", ["registry", "deployments"])
def test_an_open_stream_ends_with_its_token(
    house: House, monkeypatch: pytest.MonkeyPatch, topic: str
) -> None:
    """While it waits for the next event, with a status that says why."""
    monkeypatch.setattr(streams, "CHECK_SECONDS", 0.02)
    made, text = house.file.create("leaving", frozenset({Role.ANALYST}))
    request = pb.SubscribeRequest(topic=topic, heartbeat_seconds=1)
    stream = house.spoken.stub.Subscribe(request, timeout=PATIENCE_SECONDS, metadata=bearer(text))
    next(stream)

    house.file.revoke(made.id)

    with pytest.raises(grpc.RpcError) as ended:
        for _ in stream:
            pass
    assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "no longer good" in str(ended.value.details())


def test_an_upload_ends_with_its_token(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its middle, and nothing of it is kept."""
    monkeypatch.setattr(streams, "CHECK_SECONDS", 0.02)
    made, text = house.file.create("leaving", frozenset({Role.TRAINER}))

    def sent() -> Iterator[pb.UploadArtifactRequest]:
        yield pb.UploadArtifactRequest(head=pb.ArtifactHead(format="skops"))
        yield pb.UploadArtifactRequest(chunk=b"first")
        house.file.revoke(made.id)
        for _ in range(1_000):
            time.sleep(0.02)
            yield pb.UploadArtifactRequest(chunk=b"more")

    with pytest.raises(grpc.RpcError) as ended:
        house.spoken.stub.UploadArtifact(sent(), timeout=PATIENCE_SECONDS, metadata=bearer(text))
    assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED


# --- what is logged ----------------------------------------------------------------------------


def test_no_token_gets_into_the_log_of_a_session(tmp_path: Path) -> None:
    """Signed in by a form, in a header, in the wrong field, in an address, over gRPC, good and wrong."""
    folder = tmp_path / "registry"
    folder.mkdir()
    file = TokenFile(folder / "tokens.json")
    _, good = file.create("ana", frozenset({Role.ADMIN}))
    wrong = f"{good[:-4]}0000"
    with served(folder, "--log-level", "debug") as service:
        with httpx.Client(base_url=service.web, timeout=PATIENCE_SECONDS) as browser:
            browser.get("/sign-in")
            (key,) = (value for name, value in browser.cookies.items() if name.endswith("-form"))
            for token in (wrong, good):
                browser.post("/sign-in", data={"token": token, "csrf_token": form_token(key)})
                browser.get(
                    "/trainings", params={"model": token}, headers={"authorization": f"Bearer {token}"}
                )
                browser.get(f"/{token}")
            cookies = [value for name, value in browser.cookies.items() if name.endswith("-session")]
        with grpc.insecure_channel(service.grpc_target) as channel:
            stub = registry_pb2_grpc.RegistryStub(channel)
            for token in (wrong, good):
                status_of(stub, "GetTraining", bearer(token), training=token)
        assert service.end() == 0
        written = service.written.read_text(encoding="utf-8")

    assert len(cookies) == 1
    assert "/sign-in" in written
    assert [] == [secret for secret in secrets_of(good, wrong, *cookies) if secret in written]


def secrets_of(*texts: str) -> list[str]:
    """The parts that must stay secret: what is long and random."""
    return [part for text in texts for part in re.split(r"[_.]", text) if len(part) == 64]


def test_the_metrics_permission_is_for_the_pages_alone() -> None:
    """Prometheus asks by HTTP."""
    assert Permission.METRICS not in PERMISSIONS.values()
