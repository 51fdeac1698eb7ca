"""A broker that restarts, loses its answers, or asks who we are: what the log on Kafka makes of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from types import MappingProxyType
from uuid import uuid4

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from deedbook.events.errors import AccessDenied, LogDamaged, LogUnavailable
from deedbook.events.facts import HOSTS, METRICS, REGISTRY
from deedbook.events.kafka.log import KafkaLog
from deedbook.events.kafka.settings import KafkaSettings
from deedbook.events.kafka.topics import create_topics
from deedbook.events.log import NewRecord
from tests.servers.kafka import KafkaCluster, own_kafka
from tests.servers.properties import Security
from tests.servers.proxy import LIST_OFFSETS, PRODUCE, KafkaProxy, kafka_proxy

PASSWORD = "not-for-logs-4711"  # noqa: S105 - of a broker that lives for one test run
WRITERS = 4


@pytest.fixture(scope="module")
def proxy() -> Iterator[KafkaProxy]:
    """What stands between the clients and the broker."""
    with kafka_proxy() as opened:
        yield opened


@pytest.fixture(scope="module")
def cluster(proxy: KafkaProxy) -> Iterator[KafkaCluster]:
    """One broker that asks who we are, behind the proxy."""
    users = Security(plain={"admin": PASSWORD, "trainer": PASSWORD})
    with own_kafka(1, security=users, advertised=[proxy.port]) as opened:
        proxy.upstream = opened.client_port(1)
        yield opened


@pytest.fixture
def settings(cluster: KafkaCluster) -> KafkaSettings:
    """The settings of an empty log, for somebody with every right."""
    options = cluster.client_options("admin")
    servers = options.pop("bootstrap.servers")
    found = KafkaSettings(servers, f"t{uuid4().hex[:12]}", MappingProxyType(options))
    create_topics(found, partitions=2)
    return found


def told(settings: KafkaSettings, **options: str) -> KafkaSettings:
    """The settings with some options changed; underlines stand for dots."""
    changed = {name.replace("_", "."): value for name, value in options.items()}
    return replace(settings, options=MappingProxyType({**settings.options, **changed}))


def everything(log: KafkaLog) -> list[bytes]:
    """All bodies on `registry`."""
    found: list[bytes] = []
    while len(found) < log.end(REGISTRY):
        found += [record.value for record in log.read(REGISTRY, 0, len(found), timeout_seconds=20)]
    return found


def wait_for(allowed: Callable[[], object]) -> None:
    """Do what a new access rule allows: the broker follows its rules a moment after it took them."""
    while True:
        try:
            allowed()
            return
        except AccessDenied:
            time.sleep(0.1)


def test_what_is_acknowledged_around_a_power_failure_is_there_once_and_in_order(
    cluster: KafkaCluster, settings: KafkaSettings
) -> None:
    """Appends wait for the broker, and who reads what comes goes on reading, with the clients they have."""
    acknowledged: dict[int, list[bytes]] = {number: [] for number in range(WRITERS)}
    seen: list[bytes] = []
    enough = threading.Event()
    with closing(KafkaLog(settings)) as log:

        def write(writer: int) -> None:
            while not enough.is_set():
                body = b"%d:%d" % (writer, len(acknowledged[writer]))
                log.append(REGISTRY, [NewRecord(body)], timeout_seconds=60)
                acknowledged[writer].append(body)

        def read() -> None:
            while not enough.is_set() or len(seen) < log.end(REGISTRY):
                seen.extend(r.value for r in log.read(REGISTRY, 0, len(seen), timeout_seconds=0.5))

        def appended() -> int:
            return sum(map(len, acknowledged.values()))

        threads = [threading.Thread(target=write, args=(writer,)) for writer in range(WRITERS)]
        threads.append(threading.Thread(target=read))
        for thread in threads:
            thread.start()
        while appended() < 40:
            time.sleep(0.01)
        cluster.kill(1)
        before = appended()
        cluster.start(1)
        while appended() < before + 20:
            time.sleep(0.01)
        enough.set()
        for thread in threads:
            thread.join(timeout=60)

        assert appended() == log.end(REGISTRY)
        assert acknowledged == {
            writer: [body for body in seen if body.startswith(b"%d:" % writer)] for writer in range(WRITERS)
        }
        assert everything(log) == seen


def test_a_lost_answer_is_asked_for_again_and_the_record_kept_once(
    proxy: KafkaProxy, settings: KafkaSettings
) -> None:
    """The broker appended and its word was lost: the producer repeats itself, and the broker notices."""
    with closing(KafkaLog(told(settings, socket_timeout_ms="1000"))) as log:
        log.append(REGISTRY, [NewRecord(b"first")])
        drops = proxy.drops
        proxy.drop_responses(PRODUCE)
        healing = threading.Timer(1.5, proxy.heal)
        healing.start()
        try:
            places = log.append(REGISTRY, [NewRecord(b"second")], timeout_seconds=60)
        finally:
            healing.join()

        assert [(0, 1)] == places
        assert proxy.drops > drops
        assert [b"first", b"second"] == everything(log)


def test_an_append_that_was_never_acknowledged_is_unknown_and_the_next_goes_on(
    proxy: KafkaProxy, settings: KafkaSettings
) -> None:
    """The deadline is the caller's, and appending again is what it is told to do."""
    with closing(KafkaLog(settings)) as log:
        log.append(REGISTRY, [NewRecord(b"first")])
        proxy.drop_responses(PRODUCE)
        try:
            with pytest.raises(LogUnavailable, match=r"is unknown: append all again with the same event ids"):
                log.append(REGISTRY, [NewRecord(b"second")], timeout_seconds=1.5)
        finally:
            proxy.heal()
        log.append(REGISTRY, [NewRecord(b"second")])

        assert [b"first", b"second", b"second"] == everything(log)


