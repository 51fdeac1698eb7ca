"""The same on a real Kafka: folding, memory, and how soon a host is told and a training judged."""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Final

import measure
from measure import Measure

from deedbook.client.recording import Envelope
from deedbook.client.schemas import publish_schemas
from deedbook.consumers.policy import read_policy
from deedbook.events import facts
from deedbook.events.clock import now_micros
from deedbook.events.codec import Codec
from deedbook.events.ids import new_id
from deedbook.events.kafka.log import KafkaLog
from deedbook.events.kafka.settings import kafka_settings
from deedbook.events.kafka.topics import create_topics
from deedbook.events.log import NewRecord, Record
from own import DEEDBOOK, records
from own.folding import compared

# Other people's packages are called `tests`, too: ours is found by its folder.
sys.modules["tests"] = tests = types.ModuleType("tests")
tests.__path__ = [str(Path(__file__).parents[2] / "tests")]
from tests.servers.kafka import LASTING_JVM, own_kafka  # noqa: E402

RAW_HOPS: Final = "raw Kafka"
TRAININGS: Final = 10_000
CHUNKS: Final = 1_000
REPEATS: Final = 5
MANY: Final = 1_000_000
METRICS: Final = 10
TOLD: Final = 500
JUDGED: Final = 200
WARM_UP: Final = 20
BROKER_WARM_UP: Final = 3_000
PATIENCE_SECONDS: Final = 60.0
FOLD_ONCE: Final = Path(__file__).with_name("fold_once.py")
SERVICE: Final = "pricing-api"
MODEL: Final = "home-price"
GROUP: Final = "city"
POLICY: Final = """
model = "home-price"
group_by = ["city"]

[[checks]]
check = "metric_threshold"
metric = "mse"
max = 2.0
"""


@contextlib.contextmanager
def new_log(servers: str, name: str) -> Iterator[tuple[str, KafkaLog]]:
    """An empty registry on the cluster: its URL and its log."""
    url = f"kafka://{servers}/{name}"
    settings = kafka_settings(url, None)
    create_topics(settings, partitions=6)
    log = KafkaLog(settings)
    try:
        yield url, log
    finally:
        log.close()


def append_all(log: KafkaLog, topic: str, source: Iterator[NewRecord], at_once: int = 5_000) -> None:
    """Append all records, some thousands at once."""
    while chunk := list(islice(source, at_once)):
        log.append(topic, chunk, timeout_seconds=PATIENCE_SECONDS)


def folding(folder: Path, *, quick: bool) -> Iterator[Measure]:
    """10,000 trainings of 100 metrics, then 1,000 chunks of 1,000 step-wise values, each read from the broker."""
    trainings, chunks = (TRAININGS // 10, CHUNKS // 10) if quick else (TRAININGS, CHUNKS)
    repeats = 2 if quick else REPEATS
    with own_kafka(jvm=LASTING_JVM) as cluster:
        with new_log(cluster.servers, "trainings") as (_, log):
            append_all(log, facts.REGISTRY, records.bulk_records(trainings))
            yield from compared(log, folder, "metric", "kafka_fold", n=trainings, repeats=repeats)
        with new_log(cluster.servers, "steps") as (_, log):
            append_all(log, facts.METRICS, records.step_records(chunks), at_once=200)
            yield from compared(log, folder, "step_metric", "kafka_fold_steps", n=0, repeats=repeats)


def memory(folder: Path, *, quick: bool) -> Iterator[Measure]:
    """The catch-up from zero over a million events, by a process whose memory is measured."""
    count = 20_000 if quick else MANY
    with own_kafka(jvm=LASTING_JVM) as cluster, new_log(cluster.servers, "many") as (url, log):
        append_all(log, facts.REGISTRY, records.bulk_records(count, METRICS))
        seconds, peak = measure.start([sys.executable, str(FOLD_ONCE), str(folder), url])
    note = f"{count * METRICS:,} metric rows, in {seconds:.0f} s"
    yield measure.of_bytes(DEEDBOOK, "kafka_fold_peak_rss", count, peak, note=note)


@contextlib.contextmanager
def running(url: str, folder: Path, *command: str) -> Iterator[None]:
    """A deedbook command as a process of its own, asked to end at the end."""
    environment = os.environ | {
        "DEEDBOOK_URL": url,
        "DEEDBOOK_FOLDER": str(folder),
        "DEEDBOOK_ARTIFACTS": str(folder),
    }
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "deedbook.cli", *command], env=environment, stdout=said, stderr=said
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_SECONDS)


