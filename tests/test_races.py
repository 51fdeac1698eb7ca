"""Many processes at once, and processes that are killed: one outcome, and nothing lost or counted twice."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deedbook.events.codec import Codec
from deedbook.events.errors import DeedbookError, ProjectionFenced
from deedbook.projector.loop import Projector
from deedbook.projector.projection import Projection
from deedbook.projector.rebuild import fold_anew, rebuild
from deedbook.projector.state_hash import state_hash
from deedbook.projector.store import Batch
from tests.facts_by_hand import Pen, by_city, id_of
from tests.folded import Registry
from tests.pure_fold import PureFold
from tests.racers import projectors, started

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """An empty registry."""
    registry = Registry(tmp_path / "registry")
    yield registry
    registry.log.close()


# --- the same release ----------------------------------------------------------------------------


@pytest.mark.parametrize("racers", [12, pytest.param(64, marks=pytest.mark.soak)])
def test_of_many_who_bind_a_release_at_once_exactly_one_does(registry: Registry, racers: int) -> None:
    """Each a process of its own; all but one are told who was first, and where."""
    fold = PureFold()
    facts = [fold.pen.policy(by_city()), fold.pen.logged("a")]
    fold.accept(*facts)
    registry.append(*facts, fold.verdict("a"))
    assert 0 == started("bind", registry.folder, racers).wait()
    answers = [(registry.folder / f"answer {n}").read_text().split("\n") for n in range(racers)]
    (winner,) = [number for number, (decision, _) in enumerate(answers) if decision == "accepted"]

    reason = (
        "release A of pricing-api in production is bound since position 3, by deployment "
        f"{id_of(f'of pipeline {winner}')}; a new model is a new release"
    )
    assert Counter({("accepted", "None"): 1, ("rejected", reason): racers - 1}) == Counter(
        (decision, why) for decision, why in answers
    )


# --- two projectors ------------------------------------------------------------------------------


@pytest.mark.parametrize("folded", [0, 1])
def test_a_projector_whose_file_was_moved_on_stops(registry: Registry, folded: int) -> None:
    """Two start from the same position; the second to commit writes nothing, and says so."""
    pen = Pen()
    registry.append(*(pen.logged(name) for name in "abc"[:folded]))
    registry.fold()
    with registry.store() as store:
        before = store.progress("registry")
        registry.append(pen.logged("d"))
        Projector(registry.log, store, Codec()).catch_up()
        state = state_hash(store.connection)
        late = Batch("registry", 0, before, replace(before, next_position=99), [], [], {})
        with pytest.raises(
            ProjectionFenced,
            match=f"another projector has folded registry:0 past position {folded}; this one",
        ):
            store.commit(late)
        assert state == state_hash(store.connection)
        with pytest.raises(DeedbookError, match="could not be written before: open it anew to go on"):
            store.commit(late)


def test_two_who_use_one_projection_wait_for_each_other(registry: Registry) -> None:
    """Each sees what it appended; nobody fails."""
    assert 0 == started("count", registry.folder, 3).wait()
    assert registry.fold() == registry.fold("fresh")
    assert [(12, 12)] == registry.ask("select count(*), max(version) from trainings")


# --- killed at any moment ------------------------------------------------------------------------


def killed_projectors(registry: Registry, kills: int, chance: random.Random) -> Counter[str]:
    """Start a projector and kill it at a random moment, again and again; count what it was at."""
    seen: Counter[str] = Counter()
    folder = registry.folder
    opened = folder / "open"
    with projectors("fold_on", folder) as process:
        for _ in range(kills):
            opened.unlink(missing_ok=True)
            projector = process.start(chance.choice([1, 5, 40, 1_000]))
            if chance.random() < 0.8:  # else it is killed while it starts
                wait_for(opened)
            time.sleep(chance.uniform(0, 0.4))
            seen["with a journal"] += (folder / "projection.duckdb.wal").exists()
            os.kill(projector, signal.SIGKILL)
            seen["killed"] += process.status() == -signal.SIGKILL
            if chance.random() < 0.5:  # somebody looks at it, and writes nothing
                registry.ask("select 1")
    return seen


def wait_for(path: Path) -> None:
    """Wait until a file is there."""
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.01)


def kill_often(registry: Registry, kills: int, writers: int) -> None:
    """Kill projectors while others append; then fold what is left, and compare with a fold from zero."""
    writing = started("write_on", registry.folder, writers)
    try:
        seen = killed_projectors(registry, kills, random.Random(kills))  # noqa: S311 - no secret
    finally:
        (registry.folder / "stop").touch()
        ended = writing.wait()

    assert 0 == ended
    assert kills == seen["killed"]
    assert 0 < seen["with a journal"]
    assert registry.fold() == registry.fold("fresh")
    assert [(0,)] == registry.ask("select count(*) from quarantine")
    (ignored,) = registry.ask("select count(*) from events where decision = 'ignored' and topic = 'registry'")
    assert ignored == registry.ask("select 2 * count(*) from base.deployment")[0]


def test_a_projector_killed_again_and_again_ends_with_the_state_of_a_fold_from_zero(
    registry: Registry,
) -> None:
    """A short version of the soak below."""
    kill_often(registry, 5, writers=3)


@pytest.mark.soak
def test_a_projector_killed_two_hundred_times_ends_with_the_state_of_a_fold_from_zero(
    registry: Registry,
) -> None:
    """At random moments, in commits too, while eight processes append."""
    kill_often(registry, 200, writers=8)


@pytest.mark.parametrize("step", [13, pytest.param(1, marks=pytest.mark.soak)])
def test_a_projector_killed_after_any_statement_goes_on_where_it_was(registry: Registry, step: int) -> None:
    """Before, within and after each commit: a batch is there wholly or not at all."""
    fold = PureFold()
    fold.accept(fold.pen.policy(by_city()))
    fold.passing("a", "b", "c")
    fold.accept(fold.pen.deploy("A", "a"), fold.pen.amended("b", mse=2.0), fold.pen.steps("a"))
    registry.append(*fold.facts)
    with projectors("fold_and_die", registry.folder) as process:
        for at in range(0, 120, step):
            process.start(at)
            assert -signal.SIGKILL == process.status()
            registry.append(fold.pen.logged(f"after {at}"))
            with registry.store() as store:
                (events, position) = store.connection.execute(
                    "select (select count(*) from events where topic = 'registry'), "
                    "coalesce(max(next_position), 0) from base.progress where topic = 'registry'"
                ).fetchone() or (None, None)
            assert events == position

    assert registry.fold() == registry.fold("fresh")


def test_what_a_killed_projector_knew_is_found_after_it_was_opened_and_closed(registry: Registry) -> None:
    """DuckDB 1.5.5 forgot the index entries that it had replayed, if nothing else was written."""
    pen = Pen()
    fact = pen.logged("a")
    registry.append(fact)
    with projectors("fold_and_die", registry.folder) as process:
        process.start(1_000_000)
        assert -signal.SIGKILL == process.status()
    registry.ask("select 1")
    registry.append(fact, pen.logged("a"), pen.logged("b"))
    registry.fold()

    assert ["accepted", "ignored", "ignored", "accepted"] == [
        decision for _, _, decision, _ in registry.decisions()
    ]
    assert [(1,)] == registry.ask("select count(*) from base.baseline")


# --- rebuilt, copied -----------------------------------------------------------------------------


def test_a_rebuilt_projection_is_the_same(registry: Registry) -> None:
    """It says so, before and after."""
    pen = Pen()
    registry.append(*(pen.logged(name) for name in "abc"), pen.steps("a"))
    live = registry.fold()
    rebuilt = rebuild(Projection(registry.folder, registry.log, Codec()), registry.log)

    assert (live, live, "metrics:0:1 registry:0:3") == (rebuilt.before, rebuilt.after, rebuilt.positions)
    assert live == registry.fold()


def test_a_rebuild_mends_what_was_changed_or_destroyed(registry: Registry) -> None:
    """That is what it is for."""
    registry.append(Pen().logged("a"))
    live = registry.fold()
    (registry.folder / "projection.duckdb").write_bytes(b"nothing of use")
    rebuilt = rebuild(Projection(registry.folder, registry.log, Codec()), registry.log)

    assert ("", live) == (rebuilt.before, rebuilt.after)


def test_another_machines_copy_of_the_log_folds_to_the_same_state(registry: Registry, tmp_path: Path) -> None:
    """The log is all that they share."""
    pen = Pen()
    registry.append(*(pen.logged(name) for name in "abc"), pen.steps("a"), pen.loaded("A", "a"))
    live = registry.fold()
    copy = registry.copied(tmp_path / "copy")

    assert live == copy.fold()
    assert live == fold_anew(copy.log, tmp_path / "anew.duckdb")[0]
    copy.log.close()
