"""Sixty-four pipelines that bind the same release at the same moment: one does, the others are told why not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from deedbook.projector.rebuild import fold_anew
from tests.facts_by_hand import by_city
from tests.kafka_racers import RACERS, started
from tests.kafka_registry import acknowledged, doubled, lost, registry_at, tell
from tests.pure_fold import PureFold

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.folded import Registry


@pytest.fixture
def registry(kafka_url: str, tmp_path: Path) -> Iterator[Registry]:
    """An empty registry on the run's Kafka."""
    with registry_at(kafka_url, tmp_path / "registry") as registry:
        yield registry


def race(url: str, registry: Registry, rounds: int) -> str:
    """Have 64 processes bind a release at once, round after round; return the figures."""
    began = time.monotonic()
    fold = PureFold()
    facts = [fold.pen.policy(by_city()), fold.pen.logged("a")]
    fold.accept(*facts)
    registry.append(*facts, fold.verdict("a"))
    assert 0 == started("bind", url, registry.folder, RACERS, rounds=rounds).wait()
    noted = acknowledged(registry.folder)
    state = registry.fold()
    answers = registry.ask(
        "select release, decision, count(*), count(distinct reason), min(position), max(reason) "
        "from base.deployment group by all"
    )
    bound = {release: place for release, decision, _, _, place, _ in answers if decision == "accepted"}

    assert RACERS * rounds == len(noted)
    assert {
        (f"r{turn}", *answer)
        for turn in range(rounds)
        for answer in (("accepted", 1, 1), ("rejected", RACERS - 1, 1))
    } == {answer[:4] for answer in answers}
    assert all(
        reason.startswith(
            f"release {release} of pricing-api in production is bound since position {bound[release]}"
        )
        for release, decision, *_, reason in answers
        if decision == "rejected"
    )
    assert ([], []) == (lost(registry, noted), doubled(registry))
    assert state == fold_anew(registry.log, registry.folder / "fresh.duckdb")[0]
    return (
        f"{RACERS} pipelines, {rounds} rounds, {len(noted):,} requests: in each round 1 accepted and {RACERS - 1} "
        f"rejected with the winner's position; 0 lost, 0 doubled; {time.monotonic() - began:.0f} s"
    )


def test_of_many_who_bind_a_release_at_once_on_kafka_exactly_one_does(
    kafka_url: str, registry: Registry
) -> None:
    """Each other one is told who was first, and where."""
    assert "1 accepted" in race(kafka_url, registry, 1)


@pytest.mark.soak
def test_of_many_who_bind_a_release_at_once_exactly_one_does_two_hundred_times(
    kafka_url: str, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """The long version."""
    tell(capsys, race(kafka_url, registry, 200))
