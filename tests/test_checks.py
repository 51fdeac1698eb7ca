"""Each check: what passes, what fails with which numbers, what can't be evaluated, and a first training."""

from __future__ import annotations

import dataclasses
import io
import math
import pickle
import sys
import types
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from deedbook.artifacts.formats import save_model
from deedbook.artifacts.store import LocalArtifactStore
from deedbook.consumers.checks import BUILT_IN, Catalogue, Check, Evidence, Finding, Setting
from deedbook.consumers.checks.distances import Method, distance, histograms
from deedbook.consumers.checks.prediction_similarity import compared
from deedbook.consumers.checks.sentences import day, listed, percentages, spelled, spelled_apart
from deedbook.consumers.sandbox import Sandbox
from deedbook.events.errors import InvalidInput
from deedbook.events.facts import (
    Artifact,
    Baseline,
    BaselineRole,
    Coefficient,
    Direction,
    Feature,
    Metric,
    Outcome,
    Parameter,
    Policy,
    Training,
    ValidationRequested,
)

ROOT = Path(__file__).parent.parent
NEW, OLD = "01985a00-0000-7000-8000-000000000002", "01985a00-0000-7000-8000-000000000001"
MARCH_2014 = 1_393_632_000_000_000
AGAINST = f"the last deployable training ({OLD}, of 2014-03-01)"
NOTHING = (
    "nothing to compare with, so it passes: there is no earlier deployable training of 'home-price'"
    " with the same 'city'"
)
UNKNOWN_WAY = (
    "it is not known which way 'mse' is better: log it with direction='lower' or 'higher',"
    " or set direction in the policy"
)
MODEL_BYTES = save_model(LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])).data

finite = st.floats(allow_nan=False, allow_infinity=False)
moderate = st.floats(min_value=-1e9, max_value=1e9, allow_subnormal=False)
positive = st.floats(min_value=1e-6, max_value=1e9)


def candidate(**values: Any) -> Training:  # noqa: ANN401 (any field)
    """The training to judge."""
    return dataclasses.replace(Training(training_id=NEW, model="home-price"), **values)


def earlier(**values: Any) -> Training:  # noqa: ANN401 (any field)
    """The training to compare it with."""
    return candidate(training_id=OLD, created_at=MARCH_2014, **values)


def metrics(*values: float, direction: Direction = Direction.LOWER) -> tuple[Metric, ...]:
    """Metrics named mse, in that many slices; the first one holds for all of the data."""
    slices = ("", "Austin", "Dallas")
    return tuple(
        Metric(name="mse", value=value, slice=part, direction=direction)
        for value, part in zip(values, slices, strict=False)
    )


def coefficients(**values: float) -> tuple[Coefficient, ...]:
    """Coefficients by name."""
    return tuple(Coefficient(name=name, value=value) for name, value in values.items())


def features(*names: str, dtype: str = "float64") -> tuple[Feature, ...]:
    """Features of one dtype."""
    return tuple(Feature(name=name, dtype=dtype) for name in names)


def found(
    name: str,
    training: Training,
    baseline: Training | None = None,
    /,
    *,
    policy: Policy | None = None,
    **given: Any,  # noqa: ANN401 (what a policy file may hold)
) -> Finding:
    """What a built-in check finds, with settings as a policy file gives them."""
    order = ValidationRequested(
        event_id="",
        occurred_at=0,
        actor="",
        training=training,
        requested_at_position=7,
        policy=policy or Policy(model="home-price", version=1, group_by=("city",)),
        baselines=(Baseline(role=BaselineRole.LAST_DEPLOYABLE, training=baseline),) if baseline else (),
    )
    check = Catalogue().find(name)
    evidence = Evidence(order, LocalArtifactStore(Path("/nonexistent")), Sandbox())
    outcome = check.evaluate(evidence, check.settings_given(given))
    assert isinstance(outcome, Finding)
    return outcome


# --- metric_threshold --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bounds", "outcome", "threshold", "reason"),
    [
        ({"max": 2000}, Outcome.PASSED, 2000, "'mse' is 1,204.5; it must be at most 2,000"),
        ({"max": 1204.5}, Outcome.PASSED, 1204.5, "'mse' is 1,204.5; it must be at most 1,204.5"),
        (
            {"min": 1, "max": 2000},
            Outcome.PASSED,
            2000,
            "'mse' is 1,204.5; it must be at least 1 and at most 2,000",
        ),
        ({"max": 1000}, Outcome.FAILED, 1000, "'mse' is 1,204.5, above the maximum of 1,000"),
        ({"min": 5000}, Outcome.FAILED, 5000, "'mse' is 1,204.5, below the minimum of 5,000"),
        ({"max": 1204.4999}, Outcome.FAILED, 1204.4999, "'mse' is 1,204.5, above the maximum of 1,204.4999"),
    ],
)
def test_a_metric_within_its_bounds_passes(
    bounds: dict[str, Any], outcome: Outcome, threshold: float, reason: str
) -> None:
    """Bounds belong to what passes; a failure names the value and the bound, in as many digits as it takes."""
    expected = Finding(outcome=outcome, subject="mse", observed=1204.5, threshold=threshold, reason=reason)

    assert expected == found("metric_threshold", candidate(metrics=metrics(1204.5)), metric="mse", **bounds)


@pytest.mark.parametrize(
    ("value", "spelling"), [(math.nan, "NaN"), (math.inf, "infinity"), (-math.inf, "-infinity")]
)
@pytest.mark.parametrize("bounds", [{"max": 1e300}, {"min": -1e300}])
def test_a_metric_that_is_no_number_fails_its_threshold(
    value: float, spelling: str, bounds: dict[str, Any]
) -> None:
    """NaN and infinities are legal values, and no bound lets them pass."""
    finding = found("metric_threshold", candidate(metrics=metrics(value)), metric="mse", **bounds)

    assert Outcome.FAILED is finding.outcome
    assert f"'mse' is {spelling}, which is no value to compare" == finding.reason


@pytest.mark.parametrize("check", ["metric_threshold", "metric_regression"])
@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ({"metric": "mes"}, "the training has no metric 'mes'; did you mean 'mse'?"),
        ({"metric": "accuracy"}, "the training has no metric 'accuracy'; it has 'mse'"),
        (
            {"metric": "mse", "slice": "Dalas"},
            "the training has 'mse' only for all of the data, not in 'Dalas'; did you mean 'Dallas'?",
        ),
    ],
)
def test_a_misspelt_metric_is_an_error_that_names_what_was_meant(
    check: str, named: dict[str, Any], reason: str
) -> None:
    """Even on a first training, where there is nothing to compare with."""
    limit: dict[str, Any] = {"max": 1e300} if check == "metric_threshold" else {"max_relative": 0.1}
    finding = found(check, candidate(metrics=metrics(1, 2, 3)), **named, **limit)

    assert (Outcome.ERROR, reason) == (finding.outcome, finding.reason)


