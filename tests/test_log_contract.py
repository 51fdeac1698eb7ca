"""What every log keeps, whichever adapter it is: one class of tests, run against each.

An adapter joins by one fixture in ``ADAPTERS``: a place where an empty log is, how to open it here,
and the program text that opens it in another process.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from deedbook.events.clock import now_micros
from deedbook.events.errors import InvalidInput
from deedbook.events.facts import TOPICS
from deedbook.events.kafka.log import KafkaLog
from deedbook.events.kafka.settings import kafka_settings
from deedbook.events.kafka.topics import create_topics
from deedbook.events.log import MAX_BODY_BYTES, MAX_HEAD_BYTES, Log, NewRecord, Record
from deedbook.events.sqlite_log import SqliteLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ADAPTERS = ("sqlite", "kafka")
HEADERS = (
    ("ce_specversion", b"1.0"),
    ("ce_id", b"0193c1f4-6f1e-7c1e-8f55-3d3a2a0a1b2c"),
    ("trace", b"\x00\xff"),
    ("trace", b""),
    ("größe", "groß".encode()),
    ("content-type", b"application/avro"),
)


@dataclass(frozen=True)
class Place:
    """An empty log: ``open_here`` opens it, ``open_elsewhere`` is program text that binds it to ``log``."""

    open_here: Callable[[], Log]
    open_elsewhere: str


def sqlite_place(folder: Path) -> Place:
    """The embedded log in a folder."""
    SqliteLog.create(folder).close()
    text = (
        "from pathlib import Path\n"
        "from deedbook.events.sqlite_log import SqliteLog\n"
        f"log = SqliteLog(Path({str(folder)!r}))\n"
    )
    return Place(lambda: SqliteLog(folder), text)


def kafka_place(url: str) -> Place:
    """A log on a real Kafka, in topics of its own."""
    settings = kafka_settings(url)
    create_topics(settings, partitions=3)
    text = (
        "from deedbook.events.kafka.log import KafkaLog\n"
        "from deedbook.events.kafka.settings import kafka_settings\n"
        f"log = KafkaLog(kafka_settings({url!r}))\n"
    )
    return Place(lambda: KafkaLog(settings), text)


@pytest.fixture(params=ADAPTERS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty log of each adapter in turn."""
    if request.param == "kafka":
        return kafka_place(request.getfixturevalue("kafka_url"))
    return sqlite_place(tmp_path / "log")


@pytest.fixture
def log(place: Place) -> Iterator[Log]:
    """The log, opened in this process."""
    opened = place.open_here()
    yield opened
    opened.close()


def numbered(numbers: range) -> list[NewRecord]:
    """Records whose bodies are numbers."""
    return [NewRecord(str(number).encode()) for number in numbers]


def everything(log: Log, topic: str) -> dict[int, list[Record]]:
    """All records of a topic by partition."""
    found: dict[int, list[Record]] = defaultdict(list)
    for partition in range(log.partitions(topic)):
        while len(found[partition]) < log.end(topic, partition):
            found[partition] += log.read(topic, partition, len(found[partition]), timeout_seconds=10)
    return found


def values(records: list[Record]) -> list[bytes]:
    """The bodies of records."""
    return [record.value for record in records]


