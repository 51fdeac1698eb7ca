"""The announcer: it finds where it was by what it said, whatever else is on the topic."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deedbook.consumers import announced
from deedbook.consumers.announcer import SOURCE_POSITION, Announcer, Patience
from deedbook.events.errors import LogUnavailable
from deedbook.events.facts import REGISTRY, VALIDATIONS, TrainingLogged, ValidationRequested, VerdictIssued
from deedbook.events.log import NewRecord
from deedbook.events.sqlite_log import SqliteLog
from tests.caught_up import caught_up
from tests.facts_by_hand import Pen, training
from tests.folded import NOON, Registry, Ticking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deedbook.events.log import Log


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a registry with three trainings, of which each waits for a verdict."""
    registry = Registry(tmp_path_factory.mktemp("folded") / "registry")
    pen = Pen()
    registry.append(*(TrainingLogged(**pen.envelope(), training=training(name)) for name in ("a", "b", "c")))
    registry.fold()
    registry.log.close()
    return registry.folder


@pytest.fixture
def registry(folded: Path, tmp_path: Path) -> Registry:
    """A copy of that one."""
    return Registry(Path(shutil.copytree(folded, tmp_path / "registry")))


def announce(registry: Registry, log: Log | None = None, announcer: Announcer | None = None) -> int:
    """Fold what is new and announce what follows; return how much was said."""
    announcer = announcer or Announcer(log or registry.log, registry.codec, clock=Ticking())
    before = registry.log.end(VALIDATIONS)
    with caught_up(registry) as store:
        while not announcer.announce(store.connection):
            pass
    return registry.log.end(VALIDATIONS) - before


def ordered(registry: Registry) -> list[str]:
    """Whose validation was requested, each time."""
    found = [registry.codec.decode(record) for record in registry.log.read(VALIDATIONS, 0, 0) if record.key]
    return [fact.training.training_id for fact in found if isinstance(fact, ValidationRequested)]


IDS = [training(name).training_id for name in ("a", "b", "c")]


class HalfGone(SqliteLog):
    """A log that a batch reaches in part, as one of several partitions that a broker's loss cuts off."""

    def append(
        self, topic: str, records: Sequence[NewRecord], *, timeout_seconds: float = 30.0
    ) -> list[tuple[int, int]]:
        """Append all but the first record, and say that it is not known what was."""
        super().append(topic, records[1:], timeout_seconds=timeout_seconds)
        raise LogUnavailable("some partitions did not answer")


def test_of_a_batch_that_got_through_in_part_the_rest_is_announced_again(registry: Registry) -> None:
    """Nothing waits for ever because something behind it was said."""
    with pytest.raises(LogUnavailable):
        announce(registry, HalfGone(registry.folder))

    announce(registry)

    assert set(IDS) == set(ordered(registry))


def test_what_was_announced_is_not_announced_again(registry: Registry) -> None:
    """Neither by the same announcer, nor by one that starts anew."""
    announcer = Announcer(registry.log, registry.codec, clock=Ticking())

    assert [3, 0, 0] == [announce(registry, announcer=a) for a in (announcer, announcer, None)]


@pytest.mark.parametrize("position", [b"", b"no number", b"-7", b"9" * 30, b"1000000"])
def test_what_others_put_on_the_topic_hides_nothing(registry: Registry, position: bytes) -> None:
    """A record without a position, or with one that is still to come, is no word of what is announced."""
    announce(registry)
    foreign = NewRecord(b"foreign", b"", ((SOURCE_POSITION, position),) if position else ())
    registry.append(*([foreign] * 250), topic=VALIDATIONS)
    registry.append(TrainingLogged(**Pen("bob").envelope(), training=training("d")))

    assert 1 == announce(registry)
    assert [*IDS, training("d").training_id] == ordered(registry)


def test_announcers_that_take_turns_say_everything_between_them(registry: Registry) -> None:
    """Each notices that the other one writes, too."""
    first, second = (Announcer(registry.log, registry.codec, clock=Ticking()) for _ in range(2))
    for number, announcer in enumerate((first, second, first, second)):
        registry.append(TrainingLogged(**Pen(f"bob {number}").envelope(), training=training(f"n{number}")))
        announce(registry, announcer=announcer)

    assert [*IDS, *(training(f"n{number}").training_id for number in range(4))] == list(
        dict.fromkeys(ordered(registry))
    )


class Clock:
    """A time that stands still until it is set, in microseconds."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> int:
        """Return it."""
        return self.now


def test_very_many_orders_that_nobody_answers_hold_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are announced again, and given up at last, a bounded part each time; so is what was said before read."""
    monkeypatch.setattr(announced, "_READ_MOST", 300)
    clock, pen = Clock(), Pen()
    registry = Registry(tmp_path, SqliteLog.create(tmp_path, clock=clock))
    names = [f"training {number}" for number in range(450)]
    registry.append(*(TrainingLogged(**pen.envelope(), training=training(name)) for name in names))
    announcer = Announcer(
        registry.log, registry.codec, clock=clock, patience=Patience(seconds=3600.0, attempts=2)
    )
    with caught_up(registry) as store:
        parts = [announcer.announce(store.connection) for _ in range(4)]
        early = announcer.remind(store.connection)
        clock.now += 3_601_000_000
        again = [announcer.remind(store.connection) for _ in range(6)]
        clock.now += 3_601_000_000
        given_up = [announcer.remind(store.connection) for _ in range(3)]

    assert [False, False, True, True] == parts
    assert (0, [0, 200, 200, 50, 0, 0]) == (early, again)
    assert 2 * [training(name).training_id for name in names] == ordered(registry)
    assert (450, 200) == (sum(given_up), max(given_up))
    verdicts = [registry.codec.decode(record) for record in registry.log.read(REGISTRY, 0, 450)]
    assert {training(name).training_id for name in names} == {
        fact.training_id for fact in verdicts if isinstance(fact, VerdictIssued)
    }
