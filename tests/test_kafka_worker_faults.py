"""Validation workers that are killed in mid-check, and orders lost with them: each is judged, and counts once."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from deedbook.consumers.faust.app import group_of
from deedbook.events.facts import VALIDATIONS, CheckSpec, Policy
from deedbook.events.kafka.settings import kafka_settings
from deedbook.projector.rebuild import fold_anew
from tests.facts_by_hand import Pen
from tests.kafka_registry import done, doubled, eventually, program, registry_at, tell
from tests.servers.kafka import quiet_admin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.folded import Registry

WORKER = (sys.executable, str(Path(__file__).with_name("judging_program.py")))
# The shortest session a broker allows: a worker that is killed is missed after that.
OPTIONS = ("session.timeout.ms=6000", "heartbeat.interval.ms=1000", "auto.commit.interval.ms=200")


@pytest.fixture
def registry(kafka_url: str, tmp_path: Path) -> Iterator[Registry]:
    """An empty registry on the run's Kafka."""
    with registry_at(kafka_url, tmp_path / "registry") as registry:
        yield registry


@contextmanager
def worker(url: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker whose check `gate` passes once the folder holds a file of the model's name; it tells all to a file."""
    settings = kafka_settings(url)
    with (folder / "workers").open("ab") as told:
        process = subprocess.Popen(
            [*WORKER, settings.servers, settings.prefix, str(folder), *OPTIONS],
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def told(folder: Path, line: str) -> int:
    """How often the workers have told a line."""
    return (folder / "workers").read_text().splitlines().count(line)


def log_training(registry: Registry, pen: Pen, model: str) -> None:
    """A training whose policy is the check that takes its time."""
    policy = Policy(model=model, checks=(CheckSpec(check="gate"),))
    registry.append(pen.policy(policy), pen.logged(model, model=model))


def lose_orders(url: str, registry: Registry) -> None:
    """Commit past every order there is, as Faust may do with what nobody judged, once the group has no members."""
    settings = kafka_settings(url)
    admin, group, topic = quiet_admin(settings.servers), group_of(settings), settings.topic(VALIDATIONS)

    def is_empty() -> bool:
        return not admin.describe_consumer_groups([group])[group].result(30).members

    eventually(is_empty, "the killed worker is missed")
    ends = registry.log.ends([VALIDATIONS])
    offsets = [TopicPartition(topic, partition, end) for (_, partition), end in ends.items()]
    asked = ConsumerGroupTopicPartitions(group, offsets)
    admin.alter_consumer_group_offsets([asked])[group].result(30)


def test_an_order_that_is_lost_with_a_killed_worker_is_announced_again_and_counts_once(
    kafka_url: str, registry: Registry
) -> None:
    """Not even Kafka knows of it any more: the announcer does, for the training has no verdict."""
    folder = registry.folder
    with program(kafka_url, folder, "project", "--patience", "1", "--attempts", "1000"):
        with worker(kafka_url, folder) as first:
            log_training(registry, Pen(), "rent")
            eventually(lambda: told(folder, "holds rent"), "the order is in a worker's hand")
            first.kill()
        lose_orders(kafka_url, registry)
        (folder / "rent").touch()
        with worker(kafka_url, folder):
            eventually(lambda: told(folder, "verdict rent passed"), "another judges it")
    ended = done(kafka_url, folder, "state-hash")

    assert [(1, "passed", True)] == registry.ask(
        "select (select count(*) from base.verdict), outcome, deployable from trainings"
    )
    assert [(0,)] == registry.ask("select count(*) from base.request where closed_position is null")
    assert fold_anew(registry.log, folder / "fresh.duckdb")[0] == ended.out.split()[0]


@pytest.mark.soak
def test_workers_killed_ten_times_leave_no_order_unanswered(
    kafka_url: str, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """After half of the kills nobody knows of the order any more but the announcer."""
    began = time.monotonic()
    folder, pen, kills = registry.folder, Pen(), 10
    with program(kafka_url, folder, "project", "--patience", "2", "--attempts", "1000"):
        for turn in range(kills):
            for number in range(10):
                log_training(registry, pen, f"model-{turn}-{number}")
            with ExitStack() as stack:
                first = stack.enter_context(worker(kafka_url, folder))
                held = f"model-{turn}-0"
                for number in range(1, 10):
                    (folder / f"model-{turn}-{number}").touch()
                eventually(lambda name=held: told(folder, f"holds {name}"), "an order is in hand")  # type: ignore[misc]
                first.kill()
            if turn % 2:
                lose_orders(kafka_url, registry)
            (folder / held).touch()
            with worker(kafka_url, folder):
                eventually(lambda name=held: told(folder, f"verdict {name} passed"), "another judges it")  # type: ignore[misc]
                eventually(lambda: not pending(registry), "all have their verdict")
    ended = done(kafka_url, folder, "state-hash")
    verdicts = registry.ask(
        "select outcome, count(*), count(distinct training_key) from base.verdict group by all"
    )

    assert [("passed", 10 * kills, 10 * kills)] == verdicts
    assert [] == doubled(registry)
    assert fold_anew(registry.log, folder / "fresh.duckdb")[0] == ended.out.split()[0]
    tell(
        capsys,
        f"{kills} workers killed in mid-check, {10 * kills} trainings: all judged, each verdict counts once; "
        f"{time.monotonic() - began:.0f} s",
    )


def pending(registry: Registry) -> int:
    """How many requests for a verdict are open, as of the log's end."""
    registry.fold("beside")
    ((count,),) = registry.ask(
        "select count(*) from base.request where closed_position is null", name="beside"
    )
    return int(count)
