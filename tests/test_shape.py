"""What is well-formed and what isn't, with the sentence that says so; and names and ids."""

from __future__ import annotations

import subprocess
import sys
import unicodedata
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deedbook.events import facts
from deedbook.events.codec import Codec, current_schema, decode_body
from deedbook.events.facts import FACTS, Fact, Outcome
from deedbook.events.ids import derived_id, new_id
from deedbook.events.names import id_problem
from deedbook.events.shape import (
    MAX_CHECKS,
    MAX_COUNT,
    MAX_ERROR_CHARACTERS,
    MAX_ITEMS,
    MAX_NAME_CHARACTERS,
    MAX_PARAMETERS,
    MAX_REASON_CHARACTERS,
    MAX_SOURCE_BYTES,
    MAX_TEXT_CHARACTERS,
    MAX_TIME_MICROS,
    MAX_URI_CHARACTERS,
    name_problem,
    normalise,
    problem_of,
)

GOLDEN = Path(__file__).parent / "golden" / "bodies"
WHOLE: dict[str, Any] = {
    cls.__name__: decode_body(current_schema(cls.__name__), (GOLDEN / f"{cls.__name__}.v1.bin").read_bytes())
    for cls in FACTS
}
ID = "0193c1f4-6f1e-7c1e-8f55-3d3a2a0a1b2c"
UNPRINTABLE = ("\x00", "\n", "\t", "\x1b", "\x7f", "\x9b", "\u200b", "\u202e", "\u2066", "\ufeff", "\ud800")


def changed(whole: Any, path: str, value: Any) -> Any:  # noqa: ANN401 - any part of a fact
    """A fact with the value at a path, such as `training.metrics[0].name`, replaced."""
    head, _, rest = path.partition(".")
    field, _, index = head.partition("[")
    inner = getattr(whole, field)
    if index:
        number = int(index.rstrip("]"))
        item = changed(inner[number], rest, value) if rest else value
        return replace(whole, **{field: (*inner[:number], item, *inner[number + 1 :])})
    return replace(whole, **{field: changed(inner, rest, value) if rest else value})


def places(value: Any, kind: type, at: str = "") -> list[str]:  # noqa: ANN401 - any part of a fact
    """The paths of all values of a kind in a fact; of a list, its first entry."""
    if is_dataclass(value):
        found = [places(getattr(value, f.name), kind, f"{at}.{f.name}".lstrip(".")) for f in fields(value)]
        return [place for inner in found for place in inner]
    if isinstance(value, tuple) and value:
        return places(value[0], kind, f"{at}[0]")
    return [at] if type(value) is kind else []


ALL_TEXTS = [(name, at) for name, whole in WHOLE.items() for at in places(whole, str)]
ALL_NUMBERS = [(name, at) for name, whole in WHOLE.items() for at in places(whole, int)]
# What may hold characters that aren't printed.
RAW = ("text", "error", "source", "schema")
PROSE = ("reason", "summary", "uri", "subject", "reads[0]")
LIMITS = {"text": MAX_TEXT_CHARACTERS, "error": MAX_ERROR_CHARACTERS, "reason": MAX_REASON_CHARACTERS}
LIMITS |= {"summary": MAX_REASON_CHARACTERS, "uri": MAX_URI_CHARACTERS, "subject": MAX_TEXT_CHARACTERS}
LIMITS |= {"source": MAX_SOURCE_BYTES, "schema": MAX_SOURCE_BYTES, "reads[0]": MAX_TEXT_CHARACTERS}


def last(at: str) -> str:
    """The field a path ends at."""
    return at.rpartition(".")[2]


def may_hold(name: str, at: str, kinds: tuple[str, ...]) -> bool:
    """Whether a place is one of these kinds; a host's source and a distribution's name are not what they seem."""
    return (last(at) in kinds and (name, at) != ("ModelLoaded", "source")) or (
        kinds is PROSE and "distributions" in at and last(at) == "name"
    )