def test_a_metric_that_is_there_only_in_slices_is_not_taken_for_the_whole() -> None:
    """And the other way round; a metric that is there twice is neither."""
    austin = (Metric(name="mse", value=1, slice="Austin"),)
    only = found("metric_threshold", candidate(metrics=austin), metric="mse", max=9)
    none = found("metric_threshold", candidate(), metric="mse", max=9)
    twice = found("metric_threshold", candidate(metrics=austin * 2), metric="mse", slice="Austin", max=9)

    assert (Outcome.ERROR, "the training has 'mse' only in 'Austin', not for all of the data") == (
        only.outcome,
        only.reason,
    )
    assert (Outcome.ERROR, "the training has no metric 'mse'; it has none at all") == (
        none.outcome,
        none.reason,
    )
    assert (Outcome.ERROR, "the training has the metric mse (Austin) 2 times") == (
        twice.outcome,
        twice.reason,
    )


def test_a_slice_is_judged_by_its_own_value() -> None:
    """And the result says which slice it is about."""
    finding = found(
        "metric_threshold", candidate(metrics=metrics(1, 50)), metric="mse", slice="Austin", max=9
    )

    assert (Outcome.FAILED, "mse (Austin)", 50) == (finding.outcome, finding.subject, finding.observed)


# --- metric_regression -------------------------------------------------------------------------


def test_a_metric_that_got_worse_than_the_limit_fails_with_both_values_and_the_change() -> None:
    """The sentence holds all that a reviewer needs, and the numbers are there to be sorted by."""
    expected = Finding(
        outcome=Outcome.FAILED,
        subject="mse",
        observed=(3880.1 - 1204.5) / 1204.5,
        threshold=0.2,
        reason=f"'mse' rose from 1,204.5 to 3,880.1 (+222%), over the limit of +20%, against {AGAINST}",
    )

    assert expected == found(
        "metric_regression",
        candidate(metrics=metrics(3880.1)),
        earlier(metrics=metrics(1204.5)),
        metric="mse",
        max_relative=0.2,
    )


@pytest.mark.parametrize(
    ("values", "direction", "limits", "outcome", "start"),
    [
        (
            (100, 120),
            "lower",
            {"max_relative": 0.2},
            Outcome.PASSED,
            "'mse' rose from 100 to 120 (+20%), within the limit",
        ),
        (
            (3, 3.6),
            "lower",
            {"max_relative": 0.2},
            Outcome.PASSED,
            "'mse' rose from 3 to 3.6 (+20%), within the limit",
        ),
        (
            (100, 80),
            "lower",
            {"max_relative": 0},
            Outcome.PASSED,
            "'mse' fell from 100 to 80 (-20%), which is better",
        ),
        (
            (0.9, 0.6),
            "higher",
            {"max_relative": 0.2},
            Outcome.FAILED,
            "'mse' fell from 0.9 to 0.6 (-33%), over the limit of -20%",
        ),
        (
            (0.6, 0.9),
            "higher",
            {"max_relative": 0.2},
            Outcome.PASSED,
            "'mse' rose from 0.6 to 0.9 (+50%), which is better",
        ),
        (
            (-10, -8),
            "lower",
            {"max_relative": 0.1},
            Outcome.FAILED,
            "'mse' rose from -10 to -8 (+20%), over the limit of +10%",
        ),
        ((0, 1), "lower", {"max_relative": 5}, Outcome.FAILED, "'mse' rose from 0 to 1 (+infinity%)"),
        ((0, 0), "lower", {"max_relative": 0}, Outcome.PASSED, "'mse' stayed at 0, within the limit of 0%"),
        (
            (0, 1),
            "lower",
            {"max_absolute": 1},
            Outcome.PASSED,
            "'mse' rose from 0 to 1 (by 1), within the limit of 1",
        ),
        (
            (10, 14),
            "lower",
            {"max_absolute": 3},
            Outcome.FAILED,
            "'mse' rose from 10 to 14 (by 4), over the limit of 3",
        ),
        (
            (10, 14),
            "lower",
            {"max_absolute": 9, "max_relative": 0.1},
            Outcome.FAILED,
            "'mse' rose from 10 to 14 (+40%)",
        ),
        (
            (10, 14),
            "lower",
            {"max_absolute": 3, "max_relative": 0.9},
            Outcome.FAILED,
            "'mse' rose from 10 to 14 (by 4)",
        ),
        (
            (1e5, 120_001),
            "lower",
            {"max_relative": 0.2},
            Outcome.FAILED,
            "'mse' rose from 100,000 to 120,001 (+20.001%), over the limit of +20%",
        ),
    ],
)
def test_a_regression_is_judged_by_the_metrics_direction(
    values: tuple[float, float], direction: str, limits: dict[str, Any], outcome: Outcome, start: str
) -> None:
    """Every limit given must hold; a limit itself passes; a change for the better always does."""
    before, now = (metrics(value, direction=Direction(direction)) for value in values)
    finding = found(
        "metric_regression", candidate(metrics=now), earlier(metrics=before), metric="mse", **limits
    )

    assert (outcome, start) == (finding.outcome, finding.reason[: len(start)])


@given(before=moderate, now=moderate, limit=st.floats(min_value=0, max_value=10))
def test_a_metric_and_its_mirror_image_are_judged_alike(before: float, now: float, limit: float) -> None:
    """Lower is better for x exactly as higher is better for -x."""
    lower = found(
        "metric_regression",
        candidate(metrics=metrics(now)),
        earlier(metrics=metrics(before)),
        metric="mse",
        max_relative=limit,
    )
    higher = found(
        "metric_regression",
        candidate(metrics=metrics(-now, direction=Direction.HIGHER)),
        earlier(metrics=metrics(-before, direction=Direction.HIGHER)),
        metric="mse",
        max_relative=limit,
    )

    assert (lower.outcome, lower.observed) == (higher.outcome, higher.observed)


