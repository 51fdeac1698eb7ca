"""What the log on Kafka keeps beyond the contract: the topics it accepts, and what it survives."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from deedbook.events.errors import (
    DeedbookError,
    InvalidInput,
    LogDamaged,
    LogReplaced,
    NotFound,
)
from deedbook.events.facts import METRICS, REGISTRY, TOPICS
from deedbook.events.kafka.log import KafkaLog
from deedbook.events.kafka.settings import KafkaSettings, kafka_settings
from deedbook.events.kafka.topics import create_topics
from deedbook.events.log import NewRecord
from tests.servers.kafka import own_kafka, quiet_admin


@pytest.fixture
def settings(kafka_url: str) -> KafkaSettings:
    """The settings of an empty log."""
    found = kafka_settings(kafka_url)
    create_topics(found, partitions=2)
    return found


@pytest.fixture
def log(settings: KafkaSettings) -> Iterator[KafkaLog]:
    """The empty log, open."""
    with closing(KafkaLog(settings)) as opened:
        yield opened


@pytest.fixture
def admin(settings: KafkaSettings) -> AdminClient:
    """Somebody who may change the cluster."""
    return quiet_admin(settings.servers)


def change(admin: AdminClient, topic: str, name: str, value: str) -> None:
    """Set one setting of a topic, as kafka-configs.sh does, and wait until the broker says so."""
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for done in admin.incremental_alter_configs([resource]).values():
        done.result(timeout=30)
    while setting(admin, topic, name) != value:
        pass


def setting(admin: AdminClient, topic: str, name: str) -> str:
    """What a topic is set to."""
    (asked,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
    return str(asked.result(timeout=30)[name].value)


def recreate(admin: AdminClient, topic: str) -> None:
    """Delete a topic and make it again with the settings it had."""
    names = ("cleanup.policy", "retention.ms", "message.timestamp.type", "max.message.bytes")
    found = {name: setting(admin, topic, name) for name in names}
    admin.delete_topics([topic])[topic].result(timeout=30)
    made = False
    while not made:
        with suppress(KafkaException):  # it is still being deleted
            admin.create_topics([NewTopic(topic, 1, 1, config=found)])[topic].result(timeout=30)
            made = True


def looked(log: KafkaLog) -> None:
    """Ask a log for its end until it has looked again: it does once a second."""
    for _ in range(200):
        log.ends([REGISTRY])
        time.sleep(0.01)


def numbers(log: KafkaLog, upto: int) -> list[bytes]:
    """The bodies on `registry`, read to a position."""
    found: list[bytes] = []
    position = 0
    while position < upto:
        records = log.read(REGISTRY, 0, position, timeout_seconds=20)
        found += [record.value for record in records]
        position = records[-1].position + 1
    return found


# --- topics ------------------------------------------------------------------------------------------


def test_topics_that_are_not_there_are_asked_for_by_the_command_that_makes_them(kafka_url: str) -> None:
    """Nothing is created by opening."""
    with pytest.raises(NotFound, match=f"deedbook --url {kafka_url} init"):
        KafkaLog(kafka_settings(kafka_url))


def test_making_topics_again_and_at_once_is_harmless(kafka_url: str) -> None:
    """Eight make them together, and all find a log they can open."""
    settings = kafka_settings(kafka_url)
    failed: list[Exception] = []

    def make() -> None:
        try:
            create_topics(settings, partitions=2)
        except DeedbookError as error:
            failed.append(error)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    with closing(KafkaLog(settings)) as log:
        assert [] == failed
        assert {REGISTRY: 1, METRICS: 2} == {topic: log.partitions(topic) for topic in (REGISTRY, METRICS)}
        assert 1 + 2 + 2 + 2 + 2 + 1 == len(log.ends(TOPICS))


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("retention.ms", "604800000", "would be deleted"),
        ("retention.bytes", "1000000", "would be deleted"),
        ("cleanup.policy", "compact", "compaction erases events"),
        ("message.timestamp.type", "CreateTime", "deedbook copy"),
        ("unclean.leader.election.enable", "true", "could be lost"),
        ("max.message.bytes", "1000000", "the largest events would be refused"),
    ],
)
def test_a_topic_that_would_lose_events_is_refused(
    settings: KafkaSettings, admin: AdminClient, name: str, value: str, why: str
) -> None:
    """The refusal names topic, setting, value, reason, and the command that mends it; mended, it opens."""
    topic = settings.topic(METRICS)
    change(admin, topic, name, value)

    with pytest.raises(InvalidInput) as refused:
        KafkaLog(settings)

    said = str(refused.value)
    assert f"topic {topic} has {name}={value}: " in said
    assert why in said
    mend = said.partition(f"--alter --entity-type topics --entity-name {topic} --add-config ")[2]
    setting, _, wanted = mend.removesuffix("`").partition("=")
    change(admin, topic, setting, wanted)
    KafkaLog(settings).close()


def test_a_registry_of_two_partitions_is_refused(settings: KafkaSettings, admin: AdminClient) -> None:
    """Its order would be nobody's."""
    topic = settings.topic(REGISTRY)
    admin.create_partitions([NewPartitions(topic, 2)])[topic].result(timeout=30)
    while len(admin.list_topics(topic, timeout=30).topics[topic].partitions) < 2:
        pass

    with pytest.raises(InvalidInput, match=rf"topic {topic} has 2 partitions and must have one"):
        KafkaLog(settings)


