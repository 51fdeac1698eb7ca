"""A registry carried to another place: everything is there, nothing twice, and nobody opens half of it."""

from __future__ import annotations

import random
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings

from deedbook.events.copied_from import CopiedFrom, copied_from, stamped
from deedbook.events.copying import Copy
from deedbook.events.errors import InvalidInput, LogDamaged, LogUnavailable
from deedbook.events.facts import METRICS, REGISTRY, TOPICS
from deedbook.events.log import NewRecord
from deedbook.events.sqlite_log import SqliteLog
from deedbook.events.sqlite_restoring import SqliteTarget
from tests.copied_logs import copied, copy_killed, everything, many, nothing_told, oddities, opened, story
from tests.facts_by_hand import Pen
from tests.folded import Registry
from tests.random_logs import Written, logs

# Copies one embedded log into another in small batches, and says after each how far it is.
PROGRAM = """
import sys
from pathlib import Path
from deedbook.events import copying
from deedbook.events.sqlite_log import SqliteLog
from deedbook.events.sqlite_restoring import SqliteTarget
copying.MAX_RECORDS = 25
target = SqliteTarget(Path(sys.argv[2]))
copy = copying.Copy(SqliteLog(Path(sys.argv[1])), target)
copy.look(on_progress=lambda done, total: None)
copy.carry(on_progress=lambda done, total: print(done, flush=True))
target.finish()
"""


# --- the header ----------------------------------------------------------------------------------


def test_a_record_says_where_it_was_copied_from() -> None:
    """Partition, position, time, and the source where it is named, as the last header."""
    origin = CopiedFrom(3, 17, 1_394_000_000_123_457, "kafka=a registry=b")

    headers = stamped((("a", b"1"), ("a", b"2")), origin)

    assert (("a", b"1"), ("a", b"2")) == headers[:2]
    assert origin == copied_from(headers)


def test_what_an_older_copy_said_is_replaced() -> None:
    """A copy of a copy says where its own source had the record."""
    first = stamped((("a", b"1"),), CopiedFrom(0, 1, 5))

    assert (("a", b"1"), ("ce_copiedfrom", b"2 4 5")) == stamped(first, CopiedFrom(2, 4, 5))


@pytest.mark.parametrize("value", [b"", b"1 2", b"1 2 three", b"\xff 1 2 3", b"x" * 600 + b" 1 2 3"])
def test_a_header_that_says_no_such_thing_is_none(value: bytes) -> None:
    """Whatever another program wrote there."""
    assert copied_from((("ce_copiedfrom", value),)) is None


# --- the embedded log ----------------------------------------------------------------------------


def test_everything_is_carried_as_it_was(tmp_path: Path) -> None:
    """Bodies, keys, headers in their order, times to the microsecond, of events and of what is none."""
    registry = story(tmp_path / "here")

    with closing(SqliteTarget(tmp_path / "there")) as target:
        outcome = copied(registry.log, target)
        target.finish()

    with opened(tmp_path / "there") as log:
        assert everything(registry.log) == everything(log)
        assert outcome.records == outcome.carried == sum(log.ends(TOPICS).values())


def fold_and_copy(folder: Path, written: Written) -> None:
    """Fold a log and a copy of it; compare both."""
    here, there = Registry(folder / "here"), folder / "there"
    for topic, record in written.records:
        here.append(record, topic=topic)
    with closing(SqliteTarget(there)) as target:
        copied(here.log, target)
        target.finish()

    copy = Registry(there)

    assert here.fold() == copy.fold()
    assert here.decisions() == copy.decisions()


@settings(max_examples=3)
@given(written=logs())
def test_a_copy_of_any_log_folds_to_the_same_state(
    tmp_path_factory: pytest.TempPathFactory, written: Written
) -> None:
    """Whatever is on it: the hash, which looks at positions, times and decisions, is the same."""
    fold_and_copy(tmp_path_factory.mktemp("copies"), written)


@pytest.mark.soak
@settings(max_examples=100)
@given(written=logs())
def test_copies_of_many_logs_fold_to_the_same_state(
    tmp_path_factory: pytest.TempPathFactory, written: Written
) -> None:
    """The test above, for as long as somebody has patience."""
    fold_and_copy(tmp_path_factory.mktemp("copies"), written)


def test_nobody_opens_an_unfinished_copy(tmp_path: Path) -> None:
    """Neither to read it nor to write to it, until it is whole."""
    registry = story(tmp_path / "here")
    with closing(SqliteTarget(tmp_path / "there")) as target:
        copied(registry.log, target)
        with pytest.raises(InvalidInput, match="is an unfinished copy: give the same `deedbook copy` again"):
            SqliteLog(tmp_path / "there")

        target.finish()

    with opened(tmp_path / "there") as log:
        assert everything(registry.log) == everything(log)


def test_a_killed_copy_goes_on_where_it_was(tmp_path: Path) -> None:
    """Killed after its first batch, and in the middle, twice: nothing is missing and nothing is twice."""
    here, there = tmp_path / "here", tmp_path / "there"
    with closing(SqliteLog.create(here)) as log:
        many(log, 900)

    ended = [copy_killed(PROGRAM, str(here), str(there), after=after) for after in (1, 7, 7, 0)]

    assert [-signal.SIGKILL] * 3 + [0] == ended
    with opened(here) as source, opened(there) as copy:
        assert everything(source) == everything(copy)


@pytest.mark.soak
def test_a_copy_killed_again_and_again_is_whole_in_the_end(tmp_path: Path) -> None:
    """Killed at random, wherever it is, two hundred times."""
    here, there = tmp_path / "here", tmp_path / "there"
    with closing(SqliteLog.create(here)) as log:
        many(log, 60_000)
    chance = random.Random(4)  # noqa: S311 - no secret

    for _ in range(200):
        copy_killed(PROGRAM, str(here), str(there), after=chance.randint(1, 12))
    assert 0 == copy_killed(PROGRAM, str(here), str(there), after=0)

    with opened(here) as source, opened(there) as copy:
        assert everything(source) == everything(copy)


