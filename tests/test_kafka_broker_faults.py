"""Brokers that are killed, and acknowledgements that are lost on the way: nothing is lost, nothing counts twice."""

from __future__ import annotations

import random
import signal
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from deedbook.events.errors import LogUnavailable
from deedbook.events.facts import METRICS, REGISTRY
from deedbook.projector.rebuild import fold_anew
from tests.facts_by_hand import Pen
from tests.kafka_racers import started
from tests.kafka_registry import (
    acknowledged,
    done,
    doubled,
    eventually,
    lost,
    program,
    registry_at,
    tell,
    unannounced,
)
from tests.servers.kafka import KafkaCluster, own_kafka
from tests.servers.proxy import PRODUCE, KafkaProxy, kafka_proxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.folded import Registry

AWAY_SECONDS = 20.0


@dataclass(frozen=True)
class Place:
    """A broker of this module's own, behind a proxy."""

    cluster: KafkaCluster
    proxy: KafkaProxy


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """A broker that may be killed, and whose answers may be lost."""
    with kafka_proxy() as proxy, own_kafka(advertised=[proxy.port]) as cluster:
        proxy.upstream = cluster.client_port(1)
        yield Place(cluster, proxy)


@pytest.fixture
def url(place: Place) -> str:
    """The URL of a registry of one test's own."""
    return f"kafka://{place.cluster.servers}/t{uuid4().hex[:8]}"


@pytest.fixture
def registry(url: str, tmp_path: Path) -> Iterator[Registry]:
    """An empty registry on that broker."""
    with registry_at(url, tmp_path / "registry") as registry:
        yield registry


# --- brokers that are killed ---------------------------------------------------------------------


@contextmanager
def at_work(url: str, registry: Registry, writers: int, *, pause_seconds: float) -> Iterator[None]:
    """Producers and `deedbook project`, which must both still be there at the end, and end well."""
    racers = started(
        "write_on", url, registry.folder, writers, append_seconds=5.0, pause_seconds=pause_seconds
    )
    with ExitStack() as stack:
        stack.callback(racers.wait)
        stack.callback((registry.folder / "stop").touch)
        project = stack.enter_context(program(url, registry.folder, "project"))
        eventually((registry.folder / "projection.duckdb").exists, "it is folded")
        yield
        (registry.folder / "stop").touch()
        assert 0 == racers.wait()
        assert project.poll() is None, (registry.folder / "stderr").read_text()
        project.send_signal(signal.SIGTERM)
        assert 0 == project.wait(60)


def more_is_acknowledged(registry: Registry) -> float:
    """Wait until something that was sent from now on is acknowledged; return after how many seconds."""
    now = time.time()
    eventually(
        lambda: any(one.topic == REGISTRY and one.ended > now for one in acknowledged(registry.folder)),
        "an append to registry is acknowledged",
    )
    return time.time() - now


def what_it_came_to(url: str, registry: Registry) -> str:
    """Hold the state against what was acknowledged, and against a fold from zero; return the figures."""
    noted = acknowledged(registry.folder)
    ended = done(url, registry.folder, "state-hash", within_seconds=400)
    assert 0 == ended.status, ended
    live, positions = ended.out.strip().split("  ")

    assert ([], []) == (lost(registry, noted), doubled(registry))
    assert set() == unannounced(registry)
    assert fold_anew(registry.log, registry.folder / "fresh.duckdb") == (live, positions)
    again = sum(one.tries > 1 for one in noted)
    return (
        f"{len(noted):,} events acknowledged ({again:,} sent more than once): 0 lost, 0 doubled, hashes equal"
    )


def kill_broker(place: Place, url: str, registry: Registry, kills: int, writers: int) -> str:
    """Kill the only broker, again and again, while others write and fold."""
    began = time.monotonic()
    chance = random.Random(kills)  # noqa: S311 - no secret
    with at_work(url, registry, writers, pause_seconds=0.1 if writers > 3 else 0.5):
        for _ in range(kills):
            more_is_acknowledged(registry)
            time.sleep(chance.uniform(0, 1))
            place.cluster.kill(1)
            time.sleep(chance.uniform(0, 2))
            place.cluster.start(1)
            more_is_acknowledged(registry)
    figures = what_it_came_to(url, registry)
    return f"the only broker killed {kills} times: {figures}; {time.monotonic() - began:.0f} s"


