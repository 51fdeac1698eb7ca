"""Projectors on Kafka that are killed or stopped at any moment: nothing lost, nothing counted twice, one state."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import pytest

from deedbook.events.facts import DEPLOYMENTS, VALIDATIONS, DeploymentCreated
from deedbook.projector.rebuild import fold_anew
from tests.facts_by_hand import Pen
from tests.folded import Registry
from tests.kafka_racers import projectors, started
from tests.kafka_registry import (
    acknowledged,
    done,
    doubled,
    eventually,
    ids_of,
    lost,
    orders,
    program,
    records_of,
    registry_at,
    tell,
    unannounced,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WRITERS = 8
FEW_WRITERS = 3


@pytest.fixture
def registry(kafka_url: str, tmp_path: Path) -> Iterator[Registry]:
    """An empty registry on the run's Kafka."""
    with registry_at(kafka_url, tmp_path / "registry") as registry:
        yield registry


# --- killed at any moment ------------------------------------------------------------------------


def kill_projectors(url: str, registry: Registry, kills: int, chance: random.Random) -> int:
    """Start `deedbook project` and kill it at a random moment, again and again; count those in mid-write."""
    with_a_journal = 0
    said = registry.folder / "projectors.log"
    journal = registry.folder / "projection.duckdb.wal"
    with projectors(url, registry.folder) as projector:
        for _ in range(kills):
            said.unlink(missing_ok=True)
            pid = projector.start()
            if chance.random() < 0.8:  # else it is killed while it starts
                eventually(lambda: said.exists() and b"Folding" in said.read_bytes(), "a projector folds")
            if chance.random() < 0.3:  # in the middle of a commit, or soon after
                ends_at = time.monotonic() + 1
                while not journal.exists() and time.monotonic() < ends_at:
                    time.sleep(0.001)
            else:
                time.sleep(chance.uniform(0, 0.4))
            with_a_journal += journal.exists()
            os.kill(pid, signal.SIGKILL)
            assert -signal.SIGKILL == projector.status(), said.read_text()
    return with_a_journal


def kill_often(url: str, registry: Registry, kills: int, events: int, writers_count: int = WRITERS) -> str:
    """Kill projectors while processes append, until there are so many kills and events; return the figures."""
    began = time.monotonic()
    writers = started("write_on", url, registry.folder, writers_count, pause_seconds=0.3)
    try:
        journals = kill_projectors(url, registry, kills, random.Random(kills))  # noqa: S311 - no secret
        while len(acknowledged(registry.folder)) < events and writers.poll() is None:
            time.sleep(0.5)
    finally:
        (registry.folder / "stop").touch()
        ended = writers.wait()
    assert 0 == ended
    assert 10 >= kills or 0 < journals
    noted = acknowledged(registry.folder)
    live, positions = done(url, registry.folder, "state-hash", within_seconds=400).out.split("  ")
    anew = fold_anew(registry.log, registry.folder / "fresh.duckdb")

    assert ([], []) == (lost(registry, noted), doubled(registry))
    assert set() == unannounced(registry)
    assert anew == (live, positions.strip())
    assert [(0,)] == registry.ask("select count(*) from quarantine")
    seconds = time.monotonic() - began
    return (
        f"{len(noted):,} events acknowledged to {writers_count} producers, {kills} projectors killed ({journals} with "
        f"a journal open): 0 lost, 0 doubled, state hash {live[:12]} live and anew; {seconds:.0f} s"
    )


def test_projectors_killed_again_and_again_leave_the_state_of_a_fold_from_zero(
    kafka_url: str, registry: Registry
) -> None:
    """A short version of the soak below."""
    assert "0 lost" in kill_often(kafka_url, registry, 4, 300, FEW_WRITERS)


