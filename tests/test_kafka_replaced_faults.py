"""What a projector on Kafka must not go past: records of a later release, and a log that is not the one it was."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from deedbook.events.codec import Codec, schema_from_text, schema_id_of
from deedbook.events.errors import UnknownSchema
from deedbook.events.facts import HOSTS, METRICS, REGISTRY
from deedbook.events.kafka.settings import kafka_settings
from deedbook.events.kafka.topics import create_topics
from deedbook.projector.loop import Projector
from deedbook.projector.rebuild import fold_anew
from tests.facts_by_hand import Pen, id_of
from tests.kafka_registry import done, eventually, program, registry_at
from tests.later_release import by_schema, newer
from tests.servers.kafka import quiet_admin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.folded import Registry


@pytest.fixture
def registry(kafka_url: str, tmp_path: Path) -> Iterator[Registry]:
    """An empty registry on the run's Kafka."""
    with registry_at(kafka_url, tmp_path / "registry") as registry:
        yield registry


# --- schemas of a later release ------------------------------------------------------------------


def test_a_projector_stops_at_an_unknown_schema_and_goes_on_once_it_is_published(
    kafka_url: str, registry: Registry
) -> None:
    """It names the record and what to install; a schema on the log is as good as a release that has it."""
    pen, text = Pen(), newer("MetricsLogged")
    registry.append(pen.logged("a"))
    (position,) = registry.append(by_schema(text, pen.steps("a"), weather="hot"), topic=METRICS)
    stopped = done(kafka_url, registry.folder, "project")
    told = stopped.err.splitlines()[-1]
    registry.append(pen.schema(schema_id_of(text), "MetricsLogged", text))
    went_on = done(kafka_url, registry.folder, "state-hash")

    assert 1 == stopped.status
    assert f":{position} is a 'deedbook.MetricsLogged.v2' with schema {schema_id_of(text)[:12]}" in told
    assert "unknown to this release: install a newer deedbook" in told
    assert (0, fold_anew(registry.log, registry.folder / "fresh.duckdb")[0]) == (
        went_on.status,
        went_on.out.split()[0],
    )
    assert [(1,)] == registry.ask("select count(*) from base.step_metric")


def test_a_newer_release_goes_on_where_an_older_one_stopped(registry: Registry) -> None:
    """Nothing was skipped, and nothing after the record was folded before it."""
    pen, text = Pen(), newer()
    registry.append(pen.logged("a"), by_schema(text, pen.logged("b"), weather="hot"), pen.logged("c"))
    with pytest.raises(UnknownSchema, match="registry:0:1 is a 'deedbook"):
        registry.fold()
    before = registry.ask("select training_id from trainings order by position")
    learned = Codec()
    learned.learn(schema_from_text(text, 2))
    with registry.store() as store:
        Projector(registry.log, store, learned).catch_up()

    assert [(id_of("a"),)] == before
    assert [(id_of(name),) for name in "abc"] == registry.ask(
        "select training_id from trainings order by position"
    )


# --- a log that was recreated --------------------------------------------------------------------


def recreate(url: str) -> None:
    """Delete the topics and make others of their names, as long as the old ones."""
    settings = kafka_settings(url)
    admin = quiet_admin(settings.servers)
    topics = [settings.topic(name) for name in (REGISTRY, METRICS, HOSTS)]
    for deleted in admin.delete_topics(topics).values():
        deleted.result(30)
    ends_at = time.monotonic() + 30
    while any(topic in admin.list_topics(timeout=10).topics for topic in topics):
        assert time.monotonic() < ends_at
        time.sleep(0.05)
    create_topics(settings, partitions=3)


def test_a_projector_whose_log_is_recreated_under_it_stops(kafka_url: str, registry: Registry) -> None:
    """It says so in one sentence."""
    registry.append(Pen().logged("a"))
    snapshot = registry.folder / "snapshot.duckdb"
    with program(kafka_url, registry.folder, "project") as process:
        eventually(snapshot.exists, "all is folded")
        recreate(kafka_url)
        status = process.wait(60)
    told = (registry.folder / "stderr").read_text().splitlines()[-1]

    assert 1 == status
    assert "was recreated" in told


def test_a_projector_whose_log_was_recreated_before_it_starts_refuses_it(
    kafka_url: str, registry: Registry
) -> None:
    """Though the new log is as long as the old one."""
    registry.append(Pen().logged("a"))
    registry.fold()
    recreate(kafka_url)
    with registry_at(kafka_url, registry.folder) as other:
        other.append(Pen().logged("b"))
        ended = done(kafka_url, registry.folder, "project")
    again = registry.ask("select training_id from trainings")

    assert 1 == ended.status
    assert "put the old log back, or run `deedbook rebuild` if the new one is meant" in ended.err
    assert [(id_of("a"),)] == again
