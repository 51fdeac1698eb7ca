"""Validation on Kafka: workers that Faust shares the orders out to, as programs of their own, on a real broker."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions, TopicPartition

from deedbook.artifacts.store import LocalArtifactStore
from deedbook.consumers.faust.app import group_of
from deedbook.consumers.faust.worker import follow
from deedbook.consumers.sandbox import Sandbox
from deedbook.consumers.validation import Validator
from deedbook.events.clock import now_micros
from deedbook.events.codec import Codec
from deedbook.events.errors import AccessDenied, UnknownSchema
from deedbook.events.facts import (
    REGISTRY,
    VALIDATIONS,
    CheckSpec,
    Policy,
    Training,
    ValidationRequested,
    VerdictIssued,
    VerdictOverridden,
)
from deedbook.events.ids import new_id
from deedbook.events.kafka.log import KafkaLog
from deedbook.events.kafka.settings import KafkaSettings, kafka_settings
from deedbook.events.kafka.topics import create_topics
from deedbook.events.log import NewRecord
from tests.command import PATIENCE_SECONDS, PROGRAM, THRESHOLD_POLICY, ended, next_line, run
from tests.servers.kafka import KafkaCluster, own_kafka, quiet_admin
from tests.servers.ports import HOST, free_ports
from tests.servers.properties import Security
from tests.servers.shared import delete_topics

WORKER = (sys.executable, str(Path(__file__).with_name("judging_program.py")))
# The shortest session a broker allows: a worker that is killed is missed after that.
OPTIONS = ("session.timeout.ms=6000", "heartbeat.interval.ms=1000", "auto.commit.interval.ms=200")
CODEC = Codec()
CHANGED = "the body does not have the SHA-256 its header ce_valuesha256 states"
MODELS = [f"model-{number}" for number in range(12)]


@dataclass
class Worker:
    """A worker's program, and what it has told so far."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def listen(self) -> None:
        """Note its lines as they come."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.removesuffix("\n"))

    def until(self, line: str) -> None:
        """Wait for a line."""
        until(lambda: line in self.lines, self)

    def told_since(self, count: int, line: str) -> bool:
        """Whether a line is among those after the first `count`."""
        return line in self.lines[count:]

    def verdicts(self) -> list[str]:
        """The models it has judged, in their order."""
        return [line.split()[1] for line in self.lines if line.startswith("verdict ")]

    def partitions(self) -> set[int]:
        """The partitions that it was given last."""
        told = [line for line in self.lines if "this worker's partitions: " in line]
        numbers = told[-1].rpartition(": ")[2] if told else ""
        return {int(number) for number in numbers.split(", ") if number.isdigit()}


def until(is_so: Callable[[], bool], *workers: Worker) -> None:
    """Wait for what must come about; a worker that ended, or that nobody hears of, is told of."""
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < ends_at, [worker.lines for worker in workers]
        for worker in workers:
            assert worker.process.poll() is None, worker.lines
        time.sleep(0.02)


@contextmanager
def working(kafka: KafkaSettings, folder: Path) -> Iterator[Worker]:
    """A worker's program, ended whatever becomes of the test."""
    process = subprocess.Popen(
        [*WORKER, kafka.servers, kafka.prefix, str(folder), *OPTIONS],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    worker = Worker(process)
    listening = threading.Thread(target=worker.listen)
    listening.start()
    try:
        yield worker
    finally:
        process.kill()
        process.wait()
        listening.join()
        assert process.stdout is not None
        process.stdout.close()


def order(model: str, check: str, position: int) -> ValidationRequested:
    """A work order for a training of a model, by a policy with one check."""
    return ValidationRequested(
        event_id=new_id(),
        occurred_at=1,
        actor="a",
        training=Training(training_id=new_id(), model=model),
        requested_at_position=position,
        policy=Policy(model=model, version=1, checks=(CheckSpec(check=check),)),
    )


def append(log: KafkaLog, orders: Sequence[ValidationRequested]) -> dict[str, int]:
    """Append orders, and return each model's partition."""
    places = log.append(VALIDATIONS, [CODEC.encode(each) for each in orders])
    return {each.training.model: partition for each, (partition, _) in zip(orders, places, strict=True)}


def no_orders(key: bytes) -> list[NewRecord]:
    """What is on the topic by mistake: bytes, nothing at all, another event, an order that was changed."""
    foreign = VerdictOverridden(
        event_id=new_id(), occurred_at=1, actor="a", training_id=new_id(), deployable=True, reason="r"
    )
    good = CODEC.encode(order("model-0", "gate", 0))
    return [
        NewRecord(b"garbage", key),
        NewRecord(b"", key),
        NewRecord(CODEC.encode(foreign).value, key, CODEC.encode(foreign).headers),
        NewRecord(good.value[:-1], key, good.headers),
    ]


@dataclass
class Group:
    """What the broker says of the workers' group: its state, how many members, what is committed of how much."""

    state: ConsumerGroupState
    members: int
    committed: dict[int, int]


def group(kafka: KafkaSettings) -> Group:
    """Ask the broker, by another client than the workers'."""
    admin, name = quiet_admin(kafka.servers), group_of(kafka)
    described = admin.describe_consumer_groups([name])[name].result(30)
    listed = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name)])[name].result(30)
    found: list[TopicPartition] = listed.topic_partitions or []
    return Group(described.state, len(described.members), {each.partition: each.offset for each in found})


