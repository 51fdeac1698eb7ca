"""Snapshots: one whole copy of the state that anybody may open, published when there is something new."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import duckdb
import pytest

from deedbook.events.codec import Codec
from deedbook.projector.projection import Projection
from deedbook.projector.readers import Readers
from deedbook.projector.snapshot import Snapshots, remove_left_overs
from tests.facts_by_hand import Pen
from tests.folded import Registry, connected

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE_SECONDS = 60.0


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry with one training in its log."""
    registry = Registry(tmp_path / "registry")
    registry.append(Pen().logged("a"))
    yield registry
    registry.log.close()


@pytest.fixture
def projection(registry: Registry) -> Projection:
    """Its projection."""
    return Projection(registry.folder, registry.log, Codec())


def trainings_in(snapshot: Path) -> int:
    """How many trainings somebody sees who opens a snapshot now."""
    with connected(snapshot) as connection:
        row = connection.execute("select count(*) from trainings").fetchone()
    assert row is not None
    return int(row[0])


def age(snapshot: Path) -> None:
    """Make a snapshot as old as its projection, and that old enough for the next one."""
    found = snapshot.stat()
    os.utime(snapshot, ns=(found.st_atime_ns, found.st_mtime_ns - 2_000_000_000))


def look(projection: Projection) -> None:
    """Catch up and do no more."""
    with projection.caught_up():
        pass


def test_a_change_is_published(projection: Projection) -> None:
    """As soon as whoever caught up is done."""
    look(projection)

    assert 1 == trainings_in(projection.snapshot_path)


def test_a_change_right_after_a_snapshot_is_published_by_the_next_who_looks(
    registry: Registry, projection: Projection
) -> None:
    """Snapshots are a second apart; what came in between is not left out for ever."""
    look(projection)
    registry.append(Pen("bob").logged("b"))
    look(projection)
    age(projection.snapshot_path)
    look(projection)

    assert 2 == trainings_in(projection.snapshot_path)


def test_a_snapshot_that_is_asked_for_has_everything(registry: Registry, projection: Projection) -> None:
    """However young the one before it is."""
    for name in "bcd":
        registry.append(Pen(name).logged(name))
        projection.snapshot()

    assert 4 == trainings_in(projection.snapshot())


def test_nothing_new_is_nothing_published(projection: Projection) -> None:
    """The file stays the same one."""
    first = projection.snapshot().stat()
    second = projection.snapshot().stat()

    assert (first.st_ino, first.st_mtime_ns) == (second.st_ino, second.st_mtime_ns)


def test_who_has_a_snapshot_open_keeps_reading_it(registry: Registry, projection: Projection) -> None:
    """A newer one takes its name, not its content."""
    with connected(projection.snapshot()) as connection:
        registry.append(Pen("bob").logged("b"))
        projection.snapshot()

        assert [(1,)] == connection.execute("select count(*) from trainings").fetchall()


def test_what_a_killed_copy_left_is_removed(registry: Registry, projection: Projection) -> None:
    """Half a snapshot never has the snapshot's name."""
    left_over = registry.folder / "snapshot.duckdb.part-12345"
    left_over.write_bytes(b"half")
    projection.snapshot()

    assert not left_over.exists()


def test_what_killed_readers_left_is_removed_once_it_is_old(tmp_path: Path) -> None:
    """A name keeps a whole file on the disk; one that is young may still be in use."""
    for name, age_seconds in ((".reading-old", 2 * 86_400), (".reading-young", 60)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "snapshot.duckdb").touch()
        then = time.time() - age_seconds
        os.utime(folder, (then, then))

    remove_left_overs(tmp_path)

    assert [tmp_path / ".reading-young"] == list(tmp_path.iterdir())


def test_while_something_happens_all_the_time_snapshots_are_seldom(
    registry: Registry, projection: Projection
) -> None:
    """Once nothing has for a moment, the next one is made; and one that is asked for, without waiting for that."""
    with projection.opened() as (store, projector):
        snapshots = Snapshots(projection.snapshot_path, wake=lambda: None)
        projector.catch_up()
        snapshots.attend(store, store.positions(), Readers(), quiet_seconds=0.0)
        assert 1 == trainings_in(projection.snapshot_path)
        registry.append(Pen("bob").logged("b"))
        projector.catch_up()
        now = store.positions()

        busy, at_rest = (snapshots.due_in_seconds(now, quiet) for quiet in (0.0, 60.0))
        assert 0 < at_rest <= busy
        time.sleep(at_rest)
        assert 0 < snapshots.due_in_seconds(now, 0.0)
        assert 0 == snapshots.due_in_seconds(now, 60.0)
        with ThreadPoolExecutor(1) as waiting:
            asked = waiting.submit(snapshots.holding, now, timeout_seconds=PATIENCE_SECONDS)
            while not asked.done():
                snapshots.attend(store, now, Readers(), quiet_seconds=0.0)
        assert 2 == trainings_in(asked.result())


def test_who_reads_has_all_processors_and_who_folds_a_little_has_none_of_the_others(
    projection: Projection,
) -> None:
    """A small statement is done before another thread is awake."""
    threads = "select current_setting('threads')"
    with projection.caught_up() as connection, duckdb.connect() as plain:
        assert plain.execute(threads).fetchone() == connection.execute(threads).fetchone()
    with projection.opened() as (store, projector):
        projector.catch_up()
        assert (1,) == store.connection.execute(threads).fetchone()