@given(
    before=positive, now=positive, limit=st.floats(min_value=0, max_value=10), exponent=st.integers(-30, 30)
)
def test_a_relative_regression_does_not_depend_on_the_unit(
    before: float, now: float, limit: float, exponent: int
) -> None:
    """Multiplied by the same power of two, which is exact, both values give the same answer."""
    results = [
        found(
            "metric_regression",
            candidate(metrics=metrics(now * factor)),
            earlier(metrics=metrics(before * factor)),
            metric="mse",
            max_relative=limit,
        )
        for factor in (1.0, 2.0**exponent)
    ]

    assert (results[0].outcome, results[0].observed) == (results[1].outcome, results[1].observed)


@given(
    before=finite,
    now=finite,
    relative=st.none() | st.just(0.2),
    direction=st.sampled_from(["lower", "higher"]),
)
@example(before=1e308, now=-1e308, relative=None, direction="lower")
@example(before=5e-324, now=-1e308, relative=0.2, direction="lower")
def test_any_two_values_are_compared_and_a_worse_one_beyond_the_limit_never_passes(
    before: float, now: float, relative: float | None, direction: str
) -> None:
    """Whatever overflows on the way: a pass has a finite number beside it, and is no accident."""
    limits: dict[str, Any] = {"max_absolute": 0.5} if relative is None else {"max_relative": relative}
    way = Direction(direction)
    finding = found(
        "metric_regression",
        candidate(metrics=metrics(now, direction=way)),
        earlier(metrics=metrics(before, direction=way)),
        metric="mse",
        **limits,
    )
    worse = now > before if direction == "lower" else now < before

    assert finding.observed is not None
    if finding.outcome is Outcome.PASSED:
        assert math.isfinite(finding.observed)
    else:
        assert worse
        assert finding.observed > (finding.threshold or 0)


@pytest.mark.parametrize(
    ("now", "before", "setting", "reason"),
    [
        (
            "unspecified",
            "unspecified",
            None,
            UNKNOWN_WAY,
        ),
        (
            "lower",
            "higher",
            None,
            "it is not clear which way 'mse' is better: lower by the training's word, higher by the baseline's word",
        ),
        (
            "higher",
            "unspecified",
            "lower",
            "it is not clear which way 'mse' is better: higher by the training's word, lower by the policy's word",
        ),
    ],
)
def test_a_metric_whose_direction_is_not_known_is_an_error(
    now: str, before: str, setting: str | None, reason: str
) -> None:
    """Nobody says it, or two say different things."""
    settings: dict[str, Any] = {"direction": setting} if setting else {}
    finding = found(
        "metric_regression",
        candidate(metrics=metrics(1, direction=Direction(now))),
        earlier(metrics=metrics(1, direction=Direction(before))),
        metric="mse",
        max_relative=9,
        **settings,
    )

    assert (Outcome.ERROR, reason) == (finding.outcome, finding.reason)


@pytest.mark.parametrize(
    ("now", "before", "setting"), [("", "lower", None), ("lower", "", None), ("", "", "lower")]
)
def test_one_word_on_a_metrics_direction_is_enough(now: str, before: str, setting: str | None) -> None:
    """The training's, the baseline's or the policy's."""
    settings: dict[str, Any] = {"direction": setting} if setting else {}
    ways = [Direction(way) if way else Direction.UNSPECIFIED for way in (now, before)]
    finding = found(
        "metric_regression",
        candidate(metrics=metrics(2, direction=ways[0])),
        earlier(metrics=metrics(1, direction=ways[1])),
        metric="mse",
        max_relative=0.5,
        **settings,
    )

    assert (Outcome.FAILED, 1.0) == (finding.outcome, finding.observed)


def test_a_regression_to_nan_fails_and_one_from_nan_is_not_evaluated() -> None:
    """NaN is never better than anything, and nothing can be said to be better than NaN."""
    to_nan = found(
        "metric_regression",
        candidate(metrics=metrics(math.nan)),
        earlier(metrics=metrics(1)),
        metric="mse",
        max_relative=9,
    )
    from_nan = found(
        "metric_regression",
        candidate(metrics=metrics(1)),
        earlier(metrics=metrics(math.nan)),
        metric="mse",
        max_relative=9,
    )

    assert (Outcome.FAILED, "'mse' is NaN, which is no value to compare") == (to_nan.outcome, to_nan.reason)
    assert Outcome.NOT_EVALUATED is from_nan.outcome
    assert f"'mse' of the baseline is NaN, which is no value to compare; it is {AGAINST}" == from_nan.reason


def test_a_baseline_without_the_metric_is_not_evaluated() -> None:
    """The metric is new, so there is a baseline, and still nothing to compare with."""
    finding = found(
        "metric_regression", candidate(metrics=metrics(1)), earlier(), metric="mse", max_relative=9
    )

    assert Outcome.NOT_EVALUATED is finding.outcome
    assert f"the baseline, {AGAINST}, has no metric 'mse'; it has none at all" == finding.reason


# --- a first training --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "values", "settings"),
    [
        ("metric_regression", {"metrics": metrics(1)}, {"metric": "mse", "max_relative": 0.1}),
        ("coefficient_similarity", {"coefficients": coefficients(rooms=1)}, {}),
        ("features_match", {"features": features("rooms")}, {}),
        ("prediction_similarity", {"features": features("rooms")}, {"threshold": 0.2}),
    ],
)
def test_a_first_training_passes_the_comparisons_with_that_as_its_reason(
    check: str, values: dict[str, Any], settings: dict[str, Any]
) -> None:
    """There is nothing to compare with, and the reason says what was looked for."""
    finding = found(check, candidate(**values), **settings)

    assert (Outcome.PASSED, NOTHING) == (finding.outcome, finding.reason)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (Policy(model="home-price"), "no earlier deployable training of 'home-price'"),
        (
            Policy(model="home-price", group_by_all=True, baseline=BaselineRole.LAST_TRAINED),
            "no earlier training of 'home-price' with the same parameters",
        ),
        (
            Policy(model="home-price", group_by=("city", "kind"), baseline=BaselineRole.LIVE),
            "no training in production of 'home-price' with the same 'city', 'kind'",
        ),
    ],
)
def test_a_first_training_says_what_there_is_none_of(policy: Policy, words: str) -> None:
    """The words follow the policy's baseline and grouping."""
    finding = found("features_match", candidate(features=features("a")), policy=policy)

    assert f"nothing to compare with, so it passes: there is {words}" == finding.reason


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_first_training_with_broken_numbers_does_not_pass(value: float) -> None:
    """There is nothing to compare with, but these numbers compare with nothing ever."""
    metric = found("metric_regression", candidate(metrics=metrics(value)), metric="mse", max_relative=1)
    coefficient = found("coefficient_similarity", candidate(coefficients=coefficients(rooms=value)))

    assert [Outcome.FAILED, Outcome.FAILED] == [metric.outcome, coefficient.outcome]