@dataclass
class Story:
    """What happened to two workers, told once for all tests."""

    first: Worker
    second: Worker
    # Each one's partitions, and what it judged while they shared: by model.
    shared: tuple[set[int], set[int]]
    judged: tuple[list[str], list[str]]
    place_of: dict[str, int]
    # The group and the topic's ends when all was judged, when the first worker was gone, and at the end.
    ends: dict[int, int]
    settled: Group
    bereft: Group
    last_ends: dict[int, int]
    last: Group
    # The model whose order each worker had in hand at its end, and the training that was left then.
    killed_at: str
    left: str
    verdicts: list[VerdictIssued]


def validation_ends(log: KafkaLog) -> dict[int, int]:
    """The end of each partition of the orders' topic."""
    return {partition: end for (_, partition), end in log.ends([VALIDATIONS]).items()}


def verdicts_on(log: KafkaLog) -> list[VerdictIssued]:
    """The verdicts on the registry, in their order."""
    facts = [CODEC.decode(record) for record in log.read(REGISTRY, 0, 0)]
    return [fact for fact in facts if isinstance(fact, VerdictIssued)]


def hold_both(log: KafkaLog, folder: Path, workers: Sequence[Worker], models: Sequence[str]) -> None:
    """Give each worker an order of its own that it can't finish."""
    for model in models:
        (folder / model).unlink()
    told_before = [len(worker.lines) for worker in workers]
    append(log, [order(model, "gate", 100 + number) for number, model in enumerate(models)])
    for worker, model, count in zip(workers, models, told_before, strict=True):
        until(partial(worker.told_since, count, f"holds {model}"), worker)


def told(settings: KafkaSettings, log: KafkaLog, folder: Path, first: Worker, second: Worker) -> Story:
    """Two workers share what comes; one is killed in mid-check, then the other asked to end in mid-check."""
    until(lambda: [1, 1] == [len(first.partitions()), len(second.partitions())], first, second)
    shared = first.partitions(), second.partitions()

    for model in MODELS:
        (folder / model).touch()
    log.append(VALIDATIONS, no_orders(b"model-0"))
    place_of = append(log, [order(model, "gate", number) for number, model in enumerate(MODELS)])
    until(lambda: len(MODELS) == len(first.verdicts() + second.verdicts()), first, second)
    judged = first.verdicts(), second.verdicts()
    ends = validation_ends(log)
    until(lambda: ends == group(settings).committed, first, second)
    settled = group(settings)

    killed_at, held = (next(m for m in MODELS if {place_of[m]} == of) for of in shared)
    hold_both(log, folder, [first, second], [killed_at, held])
    first.process.kill()
    # All that time the second one holds its own check: for as long as a session may last without a heartbeat.
    until(lambda: {0, 1} == second.partitions(), second)
    bereft = group(settings)
    (folder / held).touch()
    second.until(f"holds {killed_at}")
    left = order(killed_at, "gate", 102)
    append(log, [left])
    second.process.send_signal(signal.SIGTERM)
    second.until("is asked to end")
    (folder / killed_at).touch()
    second.process.wait(PATIENCE_SECONDS)
    return Story(
        first=first,
        second=second,
        shared=shared,
        judged=judged,
        place_of=place_of,
        ends=ends,
        settled=settled,
        bereft=bereft,
        last_ends=validation_ends(log),
        last=group(settings),
        killed_at=killed_at,
        left=left.training.training_id,
        verdicts=verdicts_on(log),
    )


