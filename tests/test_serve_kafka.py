"""Several `deedbook serve` side by side on one Kafka log: each folds by itself, and they can't disagree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest

from deedbook.api.v1 import registry_pb2 as pb
from deedbook.api.v1 import registry_pb2_grpc
from deedbook.events.errors import DeadlineExceeded, LogUnavailable
from deedbook.events.ids import new_id
from deedbook.events.kafka.settings import kafka_settings
from deedbook.events.kafka.topics import create_topics
from tests.facts_by_hand import Pen
from tests.servers.kafka import own_kafka
from tests.serving.in_process import live_registry
from tests.serving.program import PATIENCE_SECONDS, Served, served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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


@pytest.fixture
def replicas(kafka_url: str, tmp_path: Path) -> Iterator[list[Replica]]:
    """Two services on one log, each with a folder of its own, and artifacts that both share."""
    create_topics(kafka_settings(kafka_url), partitions=2)
    artifacts = str(tmp_path / "artifacts")
    with (
        served(tmp_path / "one", url=kafka_url, DEEDBOOK_ARTIFACTS=artifacts) as one,
        served(tmp_path / "two", url=kafka_url, DEEDBOOK_ARTIFACTS=artifacts) as two,
        grpc.insecure_channel(one.grpc_target) as to_one,
        grpc.insecure_channel(two.grpc_target) as to_two,
    ):
        yield [Replica(one, to_one), Replica(two, to_two)]


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