def test_partitions_added_to_a_topic_are_seen(
    log: KafkaLog, settings: KafkaSettings, admin: AdminClient
) -> None:
    """A program that runs on reads them too."""
    topic = settings.topic(METRICS)
    assert 2 == log.partitions(METRICS)

    admin.create_partitions([NewPartitions(topic, 3)])[topic].result(timeout=30)

    while log.partitions(METRICS) != 3:
        pass
    assert [(METRICS, 0), (METRICS, 1), (METRICS, 2)] == list(log.ends([METRICS]))
    assert [] == log.read(METRICS, 2, 0)


def test_a_recreated_topic_is_refused_by_name(
    log: KafkaLog, settings: KafkaSettings, admin: AdminClient
) -> None:
    """Whoever was reading, and whoever kept the identity, can tell which topic it was."""
    log.append(REGISTRY, [NewRecord(b"first")])
    before = log.identity()

    recreate(admin, settings.topic(REGISTRY))

    with pytest.raises(LogReplaced, match="topic registry was recreated"):
        looked(log)
    with pytest.raises(LogReplaced, match="topic registry was recreated"):
        log.read(REGISTRY, 0, 0, timeout_seconds=30)
    with closing(KafkaLog(settings)) as again:
        parts = zip(before.split(), again.identity().split(), strict=True)
        assert [True, False, True, True, True, True, True] == [was == now for was, now in parts]


def test_a_deleted_topic_is_no_longer_appended_to(
    settings: KafkaSettings, log: KafkaLog, admin: AdminClient
) -> None:
    """The error says which it was, and doesn't wait for it to come back."""
    log.append(REGISTRY, [NewRecord(b"first")])
    topic = settings.topic(REGISTRY)
    admin.delete_topics([topic])[topic].result(timeout=30)

    with pytest.raises(LogReplaced, match="topic registry is gone"):
        log.append(REGISTRY, [NewRecord(b"second")], timeout_seconds=60)
    with pytest.raises(LogReplaced, match="topic registry is gone"):
        log.partitions(REGISTRY)


# --- reading -----------------------------------------------------------------------------------------