# --- coefficient_similarity --------------------------------------------------------------------


def test_the_coefficients_that_moved_most_are_named_with_their_numbers() -> None:
    """Ordered by how far beyond its own tolerance each one is, three of them at most."""
    finding = found(
        "coefficient_similarity",
        candidate(coefficients=coefficients(rooms=110.0, area=-4.0, age=30_000.0, tax=2.0, pool=0.1)),
        earlier(coefficients=coefficients(rooms=100.0, area=4.0, age=30.0, tax=1.0, pool=0.0)),
    )

    assert Outcome.FAILED is finding.outcome
    assert ("pool", 0.1, 0.0) == (finding.subject, finding.observed, finding.threshold)
    assert (
        f"4 of 5 coefficients moved by more than 50% of its size, against {AGAINST}; most:"
        " 'pool' from 0 to 0.1; 'age' from 30 to 30,000, +99,900%; 'area' from 4 to -4, -200%"
    ) == finding.reason


@pytest.mark.parametrize(
    ("now", "settings", "outcome"),
    [
        (150.0, {}, Outcome.PASSED),
        (150.1, {}, Outcome.FAILED),
        (50.0, {}, Outcome.PASSED),
        (49.9, {}, Outcome.FAILED),
        (120.0, {"max_relative": 0.2}, Outcome.PASSED),
        (121.0, {"max_relative": 0.2}, Outcome.FAILED),
        (121.0, {"max_relative": 0.2, "max_absolute": 21}, Outcome.PASSED),
        (122.0, {"max_relative": 0.2, "max_absolute": 21}, Outcome.FAILED),
        (100.0, {"max_relative": 0}, Outcome.PASSED),
        (math.nextafter(100, 200), {"max_relative": 0}, Outcome.FAILED),
    ],
)
def test_a_coefficient_may_move_by_its_share_or_its_amount_whichever_is_more(
    now: float, settings: dict[str, Any], outcome: Outcome
) -> None:
    """The tolerance itself passes."""
    finding = found(
        "coefficient_similarity",
        candidate(coefficients=coefficients(rooms=now)),
        earlier(coefficients=coefficients(rooms=100.0)),
        **settings,
    )

    assert outcome is finding.outcome


def test_added_and_removed_coefficients_fail_and_are_named() -> None:
    """Whatever the values of the others are."""
    finding = found(
        "coefficient_similarity",
        candidate(coefficients=coefficients(rooms=1, pool=2)),
        earlier(coefficients=coefficients(rooms=1, area=3, age=4)),
        max_relative=1e6,
    )

    assert (Outcome.FAILED, 3, 0) == (finding.outcome, finding.observed, finding.threshold)
    assert (
        f"the model has other coefficients: 'pool' added; 'age', 'area' removed; against {AGAINST}"
        == finding.reason
    )


def test_coefficients_of_another_scale_pass_the_cosine_and_those_of_another_direction_fail_it() -> None:
    """The cosine looks at where the coefficients point, not at how long they are."""
    before = earlier(coefficients=coefficients(rooms=3.0, area=4.0))
    scaled = found(
        "coefficient_similarity",
        candidate(coefficients=coefficients(area=4e9, rooms=3e9)),
        before,
        method="cosine",
    )
    turned = found(
        "coefficient_similarity",
        candidate(coefficients=coefficients(rooms=4.0, area=-3.0)),
        before,
        method="cosine",
    )

    assert (Outcome.PASSED, 0.9) == (scaled.outcome, scaled.threshold)
    assert 1.0 == pytest.approx(scaled.observed)
    assert (Outcome.FAILED, 0.0) == (turned.outcome, turned.observed)
    assert (
        "the cosine of the 2 coefficients with the baseline's is 0, below the minimum of 0.9,"
        f" against {AGAINST}; moved most: 'area' from 4 to -3, -175%; 'rooms' from 3 to 4, +33%"
    ) == turned.reason


@given(
    pairs=st.lists(st.tuples(moderate, moderate), min_size=1, max_size=8),
    factor=st.sampled_from([1e-300, 1e-9, 7.0, 1e290]),
)
def test_the_cosine_does_not_depend_on_the_unit(pairs: list[tuple[float, float]], factor: float) -> None:
    """Neither huge nor tiny coefficients overflow or vanish on the way."""
    assume(all(any(abs(pair[side]) > 1e-3 for pair in pairs) for side in (0, 1)))
    before = earlier(coefficients=coefficients(**{f"c{n}": pair[0] for n, pair in enumerate(pairs)}))
    cosines = [
        found(
            "coefficient_similarity",
            candidate(coefficients=coefficients(**{f"c{n}": pair[1] * by for n, pair in enumerate(pairs)})),
            before,
            method="cosine",
        ).observed
        for by in (1.0, factor)
    ]

    assert cosines[0] == pytest.approx(cosines[1], abs=1e-9)


@pytest.mark.parametrize(
    ("now", "before", "settings", "outcome", "start"),
    [
        ({}, {"rooms": 1}, {}, Outcome.NOT_EVALUATED, "the training logged no coefficients"),
        (
            {"rooms": 1},
            {},
            {},
            Outcome.NOT_EVALUATED,
            "the baseline has no coefficients that can be compared",
        ),
        (
            {"rooms": 1},
            {"rooms": math.nan},
            {},
            Outcome.NOT_EVALUATED,
            "the baseline has no coefficients that can",
        ),
        (
            {"rooms": math.nan},
            {"rooms": 1},
            {},
            Outcome.FAILED,
            "1 of 1 coefficients are NaN or infinite: 'rooms'",
        ),
        ({"rooms": 0}, {"rooms": 1}, {"method": "cosine"}, Outcome.NOT_EVALUATED, "all coefficients are 0"),
        ({"rooms": 1}, {"rooms": 0}, {"method": "cosine"}, Outcome.NOT_EVALUATED, "all coefficients are 0"),
    ],
)
def test_coefficients_that_can_not_be_compared_do_not_pass(
    now: dict[str, float], before: dict[str, float], settings: dict[str, Any], outcome: Outcome, start: str
) -> None:
    """None here, none there, NaN, or a vector that points nowhere."""
    finding = found(
        "coefficient_similarity",
        candidate(coefficients=coefficients(**now)),
        earlier(coefficients=coefficients(**before)),
        **settings,
    )

    assert (outcome, start) == (finding.outcome, finding.reason[: len(start)])