def test_a_broker_that_was_silent_for_long_is_not_taken_for_one_that_lost_its_log(
    proxy: KafkaProxy, settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked again where the log ends, until it says: that nobody said is no end before all records."""
    # Until then an end before what was acknowledged would not be believed anyway.
    monkeypatch.setattr("deedbook.events.kafka.log._SETTLING_SECONDS", 0.1)
    with closing(KafkaLog(told(settings, socket_timeout_ms="300"))) as log:
        log.append(REGISTRY, [NewRecord(b"first")])
        proxy.drop_responses(LIST_OFFSETS)
        healing = threading.Timer(1.5, proxy.heal)
        healing.start()
        try:
            end = log.end(REGISTRY)
        finally:
            healing.join()

        assert 1 == end


def test_a_broker_out_of_reach_is_an_error_at_the_deadline(
    proxy: KafkaProxy, settings: KafkaSettings
) -> None:
    """The error holds no secret, and the log is as good as before once the broker is there again."""
    with closing(KafkaLog(settings)) as log:
        proxy.refuse()
        try:
            with pytest.raises(LogUnavailable) as refused:
                log.append(REGISTRY, [NewRecord(b"lost")], timeout_seconds=1)
        finally:
            proxy.heal()
        log.append(REGISTRY, [NewRecord(b"kept")], timeout_seconds=60)

        assert PASSWORD not in str(refused.value)
        assert [b"kept"] == everything(log)


def test_a_wrong_password_is_refused_at_once_and_told_nowhere(
    settings: KafkaSettings, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """One sentence, an error of its own class, and librdkafka's lines go into `logging`."""
    secret = "wrong-word-0815"  # noqa: S105 - made up
    caplog.set_level(logging.DEBUG)

    with pytest.raises(AccessDenied, match="does not accept our credentials") as refused:
        KafkaLog(told(settings, sasl_password=secret, debug="security,broker"))

    assert secret not in str(refused.value) + caplog.text + repr(told(settings, sasl_password=secret))
    assert any(record.name == "deedbook.kafka" for record in caplog.records)
    assert ("", "") == tuple(capfd.readouterr())


def test_somebody_with_one_right_uses_it_and_no_other(cluster: KafkaCluster, settings: KafkaSettings) -> None:
    """A trainer may append metrics: it opens the log though it can't check it, and is told what it may not."""
    trainer = told(settings, sasl_username="trainer")
    with closing(KafkaLog(trainer)) as stranger:
        for refused in (
            lambda: stranger.append(METRICS, [NewRecord(b"mse", b"key")]),
            lambda: stranger.append(METRICS, [NewRecord(b"mse", b"key")]),
            lambda: stranger.read(REGISTRY, 0, 0),
            lambda: stranger.ends([REGISTRY]),
        ):
            with pytest.raises(AccessDenied, match="access rules do not allow"):
                refused()
    allowed = [
        AclBinding(
            ResourceType.TOPIC,
            settings.topic(topic),
            ResourcePatternType.LITERAL,
            "User:trainer",
            "*",
            right,
            AclPermissionType.ALLOW,
        )
        for topic, right in ((METRICS, AclOperation.WRITE), (REGISTRY, AclOperation.READ))
    ]
    for done in cluster.admin.create_acls(allowed).values():
        done.result(timeout=30)
    with closing(KafkaLog(settings)) as service:
        service.append(REGISTRY, [NewRecord(b"policy")])
    with closing(KafkaLog(trainer)) as early:
        wait_for(lambda: early.append(METRICS, [NewRecord(b"mse", b"key")]))
        wait_for(lambda: early.read(REGISTRY, 0, 0))

    with closing(KafkaLog(trainer)) as log:
        assert [b"policy"] == everything(log)
        assert [] == log.read(REGISTRY, 0, 1, timeout_seconds=0.5)
        for refused in (
            lambda: log.append(REGISTRY, [NewRecord(b"verdict")]),
            lambda: log.append(HOSTS, [NewRecord(b"loaded")]),
            lambda: log.read(HOSTS, 0, 0),
            lambda: log.read(METRICS, 0, 0) or log.read(METRICS, 1, 0),
        ):
            with pytest.raises(AccessDenied, match="access rules do not allow"):
                refused()


def test_records_that_changed_on_the_brokers_disk_are_noticed(
    cluster: KafkaCluster, settings: KafkaSettings
) -> None:
    """A single bit: the reader stops there, whatever it would have decoded to, and reads what comes before."""
    with closing(KafkaLog(settings)) as log:
        for body in (b"first", b"second " * 100, b"third"):
            log.append(REGISTRY, [NewRecord(body)])
        (segment,) = (cluster.folder / "broker-1" / f"{settings.topic(REGISTRY)}-0").glob("*.log")
        content = segment.read_bytes()
        at = content.index(b"first") + len(b"first") + 100
        with segment.open("r+b") as file:
            file.seek(at)
            file.write(bytes([content[at] ^ 1]))

    with closing(KafkaLog(settings)) as log:
        assert 3 == log.end(REGISTRY)
        assert [b"first"] == [record.value for record in log.read(REGISTRY, 0, 0)]
        for _ in range(2):
            with pytest.raises(LogDamaged, match="not as they were stored, from position 1 on"):
                log.read(REGISTRY, 0, 1)
        assert [b"third"] == [record.value for record in log.read(REGISTRY, 0, 2)]