def test_a_transactions_markers_are_passed(log: KafkaLog, settings: KafkaSettings) -> None:
    """What was aborted, and the positions of the markers, are in nobody's answer, and stop nobody."""
    producer = Producer({"bootstrap.servers": settings.servers, "transactional.id": settings.prefix})
    producer.init_transactions(30)
    for body, commits in ((b"a", True), (b"b", False), (b"c", True), (b"d", False)):
        producer.begin_transaction()
        producer.produce(settings.topic(REGISTRY), body)
        producer.flush()
        if commits:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)

    while log.end(REGISTRY) < 8:  # the last marker is written a moment later
        pass
    read = log.read(REGISTRY, 0, 0, timeout_seconds=20)
    assert [(0, b"a"), (4, b"c")] == [(record.position, record.value) for record in read]
    assert [(4, b"c")] == [
        (record.position, record.value) for record in log.read(REGISTRY, 0, 1, timeout_seconds=20)
    ]
    assert [] == log.read(REGISTRY, 0, 5, timeout_seconds=0.2)
    assert [(0, 8)] == log.append(REGISTRY, [NewRecord(b"e")])
    assert [b"e"] == [record.value for record in log.read(REGISTRY, 0, 5, timeout_seconds=20)]


def test_an_open_transaction_is_not_read_past(log: KafkaLog, settings: KafkaSettings) -> None:
    """The log ends where the first undecided record is: its end never hides one that comes in before it."""
    producer = Producer({"bootstrap.servers": settings.servers, "transactional.id": settings.prefix})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(settings.topic(REGISTRY), b"undecided")
    producer.flush()
    log.append(REGISTRY, [NewRecord(b"after")])

    assert 0 == log.end(REGISTRY)
    assert [] == log.read(REGISTRY, 0, 0, timeout_seconds=0.2)

    producer.commit_transaction(30)
    assert [b"undecided", b"after"] == [
        record.value for record in log.read(REGISTRY, 0, 0, timeout_seconds=20)
    ]


def test_reading_past_the_end_says_that_the_log_lost_records(log: KafkaLog) -> None:
    """A position that was kept and is not there any more is no empty answer."""
    log.append(REGISTRY, [NewRecord(b"only")])

    assert [] == log.read(REGISTRY, 0, 1)
    with pytest.raises(LogReplaced, match="registry:0 ends at 1, and was to be read from 2 on"):
        log.read(REGISTRY, 0, 2)


def test_records_deleted_from_the_beginning_are_missed(
    log: KafkaLog, settings: KafkaSettings, admin: AdminClient
) -> None:
    """Somebody deleted what is to be kept for ever: not a shorter log, but a damaged one."""
    log.append(REGISTRY, [NewRecord(b"%d" % number) for number in range(10)])
    upto = TopicPartition(settings.topic(REGISTRY), 0, 4)
    for done in admin.delete_records([upto]).values():
        done.result(timeout=30)

    with pytest.raises(LogDamaged, match="registry:0 begins at 4, and was to be read from 0 on"):
        log.read(REGISTRY, 0, 0)
    assert [b"4", b"5"] == [record.value for record in log.read(REGISTRY, 0, 4, max_records=2)]


def test_every_read_finds_what_is_there_wherever_it_begins(log: KafkaLog) -> None:
    """Back and forth over partitions, one record or many, with nothing said about waiting."""
    places = log.append(METRICS, [NewRecord(b"%d" % n, b"key %d" % n) for n in range(300)])
    bodies = {place: b"%d" % number for number, place in enumerate(places)}
    ends = log.ends([METRICS])
    assert {(METRICS, 0), (METRICS, 1)} == set(ends)

    for turn in range(60):
        partition = turn % 2
        start = turn * 37 % ends[METRICS, partition]
        (first,) = log.read(METRICS, partition, start, max_records=1)
        assert (start, bodies[partition, start]) == (first.position, first.value)
        many = log.read(METRICS, partition, start, max_records=20)
        assert first == many[0]
        assert [bodies[partition, record.position] for record in many] == [record.value for record in many]