@pytest.mark.soak
def test_projectors_killed_two_hundred_times_leave_the_state_of_a_fold_from_zero(
    kafka_url: str, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """A hundred thousand events and more."""
    tell(capsys, kill_often(kafka_url, registry, 200, 100_000))


# --- stopped, and resumed after another took over ------------------------------------------------


def test_a_stopped_projector_that_is_resumed_holds_the_state_of_the_one_that_took_over(
    kafka_url: str, registry: Registry, tmp_path: Path
) -> None:
    """Each in its own folder: what the first left is announced by the second, and no news has two ids."""
    pen = Pen()
    append = partial(deployable, registry, pen)
    folders = [tmp_path / name for name in ("first", "second")]
    with program(kafka_url, folders[0], "project") as first:
        append("a")
        eventually(lambda: news(registry) == {"a"}, "the first announces")
        first.send_signal(signal.SIGSTOP)
        append("b")
        with program(kafka_url, folders[1], "project") as second:
            eventually(lambda: news(registry) == {"a", "b"}, "the second announces")
            first.send_signal(signal.SIGCONT)
            append("c")
            eventually(lambda: news(registry) == {"a", "b", "c"}, "one of them announces")
            for process in (first, second):
                process.send_signal(signal.SIGTERM)
            assert [0, 0] == [process.wait(60) for process in (first, second)]
    hashes = {Registry(folder, registry.log).fold() for folder in folders}

    assert {fold_anew(registry.log, tmp_path / "fresh.duckdb")[0]} == hashes
    # Two who announce at once may say a thing twice: under one id, which its readers know it by.
    registry.fold()
    assert set() == unannounced(registry)
    assert 3 == len(ids_of(registry.log, DEPLOYMENTS))
    assert set(ids_of(registry.log, VALIDATIONS)) <= orders(registry)


@pytest.mark.soak
def test_projectors_stopped_and_resumed_by_turns_hold_one_state_and_announce_each_thing_once(
    kafka_url: str, registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Forty times, each in its own folder, while eight processes append."""
    began = time.monotonic()
    chance = random.Random(40)  # noqa: S311 - no secret
    folders = [tmp_path / name for name in ("first", "second")]
    writers = started("write_on", kafka_url, registry.folder, WRITERS, pause_seconds=0.5)
    try:
        with ExitStack() as stack:
            both = [stack.enter_context(program(kafka_url, folder, "project")) for folder in folders]
            eventually(
                lambda: all((folder / "projection.duckdb").exists() for folder in folders), "they fold"
            )
            for turn in range(40):
                both[turn % 2].send_signal(signal.SIGSTOP)
                time.sleep(chance.uniform(0.2, 3))
                both[turn % 2].send_signal(signal.SIGCONT)
                time.sleep(chance.uniform(0, 0.5))
            for process in both:
                process.send_signal(signal.SIGTERM)
            assert [0, 0] == [process.wait(60) for process in both]
    finally:
        (registry.folder / "stop").touch()
        ended = writers.wait()
    assert 0 == ended
    assert 0 == done(kafka_url, folders[0], "state-hash", within_seconds=400).status
    first, second = (Registry(folder, registry.log) for folder in folders)
    noted = acknowledged(registry.folder)

    assert {fold_anew(registry.log, tmp_path / "fresh.duckdb")[0]} == {first.fold(), second.fold()}
    assert ([], []) == (lost(first, noted), doubled(first))
    assert set() == unannounced(first)
    assert set(ids_of(registry.log, VALIDATIONS)) <= orders(first)
    said = ids_of(registry.log, VALIDATIONS) + ids_of(registry.log, DEPLOYMENTS)
    tell(
        capsys,
        f"two projectors stopped and resumed 40 times by turns, {len(noted):,} events: one state hash, "
        f"{len(said):,} orders and news, of which {said.total() - len(said):,} came a second time under the same id; "
        f"0 lost, 0 doubled; {time.monotonic() - began:.0f} s",
    )


def test_who_wants_a_projection_that_a_stopped_process_holds_says_so_and_goes_on_later(
    kafka_url: str, registry: Registry
) -> None:
    """It names the folder, and takes it over once the other one has ended."""
    folder = registry.folder
    told = folder / "told"
    pen = Pen()
    with program(kafka_url, folder, "project") as first:
        deployable(registry, pen, "a")
        eventually(lambda: news(registry) == {"a"}, "the first announces")
        first.send_signal(signal.SIGSTOP)
        deployable(registry, pen, "b")
        with program(kafka_url, folder, "project", stderr_path=told, DEEDBOOK_TIMEOUT_SECONDS="0.5"):
            eventually(lambda: "going on as soon as that changes" in told.read_text(), "the second waits")
            first.send_signal(signal.SIGCONT)
            eventually(lambda: news(registry) == {"a", "b"}, "what came is announced")
            first.send_signal(signal.SIGTERM)
            assert 0 == first.wait(60)
            eventually(lambda: "going on: folded up to" in told.read_text(), "the second goes on")

    assert f"{folder} is kept by another process already; going on" in told.read_text()
    assert 2 == len(ids_of(registry.log, DEPLOYMENTS))


def deployable(registry: Registry, pen: Pen, name: str) -> None:
    """A training that waits for a verdict, and the deployment of another that a person let pass."""
    other = pen.logged(f"{name} too", city=name)
    allowed = pen.overridden(f"{name} too", deployable=True)
    registry.append(pen.logged(name, city=f"{name} too"), other, allowed, pen.deploy(name, f"{name} too"))


def news(registry: Registry) -> set[str]:
    """The releases that were announced."""
    facts = [registry.codec.decode(record) for record in records_of(registry.log, DEPLOYMENTS)]
    return {fact.release for fact in facts if isinstance(fact, DeploymentCreated)}
