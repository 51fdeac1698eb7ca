"""Golden logs: what a release decided, every later release decides."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from deedbook import __version__
from deedbook.events import facts
from deedbook.events.log import NewRecord
from deedbook.events.sqlite_log import SqliteLog
from tests.folded import Registry
from tests.golden.write_log import decisions

FOLDER = Path(__file__).parent / "golden" / "logs"
RELEASES = sorted(path.name.removesuffix(".jsonl") for path in FOLDER.glob("*.jsonl"))


def outcome_of(release: str) -> dict[str, Any]:
    """What was decided when the release's golden log was written."""
    outcome: dict[str, Any] = json.loads((FOLDER / f"{release}.outcome.json").read_text(encoding="utf-8"))
    return outcome


def logged_again(release: str, folder: Path) -> Registry:
    """The release's golden log, recorded at the times it was recorded at."""
    lines = [json.loads(line) for line in (FOLDER / f"{release}.jsonl").read_text("utf-8").splitlines()]
    times = iter([line["recorded_at"] for line in lines])
    registry = Registry(folder)
    registry.log.close()
    registry.log = SqliteLog(folder, clock=lambda: next(times))
    for line in lines:
        record = NewRecord(
            value=base64.b64decode(line["value"]),
            key=base64.b64decode(line["key"]),
            headers=tuple((name, base64.b64decode(value)) for name, value in line["headers"]),
        )
        registry.append(record, topic=line["topic"])
    return registry


def test_this_release_has_a_golden_log() -> None:
    """Made by `tests/golden/write_log.py` when the version changes."""
    assert __version__ in RELEASES


@pytest.mark.parametrize("release", RELEASES)
def test_a_golden_log_folds_to_what_its_release_decided(release: str, tmp_path: Path) -> None:
    """Every decision, every reason, and the whole state."""
    registry = logged_again(release, tmp_path)

    folded = registry.fold()

    assert outcome_of(release)["decisions"] == decisions(registry)
    assert outcome_of(release)["state_hash"] == folded


@pytest.mark.parametrize("release", RELEASES)
def test_a_golden_log_folds_to_the_same_state_one_event_at_a_time(release: str, tmp_path: Path) -> None:
    """Batches decide nothing."""
    assert outcome_of(release)["state_hash"] == logged_again(release, tmp_path).fold(max_records=1)


def test_the_golden_log_of_this_release_holds_every_event_type_and_every_decision(tmp_path: Path) -> None:
    """Types that no fold reads are on their own topics; what is no event is in quarantine."""
    registry = logged_again(__version__, tmp_path)
    registry.fold()
    made = outcome_of(__version__)["decisions"]
    told = {kind for _, _, kind, _, _ in made}
    for topic in (facts.VALIDATIONS, facts.DEPLOYMENTS):
        told |= {type(registry.codec.decode(record)).__name__ for record in registry.log.read(topic, 0, 0)}

    assert {fact.__name__ for fact in facts.FACTS} == told
    assert {"accepted", "ignored", "rejected"} == {decision for _, _, _, decision, _ in made}
    assert [(2,)] == registry.ask("select count(*) from quarantine")