class TestLog:
    """The contract."""

    @pytest.mark.parametrize("topic", TOPICS)
    def test_a_new_log_is_empty_in_every_topic(self, log: Log, topic: str) -> None:
        """Each partition ends at 0, and a read finds nothing."""
        for partition in range(log.partitions(topic)):
            assert log.end(topic, partition) == 0
            assert log.read(topic, partition, 0) == []

    def test_what_is_read_is_what_was_appended(self, log: Log) -> None:
        """Body, key and headers come back byte for byte, headers in order, repeated and empty ones too."""
        before = now_micros()
        ((partition, position),) = log.append("registry", [NewRecord(b"\x00body\xff", b"key\x00", HEADERS)])
        (record,) = log.read("registry", partition, position, timeout_seconds=10)
        assert (b"\x00body\xff", b"key\x00", HEADERS) == (record.value, record.key, record.headers)
        assert ("registry", 0, 0) == (record.topic, record.partition, record.position)
        assert record.intact
        assert before - 1000 <= record.recorded_at <= now_micros() + 1000

    def test_a_body_may_be_empty_and_bear_no_headers(self, log: Log) -> None:
        """Nothing is something: an empty record has a position."""
        assert log.append("registry", [NewRecord(b"")]) == [(0, 0)]
        (record,) = log.read("registry", 0, 0, timeout_seconds=10)
        assert (b"", b"", ()) == (record.value, record.key, record.headers)

    def test_positions_are_dense_and_in_the_order_of_appending(self, log: Log) -> None:
        """One by one or in batches, each record gets the next position."""
        assert log.append("registry", numbered(range(3))) == [(0, 0), (0, 1), (0, 2)]
        assert log.append("registry", numbered(range(3, 4))) == [(0, 3)]
        assert log.append("registry", numbered(range(4, 50))) == [(0, position) for position in range(4, 50)]
        assert log.end("registry") == 50
        read = log.read("registry", 0, 0, timeout_seconds=10)
        assert [(position, str(position).encode()) for position in range(50)] == [
            (record.position, record.value) for record in read
        ]

    def test_appending_nothing_appends_nothing(self, log: Log) -> None:
        """No records, no positions."""
        assert log.append("registry", []) == []
        assert log.end("registry") == 0

    def test_topics_do_not_see_each_other(self, log: Log) -> None:
        """Every topic counts its own positions from 0."""
        for topic in TOPICS:
            ((partition, position),) = log.append(topic, [NewRecord(topic.encode(), b"key")])
            assert position == 0
            (record,) = log.read(topic, partition, 0, timeout_seconds=10)
            assert (topic, topic.encode()) == (record.topic, record.value)

    def test_one_key_is_one_partition(self, log: Log) -> None:
        """Records of a key keep their order, for they share a partition."""
        appended = [log.append("metrics", [NewRecord(str(n).encode(), b"one-key")]) for n in range(20)]
        partitions = {partition for ((partition, _),) in appended}
        assert len(partitions) == 1
        read = log.read("metrics", partitions.pop(), 0, timeout_seconds=10)
        assert [str(n).encode() for n in range(20)] == values(read)

    def test_recorded_at_never_goes_back(self, log: Log) -> None:
        """Later positions are never earlier."""
        for number in range(30):
            log.append("registry", numbered(range(number, number + 1)))
        times = [record.recorded_at for record in log.read("registry", 0, 0, timeout_seconds=10)]
        assert sorted(times) == times

    def test_a_read_begins_where_it_is_told(self, log: Log) -> None:
        """From the middle, from the last, and from the end, where there is nothing."""
        log.append("registry", numbered(range(10)))
        assert [b"7", b"8", b"9"] == values(log.read("registry", 0, 7, timeout_seconds=10))
        assert [b"9"] == values(log.read("registry", 0, 9, timeout_seconds=10))
        assert [] == log.read("registry", 0, 10)

    def test_a_read_returns_no_more_records_than_asked_for(self, log: Log) -> None:
        """max_records bounds a read, and the next goes on from there."""
        log.append("registry", numbered(range(10)))
        assert [b"2", b"3", b"4"] == values(log.read("registry", 0, 2, max_records=3, timeout_seconds=10))

    def test_a_read_returns_no_more_bytes_than_asked_for_but_at_least_one_record(self, log: Log) -> None:
        """max_bytes bounds the bodies, and never makes a log impassable."""
        log.append("registry", [NewRecord(b"x" * 1000) for _ in range(10)])
        assert len(log.read("registry", 0, 0, max_bytes=3000, timeout_seconds=10)) == 3
        assert len(log.read("registry", 0, 0, max_bytes=1, timeout_seconds=10)) == 1

    def test_reading_in_small_steps_sees_each_record_once(self, log: Log) -> None:
        """Whatever the bounds of single reads, together they give the log."""
        log.append("registry", [NewRecord(b"%d" % n + b"x" * (n * 37 % 500)) for n in range(100)])
        seen: list[Record] = []
        while len(seen) < 100:
            seen += log.read("registry", 0, len(seen), max_records=7, max_bytes=900, timeout_seconds=10)
        assert list(range(100)) == [record.position for record in seen]
        assert log.read("registry", 0, 0, timeout_seconds=10) == seen

    def test_a_read_waits_for_the_record_to_come(self, log: Log, place: Place) -> None:
        """A read with a time-out returns what another appends meanwhile."""
        other = place.open_here()
        later = threading.Timer(0.2, other.append, ("registry", numbered(range(1))))
        later.start()
        try:
            assert [b"0"] == values(log.read("registry", 0, 0, timeout_seconds=30))
        finally:
            later.join()
            other.close()

    def test_a_read_that_waited_in_vain_returns_nothing(self, log: Log) -> None:
        """The time-out is no error."""
        assert log.read("registry", 0, 0, timeout_seconds=0.05) == []

    def test_a_body_of_the_largest_size_is_kept_and_one_byte_more_is_refused(self, log: Log) -> None:
        """The limit is a limit, and a refused batch appends none of its records."""
        largest = NewRecord(b"\x5a" * MAX_BODY_BYTES)
        log.append("registry", [largest])
        with pytest.raises(InvalidInput, match="over the limit"):
            log.append("registry", [NewRecord(b"small"), NewRecord(b"\x5a" * (MAX_BODY_BYTES + 1))])
        assert [largest.value] == values(log.read("registry", 0, 0, timeout_seconds=10))

    def test_headers_over_the_limit_are_refused(self, log: Log) -> None:
        """Key and headers are bounded together."""
        with pytest.raises(InvalidInput, match="over the limit"):
            log.append("registry", [NewRecord(b"", b"k", (("h", b"x" * MAX_HEAD_BYTES),))])
        assert log.end("registry") == 0

    def test_an_unknown_topic_is_refused_in_one_sentence(self, log: Log) -> None:
        """The refusal names what was asked for, and what there is."""
        for refused in (
            lambda: log.append("regisrty", []),
            lambda: log.read("regisrty", 0, 0),
            lambda: log.partitions("regisrty"),
            lambda: log.end("regisrty"),
        ):
            with pytest.raises(InvalidInput, match=r"no topic 'regisrty': the topics are registry,"):
                refused()

    def test_an_unknown_partition_is_refused(self, log: Log) -> None:
        """Neither a read nor an end makes partitions up."""
        for partition in (-1, log.partitions("registry")):
            with pytest.raises(InvalidInput, match="partition"):
                log.read("registry", partition, 0)
            with pytest.raises(InvalidInput, match="partition"):
                log.end("registry", partition)

    @pytest.mark.parametrize("bound", [{"start": -1}, {"max_records": 0}, {"max_bytes": 0}])
    def test_a_read_with_impossible_bounds_is_refused(self, log: Log, bound: dict[str, int]) -> None:
        """Nothing can be read before the beginning, or in no records, or in no bytes."""
        with pytest.raises(InvalidInput):
            log.read("registry", 0, **{"start": 0, **bound})

    def test_a_log_opened_again_is_the_same_log(self, log: Log, place: Place) -> None:
        """Records, ends and identity outlive whoever appended."""
        log.append("registry", numbered(range(5)))
        log.close()
        again = place.open_here()
        try:
            assert log.identity() == again.identity()
            assert again.end("registry") == 5
            assert [b"0", b"1", b"2", b"3", b"4"] == values(again.read("registry", 0, 0, timeout_seconds=10))
        finally:
            again.close()

    def test_closing_twice_is_harmless(self, log: Log) -> None:
        """So that every owner may close."""
        log.close()
        log.close()

    def test_threads_may_share_a_log(self, log: Log) -> None:
        """8 threads append through one object while one reads: dense, and each thread's order kept."""
        seen: list[Record] = []

        def write(writer: int) -> None:
            for number in range(25):
                log.append("registry", [NewRecord(f"{writer}:{number}".encode())])

        def read() -> None:
            while len(seen) < 200:
                seen.extend(log.read("registry", 0, len(seen), timeout_seconds=10))

        threads = [threading.Thread(target=write, args=(writer,)) for writer in range(8)]
        threads.append(threading.Thread(target=read))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=120)
        assert list(range(200)) == [record.position for record in seen]
        assert {str(writer): list(range(25)) for writer in range(8)} == orders(seen)

    def test_processes_may_append_at_once(self, log: Log, place: Place) -> None:
        """8 processes append 200 times each: nothing lost, nothing twice, each process's own order kept."""
        program = place.open_elsewhere + (
            "import sys\n"
            "from deedbook.events.log import NewRecord\n"
            "for number in range(200):\n"
            "    ((_, position),) = log.append('registry', [NewRecord(f'{sys.argv[1]}:{number}'.encode())])\n"
            "    print(position)\n"
            "log.close()\n"
        )
        children = [child(program, str(number)) for number in range(8)]
        said = [process.communicate(timeout=120)[0] for process in children]
        assert [0] * 8 == [process.returncode for process in children]
        acknowledged = [int(position) for text in said for position in text.split()]
        records = everything(log, "registry")[0]
        assert list(range(1600)) == [record.position for record in records]
        assert list(range(1600)) == sorted(acknowledged)
        assert {str(writer): list(range(200)) for writer in range(8)} == orders(records)

    def test_what_was_acknowledged_survives_a_kill(self, log: Log, place: Place) -> None:
        """A process killed in mid-append has lost nothing it was told is safe, and left no gap."""
        program = place.open_elsewhere + (
            "from deedbook.events.log import NewRecord\n"
            "number = 0\n"
            "while True:\n"
            "    batch = [NewRecord(f'0:{number + i}'.encode() + b' ' * 3000) for i in range(7)]\n"
            "    number += 7\n"
            "    print(log.append('registry', batch)[-1][1], flush=True)\n"
        )
        acknowledged = -1
        for lines in (1, 5, 40):
            process = child(program)
            assert process.stdout is not None
            for _ in range(lines):
                acknowledged = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read().split("\n")[:-1]  # a line cut short was not read by anybody
            acknowledged = int(rest[-1]) if rest else acknowledged
            process.wait(timeout=60)
            process.stdout.close()
            records = everything(log, "registry")[0]
            assert len(records) > acknowledged
            assert list(range(len(records))) == [record.position for record in records]
            assert all(record.intact for record in records)


def child(program: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a program in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )


def orders(records: list[Record]) -> dict[str, list[int]]:
    """The numbers each writer's records bear, in the order of the log."""
    found: dict[str, list[int]] = defaultdict(list)
    for record in records:
        writer, number = record.value.decode().split(":")
        found[writer].append(int(number))
    return dict(found)
