"""A registry carried to Kafka, between clusters' topics, and back, on a real broker."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Producer, admin
from hypothesis import given, settings

from deedbook.events.codec import Codec
from deedbook.events.copied_from import CopiedFrom, stamped
from deedbook.events.copying import Copy, Restored
from deedbook.events.errors import InvalidInput, LogDamaged, LogUnavailable
from deedbook.events.facts import METRICS, REGISTRY, TOPICS
from deedbook.events.kafka.copying import KafkaTarget
from deedbook.events.kafka.log import KafkaLog
from deedbook.events.kafka.settings import KafkaSettings, kafka_settings
from deedbook.events.kafka.topics import create_topics
from deedbook.events.log import Log, NewRecord
from deedbook.events.sqlite_log import SqliteLog
from deedbook.events.sqlite_restoring import SqliteTarget
from deedbook.projector.rebuild import fold_anew
from tests.copied_logs import copied, copy_killed, everything, many, nothing_told, opened, story
from tests.facts_by_hand import Pen
from tests.folded import NOON, Registry
from tests.random_logs import Written, logs
from tests.servers.kafka import own_kafka
from tests.servers.shared import delete_topics

# Copies an embedded log to Kafka in small batches, and says after each how far it is.
PROGRAM = """
import sys
from pathlib import Path
from deedbook.events import copying
from deedbook.events.kafka.copying import KafkaTarget
from deedbook.events.kafka.settings import kafka_settings
from deedbook.events.sqlite_log import SqliteLog
copying.MAX_RECORDS = 25
target = KafkaTarget(kafka_settings(sys.argv[2]))
copy = copying.Copy(SqliteLog(Path(sys.argv[1])), target)
copy.look(on_progress=lambda done, total: None)
copy.carry(on_progress=lambda done, total: print(done, flush=True))
target.finish()
"""


@pytest.fixture
def place(kafka_url: str) -> KafkaSettings:
    """Where on Kafka a copy goes to."""
    return kafka_settings(kafka_url)


@pytest.fixture
def there(place: KafkaSettings) -> Iterator[KafkaTarget]:
    """The same place, for a copy."""
    with closing(KafkaTarget(place)) as target:
        yield target


def state_of(log: Log, folder: Path) -> str:
    """The state hash of a log, folded anew."""
    return fold_anew(log, folder / "anew.duckdb")[0]


def times_of(place: KafkaSettings) -> set[str | None]:
    """How the topics of a registry come to their times."""
    library: Any = admin  # which does not say what it exports
    resources = [library.ConfigResource(library.ResourceType.TOPIC, place.topic(topic)) for topic in TOPICS]
    client = library.AdminClient({"bootstrap.servers": place.servers})
    asked = client.describe_configs(resources)
    return {future.result()["message.timestamp.type"].value for future in asked.values()}


def test_a_registry_goes_to_kafka_and_back(tmp_path: Path, there: KafkaTarget, place: KafkaSettings) -> None:
    """From a folder to six partitions, from these to two, and into a folder: all is there, the state is the same."""
    registry = story(tmp_path / "here")
    second = kafka_settings(f"kafka://{place.servers}/{place.prefix}.second")
    copied(registry.log, there)
    there.finish()
    with closing(KafkaLog(place)) as log, closing(KafkaTarget(second, partitions=2)) as further:
        copied(log, further)
        further.finish()
        assert everything(registry.log) == everything(log)
        assert registry.fold() == state_of(log, tmp_path)

    with closing(KafkaLog(second)) as log, closing(SqliteTarget(tmp_path / "back")) as back:
        copied(log, back)
        back.finish()
        assert 2 == log.partitions(METRICS)
        assert everything(registry.log) == everything(log)
        assert registry.fold() == state_of(log, tmp_path)

    with opened(tmp_path / "back") as log:
        assert everything(registry.log) == everything(log)
        assert registry.fold() == state_of(log, tmp_path)


@settings(max_examples=2)
@given(written=logs())
def test_a_copy_of_any_log_on_kafka_folds_to_the_same_state(
    tmp_path_factory: pytest.TempPathFactory, kafka: str, written: Written
) -> None:
    """Whatever is on it, and however its records are spread over partitions."""
    folder = tmp_path_factory.mktemp("copies")
    here = Registry(folder / "here")
    for topic, record in written.records:
        here.append(record, topic=topic)
    place = kafka_settings(f"kafka://{kafka}/{folder.name}-{uuid4().hex[:12]}")
    with closing(KafkaTarget(place, partitions=3)) as target:
        copied(here.log, target)
        target.finish()

    with closing(KafkaLog(place)) as log:
        assert here.fold() == state_of(log, folder)
    delete_topics(kafka, place.prefix)


def test_nobody_opens_an_unfinished_copy(tmp_path: Path, there: KafkaTarget, place: KafkaSettings) -> None:
    """The topics take their times from the copy until it is whole, and from the log ever after."""
    copied(story(tmp_path / "here").log, there)
    assert {"CreateTime"} == times_of(place)
    with pytest.raises(InvalidInput, match="if a copy is under way, finish it with `deedbook copy`"):
        KafkaLog(place)

    there.finish()

    assert {"LogAppendTime"} == times_of(place)
    KafkaLog(place).close()


def test_a_copy_is_written_to_as_any_registry(
    tmp_path: Path, there: KafkaTarget, place: KafkaSettings
) -> None:
    """Positions go on after those that were carried, the log tells the time, and the state goes on."""
    registry = story(tmp_path / "here")
    copied(registry.log, there)
    there.finish()
    end = registry.log.end(REGISTRY)

    with closing(KafkaLog(place)) as log:
        before = state_of(log, tmp_path)
        assert [(0, end), (0, end + 1)] == log.append(REGISTRY, [NewRecord(b"new"), NewRecord(b"newer")])
        (old,) = log.read(REGISTRY, 0, end - 1, max_records=1)
        (new,) = log.read(REGISTRY, 0, end, max_records=1)

        assert registry.log.read(REGISTRY, 0, end - 1)[0].recorded_at == old.recorded_at
        assert new.recorded_at > 1_700_000_000_000_000
        assert 0 == new.recorded_at % 1_000
        assert before != state_of(log, tmp_path)


def test_a_killed_copy_goes_on_where_it_was(tmp_path: Path, kafka_url: str) -> None:
    """Killed after its first batch, and in the middle: nothing is missing and nothing is twice."""
    here = tmp_path / "here"
    with closing(SqliteLog.create(here)) as log:
        many(log, 600)

    ended = [copy_killed(PROGRAM, str(here), kafka_url, after=after) for after in (1, 6, 0)]

    assert [-signal.SIGKILL] * 2 + [0] == ended
    with opened(here) as source, closing(KafkaLog(kafka_settings(kafka_url))) as copy:
        assert everything(source) == everything(copy)


@pytest.mark.soak
def test_a_copy_killed_again_and_again_is_whole_in_the_end(tmp_path: Path, kafka_url: str) -> None:
    """Killed at random, wherever it is, sixty times."""
    here = tmp_path / "here"
    with closing(SqliteLog.create(here)) as log:
        many(log, 12_000)
    chance = random.Random(4)  # noqa: S311 - no secret

    for _ in range(60):
        copy_killed(PROGRAM, str(here), kafka_url, after=chance.randint(1, 9))
    assert 0 == copy_killed(PROGRAM, str(here), kafka_url, after=0)

    with opened(here) as source, closing(KafkaLog(kafka_settings(kafka_url))) as copy:
        assert everything(source) == everything(copy)


@pytest.mark.soak
def test_a_broker_that_goes_away_stops_the_copy_and_nothing_more(tmp_path: Path) -> None:
    """Frozen, so that what became of a batch is unknown, and killed: given again, the copy is whole."""
    with closing(SqliteLog.create(tmp_path / "here")) as log, own_kafka() as cluster:
        many(log, 60_000)
        place = replace(kafka_settings(f"kafka://{cluster.servers}"), options={"message.timeout.ms": "4000"})
        for harm, mend in ((cluster.freeze, cluster.thaw), (cluster.kill, cluster.start)):
            with closing(KafkaTarget(place)) as target:
                copy = Copy(log, target)
                copy.look(on_progress=nothing_told)
                batches = iter(range(5))

                def told(_done: int, _total: int, batches: Iterator[int] = batches, harm: Any = harm) -> None:  # noqa: ANN401
                    if next(batches, None) == 3:
                        harm(1)

                with pytest.raises(
                    LogUnavailable, match="goes on with what is missing if the command is given"
                ):
                    copy.carry(on_progress=told)
            mend(1)

        with closing(KafkaTarget(place)) as target:
            copied(log, target)
            target.finish()

        with closing(KafkaLog(place)) as copy_:
            assert everything(log) == everything(copy_)


def test_what_is_missing_of_a_batch_is_filled_in(tmp_path: Path, there: KafkaTarget) -> None:
    """Of the batch that was on its way some partitions may have their part, and some not."""
    with closing(SqliteLog.create(tmp_path / "here")) as log:
        log.append(METRICS, [NewRecord(f"{n}".encode(), f"{n}".encode()) for n in range(20)])
        there.begin()
        there.restore(METRICS, [_as_copied(log, position) for position in (0, 2, 3, 7, 19)])

        carried = copied(log, there).carried

        assert 15 == carried
        there_now = there.log()
        assert there_now is not None
        assert everything(log) == everything(there_now)


def _as_copied(log: Log, position: int) -> Restored:
    (record,) = log.read(METRICS, 0, position, max_records=1)
    source = log.identity() if position == 0 else ""
    headers = stamped(record.headers, CopiedFrom(0, position, record.recorded_at, source))
    return Restored(record.value, record.key, headers, record.recorded_at)


def test_times_that_went_back_are_the_same_state_on_any_partitions(
    tmp_path: Path, there: KafkaTarget, place: KafkaSettings
) -> None:
    """A broker's clock was set back: what a record's neighbours say of the time is not the same everywhere."""
    pen, codec = Pen(), Codec()
    with closing(SqliteTarget(tmp_path / "here")) as source:
        source.begin()
        for number in range(12):
            for fact in (pen.steps(f"t{number}", number), pen.loaded("A", f"t{number}", f"i-{number}")):
                record = codec.encode(fact)
                time = NOON - number * 1_000_777
                source.restore(fact.topic, [Restored(record.value, record.key, record.headers, time)])
        source.finish()
    registry = Registry(tmp_path / "here")

    copied(registry.log, there)
    there.finish()

    with closing(KafkaLog(place)) as log:
        assert everything(registry.log) == everything(log)
        assert registry.fold() == state_of(log, tmp_path)


def test_a_registry_with_gaps_is_refused_before_anything_is_written(
    tmp_path: Path, place: KafkaSettings
) -> None:
    """A transaction's marker takes a position: what comes after it could not keep its own."""
    create_topics(place, partitions=1)
    producer = Producer({"bootstrap.servers": place.servers, "transactional.id": place.prefix})
    producer.init_transactions(30)
    for body in (b"first", b"second"):
        producer.begin_transaction()
        producer.produce(place.topic(REGISTRY), body)
        producer.commit_transaction(30)

    with (
        closing(KafkaLog(place)) as log,
        closing(SqliteTarget(tmp_path / "there")) as target,
        pytest.raises(
            LogDamaged, match="registry holds no record at position 1, such as a broker's transaction"
        ),
    ):
        copied(log, target)

    assert not (tmp_path / "there").exists()