def next_that(log: KafkaLog, topic: str, starts: dict[int, int], wanted: Callable[[Record], bool]) -> None:
    """Wait for the record that is wanted, on whichever partition it comes; `starts` moves past what was read."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    wait = PATIENCE_SECONDS if len(starts) == 1 else 0.002
    while time.monotonic() < deadline:
        for partition, start in starts.items():
            for record in log.read(topic, partition, start, timeout_seconds=wait):
                starts[partition] = record.position + 1
                if wanted(record):
                    return
    raise TimeoutError(f"nothing that was waited for came on {topic}")


def hop_seconds(log: KafkaLog, reader: KafkaLog, count: int) -> list[float]:
    """How long a small record takes from its append until another client has read it."""
    starts = {0: log.end(facts.QUARANTINE)}
    samples = []
    for number in range(count + WARM_UP):
        value = str(number).encode()
        began = perf_counter()
        log.append(facts.QUARANTINE, [NewRecord(value * 50)])
        next_that(reader, facts.QUARANTINE, starts, partial(_holds, value * 50))
        samples.append(perf_counter() - began)
    return samples[WARM_UP:]


def envelope() -> Envelope:
    """What every fact carries."""
    return {"event_id": new_id(), "occurred_at": now_micros(), "actor": "benchmark"}


def training(city: str) -> facts.TrainingLogged:
    """A training with a metric that its policy looks at."""
    logged = facts.Training(
        training_id=new_id(),
        model=MODEL,
        parameters=(facts.Parameter(name=GROUP, text=city),),
        metrics=(facts.Metric(name="mse", value=1.0, direction=facts.Direction.LOWER),),
        created_at=now_micros(),
    )
    return facts.TrainingLogged(**envelope(), training=logged)


def told_seconds(log: KafkaLog, host: KafkaLog, codec: Codec, count: int) -> list[float]:
    """How long each deployment takes from being requested until a host of its service has read that it is."""
    logged = training("Austin")
    overridden = facts.VerdictOverridden(
        **envelope(), training_id=logged.training.training_id, deployable=True, reason="a benchmark"
    )
    log.append(facts.REGISTRY, [codec.encode(logged), codec.encode(overridden)])
    starts = dict.fromkeys(range(host.partitions(facts.DEPLOYMENTS)), 0)
    samples = []
    for number in range(count + WARM_UP):
        request = facts.DeploymentRequested(
            **envelope(),
            deployment_id=new_id(),
            service=SERVICE,
            environment="production",
            release=f"r{number}",
            models=(facts.ModelBinding(model=MODEL, training_id=logged.training.training_id),),
        )
        record = codec.encode(request)
        began = perf_counter()
        log.append(facts.REGISTRY, [record])
        next_that(
            host,
            facts.DEPLOYMENTS,
            starts,
            partial(_tells, codec, request.deployment_id),
        )
        samples.append(perf_counter() - began)
        # All news of one service is on one partition: a host knows which once it was told something.
        starts = {partition: start for partition, start in starts.items() if start} or starts
    return samples[WARM_UP:]


def _holds(value: bytes, record: Record) -> bool:
    return record.value == value


def _tells(codec: Codec, deployment_id: str, record: Record) -> bool:
    fact = codec.decode(record)
    return isinstance(fact, facts.DeploymentCreated) and fact.deployment_id == deployment_id


def _judges(codec: Codec, training_id: str, record: Record) -> bool:
    fact = codec.decode(record)
    return isinstance(fact, facts.VerdictIssued) and fact.training_id == training_id


def judged_seconds(log: KafkaLog, reader: KafkaLog, codec: Codec, count: int) -> list[float]:
    """How long each training takes from being logged until a verdict on it is on the log."""
    policy = facts.PolicyPublished(**envelope(), policy=read_policy(POLICY), source=POLICY)
    log.append(facts.REGISTRY, [codec.encode(policy)])
    samples = []
    for number in range(count + WARM_UP):
        logged = training(f"city {number % 8}")
        record = codec.encode(logged)
        began = perf_counter()
        ((_, position),) = log.append(facts.REGISTRY, [record])
        next_that(
            reader,
            facts.REGISTRY,
            {0: position + 1},
            partial(_judges, codec, logged.training.training_id),
        )
        samples.append(perf_counter() - began)
    return samples[WARM_UP:]


def measures(what: str, samples: Sequence[float], subject: str = DEEDBOOK) -> Iterator[Measure]:
    """The median of some samples, and what 99 of 100 stay under."""
    yield measure.of_samples(subject, what, 0, samples)
    worst = statistics.quantiles(samples, n=100)[98]
    yield measure.of_samples(subject, f"{what}_p99", 0, [worst], note=f"of {len(samples)}")


def latency(folder: Path, *, quick: bool) -> Iterator[Measure]:
    """Deployment requested to host told, training logged to verdict, beside as many hops through the bare broker."""
    told, judged = (50, 20) if quick else (TOLD, JUDGED)
    codec = Codec()
    with own_kafka(jvm=LASTING_JVM) as cluster, new_log(cluster.servers, "latency") as (url, log):
        publish_schemas(log, codec)
        other = KafkaLog(kafka_settings(url, None))
        # A broker that has just begun is not yet what it will be for months.
        hop_seconds(log, other, 20 if quick else BROKER_WARM_UP)
        hops = hop_seconds(log, other, told)
        yield from measures("kafka_told", [2 * hop for hop in hops], RAW_HOPS)
        yield from measures("kafka_judged", [3 * hop for hop in hops], RAW_HOPS)
        with running(url, folder / "projection", "project"):
            yield from measures("kafka_told", told_seconds(log, other, codec, told))
            with running(url, folder / "worker", "validate"):
                yield from measures("kafka_judged", judged_seconds(log, other, codec, judged))
        other.close()
