"""Serving hosts on a real Kafka: what they load, what they need for it, what they are told, and when it is away."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.cimpl import NewPartitions

import deedbook
from deedbook.cli.settings import Settings
from deedbook.cli.wiring import opened
from deedbook.client import source
from deedbook.client.registry import read_settings
from deedbook.client.serving import Host
from deedbook.events.codec import Codec
from deedbook.events.errors import NotFound, RequestRejected, UnknownSchema
from deedbook.events.facts import DEPLOYMENTS, HOSTS, DeploymentCreated, DeploymentRejected, ModelLoaded
from deedbook.events.ids import new_id
from deedbook.events.log import NewRecord
from tests.servers.kafka import own_kafka, quiet_admin
from tests.test_serving import slope_of, trained

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deedbook.client.registry import Registry
    from deedbook.events.log import Log
    from tests.servers.shared import Bucket

# What a host needs is not allowed to pull these in.
NOT_NEEDED = ("duckdb", "pyarrow", "pyruhvro", "typer", "rich", "faust", "altair")
INSTANCE = f"""
import json, os, sys
for name in {NOT_NEEDED!r}:
    sys.modules[name] = None
import warnings
import deedbook
host = deedbook.serving.Host("pricing", "A", instance=sys.argv[1])
with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    model = host.load("home-price")
bound = host.deployment.models[0]
said = [str(warning.message) for warning in warned if warning.category is UserWarning]
print(json.dumps([bound.artifact_sha256, float(model.predict([[1.0]])[0]), said]), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def place(kafka_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty registry on Kafka, made and named by the environment, with folders of the test's own."""
    return at(kafka_url, tmp_path, monkeypatch)


def at(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a registry on Kafka, and let the environment name it."""
    monkeypatch.setenv("DEEDBOOK_URL", url)
    monkeypatch.setenv("DEEDBOOK_FOLDER", str(folder / "folded"))
    monkeypatch.setenv("DEEDBOOK_ARTIFACTS", str(folder / "artifacts"))
    monkeypatch.setenv("DEEDBOOK_CACHE", str(folder / "cache"))
    read_settings().place.make(partitions=3)
    return url


@pytest.fixture
def registry(place: str) -> Iterator[Registry]:
    """The registry as a pipeline has it."""
    with deedbook.connect(place) as found:
        yield found


@pytest.fixture
def log(place: str) -> Iterator[Log]:
    """The registry's log, as another program appends to it."""
    opened_log = read_settings(place).place.log(create=False, clock=lambda: 0)
    yield opened_log
    opened_log.close()


def announce() -> None:
    """Fold the log and announce what follows, as `deedbook project` does all the time."""
    with opened(Settings.read(os.environ)) as found, found.reading():
        pass


def deployed(registry: Registry, release: str, slope: float) -> None:
    """Bind a release of pricing to a model with a slope, and announce it."""
    registry.request_deployment("pricing", release, {"home-price": trained(registry, slope)})
    announce()


def created(release: str, position: int, **given: Any) -> DeploymentCreated:  # noqa: ANN401 - any field
    """What the announcer says of a release of pricing that was bound at a position."""
    envelope = {"event_id": new_id(), "occurred_at": 1, "actor": "deedbook announcer"}
    named = {"service": "pricing", "environment": "production", "deployment_id": new_id()}
    return DeploymentCreated(
        **{**envelope, **named, **given}, release=release, requested_at_position=position
    )


def tell(log: Log, *facts: DeploymentCreated) -> None:
    """Append facts to the topic that hosts hear."""
    for fact in facts:
        log.append(DEPLOYMENTS, [Codec().encode(fact)])


def of_a_newer_release(fact: DeploymentCreated) -> NewRecord:
    """A fact's record as a newer release might write it, with a schema that is not known here."""
    record = Codec().encode(fact)
    headers = {**dict(record.headers), "ce_dataschema": b"urn:sha256:" + b"0" * 64}
    return replace(record, headers=tuple(headers.items()))


def instance(name: str) -> subprocess.Popen[str]:
    """Start an instance of pricing, release A, in a process without what hosts don't need."""
    return subprocess.Popen(
        [sys.executable, "-c", INSTANCE, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def loaded(process: subprocess.Popen[str]) -> Any:  # noqa: ANN401 - any JSON
    """What an instance says once it serves: the digest, an answer, its warnings."""
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


# --- what is loaded --------------------------------------------------------------------------------


def test_an_instance_that_was_killed_loads_again_what_the_other_one_runs(
    place: str, s3: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From Kafka and S3, without DuckDB, Arrow, or anything else of the server's; each load is on the log."""
    monkeypatch.setenv("DEEDBOOK_ARTIFACTS", s3.url)
    for name, value in s3.place.environment().items():
        monkeypatch.setenv(name, value)
    with deedbook.connect(place) as registry:
        deployed(registry, "A", 1.0)
        processes = [instance("one"), instance("two")]
        try:
            first, second = (loaded(process) for process in processes)
            deployed(registry, "B", 2.0)
            processes[1].send_signal(signal.SIGKILL)
            processes.append(instance("two"))
            again = loaded(processes[2])
        finally:
            for process in processes:
                process.kill()
                process.communicate()
        loads = registry.sql("select instance, release, source, artifact_sha256 from model_loads").rows

    assert [first[0], pytest.approx(1.0), []] == first == second == again
    said = sorted(map(tuple, loads))
    assert [(name, "A", "registry", first[0]) for name in ("one", "two", "two")] == said


def test_a_host_that_finds_no_binding_says_what_is_bound_instead(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And that a release may be accepted and not announced yet."""
    monkeypatch.setattr(source, "_ANNOUNCING_SECONDS", 0.2)
    deployed(registry, "A", 1.0)
    deployed(registry, "B", 2.0)

    with pytest.raises(
        NotFound, match=r"release C of pricing .*bound, newest first: B, A\); .*deedbook project"
    ):
        Host("pricing", "C").load("home-price")
    with pytest.raises(NotFound, match="none of its releases is"):
        Host("pricing", "A", "staging").load("home-price")


def test_a_host_is_told_the_models_that_the_projection_has(registry: Registry) -> None:
    """What is announced is what was decided, and what the topic does not tell is empty."""
    deployed(registry, "A", 1.0)
    deployed(registry, "B", 2.0)
    decided, found = registry.deployment("pricing", "A"), Host("pricing", "A").deployment

    untold: dict[str, Any] = {"reason": "", "note": "", "actor": "", "requested_at": found.requested_at}
    assert replace(decided, **untold) == found
    assert [False, True] == [Host("pricing", release).deployment.current for release in "AB"]


def test_a_load_is_reported_in_the_partition_of_its_service(registry: Registry, log: Log) -> None:
    """The service is the key, on the topic of the hosts."""
    deployed(registry, "A", 1.0)
    Host("pricing", "A", instance="one").load("home-price")

    records = [record for (_, number) in log.ends([HOSTS]) for record in log.read(HOSTS, number, 0)]
    assert [b"pricing"] == [record.key for record in records]
    fact = Codec().decode(records[0])
    assert isinstance(fact, ModelLoaded)
    assert ("one", "A", "registry") == (fact.instance, fact.release, fact.source)


def test_the_first_binding_of_a_release_counts(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    """A later one with the same binding makes it current again; one with another is passed over."""
    first = created("A", 1)
    other = created("A", 3)
    between = created("B", 2)
    tell(log, first, between, replace(first, event_id=new_id(), requested_at_position=4), other, between)

    with caplog.at_level(logging.WARNING, "deedbook"):
        found = Host("pricing", "A").deployment
    assert (first.deployment_id, 1, True) == (found.deployment_id, found.position, found.current)
    assert "a second binding of release 'A' is passed over" in caplog.text


def test_a_host_that_starts_before_its_release_is_announced_waits_a_moment(log: Log) -> None:
    """A pipeline starts its hosts as soon as the deployment is accepted."""
    tell(log, created("A", 1))
    later = threading.Timer(1.0, tell, (log, created("C", 2), created("B", 3)))
    later.start()

    assert "B" == Host("pricing", "B").deployment.release
    later.join()


def test_what_is_no_news_is_passed_over_with_a_warning(
    log: Log, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that are nothing, another service's news under this key, and facts that are not well-formed."""
    monkeypatch.setattr(source, "_ANNOUNCING_SECONDS", 0.2)
    other = Codec().encode(created("A", 1, service="other"))
    log.append(DEPLOYMENTS, [NewRecord(b"nothing", b"pricing"), replace(other, key=b"pricing")])
    tell(log, created("A", -1), created("B", 1))

    with caplog.at_level(logging.WARNING, "deedbook"), pytest.raises(NotFound, match="newest first: B"):
        _ = Host("pricing", "A").deployment
    assert 3 == caplog.text.count("is passed over")


def test_a_binding_is_found_in_whichever_partition_it_is(log: Log, kafka: str) -> None:
    """Partitions may have been added since, so a service's news are in more than one."""
    tell(log, created("A", 1))

    assert 3 == told_after_growing(kafka, created("B", 2))
    assert ["A", "B"] == [Host("pricing", release).deployment.release for release in "AB"]


def told_after_growing(servers: str, fact: DeploymentCreated) -> int:
    """Give the topic a fourth partition, which is this service's from then on; tell a fact, and return where it is."""
    settings = read_settings().place.kafka
    assert settings is not None
    admin = quiet_admin(servers)
    topic = settings.topic(DEPLOYMENTS)
    admin.create_partitions([NewPartitions(topic, 4)])[topic].result(timeout=30)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with closing(read_settings().place.log(create=False, clock=lambda: 0)) as log:
            if log.partitions(DEPLOYMENTS) == 4:
                ((partition, _),) = log.append(DEPLOYMENTS, [Codec().encode(fact)])
                return partition
    raise TimeoutError


# --- what is told ----------------------------------------------------------------------------------


def test_a_host_is_told_of_releases_refusals_and_rollbacks(registry: Registry) -> None:
    """As they are decided, each with the release that was current before."""
    news = Host("pricing", "A").follow(timeout_seconds=30)
    deployed(registry, "A", 1.0)
    deployed(registry, "B", 2.0)
    with pytest.raises(RequestRejected):
        registry.request_deployment("pricing", "B", {"home-price": trained(registry, 3.0)})
    registry.activate_release("pricing", "A")
    announce()

    told = [next(news) for _ in range(4)]
    assert [
        (DeploymentCreated, "A"),
        (DeploymentCreated, "B"),
        (DeploymentRejected, "B"),
        (DeploymentCreated, "A"),
    ] == [(type(fact), fact.release) for fact in told]
    first, _, refused, again = told
    assert isinstance(refused, DeploymentRejected)
    assert "bound" in refused.reason
    assert isinstance(first, DeploymentCreated)
    assert isinstance(again, DeploymentCreated)
    assert (first.deployment_id, first.models, "B") == (again.deployment_id, again.models, again.previous)


def test_each_is_told_once_and_only_to_whom_it_concerns(log: Log) -> None:
    """The announcer says things at least once; others' news are none."""
    fact = created("A", 1)
    news = Host("pricing", "A").follow(timeout_seconds=1)
    tell(
        log,
        fact,
        created("A", 2, service="other"),
        created("A", 3, environment="staging"),
        fact,
        created("B", 4),
    )

    assert ["A", "B"] == [told.release for told in news]


def test_what_was_decided_before_is_told_when_asked_for(log: Log) -> None:
    """From a position of the registry on; without one only what comes."""
    tell(log, *(created(f"r{position}", position) for position in (3, 5, 8)))
    host = Host("pricing", "A")

    assert ["r5", "r8"] == [told.release for told in host.follow(since_position=5, timeout_seconds=1)]
    assert [] == list(host.follow(timeout_seconds=0.3))


def test_what_comes_in_a_partition_that_was_added_is_told(log: Log, kafka: str) -> None:
    """A host that follows need not be started again when the topic grows."""
    news = Host("pricing", "A").follow(timeout_seconds=30)
    tell(log, created("A", 1))
    assert "A" == next(news).release

    assert 3 == told_after_growing(kafka, created("B", 2))
    assert "B" == next(news).release


@pytest.mark.usefixtures("place")
def test_following_ends_when_it_is_told_to_and_when_the_host_is_closed() -> None:
    """Whoever waits need not be killed."""
    host = Host("pricing", "A")
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()

    assert [] == list(host.follow(stop=stop.is_set))
    threading.Timer(0.3, host.close).start()
    assert [] == list(host.follow())


# --- when it is away, or from the future -------------------------------------------------------------


def test_news_of_a_newer_release_stop_whoever_can_not_read_them(registry: Registry, log: Log) -> None:
    """They may be the binding asked for: a host without a copy says what to install, one with a copy boots."""
    deployed(registry, "A", 1.0)
    Host("pricing", "A").load("home-price")
    news = Host("pricing", "A").follow(timeout_seconds=30)
    log.append(DEPLOYMENTS, [of_a_newer_release(created("B", 9))])

    with pytest.raises(UnknownSchema, match="install a newer deedbook"):
        _ = Host("pricing", "B").deployment
    with pytest.raises(UnknownSchema, match="install a newer deedbook"):
        next(news)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert 1.0 == slope_of(Host("pricing", "A").load("home-price"))


@pytest.mark.soak
def test_a_broker_that_is_killed_keeps_no_host_from_serving_and_none_from_hearing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An instance boots from its copies with one warning, also without artifacts; who follows goes on after."""
    with own_kafka() as cluster:
        url = at(f"kafka://{cluster.servers}", tmp_path, monkeypatch)
        with deedbook.connect(url) as registry:
            deployed(registry, "A", 1.0)
            deployed(registry, "B", 2.0)
        host = Host("pricing", "A")
        host.load("home-price")
        news = host.follow(timeout_seconds=60)
        cluster.kill()
        shutil.move(tmp_path / "artifacts", tmp_path / "away")

        process = instance("one")
        try:
            digest, answer, said = loaded(process)
        finally:
            process.kill()
            process.communicate()
        assert (host.deployment.models[0].artifact_sha256, pytest.approx(1.0)) == (digest, answer)
        assert [1, True] == [len(said), "boots from its local copy, and does not report" in said[0]]

        cluster.start()
        with deedbook.connect(url) as registry:
            registry.activate_release("pricing", "A")
            announce()
        assert "A" == next(news).release
        host.close()