def test_what_is_appended_while_copying_is_carried_too(tmp_path: Path) -> None:
    """The source is in use: the copy ends when nothing is new."""
    registry = story(tmp_path / "here")
    more = iter([3, 2, 1])

    def grow(_done: int, _total: int) -> None:
        for _ in range(next(more, 0)):
            registry.append(*oddities(METRICS)[:2], topic=METRICS)

    with closing(SqliteTarget(tmp_path / "there")) as target:
        copy = Copy(registry.log, target)
        copy.look(on_progress=grow)
        copy.carry(on_progress=grow)
        target.finish()

    with opened(tmp_path / "there") as log:
        assert everything(registry.log) == everything(log)


def test_a_finished_copy_is_brought_up_to_date(tmp_path: Path) -> None:
    """As long as nobody has written to it, what is new in the source is added; else nothing is."""
    registry = story(tmp_path / "here")
    with closing(SqliteTarget(tmp_path / "there")) as target:
        copied(registry.log, target)
        target.finish()
    registry.append(*oddities(METRICS), topic=METRICS)

    carried = []
    for _ in range(2):
        with closing(SqliteTarget(tmp_path / "there")) as target:
            carried.append(copied(registry.log, target).carried)
            target.finish()

    assert [len(oddities(METRICS)), 0] == carried
    with opened(tmp_path / "there") as log:
        assert everything(registry.log) == everything(log)


def test_the_copy_of_another_registry_is_not_added_to(tmp_path: Path) -> None:
    """Two histories are never mixed, finished or not."""
    first, second = story(tmp_path / "first"), story(tmp_path / "second")
    with closing(SqliteTarget(tmp_path / "there")) as target:
        copied(first.log, target)

        with pytest.raises(InvalidInput, match="holds a copy of another log"):
            copied(second.log, target)


def test_a_registry_with_records_of_its_own_is_no_place_for_a_copy(tmp_path: Path) -> None:
    """One record is enough, and it stays alone."""
    registry = story(tmp_path / "here")
    with closing(SqliteLog.create(tmp_path / "there")) as log:
        log.append(METRICS, [NewRecord(b"mine")])

    with (
        closing(SqliteTarget(tmp_path / "there")) as target,
        pytest.raises(InvalidInput, match="holds metrics:0:0, which is no copy: copy into an empty place"),
    ):
        copied(registry.log, target)

    with opened(tmp_path / "there") as log:
        assert 1 == sum(log.ends(TOPICS).values())


def test_a_finished_copy_that_was_used_since_is_a_registry_of_its_own(tmp_path: Path) -> None:
    """What was logged there would be lost between the source's records."""
    registry = story(tmp_path / "here")
    with closing(SqliteTarget(tmp_path / "there")) as target:
        copied(registry.log, target)
        target.finish()
    with opened(tmp_path / "there") as log:
        log.append(REGISTRY, [NewRecord(b"new")])

    with closing(SqliteTarget(tmp_path / "there")) as target, pytest.raises(InvalidInput, match="is no copy"):
        copied(registry.log, target)


def test_a_registry_is_not_copied_into_itself(tmp_path: Path) -> None:
    """By whatever name it is called."""
    registry = story(tmp_path / "here")
    (tmp_path / "alias").symlink_to(tmp_path / "here")

    with (
        closing(SqliteTarget(tmp_path / "alias")) as target,
        pytest.raises(InvalidInput, match="into itself"),
    ):
        copied(registry.log, target)


def test_a_damaged_record_stops_the_copy_before_anything_is_written(tmp_path: Path) -> None:
    """What it was is not known, so it can't be carried: the sentence says where it is and what to do."""
    registry = story(tmp_path / "here")
    with closing(sqlite3.connect(tmp_path / "here" / "log.db")) as connection, connection:
        connection.execute("update metrics set value = 'other' where position = 2")

    with (
        closing(SqliteTarget(tmp_path / "there")) as target,
        pytest.raises(
            LogDamaged, match="metrics:0:2 is damaged in the registry to copy from: `deedbook check`"
        ),
    ):
        copied(registry.log, target)

    assert not (tmp_path / "there").exists()


def test_a_second_copy_at_the_same_time_ends_with_a_sentence(tmp_path: Path) -> None:
    """Both would write the same records: the later one stops before it writes any."""
    registry = story(tmp_path / "here")
    with (
        closing(SqliteTarget(tmp_path / "there")) as target,
        closing(SqliteTarget(tmp_path / "there")) as other,
    ):
        slow = Copy(registry.log, target)
        slow.look(on_progress=nothing_told)
        target.begin()
        copied(registry.log, other)

        with pytest.raises(LogUnavailable, match="another program has written to"):
            slow.carry(on_progress=nothing_told)

        other.finish()
    with opened(tmp_path / "there") as log:
        assert everything(registry.log) == everything(log)


def test_a_copy_is_written_to_as_any_registry(tmp_path: Path) -> None:
    """Positions go on after those that were carried, and the same is decided on top of them."""
    registry = story(tmp_path / "here")
    with closing(SqliteTarget(tmp_path / "there")) as target:
        copied(registry.log, target)
        target.finish()
    there = Registry(tmp_path / "there")
    registry.fold()
    there.fold()

    new = Pen().logged("after the move", event="after the move")
    assert registry.append(new) == there.append(new)
    registry.fold()
    there.fold()

    assert registry.decisions() == there.decisions()