def test_a_time_that_kafka_cannot_keep_is_refused(tmp_path: Path, there: KafkaTarget) -> None:
    """Zero would mean now."""
    with closing(SqliteLog(tmp_path, create=True, clock=lambda: 999)) as log:
        log.append(REGISTRY, [NewRecord(b"")])

        with pytest.raises(InvalidInput, match="a time that Kafka cannot keep"):
            copied(log, there)


def test_a_registry_in_use_is_no_place_for_a_copy(tmp_path: Path, place: KafkaSettings) -> None:
    """What is there stays as it is."""
    create_topics(place, partitions=1)
    with closing(KafkaLog(place)) as log:
        log.append(METRICS, [NewRecord(b"mine", b"key")])

    with (
        closing(KafkaTarget(place)) as target,
        pytest.raises(InvalidInput, match="metrics:0:0, which is no copy"),
    ):
        copied(story(tmp_path).log, target)

    assert {"LogAppendTime"} == times_of(place)


def test_another_writer_is_found_out(tmp_path: Path, there: KafkaTarget, place: KafkaSettings) -> None:
    """One more record on the copy's registry moves all that follow: the copy says that it is spoilt."""
    registry = story(tmp_path)
    copy = Copy(registry.log, there)
    copy.look(on_progress=nothing_told)
    there.begin()
    producer = Producer({"bootstrap.servers": place.servers})
    producer.produce(place.topic(REGISTRY), b"mine")
    producer.flush(30)

    with pytest.raises(LogDamaged, match="the copy is spoilt, for another program wrote to it"):
        copy.carry(on_progress=nothing_told)
