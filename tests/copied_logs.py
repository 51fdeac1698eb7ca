"""Logs as the tests of copying use them: written with every oddity, and looked at as what a copy must keep."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from deedbook.events.copied_from import without_stamp
from deedbook.events.copying import Copied, Copy, CopyTarget
from deedbook.events.facts import REGISTRY, TOPICS
from deedbook.events.log import Log, NewRecord
from deedbook.events.sqlite_log import SqliteLog
from tests.folded import NOON, Registry
from tests.golden.story import tell

# No whole milliseconds, which is all that Kafka has by itself.
_STEP_MICROS = 1_000_777
Content = tuple[int, bytes, bytes, tuple[tuple[str, bytes], ...]]


def nothing_told(_done: int, _total: int) -> None:
    """Take a progress that nobody looks at."""


def micros(start: int = NOON + 123_457) -> Iterator[int]:
    """Times that a clock tells one after the other."""
    return itertools.count(start, _STEP_MICROS)


def story(folder: Path) -> Registry:
    """A registry in which everything has happened once, and bytes on every topic that are no event of ours."""
    registry = Registry(folder)
    registry.log.close()
    times = micros()
    registry.log = SqliteLog(folder, clock=lambda: next(times))
    tell(registry)
    for topic in TOPICS:
        if topic != REGISTRY:
            registry.append(*oddities(topic), topic=topic)
    return registry


def oddities(topic: str) -> list[NewRecord]:
    """Records that are no events: without anything, with keys and headers of any bytes, again and again."""
    headers = (
        ("größe", "groß".encode()),
        ("trace", b"\x00\xff"),
        ("trace", b""),
        ("ce_copiedfrom", b"7 7 7"),
    )
    return [
        NewRecord(b""),
        NewRecord(b"\x00\xff", b"\xff\x00", headers),
        *[NewRecord(f"{topic} {n}".encode(), f"key {n % 7}".encode(), headers[:2]) for n in range(20)],
    ]


def many(log: Log, number: int, *topics: str) -> None:
    """Append so many records to these topics, or to all, evenly."""
    chosen = topics or TOPICS
    for topic in chosen:
        log.append(
            topic,
            [
                NewRecord(f"{topic} {n}".encode(), f"key {n % 50}".encode())
                for n in range(number // len(chosen))
            ],
        )


def contents(log: Log, topic: str) -> list[Content]:
    """What a copy keeps of a topic: all of `registry` in its order, of the others each record."""
    found: list[Content] = []
    for (of, partition), end in log.ends([topic]).items():
        start = 0
        while start < end:
            for record in log.read(of, partition, start, timeout_seconds=10):
                assert record.intact
                found.append((record.recorded_at, record.key, record.value, without_stamp(record.headers)))
                start = record.position + 1
    return found if topic == REGISTRY else sorted(found)


def everything(log: Log) -> dict[str, list[Content]]:
    """What a copy keeps."""
    return {topic: contents(log, topic) for topic in TOPICS}


def copied(source: Log, target: CopyTarget) -> Copied:
    """Copy all there is, without opening the target for others."""
    copying = Copy(source, target)
    copying.look(on_progress=nothing_told)
    return copying.carry(on_progress=nothing_told)


@contextmanager
def opened(folder: Path) -> Iterator[SqliteLog]:
    """The embedded log in a folder."""
    with closing(SqliteLog(folder)) as log:
        yield log


def copy_killed(program: str, *arguments: str, after: int) -> int:
    """Run a copying program, kill it after so many batches, or never; return its status."""
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for number, _ in enumerate(process.stdout, 1):
            if number == after:
                process.kill()
        return process.wait()