def test_who_waits_on_several_partitions_is_told_on_each(log: KafkaLog, settings: KafkaSettings) -> None:
    """Waiting readers of one log don't stand in each other's way, nor in that of who appends."""
    found: dict[int, list[bytes]] = {}

    def wait(partition: int) -> None:
        found[partition] = [record.value for record in log.read(METRICS, partition, 0, timeout_seconds=30)]

    waiting = [threading.Thread(target=wait, args=(partition,)) for partition in (0, 1)]
    for thread in waiting:
        thread.start()
    with closing(KafkaLog(settings)) as other:
        partitions: set[int] = set()
        for number in range(100):
            if len(partitions) < 2:
                ((partition, _),) = other.append(METRICS, [NewRecord(b"told", b"key %d" % number)])
                partitions.add(partition)
    for thread in waiting:
        thread.join(timeout=60)

    assert {0: b"told", 1: b"told"} == {partition: bodies[0] for partition, bodies in found.items()}


def test_what_another_client_left_out_is_empty(log: KafkaLog, settings: KafkaSettings) -> None:
    """No key, no value, a header without one: nothing of it is None, for nobody expects that."""
    producer = Producer({"bootstrap.servers": settings.servers})
    producer.produce(settings.topic(REGISTRY), None, None, headers=[("one", None), ("two", b"2")])
    producer.flush(30)

    (record,) = log.read(REGISTRY, 0, 0, timeout_seconds=20)

    assert (b"", b"", (("one", b""), ("two", b"2"))) == (record.key, record.value, record.headers)


class NoText(str):
    """A header's name that is sent as bytes which are no UTF-8."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        """What is sent."""
        return b"\xff\xfe"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of that client's own making
def test_a_header_whose_name_is_no_text_stops_nobody(log: KafkaLog, settings: KafkaSettings) -> None:
    """Another client's nonsense is a record that is not intact, and the next one is read."""
    from kafka import KafkaProducer

    with closing(KafkaProducer(bootstrap_servers=settings.servers)) as producer:
        producer.send(settings.topic(REGISTRY), b"odd", headers=[(NoText("name"), b"x")]).get(30)
    log.append(REGISTRY, [NewRecord(b"next")])

    for _ in range(50):  # the interpreter changes how it calls what is called often
        records = [log.read(REGISTRY, 0, position)[0] for position in (1, 0, 1)]
        assert [b"next", b"odd", b"next"] == [record.value for record in records]
        assert [True, False, True] == [record.intact for record in records]


@pytest.mark.soak
@pytest.mark.parametrize(("brokers", "copies", "insync"), [(2, 2, "2"), (3, 3, "2")])
def test_events_are_on_as_many_brokers_as_there_are_up_to_three(
    brokers: int, copies: int, insync: str
) -> None:
    """They are acknowledged once two have them; with three, fewer are refused, and the mend is named."""
    with own_kafka(brokers) as cluster:
        settings = KafkaSettings(cluster.servers)
        create_topics(settings, partitions=2)
        topic = settings.topic(METRICS)
        partitions = cluster.admin.list_topics(topic, timeout=30).topics[topic].partitions.values()

        assert {copies} == {len(partition.replicas) for partition in partitions}
        assert insync == setting(cluster.admin, topic, "min.insync.replicas")
        KafkaLog(settings).close()
        change(cluster.admin, topic, "min.insync.replicas", "1")
        if brokers == 3:
            with pytest.raises(InvalidInput, match=r"--add-config min\.insync\.replicas=2"):
                KafkaLog(settings)
        else:
            KafkaLog(settings).close()


def test_no_consumer_group_is_made(log: KafkaLog, settings: KafkaSettings) -> None:
    """Positions are kept with what was folded from them, and nowhere else."""
    log.append(REGISTRY, [NewRecord(b"only")])
    log.read(REGISTRY, 0, 0)
    log.read(REGISTRY, 0, 1, timeout_seconds=0.2)

    with closing(Consumer({"bootstrap.servers": settings.servers, "group.id": "deedbook"})) as consumer:
        place = TopicPartition(settings.topic(REGISTRY), 0)
        assert [-1001] == [found.offset for found in consumer.committed([place], timeout=30)]