class TestFacts:
    """`problem_of`, asked about every field of every event."""

    @pytest.mark.parametrize("name", WHOLE)
    def test_the_golden_facts_are_well_formed(self, name: str) -> None:
        """All that is said below is said of a change to one of these."""
        assert problem_of(WHOLE[name]) is None

    @pytest.mark.parametrize(("name", "at"), ALL_TEXTS)
    def test_every_text_is_bounded_and_what_is_shown_of_it_too(self, name: str, at: str) -> None:
        """At most its limit, and the sentence names the place and shows little of it."""
        problem = problem_of(changed(WHOLE[name], at, "x" * (MAX_SOURCE_BYTES + 1)))
        assert problem is not None
        assert problem.startswith(at)
        assert len(problem) < 250

    @pytest.mark.parametrize(
        ("name", "at"), [(name, at) for name, at in ALL_TEXTS if may_hold(name, at, tuple(LIMITS))]
    )
    def test_long_texts_have_their_own_limits(self, name: str, at: str) -> None:
        """The limit itself is allowed, one more is not."""
        limit = LIMITS[last(at)]
        assert problem_of(changed(WHOLE[name], at, "x" * limit)) is None
        assert problem_of(changed(WHOLE[name], at, "x" * (limit + 1))) is not None

    @pytest.mark.parametrize(("name", "at"), ALL_TEXTS)
    def test_nothing_unprintable_is_in_any_name(self, name: str, at: str) -> None:
        """Nor in prose, but for the ends of lines; nowhere is half a character; the sentence is clean."""
        for character in UNPRINTABLE:
            problem = problem_of(changed(WHOLE[name], at, f"a{character}b"))
            allowed = (may_hold(name, at, RAW) and character != "\ud800") or (
                may_hold(name, at, PROSE) and character == "\n"
            )
            assert allowed == (problem is None), ascii(character)
            if problem is not None:
                assert problem.startswith(at)
                assert not any(bad in problem for bad in UNPRINTABLE)

    @pytest.mark.parametrize(("name", "at"), ALL_NUMBERS)
    def test_counts_and_times_are_within_their_bounds(self, name: str, at: str) -> None:
        """None below nothing, none that no body holds, no time after the year 9999; a step may be any."""
        is_time, is_step = last(at).endswith("_at"), last(at) == "step"
        for value in (-1, MAX_TIME_MICROS + 1, MAX_COUNT + 1):
            problem = problem_of(changed(WHOLE[name], at, value))
            allowed = (is_step and value <= MAX_COUNT) or (value == MAX_TIME_MICROS + 1 and not is_time)
            assert allowed == (problem is None)
            assert (
                problem is None
                or problem == f"{at} is {value}, not between {problem.rpartition('between ')[2]}"
            )
        assert f"{at} is True, not a whole number" == problem_of(changed(WHOLE[name], at, True))  # noqa: FBT003

    @pytest.mark.parametrize(
        ("name", "at"),
        [(name, at) for name, at in ALL_TEXTS if last(at).endswith("_id") and last(at) != "schema_id"],
    )
    def test_ids_are_uuids_in_lower_case(self, name: str, at: str) -> None:
        """One id, one text; only a verdict's baseline may be missing."""
        for wrong in (
            ID.upper(),
            ID.replace("-", ""),
            f"{{{ID}}}",
            ID[:-1],
            ID + "0",
            f" {ID}",
            ID[:-1] + "٣",
        ):
            problem = problem_of(changed(WHOLE[name], at, wrong))
            assert problem is not None
            assert problem.startswith(at)
            assert problem.endswith("is not a UUID in lower-case letters")
        missing = problem_of(changed(WHOLE[name], at, ""))
        assert (None if last(at) == "baseline_training_id" else f"{at} is empty") == missing

    @pytest.mark.parametrize(
        ("name", "at"),
        [(name, at) for name, at in ALL_TEXTS if last(at) in ("sha256", "artifact_sha256", "schema_id")],
    )
    def test_digests_are_64_hex_digits(self, name: str, at: str) -> None:
        """Or nothing, where there may be no file."""
        for wrong in ("AB" * 32, "ab" * 31, "ab" * 33, "xy" * 32):
            problem = problem_of(changed(WHOLE[name], at, wrong))
            assert problem is not None
            assert problem.endswith("is not a SHA-256: 64 lower-case hex digits")
        assert (last(at) == "schema_id") == (problem_of(changed(WHOLE[name], at, "")) is not None)

    @pytest.mark.parametrize(
        ("name", "at"),
        [
            (name, at)
            for name, at in ALL_TEXTS
            if last(at)
            in (
                "actor",
                "model",
                "name",
                "check",
                "service",
                "environment",
                "release",
                "instance",
                "producer",
            )
            and "distributions" not in at
        ],
    )
    def test_names_are_not_empty(self, name: str, at: str) -> None:
        """Whatever has a name has one that can be read."""
        assert f"{at} is empty" == problem_of(changed(WHOLE[name], at, ""))

    @pytest.mark.parametrize(
        ("name", "at", "value", "expected"),
        [
            ("TrainingLogged", "training.metrics[0].value", 10**400, "not a number that a double can hold"),
            ("TrainingLogged", "training.metrics[0].value", None, "not a number that a double can hold"),
            ("TrainingLogged", "training.metrics[0].value", "1", "not a number that a double can hold"),
            ("TrainingLogged", "training.parameters[0].number", "1", "not a number that a double can hold"),
            ("TrainingLogged", "training.model", None, "is a NoneType, not a text"),
            ("TrainingLogged", "training.model", 5, "is a int, not a text"),
            ("TrainingAmended", "reason", " \n ", "reason is empty: an amendment says why"),
            ("VerdictOverridden", "reason", "", "reason is empty: an override says why"),
            (
                "PolicyPublished",
                "policy.checks",
                (),
                "policy.checks is empty: an empty policy passes nothing",
            ),
            ("DeploymentRequested", "models", (), "models is empty: a deployment binds at least one model"),
            ("VerdictIssued", "outcome", Outcome.UNKNOWN, "outcome is 'unknown', which is no outcome"),
            (
                "VerdictIssued",
                "checks[0].outcome",
                Outcome.UNKNOWN,
                "outcome is 'unknown', which is no outcome",
            ),
            (
                "VerdictIssued",
                "checks[0].distributions[0].edges",
                (1.0,),
                "has 1 edges, which do not fit its counts",
            ),
            ("ValidationRequested", "attempt", 0, "attempt is 0, not between 1 and"),
            ("RulesAdopted", "rules_version", 0, "rules_version is 0, not between 1 and"),
        ],
    )
    def test_what_makes_no_sense_is_named(self, name: str, at: str, value: object, expected: str) -> None:
        """Each in one sentence."""
        problem = problem_of(changed(WHOLE[name], at, value))
        assert problem is not None
        assert expected in problem

    @pytest.mark.parametrize(
        ("name", "at", "expected"),
        [
            ("TrainingLogged", "training.metrics", "metric 'mse' of slice 'Austin' is given twice"),
            ("TrainingLogged", "training.parameters", "parameter 'city' is given twice"),
            ("TrainingLogged", "training.features", "feature 'sales' is given twice"),
            ("TrainingLogged", "training.coefficients", "coefficient 'sales' is given twice"),
            ("TrainingLogged", "training.tags", "tag 'owner' is given twice"),
            ("TrainingStarted", "parameters", "parameter 'city' is given twice"),
            ("TrainingAmended", "metrics", "metric 'mse' of slice 'Austin' is given twice"),
            (
                "PolicyPublished",
                "policy.checks",
                "check 'metric_regression' with these settings is given twice",
            ),
            ("PolicyPublished", "policy.group_by", "group_by parameter 'city' is given twice"),
            ("RequestsPublished", "requests.parameters", "parameter 'city' is given twice"),
            ("DeploymentRequested", "models", "model 'home-price' is given twice"),
            ("DeploymentCreated", "models", "model 'home-price' is given twice"),
        ],
    )
    def test_nothing_is_given_twice(self, name: str, at: str, expected: str) -> None:
        """What has a name has one value."""
        whole = WHOLE[name]
        items: Any = whole
        for field in at.split("."):
            items = getattr(items, field)
        assert expected == problem_of(changed(whole, at, (*items, items[0])))

    def test_a_metric_may_have_a_value_in_each_slice(self) -> None:
        """Name and slice together are the name."""
        metrics = tuple(facts.Metric(name="mse", value=1.0, slice=part) for part in ("", "a", "b"))
        assert problem_of(changed(WHOLE["TrainingLogged"], "training.metrics", metrics)) is None

    def test_a_check_may_be_asked_for_twice_with_other_settings(self) -> None:
        """One threshold for each of two metrics."""
        specs = tuple(
            facts.CheckSpec(check="metric_threshold", settings=(facts.Parameter(name="metric", text=metric),))
            for metric in ("mse", "mae")
        )
        assert problem_of(changed(WHOLE["PolicyPublished"], "policy.checks", specs)) is None

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 5, -0.0, 5e-324])
    def test_a_metric_may_be_any_number(self, value: float) -> None:
        """A model that diverged is a fact too."""
        assert problem_of(changed(WHOLE["TrainingLogged"], "training.metrics[0].value", value)) is None

    def test_an_amendment_amends_something(self) -> None:
        """A reason alone changes nothing."""
        whole = replace(WHOLE["TrainingAmended"], metrics=(), parameters=(), tags=())
        assert problem_of(whole) == "the amendment amends nothing: it has no metrics, parameters or tags"

    @pytest.mark.parametrize(
        ("at", "limit", "make"),
        [
            ("metrics", MAX_ITEMS, lambda n: facts.Metric(name=f"{n}", value=0.0)),
            ("parameters", MAX_PARAMETERS, lambda n: facts.Parameter(name=f"{n}", text="")),
            ("features", MAX_ITEMS, lambda n: facts.Feature(name=f"{n}")),
            ("coefficients", MAX_ITEMS, lambda n: facts.Coefficient(name=f"{n}", value=0.0)),
            ("tags", MAX_PARAMETERS, lambda n: facts.Tag(name=f"{n}")),
        ],
    )
    def test_lists_are_bounded(self, at: str, limit: int, make: Any) -> None:  # noqa: ANN401 - a constructor
        """The limit itself is allowed, one more is not."""
        items = tuple(make(number) for number in range(limit + 1))
        whole = WHOLE["TrainingLogged"]
        assert problem_of(changed(whole, f"training.{at}", items[:-1])) is None
        problem = problem_of(changed(whole, f"training.{at}", items))
        assert problem == f"training.{at} has {limit + 1:,} entries, over the limit of {limit:,}"

    def test_other_lists_are_bounded_too(self) -> None:
        """Points of a chunk, checks of a policy and of a verdict."""
        points = (facts.MetricPoint(name="x", step=0, value=0.0),) * (MAX_ITEMS + 1)
        assert problem_of(replace(WHOLE["MetricsLogged"], points=points[1:])) is None
        assert "points has 10,001" in str(problem_of(replace(WHOLE["MetricsLogged"], points=points)))
        results = WHOLE["VerdictIssued"].checks[1:] * (MAX_CHECKS + 1)
        assert "checks has 1,001" in str(problem_of(replace(WHOLE["VerdictIssued"], checks=results)))

    def test_optional_parts_may_be_left_out(self) -> None:
        """The least of each: what need not be said is not asked for."""
        envelope: dict[str, Any] = {"event_id": ID, "occurred_at": 0, "actor": "a"}
        release: dict[str, Any] = {"service": "s", "environment": "e", "release": "r"}
        least: list[Fact] = [
            facts.TrainingLogged(**envelope, training=facts.Training(training_id=ID, model="m")),
            facts.TrainingStarted(**envelope, training_id=ID, model="m"),
            facts.ReleaseActivated(**envelope, **release),
            facts.DeploymentRequested(
                **envelope,
                **release,
                deployment_id=ID,
                models=(facts.ModelBinding(model="m", training_id=ID),),
            ),
            facts.RevalidationRequested(**envelope, training_id=ID),
        ]
        assert [None] * len(least) == [problem_of(fact) for fact in least]

    @pytest.mark.parametrize("name", WHOLE)
    def test_what_is_well_formed_can_be_encoded(self, name: str) -> None:
        """At every bound of every number, too."""
        for at in places(WHOLE[name], int):
            for value in (0, 1, MAX_TIME_MICROS, MAX_COUNT, -MAX_COUNT - 1):
                fact = changed(WHOLE[name], at, value)
                if problem_of(fact) is None:
                    assert Codec().encode(fact).value

    def test_what_is_no_event_is_said_to_be_none(self) -> None:
        """The bare envelope is not enough."""
        assert (
            problem_of(Fact(event_id=ID, occurred_at=0, actor="a")) == "Fact is not an event of this release"
        )