def test_a_coefficient_named_twice_is_an_error() -> None:
    """It is not clear which one is meant."""
    twice = (Coefficient(name="rooms", value=1), Coefficient(name="rooms", value=2))

    finding = found("coefficient_similarity", candidate(coefficients=twice))

    assert (Outcome.ERROR, "the training names a coefficient twice") == (finding.outcome, finding.reason)


# --- features_match ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "settings", "outcome", "start"),
    [
        (features("a", "b"), {}, Outcome.PASSED, f"the 2 features match, against {AGAINST}"),
        (
            features("b", "a"),
            {},
            Outcome.FAILED,
            "the features differ: another order, from 'b' on, where there was 'a'",
        ),
        (features("b", "a"), {"order": False}, Outcome.PASSED, "the 2 features match"),
        (
            features("a", "b", dtype="int64"),
            {},
            Outcome.FAILED,
            "the features differ: 'a' was 'float64' and is 'int64', 'b' was",
        ),
        (features("a", "b", dtype="int64"), {"dtypes": False}, Outcome.PASSED, "the 2 features match"),
        (
            features("a", "c", "d"),
            {},
            Outcome.FAILED,
            "the features differ: 'c', 'd' added; 'b' removed; against",
        ),
        (features("c", "a", "b"), {}, Outcome.FAILED, "the features differ: 'c' added; against"),
        ((), {}, Outcome.FAILED, "the features differ: 'a', 'b' removed; against"),
        ((), {"required": False}, Outcome.FAILED, "the features differ: 'a', 'b' removed; against"),
        (features("a", "a"), {}, Outcome.ERROR, "the training names a feature twice: 'a'"),
    ],
)
def test_features_are_compared_by_name_dtype_and_order(
    now: tuple[Feature, ...], settings: dict[str, Any], outcome: Outcome, start: str
) -> None:
    """Every difference is named, unless the policy lets it be."""
    finding = found(
        "features_match", candidate(features=now), earlier(features=features("a", "b")), **settings
    )

    assert (outcome, start) == (finding.outcome, finding.reason[: len(start)])


@pytest.mark.parametrize("baseline", [None, earlier()])
def test_a_training_without_features_passes_only_where_none_are_required(baseline: Training | None) -> None:
    """Nothing recorded is no match, unless the policy says that there may be nothing."""
    strict = found("features_match", candidate(), baseline)
    lenient = found("features_match", candidate(), baseline, required=False)

    assert (
        Outcome.NOT_EVALUATED,
        "the training names no features, so there is nothing to compare: log it with its features",
    ) == (strict.outcome, strict.reason)
    assert (Outcome.PASSED, "no features are recorded, and the policy requires none") == (
        lenient.outcome,
        lenient.reason,
    )


# --- artifact_intact ---------------------------------------------------------------------------


def intact(folder: Path, artifact: Artifact, allowed: tuple[str, ...] = ()) -> Finding:
    """What the check of artifacts finds."""
    order = ValidationRequested(
        event_id="",
        occurred_at=0,
        actor="",
        training=candidate(artifact=artifact),
        requested_at_position=7,
        policy=Policy(model="home-price", allowed_formats=allowed),
    )
    check = Catalogue().find("artifact_intact")
    finding = check.evaluate(Evidence(order, LocalArtifactStore(folder), Sandbox()), check.settings_given({}))
    assert isinstance(finding, Finding)
    return finding


def kept(folder: Path, data: bytes, format: str) -> Artifact:  # noqa: A002 (the domain's word)
    """An artifact that is in the store, as an event describes it."""
    stored = LocalArtifactStore(folder).put(data)
    return Artifact(uri=stored.uri, sha256=stored.sha256, size_bytes=stored.size_bytes, format=format)


def test_an_artifact_that_is_what_it_was_recorded_as_passes(tmp_path: Path) -> None:
    """Its digest, size, format and first bytes."""
    finding = intact(tmp_path, kept(tmp_path, MODEL_BYTES, "skops"))

    assert (Outcome.PASSED, "skops", len(MODEL_BYTES)) == (finding.outcome, finding.subject, finding.observed)
    assert (
        f"the artifact is there: {len(MODEL_BYTES):,} bytes of skops with the recorded digest"
    ) == finding.reason


def test_an_artifact_that_is_not_what_it_was_recorded_as_fails_with_the_difference(tmp_path: Path) -> None:
    """Missing, changed, of another size, of another kind than declared, or not described at all."""
    good = kept(tmp_path, MODEL_BYTES, "skops")
    changed = kept(tmp_path, b"PK\x03\x04 changed afterwards", "skops")
    file = LocalArtifactStore(tmp_path).path(changed.sha256)
    file.chmod(0o644)
    file.write_bytes(b"PK\x03\x04 Changed afterwards")
    cases = {
        "the training has no artifact": Artifact(),
        "the training's artifact is not described properly: '../../etc/passwd' is not a SHA-256 digest": (
            dataclasses.replace(good, sha256="../../etc/passwd")
        ),
        "the training's artifact is not described properly: 'exe' is not a model format": (
            dataclasses.replace(good, format="exe")
        ),
        "the artifact can't be had as it was recorded: no artifact 0000": dataclasses.replace(
            good, sha256="0" * 64
        ),
        f"the artifact can't be had as it was recorded: artifact {changed.sha256} is damaged": changed,
        f"the artifact has {len(MODEL_BYTES):,} bytes, not 7 as recorded": dataclasses.replace(
            good, size_bytes=7
        ),
        "the artifact's format is wrong: the model is declared as cbm, but its bytes are not: they look like skops": (
            dataclasses.replace(good, format="cbm")
        ),
    }

    findings = {start: intact(tmp_path, artifact) for start, artifact in cases.items()}

    assert {start: (Outcome.FAILED, start) for start in cases} == {
        start: (finding.outcome, finding.reason[: len(start)]) for start, finding in findings.items()
    }


@pytest.mark.parametrize("format", ["pickle", "joblib"])
def test_a_format_that_runs_code_passes_only_where_the_policy_names_it(
    tmp_path: Path,
    format: str,  # noqa: A002 (the domain's word)
) -> None:
    """No policy, or one that names no formats, allows the safe ones."""
    buffer = io.BytesIO()
    joblib.dump(LinearRegression(), buffer)
    data = buffer.getvalue() if format == "joblib" else pickle.dumps(LinearRegression())
    artifact = kept(tmp_path, data, format)

    refused, allowed = intact(tmp_path, artifact), intact(tmp_path, artifact, (format,))

    assert (
        Outcome.FAILED,
        f"the artifact is a {format}, which the policy does not allow (it allows cbm, onnx, skops)",
    ) == (refused.outcome, refused.reason)
    assert Outcome.PASSED is allowed.outcome


