"""What may stand on a topic on Kafka beside events: the same event again, what is none, and transactions' markers."""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING

import pytest

from deedbook.consumers.quarantining import FROM
from deedbook.events.facts import METRICS, QUARANTINE, REGISTRY
from deedbook.events.kafka.settings import kafka_settings
from deedbook.events.log import NewRecord
from deedbook.projector.checkup import Severity, check_log
from deedbook.projector.rebuild import fold_anew
from tests.facts_by_hand import SERVICE, Pen
from tests.kafka_poison import POISONS, Stranger, raw, transactional
from tests.kafka_registry import done, doubled, eventually, records_of, registry_at, tell
from tests.later_release import by_schema, newer
from tests.pure_fold import PureFold

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deedbook.events.facts import Fact
    from tests.folded import Registry


@pytest.fixture
def registry(kafka_url: str, tmp_path: Path) -> Iterator[Registry]:
    """An empty registry on the run's Kafka."""
    with registry_at(kafka_url, tmp_path / "registry") as registry:
        yield registry


# --- the same again, and what is no event --------------------------------------------------------


def _next_fact(fold: PureFold, chance: random.Random, names: list[str]) -> Fact:
    """One more event, about a training that is there or a new one."""
    kind = chance.random()
    if kind < 0.4 or len(names) < 3:
        names.append(f"t{len(names)}")
        return fold.pen.logged(names[-1], city=f"city {chance.randrange(50)}")
    name = chance.choice(names[-30:])
    if kind < 0.65:
        return fold.verdict(name)
    if kind < 0.7:
        return fold.pen.overridden(name, deployable=chance.random() < 0.8)
    if kind < 0.705:  # rare, as in life: each is a transaction of the projector's own
        return fold.pen.amended(name, mse=chance.random())
    if kind < 0.85:
        return fold.pen.deploy(f"r{chance.randrange(len(names))}", name)
    if kind < 0.9:
        return fold.pen.activate(f"r{chance.randrange(len(names))}", service=SERVICE)
    return fold.pen.steps(name, chance.randrange(3))


def write(
    registry: Registry, stranger: Stranger, count: int, one_in: int, chance: random.Random
) -> tuple[PureFold, int]:
    """Append events, each one to three times, and one poison in so many records; return what they come to."""
    fold, names = PureFold(), list[str]()
    later: list[tuple[int, Fact]] = []  # after how many events which one comes again
    sent = 0
    for number in range(count):
        due = [fact for when, fact in later if when <= number]
        later = [(when, fact) for when, fact in later if when > number]
        for fact in (_next_fact(fold, chance, names), *due):
            again = fact in due
            fold.add(fact)
            stranger.send(fact.topic, raw(registry.codec.encode(fact)))
            sent += 1
            if not again:
                later += [(number + chance.randrange(60), fact) for _ in range(chance.randrange(3))]
            if chance.randrange(one_in) == 0:
                topic = chance.choice([REGISTRY, REGISTRY, METRICS])
                poison = POISONS[len(stranger.places) % len(POISONS)]
                stranger.send(topic, poison(registry.codec.encode(fact), chance), noted=True)
                stranger.flush()
                fold.positions[topic] += 1
    stranger.flush()
    return fold, sent


def poisoned(url: str, registry: Registry, count: int, one_in: int) -> str:
    """Fold what was written so, and hold it against the fold of what counts; return the figures."""
    began = time.monotonic()
    chance = random.Random(count)  # noqa: S311 - no secret
    stranger = Stranger(kafka_settings(url))
    fold, sent = write(registry, stranger, count, one_in, chance)
    ended = done(url, registry.folder, "state-hash", within_seconds=300)
    assert 0 == ended.status, ended
    live, positions = ended.out.strip().split("  ")

    assert len(POISONS) <= len(stranger.places)
    assert [
        (event.position, type(decision).__name__.lower(), getattr(decision, "reason", ""))
        for event, decision in fold.decisions
        if event.topic == REGISTRY
    ] == registry.ask("select position, decision, reason from base.event where topic = 'registry' order by 1")
    assert sorted(stranger.places) == registry.ask(
        "select topic, partition, position from base.quarantine order by all"
    )
    assert sorted(":".join(map(str, place)) for place in stranger.places) == sorted(
        dict(record.headers)[FROM].decode() for record in records_of(registry.log, QUARANTINE)
    )
    assert [] == doubled(registry)
    assert fold_anew(registry.log, registry.folder / "fresh.duckdb") == (live, positions)
    seconds = time.monotonic() - began
    return (
        f"{count:,} events sent {sent:,} times, {len(stranger.places)} poisonous records of {len(POISONS)} kinds among "
        f"them: all of those in quarantine, 0 lost, 0 doubled, each decision that of the pure fold; {seconds:.0f} s"
    )