class TestNames:
    """`name_problem` and `normalise`."""

    @pytest.mark.parametrize(
        "name",
        [
            "mse",
            "größe",
            "тест",
            "価格",
            "🏠",
            "👩‍🔬",
            "می‌خواهم",
            " ",
            "[red]x[/red]",
            "'; DROP TABLE x",
            "=1+1",
            "../x",
        ],
    )
    def test_anything_printable_is_a_name(self, name: str) -> None:
        """Escaping is for whoever prints it."""
        assert name_problem(name) is None

    def test_a_name_has_at_most_200_characters(self) -> None:
        """Characters, not bytes."""
        assert name_problem("ü" * MAX_NAME_CHARACTERS) is None
        expected = "has 201 characters, over the limit of 200"
        assert expected in str(name_problem("ü" * (MAX_NAME_CHARACTERS + 1)))

    def test_a_name_has_one_spelling(self) -> None:
        """A letter and its accent apart are not the letter with its accent, and front doors join them."""
        apart = "Zoe\u0308"
        assert name_problem(apart) == f"'{apart}' is not in Unicode's normal form C"
        assert normalise(apart) == "Zo\u00eb"
        assert name_problem(normalise(apart)) is None

    @given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
    def test_a_normalised_name_is_never_refused_for_its_spelling(self, text: str) -> None:
        """Whatever it holds."""
        assert "normal form" not in str(name_problem(normalise(text)))

    def test_letters_that_some_unicode_does_not_know_yet_decide_nothing(self) -> None:
        """Replicas on an older and a newer Python agree: characters younger than Unicode 3.2 are let be."""
        young = "\U0001e4ec"  # a mark of Unicode 15, which this Python may or may not know
        assert unicodedata.ucd_3_2_0.category(young) == "Cn"
        assert name_problem(f"a{young}\u0323") is None
        assert name_problem("a\u0301") is not None

    @pytest.mark.parametrize("character", UNPRINTABLE, ids=ascii)
    def test_the_sentence_names_the_character_by_its_code(self, character: str) -> None:
        """And where it is."""
        problem = name_problem(f"ab{character}")
        assert problem == f"'ab\ufffd' has {character!a} as character 3, which is not printable"


