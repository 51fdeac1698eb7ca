"""Random logs: every event, with few enough names that they collide, and claims that are right or wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from deedbook.events import facts
from deedbook.events.codec import current_schema
from deedbook.events.facts import Outcome
from tests.facts_by_hand import MODEL, by_city, id_of
from tests.pure_fold import PureFold

if TYPE_CHECKING:
    from collections.abc import Callable

    from deedbook.events.log import NewRecord

NAMES = ("a", "b", "c", "d", "e")
EVENTS = ("x", "y")
TOPICS = (facts.REGISTRY, facts.METRICS, facts.HOSTS)
RELEASES = ("A", "B", "C")
POLICIES = (
    by_city(),
    by_city("metric:mae"),
    replace(by_city(), group_by=()),
    replace(by_city(), group_by_all=True, baseline=facts.BaselineRole.LIVE),
    replace(by_city(), model="rent", baseline=facts.BaselineRole.LAST_TRAINED),
)
SCHEMA = current_schema("TrainingLogged")


@dataclass(frozen=True)
class Written:
    """A log as it was written: topics and records in order, and what the fold decided on the way."""

    records: tuple[tuple[str, NewRecord], ...] = field(repr=False)
    fold: PureFold

    def __str__(self) -> str:
        """Return the facts in order, as a failing test prints them."""
        return "\n".join(str(fact) for fact in self.fold.facts)

    __repr__ = __str__


@dataclass(frozen=True)
class Choice:
    """What is drawn for one event; each kind of event uses what it needs."""

    kind: str
    name: str
    other: str
    release: str
    number: int
    slip: str

    @property
    def event(self) -> str:
        """The event's id, by a name that others use, too; mostly one of its own."""
        return self.slip if self.slip in EVENTS else ""


names = st.sampled_from(NAMES)
choices = st.builds(
    Choice,
    kind=st.deferred(lambda: st.sampled_from(sorted(WRITERS))),
    name=names,
    other=names,
    release=st.sampled_from(RELEASES),
    number=st.integers(0, 4),
    slip=st.sampled_from([*[""] * 30, *EVENTS, *TOPICS, "twice", "malformed"]),
)


def _logged(fold: PureFold, c: Choice) -> facts.Fact:
    if c.slip == "malformed":
        return fold.pen.logged(c.name, features=(facts.Feature(name="x"),) * 2)
    mse = (1.5, 1.5, math.nan, math.inf, 1.5)[c.number]
    city = ("Austin", "Dallas")[NAMES.index(c.name) % 2]
    model = "rent" if c.name == NAMES[-1] else MODEL
    return fold.pen.logged(c.name, event=c.event, model=model, mse=mse, city=city)


def _verdict(fold: PureFold, c: Choice) -> facts.Fact:
    known = fold.view.training(id_of(c.name))
    if known is None:
        return fold.pen.verdict(c.name, by_city(), requested_at_position=c.number)
    outcome = (Outcome.PASSED, Outcome.PASSED, Outcome.FAILED, Outcome.ERROR, Outcome.NOT_EVALUATED)[c.number]
    return fold.verdict(c.name, outcome, event=c.event)


def _wrong_verdict(fold: PureFold, c: Choice) -> facts.Fact:
    if fold.view.training(id_of(c.name)) is None:
        return fold.pen.verdict(c.name, by_city(), requested_at_position=c.number)
    claims: tuple[dict[str, Any], ...] = (
        {"policy_version": 7},
        {"requested_at_position": 0},
        {"baseline_training_id": id_of(c.other)},
        {"checks": ()},
        {"outcome": Outcome.FAILED},
    )
    claim = claims[c.number]
    if "outcome" in claim:
        passing = fold.verdict(c.name)
        return replace(passing, outcome=Outcome.FAILED)
    return fold.verdict(c.name, event=c.event, **claim)


def _amended(fold: PureFold, c: Choice) -> facts.Fact:
    values: tuple[dict[str, Any], ...] = (
        {"mse": 2.5},
        {"city": "Dallas"},
        {"city": "Austin", "mse": math.nan},
        {"team": "rents"},
        {"metrics": (facts.Metric(name="mae", value=1),)},
    )
    return fold.pen.amended(c.name, event=c.event, **values[c.number])


def _deploy(fold: PureFold, c: Choice) -> facts.Fact:
    previous = (None, None, "", "A", None)[c.number]
    environment = "staging" if c.number == 4 else "production"
    report = facts.AcceptanceReport(passed=c.name != "d", requests_replayed=3) if c.number == 1 else None
    return fold.pen.deploy(
        c.release,
        c.name,
        deployment=f"deployment {c.release}" if c.number == 1 else "",
        event=c.event,
        expected_previous=previous,
        environment=environment,
        acceptance=report,
    )


def _schema(fold: PureFold, c: Choice) -> facts.Fact:
    text = SCHEMA.text if c.number else '"\\ud800"'
    return fold.pen.schema(SCHEMA.schema_id if c.number != 1 else "0" * 64, SCHEMA.name, text)


WRITERS: dict[str, Callable[[PureFold, Choice], facts.Fact]] = {
    "started": lambda fold, c: fold.pen.started(c.name),
    "failed": lambda fold, c: fold.pen.failed(c.name if c.number == 0 else c.release, event=c.event),
    "logged": _logged,
    "logged too": _logged,
    "logged three": _logged,
    "verdict": _verdict,
    "verdict too": _verdict,
    "verdict three": _verdict,
    "wrong verdict": _wrong_verdict,
    "amended": _amended,
    "steps": lambda fold, c: fold.pen.steps(c.name, c.number, (0.5, math.nan)[: c.number % 3], event=c.event),
    "policy": lambda fold, c: fold.pen.policy(POLICIES[c.number], event=c.event),
    "requests": lambda fold, c: fold.pen.requests(c.other, city=("Austin", "Dallas")[c.number % 2]),
    "overridden": lambda fold, c: fold.pen.overridden(c.name, deployable=c.number > 1, event=c.event),
    "revalidation": lambda fold, c: fold.pen.revalidation(c.name, event=c.event),
    "deploy": _deploy,
    "deploy too": _deploy,
    "activate": lambda fold, c: fold.pen.activate(c.release, event=c.event),
    "loaded": lambda fold, c: fold.pen.loaded(c.release, c.name, f"i-{c.number}", event=c.event),
    "schema": _schema,
    "rules": lambda fold, _: fold.pen.rules(1),
}


# Something to go on with, for the later events of a log are mostly about trainings that are there.
BEGINNING = tuple(
    Choice(kind=kind, name=name, other="a", release="A", number=0, slip="")
    for kind, name in (
        ("policy", "a"),
        *(("logged", name) for name in "abcd"),
        *(("verdict", name) for name in "abc"),
        ("deploy", "a"),
    )
)


@st.composite
def logs(draw: st.DrawFn) -> Written:
    """A log of any events in any order; some are appended twice, some on a wrong topic."""
    fold = PureFold()
    records: list[tuple[str, NewRecord]] = []
    length = draw(st.sampled_from([0, 5, 20, 40, 60]))
    chosen = draw(st.lists(choices, min_size=length, max_size=length))
    for choice in (*(BEGINNING if draw(st.booleans()) else ()), *chosen):
        fact = WRITERS[choice.kind](fold, choice)
        topic = choice.slip if choice.slip in TOPICS else fact.topic
        for _ in range(2 if choice.slip == "twice" else 1):
            fold.add(fact, topic)
            records.append((topic, fold.codec.encode(fact)))
    return Written(tuple(records), fold)