# --- processes, threads, ends ------------------------------------------------------------------------


def test_a_forked_child_appends_and_reads_with_clients_of_its_own(log: KafkaLog) -> None:
    """The parent's are neither used there nor destroyed: the child ends as any program, the parent goes on."""
    log.append(REGISTRY, [NewRecord(b"parent")])
    log.read(REGISTRY, 0, 0)
    log.read(REGISTRY, 0, 1, timeout_seconds=0.1)
    program = os.fork()
    if program == 0:
        status = 1
        with suppress(Exception):
            log.append(REGISTRY, [NewRecord(b"child")])
            status = 0 if [b"parent", b"child"] == numbers(log, 2) else 2
            log.close()
        os._exit(status)

    assert 0 == os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])
    log.append(REGISTRY, [NewRecord(b"parent again")])
    assert [b"parent", b"child", b"parent again"] == numbers(log, 3)


FORKING = """
import os, sys
from deedbook.events.kafka.log import KafkaLog
from deedbook.events.kafka.settings import kafka_settings
from deedbook.events.log import NewRecord
log = KafkaLog(kafka_settings(sys.argv[1]))
log.append("registry", [NewRecord(b"parent")])
log.read("registry", 0, 1, timeout_seconds=0.1)
child = os.fork()
if child == 0 and sys.argv[2] == "using":
    log.append("registry", [NewRecord(b"child")])
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("manner", ["using", "idle"])
def test_a_program_that_forked_ends_without_being_told_to(settings: KafkaSettings, manner: str) -> None:
    """Neither the child nor the parent hangs at its exit, though nobody closed the log."""
    url = f"kafka://{settings.servers}/{settings.prefix}"

    done = subprocess.run([sys.executable, "-c", FORKING, url, manner], timeout=60, check=False)

    assert 0 == done.returncode
    with closing(KafkaLog(settings)) as log:
        assert {"using": 2, "idle": 1}[manner] == log.end(REGISTRY)


def producers_threads() -> set[threading.Thread]:
    """The producers' threads that this process has."""
    return {thread for thread in threading.enumerate() if thread.name == "deedbook-kafka-producer"}


@pytest.mark.parametrize("ending", ["closed", "forgotten"])
def test_a_log_that_is_no_longer_used_leaves_no_thread(settings: KafkaSettings, ending: str) -> None:
    """Whether it was closed or forgotten."""
    before = producers_threads()
    log = KafkaLog(settings)
    log.append(REGISTRY, [NewRecord(b"only")])
    log.read(REGISTRY, 0, 0)
    own = producers_threads() - before
    assert own

    if ending == "closed":
        log.close()
    del log
    gc.collect()

    ends_at = time.monotonic() + 30
    while own & producers_threads() and time.monotonic() < ends_at:
        time.sleep(0.01)
    assert set() == own & producers_threads()


def test_a_read_that_waits_ends_when_another_thread_closes_the_log(settings: KafkaSettings) -> None:
    """Closing is possible at any time, twice, and what comes after is refused."""
    log = KafkaLog(settings)
    answers: list[object] = []
    waiting = threading.Thread(target=lambda: answers.append(log.read(REGISTRY, 0, 0, timeout_seconds=600)))
    waiting.start()
    closing_by_another = threading.Timer(0.3, log.close)
    closing_by_another.start()
    waiting.join(timeout=60)
    log.close()

    assert [[]] == answers
    for refused in (
        lambda: log.read(REGISTRY, 0, 0),
        lambda: log.append(REGISTRY, []),
        lambda: log.end(REGISTRY),
    ):
        with pytest.raises(InvalidInput, match="was closed by this program"):
            refused()