def test_a_killed_broker_takes_nothing_with_it(place: Place, url: str, registry: Registry) -> None:
    """Producers and the projector go on when it is there again."""
    assert "0 lost" in kill_broker(place, url, registry, 1, 3)


@pytest.mark.soak
def test_a_broker_killed_ten_times_takes_nothing_with_it(
    place: Place, url: str, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """Eight producers."""
    tell(capsys, kill_broker(place, url, registry, 10, 8))


@pytest.mark.soak
def test_of_three_brokers_the_leader_killed_five_times_and_two_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """While two are down nothing is acknowledged; once they are back, nothing is lost."""
    began = time.monotonic()
    resumed = []
    with own_kafka(3) as cluster:
        url = f"kafka://{cluster.servers}/t"
        with registry_at(url, tmp_path / "registry") as registry:
            with at_work(url, registry, 8, pause_seconds=0.1):
                for _ in range(5):
                    more_is_acknowledged(registry)
                    leader = cluster.leader_of("t.registry")
                    cluster.kill(leader)
                    resumed.append(more_is_acknowledged(registry))
                    cluster.start(leader)
                    eventually(lambda: 3 == in_sync(cluster, "t.registry"), "all replicas are in sync")
                down = [broker for broker in cluster.brokers if broker != cluster.leader_of("t.registry")]
                cluster.kill(*down)
                since = time.time()
                with pytest.raises(LogUnavailable):
                    registry.log.append(
                        REGISTRY, [registry.codec.encode(Pen("x").logged("x"))], timeout_seconds=5
                    )
                time.sleep(AWAY_SECONDS)
                until = time.time()
                cluster.start(*down)
                more_is_acknowledged(registry)
            in_that_time = [
                one for one in acknowledged(registry.folder) if one.began > since and one.ended < until
            ]
            assert [] == in_that_time
            figures = what_it_came_to(url, registry)
    tell(
        capsys,
        f"the leader of three killed 5 times (acknowledged again after {', '.join(f'{s:.0f}' for s in resumed)} s); "
        f"two of three down for {until - since:.0f} s: 0 acknowledged; {figures}; {time.monotonic() - began:.0f} s",
    )


def in_sync(cluster: KafkaCluster, topic: str) -> int:
    """How many replicas of a topic's first partition have all of it."""
    return len(cluster.admin.list_topics(topic, timeout=10).topics[topic].partitions[0].isrs)


# --- acknowledgements that are lost --------------------------------------------------------------


def test_an_append_whose_acknowledgement_is_lost_counts_once_though_it_is_sent_again(
    place: Place, registry: Registry
) -> None:
    """Its caller is told that the outcome is unknown, appends again, and both stand on the log."""
    records = [registry.codec.encode(Pen().logged("a"))]
    place.proxy.drop_responses(PRODUCE)
    try:
        with pytest.raises(LogUnavailable, match="append all again with the same event ids"):
            registry.log.append(REGISTRY, records, timeout_seconds=1.5)
    finally:
        place.proxy.heal()
    ((_, position),) = registry.log.append(REGISTRY, records)
    registry.fold()

    assert 0 < position
    assert ["accepted", *["ignored"] * position] == [decision for *_, decision, _ in registry.decisions()]
    assert [(1,)] == registry.ask("select count(*) from trainings")


def test_an_append_that_is_sent_again_underneath_stands_on_the_log_once(
    place: Place, registry: Registry
) -> None:
    """The broker knows a producer's numbers: what it has already it acknowledges and does not append."""
    drops = place.proxy.drops
    places: list[list[tuple[int, int]]] = []
    records = [registry.codec.encode(Pen().steps("a", number)) for number in range(20)]
    place.proxy.drop_responses(PRODUCE)
    appending = threading.Thread(target=lambda: places.append(registry.log.append(METRICS, records)))
    try:
        appending.start()
        eventually(lambda: place.proxy.drops > drops, "an acknowledgement is lost")
    finally:
        place.proxy.heal()
        place.proxy.cut()
        appending.join()

    assert len(records) == sum(registry.log.ends([METRICS]).values())
    assert len(records) == len(set(places[0]))