def test_duplicates_and_poison_change_nothing_of_what_counts(kafka_url: str, registry: Registry) -> None:
    """Each record that is no event is in quarantine, and on its topic; a check-up names it."""
    assert "0 lost" in poisoned(kafka_url, registry, 80, 4)
    checked = done(kafka_url, registry.folder, "check", "--json")
    found = json.loads(checked.out)

    assert (0, True) == (checked.status, found["ok"])
    assert {
        ":".join(map(str, place))
        for place in registry.ask("select topic, partition, position from base.quarantine")
    } == {finding["where"] for finding in found["findings"] if finding["severity"] == "warning"}


@pytest.mark.soak
def test_of_many_thousand_events_one_in_a_thousand_poisonous(
    kafka_url: str, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """The long version."""
    tell(capsys, poisoned(kafka_url, registry, 30_000, 1_000))


# --- transactions of others ----------------------------------------------------------------------


def test_what_a_transaction_took_back_never_counts_and_its_gaps_stop_nobody(
    kafka_url: str, registry: Registry
) -> None:
    """Markers and aborted records leave positions without events, at the end of the log, too."""
    pen = Pen()
    good = registry.append(*(pen.logged(name) for name in "ab"))
    stranger = transactional(kafka_settings(kafka_url))
    for turn, keep in enumerate([True, False, True, False, False]):
        stranger.producer.begin_transaction()
        for name in "xyz":
            fact = pen.logged(f"{name} {turn} {keep}")
            stranger.send(REGISTRY, raw(registry.codec.encode(fact)), noted=keep)
        if keep:
            stranger.producer.commit_transaction(30)
        else:
            stranger.producer.flush(30)
            stranger.producer.abort_transaction(30)
        registry.fold(max_records=2)
    stranger.producer.begin_transaction()
    stranger.send(REGISTRY, raw(registry.codec.encode(pen.logged("open"))))
    stranger.producer.flush(30)
    in_time = registry.fold()
    stranger.producer.abort_transaction(30)
    good += registry.append(pen.logged("c"))
    in_bites = registry.fold(max_records=1)

    assert sorted([*good, *(position for _, _, position in stranger.places)]) == [
        position for (position,) in registry.ask("select position from base.event order by position")
    ]
    assert in_bites == registry.fold("at once")
    assert in_time != in_bites
    assert [] == check_log(registry.log)


@pytest.mark.soak
def test_a_transaction_that_is_left_open_holds_up_what_comes_after_it_until_its_time_is_over(
    kafka_url: str, registry: Registry
) -> None:
    """What was acknowledged meanwhile is read then; the one who left counts for nothing."""
    pen = Pen()
    stranger = transactional(kafka_settings(kafka_url), **{"transaction.timeout.ms": 5_000})
    stranger.producer.begin_transaction()
    stranger.send(REGISTRY, raw(registry.codec.encode(pen.logged("x"))))
    stranger.producer.flush(30)
    (position,) = registry.append(pen.logged("a"))
    before = registry.fold()
    eventually(lambda: registry.log.read(REGISTRY, 0, 0, timeout_seconds=1), "the transaction's time is over")

    assert before != registry.fold()
    assert [(position,)] == registry.ask("select position from base.event")


def test_records_after_a_gap_are_read_whatever_end_was_seen_before(
    kafka_url: str, registry: Registry
) -> None:
    """A read that came to the gap's end, where the log had ended, once said that nothing was there."""
    pen = Pen()
    registry.append(*(pen.logged(name) for name in "ab"))
    stranger = transactional(kafka_settings(kafka_url))
    stranger.producer.begin_transaction()
    stranger.send(REGISTRY, raw(registry.codec.encode(pen.logged("x"))))
    stranger.producer.flush(30)
    stranger.producer.abort_transaction(30)
    while registry.log.end(REGISTRY) < 4:  # the marker is there, and not yet to be passed
        time.sleep(0.01)
    assert 2 == len(registry.log.read(REGISTRY, 0, 0, max_records=2))
    time.sleep(0.5)  # what was fetched ahead has come to the end
    registry.append(*(pen.logged(name) for name in "cde"))

    assert [4, 5, 6] == [record.position for record in registry.log.read(REGISTRY, 0, 2)]


def test_a_check_up_reads_all_that_comes_after_a_gap(kafka_url: str, registry: Registry) -> None:
    """Each finding is told at its own record: records are not counted where positions are meant."""
    pen = Pen()
    registry.append(pen.logged("a"))
    stranger = transactional(kafka_settings(kafka_url))
    stranger.producer.begin_transaction()
    stranger.send(REGISTRY, raw(registry.codec.encode(pen.logged("x"))))
    stranger.producer.flush(30)
    stranger.producer.abort_transaction(30)
    unknown, damaged, _ = registry.append(
        by_schema(newer(), pen.logged("b"), weather="hot"), NewRecord(b"no event"), pen.logged("c")
    )

    assert [
        (Severity.ERROR, f"registry:0:{unknown}"),
        (Severity.WARNING, f"registry:0:{damaged}"),
    ] == [(finding.severity, finding.where) for finding in check_log(registry.log)]