# --- prediction_similarity: comparing ----------------------------------------------------------

PREDICTION = Catalogue().find("prediction_similarity")
METHODS: tuple[Method, ...] = ("ks", "wasserstein", "psi")


def prices(count: int = 500) -> list[float]:
    """Predictions as a model of house prices makes them."""
    return [float(value) for value in np.random.default_rng(7).normal(150_000, 30_000, count)]


def test_predictions_in_another_unit_fail_with_both_medians() -> None:
    """The sentence says what happened, and the histograms count every prediction."""
    before = prices()
    now = [value / 1000 for value in before]

    finding = compared(now, before, PREDICTION.settings_given({"threshold": 0.2}), AGAINST)

    medians = [spelled(float(np.median(values))) for values in (before, now)]
    assert (Outcome.FAILED, "ks", 1.0, 0.2) == (
        finding.outcome,
        finding.subject,
        finding.observed,
        finding.threshold,
    )
    assert (
        f"over 500 replayed requests the median prediction went from {medians[0]} to {medians[1]};"
        f" the Kolmogorov-Smirnov distance is 1, over the limit of 0.2, against {AGAINST}"
    ) == finding.reason
    (drawn,) = finding.distributions
    assert [500, 500] == [sum(drawn.candidate_counts), sum(drawn.baseline_counts)]
    assert 31 == len(drawn.edges)


@pytest.mark.parametrize("method", METHODS)
def test_a_small_shift_passes_and_a_large_one_fails_by_every_method(method: Method) -> None:
    """A hundredth of a standard deviation against two of them, at the customary thresholds."""
    before = prices()
    customary = {"ks": 0.2, "wasserstein": 0.25, "psi": 0.2}
    settings = PREDICTION.settings_given({"method": method, "threshold": customary[method]})

    outcomes = [
        compared([v + shift for v in before], before, settings, "").outcome for shift in (300, 60_000)
    ]

    assert [Outcome.PASSED, Outcome.FAILED] == outcomes


def test_wasserstein_is_measured_in_the_baselines_spread() -> None:
    """A shift by one standard deviation is 1; the interquartile range of a normal one is 1.35 of them."""
    before = prices(5000)
    deviation = float(np.std(before))
    now = [value + deviation for value in before]

    distances = [distance("wasserstein", now, before, scale=scale) for scale in ("std", "iqr")]

    assert [1.0, 1 / 1.349] == pytest.approx(distances, rel=0.05)


def test_the_stability_index_is_the_textbooks() -> None:
    """Two bins, halves against quarters: (1/4 - 1/2) ln(1/2) + (3/4 - 1/2) ln(3/2)."""
    before = [float(n) for n in range(100)]
    now = before[:25] + [float(n) for n in range(50, 100)] + [99.0] * 25

    expected = -0.25 * math.log(0.5) + 0.25 * math.log(1.5)

    assert expected == pytest.approx(distance("psi", now, before, bins=2))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("before", "now"),
    [
        ([5.0] * 100, [9.0] * 100),
        ([5.0] * 100, [math.nextafter(5, 9)] * 100),
        ([0.0] * 95 + [1.0, 2.0, 3.0, 4.0, 5.0], [1.5] * 100),
        ([1e308, -1e308] * 50, [-1e308] * 100),
        ([5e-324] * 100, [0.0] * 100),
    ],
)
def test_predictions_without_spread_are_still_told_apart(
    method: Method, before: list[float], now: list[float]
) -> None:
    """A constant baseline, a value that most share, the ends of what a float can be: none hides a change."""
    assert distance(method, now, before) > 0.4
    assert 0 == distance(method, before, before)


@given(
    before=st.lists(moderate, min_size=2, max_size=60),
    now=st.lists(moderate, min_size=2, max_size=60),
    exponent=st.integers(-40, 40),
    method=st.sampled_from(METHODS),
)
def test_a_distance_does_not_depend_on_the_unit(
    before: list[float], now: list[float], exponent: int, method: Method
) -> None:
    """Dollars and cents are judged alike; no distance is negative or NaN, and equal sets have none."""
    plain = distance(method, now, before)
    scaled = distance(method, [v * 2.0**exponent for v in now], [v * 2.0**exponent for v in before])

    assert plain >= 0
    assert 0 == distance(method, before, before)
    assert scaled == plain or scaled == pytest.approx(plain, rel=1e-6)


@given(
    before=st.lists(finite, min_size=1, max_size=40),
    now=st.lists(finite, min_size=1, max_size=40),
    method=st.sampled_from(METHODS),
)
@example(before=[1.7e308], now=[-1.7e308], method="psi")
@example(before=[1e20], now=[1e20], method="ks")
def test_every_set_of_finite_predictions_can_be_compared_and_drawn(
    before: list[float], now: list[float], method: Method
) -> None:
    """The bins rise, and hold each prediction once."""
    assert distance(method, now, before) >= 0
    drawn = histograms("prediction", now, before)

    assert list(drawn.edges) == sorted(set(drawn.edges))
    assert len(drawn.edges) == len(drawn.candidate_counts) + 1 == len(drawn.baseline_counts) + 1
    assert [len(now), len(before)] == [sum(drawn.candidate_counts), sum(drawn.baseline_counts)]


