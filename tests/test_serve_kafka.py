"""Several `deedbook serve` side by side on one Kafka log: each folds by itself, and they can't disagree."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import grpc
import httpx
import pytest

from deedbook.api.v1 import registry_pb2 as pb
from deedbook.api.v1 import registry_pb2_grpc
from deedbook.events.errors import DeadlineExceeded, LogUnavailable
from deedbook.events.ids import new_id
from deedbook.events.kafka.settings import kafka_settings
from deedbook.events.kafka.topics import create_topics
from tests.facts_by_hand import Pen, id_of
from tests.servers.kafka import own_kafka
from tests.servers.shared import delete_topics
from tests.serving.in_process import live_registry
from tests.serving.program import PATIENCE_SECONDS, Served, served
from tests.serving.visiting import Browser, Seen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Those that are about no one training or deployment.
PAGES = (
    *(
        "/",
        "/model?name=paged",
        "/trainings",
        "/trainings.csv",
        "/trainings.parquet",
    ),
    *(
        "/compare",
        "/failures",
        "/deployments",
        "/live",
        "/fleet",
        "/log",
        "/log?topic=validations&partition=1",
    ),
    *(
        "/log/registry/0/0",
        "/log/registry/0/0/body.json",
        "/health",
        "/sql",
        "/sign-in",
        "/readyz",
        "/metrics",
    ),
)


class Replica:
    """A service on the log, and what it is asked."""

    def __init__(self, service: Served, channel: grpc.Channel) -> None:
        self.service = service
        self.stub = registry_pb2_grpc.RegistryStub(channel)

    def log(self, model: str = "home-price") -> tuple[str, int]:
        """Log a training; return its id and where it stands."""
        answer = self.stub.LogTraining(
            pb.LogTrainingRequest(training=pb.Training(model=model)), timeout=PATIENCE_SECONDS
        )
        return answer.training_id, answer.position

    def deploy(self, training_id: str) -> str:
        """Ask for the same release as everybody; return the decision's word."""
        binding = pb.ModelBinding(model="home-price", training_id=training_id)
        request = pb.RequestDeploymentRequest(
            service="pricing-api", environment="production", release="r1", models=[binding], git_sha="abc"
        )
        try:
            self.stub.RequestDeployment(request, timeout=PATIENCE_SECONDS)
        except grpc.RpcError as error:
            return str(error.code().name)
        return "accepted"

    def bound(self, min_position: int) -> str:
        """The training that the release is bound to, as of a position at least."""
        place = {"service": "pricing-api", "environment": "production", "release": "r1"}
        request = pb.GetDeploymentRequest(**place, min_position=min_position)
        answer = self.stub.GetDeployment(request, timeout=PATIENCE_SECONDS)
        return str(answer.deployment.models[0].training_id)


@pytest.fixture(scope="module")
def replicas(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Replica]]:
    """Two services on one log, each with a folder of its own, and artifacts that both share."""
    folder = tmp_path_factory.mktemp("replicas")
    prefix = f"t{uuid4().hex[:12]}"
    url = f"kafka://{kafka}/{prefix}"
    create_topics(kafka_settings(url), partitions=2)
    artifacts = str(folder / "artifacts")
    with (
        served(folder / "one", url=url, DEEDBOOK_ARTIFACTS=artifacts) as one,
        served(folder / "two", url=url, DEEDBOOK_ARTIFACTS=artifacts) as two,
        grpc.insecure_channel(one.grpc_target) as to_one,
        grpc.insecure_channel(two.grpc_target) as to_two,
    ):
        yield [Replica(one, to_one), Replica(two, to_two)]
    delete_topics(kafka, prefix)


def looked(response: httpx.Response) -> Seen:
    """A page that came back."""
    return Seen(response.status_code, response.text, str(response.url), response.headers)


def test_what_is_decided_on_one_replica_s_page_stands_on_the_other_s(replicas: list[Replica]) -> None:
    """Where the form leads, the other one says who decided and why, at once; and each has all pages."""
    training_id, _ = replicas[0].log("paged")
    at_one, at_two = (
        httpx.Client(base_url=one.service.web, headers={"accept": "text/html"}, timeout=PATIENCE_SECONDS)
        for one in replicas
    )
    with at_one, at_two:
        address = f"/trainings/{training_id}/override"
        form = looked(at_one.get(address)).form("reason")
        decided = {"decision": "deployable", "name": "Ana Reviewer", "reason": "seen on one"}
        sent = at_one.post(form.action or address, data=form.fields | decided)
        there = looked(at_two.get(sent.headers["location"]))
        answered = {
            (at.base_url.port, path): at.get(path).status_code
            for at in (at_one, at_two)
            for path in (*PAGES, f"/trainings/{training_id}", address, f"/trainings/{training_id}/revalidate")
        }

        waiting = looked(at_two.get("/health")).row("paged")

    assert "by Ana Reviewer: the override holds from now on" in there.text
    assert "seen on one" in there.text
    assert "1 of 3" in waiting
    assert [] == [where for where, status in answered.items() if status != httpx.codes.OK]


