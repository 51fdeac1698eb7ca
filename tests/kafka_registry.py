"""A registry on a real Kafka as fault tests drive it, and what must hold of it whatever happened."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deedbook.events.facts import DEPLOYMENTS, REGISTRY, VALIDATIONS
from deedbook.events.ids import derived_id
from deedbook.events.kafka.log import KafkaLog
from deedbook.events.kafka.settings import kafka_settings
from deedbook.events.kafka.topics import create_topics
from tests.command import PROGRAM, Ended
from tests.folded import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pytest

    from deedbook.events.log import Log, Record

PATIENCE_SECONDS = 120.0


@contextmanager
def registry_at(url: str, folder: Path, *, partitions: int = 3) -> Iterator[Registry]:
    """A new registry on Kafka, whose projections are in a folder."""
    settings = kafka_settings(url)
    create_topics(settings, partitions=partitions)
    folder.mkdir(exist_ok=True)
    registry = Registry(folder, KafkaLog(settings))
    try:
        yield registry
    finally:
        registry.log.close()


def eventually(is_so: Callable[[], object], what: str) -> None:
    """Wait until it is so; what never comes fails the test."""
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < ends_at, f"after {PATIENCE_SECONDS:.0f} s still not so: {what}"
        time.sleep(0.05)


def records_of(log: Log, topic: str) -> list[Record]:
    """All that is on a topic, partition after partition."""
    found: list[Record] = []
    for (_, partition), end in log.ends([topic]).items():
        position = 0
        while position < end and (records := log.read(topic, partition, position)):
            found += records
            position = records[-1].position + 1
    return found


def ids_of(log: Log, topic: str) -> Counter[str]:
    """How often each event is on a topic."""
    return Counter(dict(record.headers)["ce_id"].decode() for record in records_of(log, topic))


def tell(capsys: pytest.CaptureFixture[str], figures: str) -> None:
    """Print what a long test came to, whether it passes or not."""
    with capsys.disabled():
        sys.stdout.write(f"\n{figures}\n")


# --- the command ---------------------------------------------------------------------------------


@contextmanager
def program(
    url: str, folder: Path, *arguments: str, stderr_path: Path | None = None, **settings: str
) -> Iterator[subprocess.Popen[str]]:
    """`deedbook` as a program that folds in a folder; whatever becomes of the test, it ends."""
    folder.mkdir(exist_ok=True)
    told = stderr_path or folder / "stderr"
    environment = {**os.environ, "DEEDBOOK_FOLDER": str(folder), "DEEDBOOK_ACTOR": "ana", **settings}
    with (
        told.open("a") as stderr,
        subprocess.Popen(
            [*PROGRAM, "--url", url, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=environment,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def done(
    url: str, folder: Path, *arguments: str, within_seconds: float = PATIENCE_SECONDS, **settings: str
) -> Ended:
    """Run `deedbook` to its end."""
    told = folder / "stderr of a command"
    told.unlink(missing_ok=True)
    with program(url, folder, *arguments, stderr_path=told, **settings) as process:
        out, _ = process.communicate(timeout=within_seconds)
        return Ended(process.returncode, out, told.read_text())


# --- what must hold ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Noted:
    """What a writer noted of an event that was acknowledged: where it is, how often it was sent, from when to when."""

    topic: str
    partition: int
    position: int
    event_id: str
    tries: int
    began: float
    ended: float


def acknowledged(folder: Path) -> list[Noted]:
    """All that writers noted in a folder."""
    found = []
    for path in folder.glob("acknowledged *"):
        for line in path.read_text().splitlines():
            topic, partition, position, event_id, tries, began, ended = line.split()
            found.append(
                Noted(topic, int(partition), int(position), event_id, int(tries), float(began), float(ended))
            )
    return found


def lost(registry: Registry, noted: list[Noted]) -> list[Noted]:
    """What was acknowledged and is not in the state, at its place."""
    known = set(registry.ask("select topic, partition, position, event_id from base.event"))
    return [one for one in noted if (one.topic, one.partition, one.position, one.event_id) not in known]


_DOUBLED = (
    "select event_id from base.event where decision <> 'ignored' group by all having count(*) > 1",
    "select training_id from base.training group by all having count(*) > 1",
    "select training_id, producer, sequence from base.chunk group by all having count(*) > 1",
    "select verdict_id from base.verdict group by all having count(*) > 1",
    "select training_key, requested_at_position from base.request group by all having count(*) > 1",
    "select service, release from base.deployment where decision = 'accepted' group by all having count(*) > 1",
    "select training_key from base.standing where to_position is null group by all having count(*) > 1",
    "select service from base.current_release where to_position is null group by all having count(*) > 1",
)


def doubled(registry: Registry) -> list[tuple[object, ...]]:
    """What counts twice in the state."""
    return [row for query in _DOUBLED for row in registry.ask(query)]


def orders(registry: Registry, *, pending: bool = False) -> set[str]:
    """The ids that orders have for all requests, or for those that still wait for a verdict."""
    requests = registry.ask(
        "select t.training_id, r.requested_at_position from base.request r "
        "join base.training t on t.key = r.training_key where r.closed_position is null or not ?",
        pending,
    )
    return {derived_id("order", training, str(position), "1") for training, position in requests}


def unannounced(registry: Registry) -> set[str]:
    """The ids of orders and of news that should be on the log by now and are not."""
    ordered = orders(registry, pending=True)
    decided = registry.ask(
        "select event_id from base.event where topic = ? and decision <> 'ignored' and "
        "(type = 'DeploymentRequested' or type = 'ReleaseActivated' and decision = 'accepted')",
        REGISTRY,
    )
    news = {derived_id("news", event_id) for (event_id,) in decided}
    assert ordered
    assert news
    return (ordered - ids_of(registry.log, VALIDATIONS).keys()) | (
        news - ids_of(registry.log, DEPLOYMENTS).keys()
    )