# --- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "given_settings", "reason"),
    [
        (
            "metric_threshold",
            {"metric": "mse"},
            "it needs min, max or both: without a bound any value would pass",
        ),
        ("metric_threshold", {"max": 1}, "metric is missing: the name of the metric."),
        ("metric_threshold", {"metric": "", "max": 1}, "metric is empty"),
        (
            "metric_threshold",
            {"metric": "mse", "min": 2, "max": 1},
            "its min of 2 is above its max of 1: no value could pass",
        ),
        ("metric_threshold", {"metric": "mse", "max": math.nan}, "max must be a finite number, not NaN"),
        ("metric_threshold", {"metric": "mse", "max": 10**400}, "max must be a finite number, not infinity"),
        ("metric_threshold", {"metric": "mse", "max": "9"}, "max must be a number, not the text '9'"),
        (
            "metric_threshold",
            {"metric": "mse", "max": True},
            "max must be a number, not the truth value true",
        ),
        ("metric_threshold", {"metric": 7, "max": 1}, "metric must be a text, not the number 7"),
        (
            "metric_threshold",
            {"metric": "m\x1b[2J", "max": 1},
            "metric 'm\N{REPLACEMENT CHARACTER}[2J' has '\\x1b' as character 2, which is not printable",
        ),
        (
            "metric_threshold",
            {"metric": "m" * 201, "max": 1},
            f"metric '{'m' * 60}…' has 201 characters, over the limit of 200",
        ),
        (
            "metric_threshold",
            {"metric": "mse", "maximum": 1},
            "'maximum' is not one of its settings; did you mean 'max'?",
        ),
        (
            "metric_regression",
            {"metric": "mse"},
            "it needs max_relative, max_absolute or both: without a limit any value would pass",
        ),
        (
            "metric_regression",
            {"metric": "mse", "max_relative": -0.1},
            "max_relative must be at least 0, not -0.1",
        ),
        (
            "metric_regression",
            {"metric": "mse", "max_relative": 1, "direction": "down"},
            "direction must be 'lower' or 'higher', not 'down'",
        ),
        (
            "coefficient_similarity",
            {"min_cosine": 0.99},
            "min_cosine has no effect unless method is 'cosine'",
        ),
        (
            "coefficient_similarity",
            {"method": "cosine", "max_relative": 0.1},
            "max_relative has no effect unless method is 'each'",
        ),
        (
            "prediction_similarity",
            {"threshold": 1},
            "its threshold must be below 1: no Kolmogorov-Smirnov distance is greater, so anything would pass",
        ),
        (
            "prediction_similarity",
            {"threshold": 0.2, "min_requests": 0},
            "min_requests must be at least 1, not 0",
        ),
        (
            "prediction_similarity",
            {"threshold": 0.2, "min_requests": 30.0},
            "min_requests must be a whole number, not the number 30",
        ),
        (
            "prediction_similarity",
            {"threshold": 0.2, "method": "kss"},
            "method must be 'ks', 'wasserstein' or 'psi', not 'kss'; did you mean 'ks'?",
        ),
        ("artifact_intact", {"size": 1}, "'size' is not one of its settings (it has none)"),
        ("features_match", {"order": "no"}, "order must be true or false, not the text 'no'"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_sentence(
    check: str, given_settings: dict[str, Any], reason: str
) -> None:
    """It names the setting, and what was meant where that can be guessed."""
    with pytest.raises(InvalidInput) as caught:
        Catalogue().find(check).settings_given(given_settings)

    assert reason == str(caught.value)


def test_settings_come_back_from_the_log_as_they_were_written() -> None:
    """Every kind of setting, defaults included, so that a later release's defaults change nothing."""
    written: Mapping[str, Mapping[str, object]] = {
        "prediction_similarity": {"threshold": 0.25, "method": "psi", "min_requests": 5},
        "features_match": {"order": False},
        "metric_regression": {"metric": "mse", "slice": "Zürich", "max_absolute": 1e-9},
    }
    for name, values in written.items():
        check = Catalogue().find(name)
        once = check.settings_given(values).parameters(check.settings)

        assert once == check.settings_recorded(once).parameters(check.settings)
        assert {
            setting.name for setting in check.settings if setting.default is not None and not setting.method
        } <= {parameter.name for parameter in once}


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ((Parameter(name="max", text="9"),), "metric is missing: the name of the metric."),
        (
            (Parameter(name="metric", text="mse"), Parameter(name="max", text="9")),
            "max must be a number, not the text '9'",
        ),
        (
            (Parameter(name="metric", text="mse"), Parameter(name="max", text="9", number=math.nan)),
            "max must be a finite number, not NaN",
        ),
        (
            (Parameter(name="metric", text="mse"), Parameter(name="metric", text="mae")),
            "'metric' is there twice",
        ),
    ],
)
def test_wrong_settings_on_the_log_are_refused_like_those_in_a_file(
    parameters: tuple[Parameter, ...], reason: str
) -> None:
    """Whoever wrote them there."""
    with pytest.raises(InvalidInput) as caught:
        Catalogue().find("metric_threshold").settings_recorded(parameters)

    assert reason == str(caught.value)


# --- which checks there are --------------------------------------------------------------------


def test_an_unknown_check_is_refused_with_what_was_meant() -> None:
    """The near matches, or else all there are."""
    with pytest.raises(
        InvalidInput, match="'metric_treshold' is not a check; did you mean 'metric_threshold'"
    ):
        Catalogue().find("metric_treshold")
    with pytest.raises(
        InvalidInput, match=r"'x' is not a check \(known: artifact_intact, coefficient_similarity"
    ):
        Catalogue().find("x")


WEEKEND = Check(
    name="no_weekend_data",
    summary="Nobody trained on a weekend.",
    evaluate=lambda _evidence, _settings: Finding(outcome=Outcome.PASSED, reason="it was a Tuesday"),
    reads=lambda _settings: ("parameters",),
    settings=(Setting(name="zone", kind="text", default="UTC", meaning="The time zone."),),
)
MISNAMED = dataclasses.replace(WEEKEND, name="other")


def plugin(name: str, attribute: str) -> EntryPoint:
    """The entry point of a package that brings a check from this very file."""
    return EntryPoint(name, f"{__name__}:{attribute}", "deedbook.checks")


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """This file, importable as the module that a package would bring."""
    monkeypatch.setitem(sys.modules, __name__, types.SimpleNamespace(**globals()))


@pytest.mark.usefixtures("importable")
def test_a_package_brings_its_own_check_and_breaks_no_other() -> None:
    """It is loaded when a policy names it; what is wrong with it is said then, and by its name."""
    catalogue = Catalogue(
        BUILT_IN,
        [
            plugin("no_weekend_data", "WEEKEND"),
            plugin("misnamed", "MISNAMED"),
            plugin("no_check", "ROOT"),
            plugin("gone", "NOT_HERE"),
            plugin("metric_threshold", "WEEKEND"),
        ],
    )

    assert WEEKEND == catalogue.find("no_weekend_data")
    assert "artifact_intact" == catalogue.find("artifact_intact").name
    for name in ("misnamed", "no_check"):
        with pytest.raises(InvalidInput, match=f"offers a check '{name}' that is no Check of that name"):
            catalogue.find(name)
    with pytest.raises(InvalidInput, match=r"the check 'gone' of .* can't be loaded: AttributeError"):
        catalogue.find("gone")
    with pytest.raises(
        InvalidInput, match="the check 'metric_threshold' is there 2 times: from deedbook itself and"
    ):
        catalogue.find("metric_threshold")


