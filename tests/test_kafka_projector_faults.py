"""Projectors on Kafka that are killed or stopped at any moment: nothing lost, nothing counted twice, one state."""

from __future__ import annotations

import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest

from deedbook.projector.rebuild import fold_anew
from tests.folded import Registry
from tests.kafka_racers import projectors, started
from tests.kafka_registry import acknowledged, done, doubled, eventually, lost, registry_at, tell, unannounced

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WRITERS = 8


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
    with projectors(url, registry.folder) as projector:
        for _ in range(kills):
            said.unlink(missing_ok=True)
            pid = projector.start()
            if chance.random() < 0.8:  # else it is killed while it starts
                eventually(lambda: said.exists() and b"Folding" in said.read_bytes(), "a projector folds")
            time.sleep(chance.uniform(0, 0.4))
            with_a_journal += (registry.folder / "projection.duckdb.wal").exists()
            os.kill(pid, signal.SIGKILL)
            assert -signal.SIGKILL == projector.status(), said.read_text()
    return with_a_journal


def kill_often(url: str, registry: Registry, kills: int, events: int) -> str:
    """Kill projectors while eight processes append, until there are so many kills and events; return the figures."""
    began = time.monotonic()
    writers = started("write_on", url, registry.folder, WRITERS, pause_seconds=0.3 if kills > 10 else 0.5)
    try:
        journals = kill_projectors(url, registry, kills, random.Random(kills))  # noqa: S311 - no secret
        while len(acknowledged(registry.folder)) < events and writers.poll() is None:
            time.sleep(0.5)
    finally:
        (registry.folder / "stop").touch()
        ended = writers.wait()
    assert 0 == ended
    assert 0 < journals
    noted = acknowledged(registry.folder)
    live, positions = done(url, registry.folder, "state-hash").out.split("  ")
    anew = fold_anew(registry.log, registry.folder / "fresh.duckdb")

    assert ([], []) == (lost(registry, noted), doubled(registry))
    assert set() == unannounced(registry)
    assert anew == (live, positions.strip())
    assert [(0,)] == registry.ask("select count(*) from quarantine")
    seconds = time.monotonic() - began
    return (
        f"{len(noted):,} events acknowledged to {WRITERS} producers, {kills} projectors killed ({journals} with a "
        f"journal open): 0 lost, 0 doubled, state hash {live[:12]} live and anew; {seconds:.0f} s"
    )


def test_projectors_killed_again_and_again_leave_the_state_of_a_fold_from_zero(
    kafka_url: str, registry: Registry
) -> None:
    """A short version of the soak below."""
    assert "0 lost" in kill_often(kafka_url, registry, 10, 2_000)


@pytest.mark.soak
def test_projectors_killed_two_hundred_times_leave_the_state_of_a_fold_from_zero(
    kafka_url: str, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """A hundred thousand events and more."""
    tell(capsys, kill_often(kafka_url, registry, 200, 100_000))