def test_what_one_replica_was_told_all_answer(replicas: list[Replica]) -> None:
    """Read anywhere what was written anywhere; one of two that bind a release wins, and both say which.

    A replica that is killed is missed by nobody.
    """
    one, two = replicas
    (first, _), (second, _) = one.log(), two.log()
    for replica, training_id in ((two, first), (one, second)):
        request = pb.OverrideVerdictRequest(training_id=training_id, deployable=True, reason="seen")
        replica.stub.OverrideVerdict(request, timeout=PATIENCE_SECONDS)
    following = two.stub.Subscribe(pb.SubscribeRequest())
    decided = {first: one.deploy(first), second: two.deploy(second)}
    _, position = one.log()

    assert ["FAILED_PRECONDITION", "accepted"] == sorted(decided.values())
    (winner,) = [training_id for training_id, decision in decided.items() if decision == "accepted"]
    assert [winner, winner] == [replica.bound(position) for replica in replicas]
    one.service.process.kill()
    last, after = two.log("another")
    assert last == next(
        told.event.training_logged.training.training_id
        for told in following
        if told.HasField("event") and told.event.position == after
    )


@pytest.mark.soak
def test_while_the_log_is_away_what_is_folded_is_answered(tmp_path: Path) -> None:
    """Health says that the log is away; once it is back, what was written is folded without anybody's help."""
    with own_kafka() as cluster:
        url = f"kafka://{cluster.servers}/away"
        create_topics(kafka_settings(url), partitions=1)
        with live_registry(tmp_path / "registry", url=url) as service:
            live, pen = service.live, Pen(new_id())
            service.writer.decide_blocking(pen.logged("before"))
            cluster.kill(1)
            assert live.arrivals.wait(
                lambda: not live.health().log_reachable, timeout_seconds=PATIENCE_SECONDS
            )
            with live.reading() as connection:
                assert (1,) == connection.execute("select count(*) from main.trainings").fetchone()
            with pytest.raises((LogUnavailable, DeadlineExceeded)):
                service.writer.decide_blocking(pen.logged("meanwhile"), timeout_seconds=1.0)
            cluster.start(1)
            answer = service.writer.decide_blocking(pen.logged("after"), timeout_seconds=PATIENCE_SECONDS)

            assert "accepted" == answer.decision
            assert live.health().log_reachable


@pytest.mark.soak
def test_while_the_log_is_away_the_pages_say_so_and_lose_nothing(tmp_path: Path) -> None:
    """What is folded is shown, what the log alone knows is not; a form that could not be recorded keeps its words.

    A broker that is silent for a while, and then goes on, ends nothing.
    """
    with own_kafka() as cluster:
        url = f"kafka://{cluster.servers}/away"
        create_topics(kafka_settings(url), partitions=1)
        with live_registry(tmp_path / "registry", url=url) as service:
            pen, browser = Pen(new_id()), Browser(service)
            logged = service.writer.decide_blocking(pen.logged("before"))
            address = f"/trainings/{id_of('before')}/override"
            form = browser.look(address)
            cluster.freeze(1)
            decided = {"decision": "deployable", "name": "Ana Reviewer", "reason": "while it is away"}
            refused = browser.send(form, form.form("reason"), **decided)
            shown = [browser.look(path) for path in ("/", "/log", "/health", "/trainings", "/live")]
            unknown = browser.look(f"/log/registry/0/{logged.position}")
            assert service.live.arrivals.wait(
                lambda: not service.live.health().log_reachable, timeout_seconds=PATIENCE_SECONDS
            )
            said = browser.look("/health")
            cluster.thaw(1)
            assert service.live.arrivals.wait(
                lambda: service.live.health().log_reachable, timeout_seconds=PATIENCE_SECONDS
            )
            accepted = browser.send(refused, refused.form("reason"), decision="deployable")

    assert 503 == refused.status
    assert "while it is away" == refused.form("reason").fields["reason"]
    assert [200] * 5 == [seen.status for seen in shown]
    assert (503, True) == (unknown.status, "the log did not answer" in unknown.text.lower())
    assert "The log does not answer" in said.text
    assert "by Ana Reviewer: the override holds from now on" in accepted.text