def test_the_version_of_a_verdict_names_the_packages_whose_checks_it_used() -> None:
    """Only those; and where they are too many for a name, their digest tells them apart."""
    plugins = [EntryPoint(f"check_{n}", f"acme_{n}.checks:CHECK", "deedbook.checks") for n in range(20)]
    catalogue = Catalogue(BUILT_IN, plugins)
    names = [entry.name for entry in plugins]

    assert "deedbook 0.1.0" == catalogue.version(["artifact_intact", "unknown"])
    assert "deedbook 0.1.0; acme_3.checks:CHECK" == catalogue.version(
        ["check_3", "artifact_intact", "check_3"]
    )
    assert "deedbook 0.1.0; 20 packages with checks (" == catalogue.version(names)[:41]
    assert catalogue.version(names) != catalogue.version([*names[1:], "artifact_intact"])
    assert catalogue.version(names) == catalogue.version(names[::-1])


@pytest.mark.parametrize("name", ["", "Metric", "metric-threshold", "1st", "a b", "a" * 101, "a\n"])
def test_a_check_with_a_name_that_policies_can_not_say_is_refused(name: str) -> None:
    """Names are snake_case."""
    with pytest.raises(InvalidInput, match="can't name a check"):
        dataclasses.replace(WEEKEND, name=name)


def test_each_check_says_what_it_reads() -> None:
    """In the words by which an amendment withdraws a verdict."""
    needed: Mapping[str, Mapping[str, object]] = {
        "metric_threshold": {"metric": "mse", "max": 1},
        "metric_regression": {"metric": "mse", "max_relative": 1},
        "prediction_similarity": {"threshold": 0.2},
    }

    reads = {check.name: check.reads(check.settings_given(needed.get(check.name, {}))) for check in BUILT_IN}

    assert {
        "artifact_intact": ("artifact",),
        "features_match": ("features",),
        "metric_threshold": ("metric:mse",),
        "metric_regression": ("metric:mse",),
        "coefficient_similarity": ("coefficients",),
        "prediction_similarity": ("artifact", "features", "parameters"),
    } == reads


# --- sentences ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-0.0, "0"),
        (1204.5, "1,204.5"),
        (145_200, "145,200"),
        (1_234_567.891, "1,234,568"),
        (0.1 + 0.2, "0.3"),
        (-33.333333333, "-33.3333"),
        (1e-7, "1e-07"),
        (1e300, "1e+300"),
        (math.nan, "NaN"),
        (-math.inf, "-infinity"),
    ],
)
def test_a_number_is_spelled_in_at_most_six_digits(value: float, text: str) -> None:
    """With its thousands set apart."""
    assert text == spelled(value)


def test_numbers_that_differ_are_spelled_so_that_it_shows() -> None:
    """A value just over its limit does not read like the limit."""
    assert ("0.2000001", "0.2") == spelled_apart(0.2000001, 0.2)
    assert ("+20.001%", "+20%") == percentages(0.20001, 0.2)
    assert ("+222%", "-8.7%", "0%", "+1,500%") == percentages(2.2213, -0.0871, 0, 15)


def test_a_list_of_names_is_cut_and_can_not_pass_for_prose() -> None:
    """Each name is quoted; nothing in it acts on a terminal or ends the quotes early."""
    assert "'a', 'b', 'c', 'd', 'e' and 2 more" == listed(list("abcdefg"))
    assert """'[bold]', "mse' is 3", '\N{REPLACEMENT CHARACTER}[2J'""" == listed(
        ["[bold]", "mse' is 3", "\x1b[2J"]
    )


def test_a_time_beyond_the_calendar_is_no_day() -> None:
    """Whatever a client wrote as its clock."""
    assert ["2014-03-01", "", "", "1969-12-31"] == [day(MARCH_2014), day(0), day(2**62), day(-1)]


# --- the documentation -------------------------------------------------------------------------


def documented(setting: Setting) -> str:
    """The row of a setting in docs/checks.md."""
    match setting.default:
        case None:
            shown = "required" if setting.required else ""
        case "":
            shown = "empty"
        case bool() as default:
            shown = f"`{str(default).lower()}`"
        case default:
            shown = f"`{default}`"
    allowed = [", ".join(f"`{choice}`" for choice in setting.choices)]
    allowed += [f"at least {setting.minimum:g}"] if setting.minimum is not None else []
    allowed += [f"at most {setting.maximum:g}"] if setting.maximum is not None else []
    allowed += [f"only with method `{setting.method}`"] if setting.method else []
    bounds = ", ".join(filter(None, allowed))
    return f"| `{setting.name}` | {setting.kind} | {shown} | {bounds} | {setting.meaning} |"


@pytest.mark.parametrize("check", BUILT_IN, ids=lambda check: check.name)
def test_every_check_and_setting_is_documented(check: Check) -> None:
    """In its own section, with the same words as the code; and nothing there that the code does not have."""
    text = (ROOT / "docs/checks.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## `{check.name}`\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]

    assert check.summary in " ".join(section.split())
    assert [documented(setting) for setting in check.settings] == rows


def test_nothing_is_documented_as_a_check_that_is_none() -> None:
    """The sections are the checks."""
    text = (ROOT / "docs/checks.md").read_text(encoding="utf-8")

    assert [check.name for check in BUILT_IN] == [
        line.removeprefix("## `").removesuffix("`") for line in text.splitlines() if line.startswith("## `")
    ]


def test_the_check_that_the_documentation_shows_how_to_write_works() -> None:
    """As it stands there."""
    text = (ROOT / "docs/checks.md").read_text(encoding="utf-8")
    shown: dict[str, Any] = {}
    exec(text.partition("```python\n")[2].partition("```")[0], shown)  # noqa: S102 (our own documentation)
    check = shown["FRESH_DATA"]
    order = ValidationRequested(
        event_id="",
        occurred_at=0,
        actor="",
        training=candidate(parameters=(Parameter(name="data_age_days", text="40", number=40.0),)),
        requested_at_position=7,
        policy=Policy(model="home-price"),
    )
    evidence = Evidence(order, LocalArtifactStore(Path("/nonexistent")), Sandbox())

    outcome = check.evaluate(evidence, check.settings_given({}))

    assert isinstance(check, Check)
    expected = "the data is 40 days old; at most 31 are allowed"
    assert Finding(outcome=Outcome.FAILED, observed=40.0, threshold=31.0, reason=expected) == outcome