@pytest.fixture(scope="module", autouse=True)
def stranded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """A worker where no broker is: its patience lasts about as long as all the other tests."""
    nowhere = {
        "DEEDBOOK_URL": f"kafka://{HOST}:{free_ports(1)[0]}",
        **surroundings(tmp_path_factory.mktemp("stranded")),
    }
    with command_running("validate", nowhere) as process:
        yield process


@pytest.fixture(scope="module")
def story(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """The story of two workers on a registry of their own."""
    settings = KafkaSettings(kafka, f"t{uuid4().hex[:12]}")
    folder = tmp_path_factory.mktemp("worker")
    create_topics(settings, partitions=2)
    with ExitStack() as stack:
        stack.callback(delete_topics, kafka, settings.prefix)
        log = stack.enter_context(closing(KafkaLog(settings)))
        first, second = (stack.enter_context(working(settings, folder)) for _ in range(2))
        yield told(settings, log, folder, first, second)


def surroundings(folder: Path) -> dict[str, str]:
    """What the environment says beside the URL."""
    return {
        "DEEDBOOK_ARTIFACTS": str(folder / "artifacts"),
        "DEEDBOOK_FOLDER": str(folder / "folded"),
        "DEEDBOOK_ACTOR": "ana",
    }


@contextmanager
def command_running(command: str, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A command as a program of its own; whatever becomes of the test, the program ends."""
    process = subprocess.Popen(
        [*PROGRAM, command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    watchdog = threading.Timer(PATIENCE_SECONDS, process.kill)
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


# --- workers on a broker -------------------------------------------------------------------------


def test_each_order_is_judged_by_the_one_worker_that_has_its_partition(story: Story) -> None:
    """Two workers have a partition each; no order is judged twice, none by the wrong one."""
    assert [{0}, {1}] == sorted(story.shared, key=min)
    for partitions, judged in zip(story.shared, story.judged, strict=True):
        assert sorted(m for m in MODELS if story.place_of[m] in partitions) == sorted(judged)


def test_every_verdict_is_on_the_registry_once(story: Story) -> None:
    """Also those of orders that came a second time because a worker was lost."""
    positions = [verdict.requested_at_position for verdict in story.verdicts]

    assert [*range(len(MODELS)), 100, 101] == sorted(positions)
    assert {"passed"} == {verdict.outcome for verdict in story.verdicts}


def test_the_broker_sees_a_stable_group_whose_offsets_move_to_the_end(story: Story) -> None:
    """As another client is told: two members, and every order and whatever else was there counted as done."""
    assert Group(ConsumerGroupState.STABLE, 2, story.ends) == story.settled


def test_what_is_no_order_is_said_and_passed_over(story: Story) -> None:
    """Bytes, nothing at all, another event, a changed order: the next order is judged."""
    worker = story.first if {story.place_of["model-0"]} == story.shared[0] else story.second
    partition = f"{story.place_of['model-0']}:" if story.place_of["model-0"] else ""

    assert [
        f"says WARNING order {partition}0 is passed over: the record's content-type is not application/avro",
        f"says WARNING order {partition}1 is passed over: the record's content-type is not application/avro",
        f"says WARNING order {partition}2 is passed over: it is a VerdictOverridden",
        f"says WARNING order {partition}3 is passed over: {CHANGED}",
    ] == [line for line in worker.lines if "passed over" in line]


def test_a_long_check_does_not_cost_a_worker_its_place(story: Story) -> None:
    """It holds its check until its killed neighbour's session is over, and is the group's one member then."""
    assert (ConsumerGroupState.STABLE, 1) == (story.bereft.state, story.bereft.members)
    assert [] == [line for line in story.second.lines if "counted as gone" in line]


def test_the_order_that_a_killed_worker_had_in_hand_is_judged_by_another(story: Story) -> None:
    """It was not counted as done."""
    assert f"holds {story.killed_at}" == story.first.lines[-1]
    assert story.killed_at == story.second.verdicts()[-1]


def test_a_worker_that_is_asked_to_end_finishes_the_check_in_hand(story: Story) -> None:
    """Its verdict is appended and counted as done; what comes after it is left to others."""
    asked_at = story.second.lines.index("is asked to end")
    left_at = {
        **story.last_ends,
        story.place_of[story.killed_at]: story.last_ends[story.place_of[story.killed_at]] - 1,
    }

    assert [f"verdict {story.killed_at} passed", "ended"] == story.second.lines[asked_at + 1 :]
    assert 0 == story.second.process.returncode
    assert Group(ConsumerGroupState.EMPTY, 0, left_at) == story.last
    assert story.left not in {verdict.training_id for verdict in story.verdicts}


# --- the command ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Commands:
    """`deedbook`, on a registry on Kafka, in Ana's name."""

    environment: Mapping[str, str]

    def __call__(self, *arguments: str, given: str = "") -> str:
        """Run a command that must succeed, and return what it wrote."""
        done = run(*arguments, given=given, env=self.environment)
        assert 0 == done.status, done.err
        return done.out

    def log(self, *trainings: tuple[str, float]) -> list[str]:
        """Log a training for each model and value of its metric, have them announced, and return their ids."""
        text = json.dumps([{"model": model, "metrics": {"mse": mse}} for model, mse in trainings])
        logged = json.loads(self("log-training", "-", "--json", given=text))
        self("trainings")
        return [training["training_id"] for training in logged]


@pytest.fixture
def deedbook(kafka_url: str, tmp_path: Path) -> Commands:
    """The command, on a registry of its own whose home prices must have an error of 1 at most."""
    commands = Commands({"DEEDBOOK_URL": kafka_url, **surroundings(tmp_path)})
    commands("init", "--partitions", "3")
    commands("policy", "publish", "-", given=THRESHOLD_POLICY)
    return commands


def test_the_command_judges_what_comes_until_it_is_asked_to_end(deedbook: Commands, tmp_path: Path) -> None:
    """One line for each verdict, with its reasons; and a host that only judges folds nothing."""
    judging_only = {**deedbook.environment, "DEEDBOOK_FOLDER": str(tmp_path / "nothing")}
    with command_running("validate", judging_only) as worker:
        good, bad = deedbook.log(("home-price", 0.5), ("home-price", 3))
        lines = [next_line(worker), next_line(worker)]
        worker.send_signal(signal.SIGTERM)
        end = ended(worker)

    assert [
        f"home-price ({good}) passed\n",
        f"home-price ({bad}) failed: 'mse' is 3, above the maximum of 1\n",
    ] == lines
    assert (0, "") == (end.status, end.out)
    assert end.err.endswith("Ended between two validations; what is pending waits for the next worker.\n")
    assert not (tmp_path / "nothing").exists()
    found = json.loads(deedbook("trainings", "--json"))
    assert ["passed", "failed"] == [training["outcome"] for training in found[::-1]]


def test_once_the_command_judges_what_is_pending_in_every_partition(deedbook: Commands) -> None:
    """Whichever model's orders lie where."""
    ids = set(deedbook.log(*((model, 0.5) for model in MODELS[:6])))

    told, again = deedbook("validate", "--once"), deedbook("validate", "--once")

    assert ids == {line.split("(")[1].split(")")[0] for line in told.splitlines()}
    assert "" == again


# --- a worker in this process --------------------------------------------------------------------


def judge_here(kafka: KafkaSettings, log: KafkaLog, folder: Path) -> list[str]:
    """Judge until the first verdict is on the log, and return the models that have one."""
    heard: list[str] = []
    ends_at = time.monotonic() + PATIENCE_SECONDS
    follow(
        kafka,
        log,
        CODEC,
        Validator(LocalArtifactStore(folder), Sandbox(), "w", now_micros),
        stop=lambda: bool(heard) or time.monotonic() > ends_at,
        heard=lambda order, _: heard.append(order.training.model),
    )
    return heard


def test_an_order_of_a_newer_release_ends_the_worker_and_stays(kafka_url: str, tmp_path: Path) -> None:
    """It says what to install; the order does not count as done."""
    settings = kafka_settings(kafka_url)
    create_topics(settings, partitions=1)
    record = CODEC.encode(order("home-price", "gate", 0))
    newer = [(name, value.replace(b"urn:sha256:", b"urn:sha256:ffff")[:75]) for name, value in record.headers]
    with closing(KafkaLog(settings)) as log:
        log.append(VALIDATIONS, [NewRecord(record.value, record.key, tuple(newer))])
        with pytest.raises(
            UnknownSchema, match=r"validations:0:0 is a .* unknown to this release: install a newer"
        ):
            judge_here(settings, log, tmp_path)

        assert [] == verdicts_on(log)
    assert {} == group(settings).committed


@pytest.fixture(scope="module")
def locked() -> Iterator[KafkaCluster]:
    """A broker behind TLS that asks who one is: `admin` may do everything, `guest` nothing."""
    security = Security(plain={"admin": "right", "guest": "right"}, super_user="admin", tls=True)
    with own_kafka(security=security) as cluster:
        yield cluster


def as_user(cluster: KafkaCluster, user: str, changed: Mapping[str, str] | None = None) -> KafkaSettings:
    """The settings of a user, with other options than the right ones."""
    right = {
        name: value for name, value in cluster.client_options(user).items() if name != "bootstrap.servers"
    }
    return KafkaSettings(cluster.servers, "prices", {**right, **(changed or {})})


@pytest.mark.soak
def test_a_worker_signs_in_and_is_told_when_it_may_not(locked: KafkaCluster, tmp_path: Path) -> None:
    """The log's options serve for SASL and TLS; a wrong password, no right, an unknown authority are one sentence."""
    admin = as_user(locked, "admin")
    create_topics(admin, partitions=1)
    with closing(KafkaLog(admin)) as log:
        append(log, [order("home-price", "metric_threshold", 0)])

        assert ["home-price"] == judge_here(admin, log, tmp_path)

        wrong = as_user(locked, "admin", {"sasl.password": "wrong"})
        with pytest.raises(
            AccessDenied, match=r"Kafka refuses this worker: .*SaslAuthenticationFailed"
        ) as refused:
            judge_here(wrong, log, tmp_path)
        assert "wrong" not in str(refused.value)

        with pytest.raises(AccessDenied, match=r"Topic prices\.validations is not authorized"):
            judge_here(as_user(locked, "guest"), log, tmp_path)

        stranger = as_user(locked, "admin", {"ssl.ca.location": "probe"})
        with pytest.raises(AccessDenied, match=r"CERTIFICATE_VERIFY_FAILED"):
            judge_here(stranger, log, tmp_path)


# --- nowhere -------------------------------------------------------------------------------------


def test_where_no_broker_is_a_worker_ends_with_one_sentence(stranded: subprocess.Popen[str]) -> None:
    """And with the exit status of a log that is away."""
    end = ended(stranded)

    assert (1, "") == (end.status, end.out)
    assert re.match(r"deedbook: Kafka at 127\.0\.0\.1:\d+ did not answer in time", end.err.splitlines()[-1])
    assert "Traceback" not in end.err