class TestIds:
    """`new_id` and `derived_id`."""

    def test_a_new_id_is_a_uuid_of_version_7_and_later_ones_sort_later(self) -> None:
        """As ids of one process are minted."""
        ids = [new_id() for _ in range(1000)]
        assert sorted(set(ids)) == ids
        assert {7} == {UUID(text).version for text in ids}
        assert [None] * 1000 == [id_problem(text) for text in ids]

    def test_a_derived_id_is_always_the_same(self) -> None:
        """A constant for ever: emitting an event twice is harmless only if so."""
        assert derived_id("verdict", ID, "ü") == "c2ce1c6b-3523-5b30-9e29-5a2f1a6a6b10"
        assert UUID(derived_id("a")).version == 5

    @given(st.lists(st.text(max_size=4), max_size=4), st.lists(st.text(max_size=4), max_size=4))
    def test_other_parts_give_another_id(self, one: list[str], other: list[str]) -> None:
        """However they are cut: the parts are not just run together."""
        assert (one == other) == (derived_id(*one) == derived_id(*other))

    def test_a_forked_child_mints_other_ids_than_its_parent(self) -> None:
        """Both began with the same memory."""
        program = (
            "import os\nfrom deedbook.events.ids import new_id\nnew_id()\n"
            "pid = os.fork()\nids = [new_id() for _ in range(500)]\n"
            "if pid:\n    os.waitpid(pid, 0)\n"
            "print(*ids, sep='\\n', flush=True)\n"
        )
        said = subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True
        ).stdout
        assert len(set(said.split())) == 1000
