"""What each event counts for: the fold's decisions, one sentence each."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from deedbook.events import facts
from deedbook.events.codec import current_schema, schema_id_of
from deedbook.events.facts import BaselineRole, CheckResult, CheckSpec, Outcome
from deedbook.projector.decision import Accepted, Decision, Event, Halted, Ignored, Rejected
from deedbook.projector.rows import (
    AmendmentRow,
    CheckRow,
    DeploymentRow,
    GroupingRow,
    PolicyRow,
    RequestRow,
    Row,
    StandingRow,
    TrainingRow,
)
from deedbook.projector.rules import RULES, VERSION_1, Rule
from deedbook.projector.view import View, default_policy
from tests.facts_by_hand import MODEL, SERVICE, Pen, by_city, id_of, training
from tests.pure_fold import PureFold

R = TypeVar("R", bound=Row)
EVERY_CHECK = (
    CheckSpec(check="artifact_intact", reads=("artifact",)),
    CheckSpec(check="metric_threshold", reads=("metric:mse",)),
)


@pytest.fixture
def fold() -> PureFold:
    """An empty log under a policy that compares trainings of the same city by their mse."""
    fold = PureFold()
    fold.accept(fold.pen.policy(by_city()))
    return fold


def rows_of(kind: type[R], rows: tuple[Row, ...]) -> list[R]:
    """The rows of one kind."""
    return [row for row in rows if isinstance(row, kind)]


def only(kind: type[R], rows: tuple[Row, ...]) -> R:
    """The one row of a kind."""
    (row,) = rows_of(kind, rows)
    return row


# --- once is enough ------------------------------------------------------------------------------


def test_an_event_appended_twice_counts_once(fold: PureFold) -> None:
    """A producer that did not hear back appends again: nothing changes."""
    fact = fold.pen.logged("a")
    fold.accept(fact)

    assert "the same event was recorded before" == fold.ignore(fact)
    assert 1 == fold.state("a").row.version


def test_an_event_that_was_rejected_is_ignored_the_second_time(fold: PureFold) -> None:
    """The first decision stands for every copy."""
    fact = fold.pen.revalidation("a")

    assert f"there is no training {id_of('a')}" == fold.refuse(fact)
    fold.accept(fold.pen.logged("a"))
    assert "the same event was recorded before" == fold.ignore(fact)


def test_an_event_id_used_again_with_other_content_is_rejected(fold: PureFold) -> None:
    """An id names one event for ever."""
    fold.accept(fold.pen.logged("a", event="e"))

    assert f"event id {id_of('e')} was used before, for another event" == fold.refuse(
        fold.pen.logged("b", event="e")
    )
    assert None is fold.view.training(id_of("b"))


def test_an_event_id_belongs_to_its_topic(fold: PureFold) -> None:
    """What came on another topic decides nothing on the registry, so neither do its ids."""
    fold.accept(fold.pen.steps("a", event="e"), fold.pen.logged("a", event="e"))

    assert 1 == fold.state("a").row.version


def test_a_training_logged_again_under_another_event_id_is_ignored(fold: PureFold) -> None:
    """A training id with the same content is the same training."""
    fold.accept(fold.pen.logged("a"))

    assert f"training {id_of('a')} was logged at position 1 already" == fold.ignore(fold.pen.logged("a"))


def test_a_training_id_used_again_with_other_content_is_rejected(fold: PureFold) -> None:
    """A training is never logged over."""
    fold.accept(fold.pen.logged("a"))

    reason = fold.refuse(fold.pen.logged("a", mse=0.1))

    assert f"training {id_of('a')} was logged at position 1, with other content" == reason


def test_a_chunk_of_steps_sent_twice_counts_once(fold: PureFold) -> None:
    """A chunk is named by training, producer and sequence, whatever event carries it."""
    fold.accept(fold.pen.steps("a", 7))

    assert "chunk 7 of producer trainer was recorded at position 0" == fold.ignore(fold.pen.steps("a", 7))
    fold.accept(fold.pen.steps("a", 8), fold.pen.steps("b", 7))


def test_a_request_set_is_published_once(fold: PureFold) -> None:
    """Its id names one set for ever."""
    fold.accept(fold.pen.requests("r"))

    assert f"request set {id_of('r')} was published before" == fold.refuse(fold.pen.requests("r"))


# --- runs and trainings --------------------------------------------------------------------------


def test_versions_count_up_within_each_model(fold: PureFold) -> None:
    """Two models number their trainings apart."""
    for name, model in [("a", MODEL), ("b", "rent"), ("c", MODEL), ("d", MODEL), ("e", "rent")]:
        fold.accept(fold.pen.logged(name, model=model))

    assert [1, 1, 2, 3, 2] == [fold.state(name).row.version for name in "abcde"]


def test_a_rejected_training_takes_no_version(fold: PureFold) -> None:
    """Versions have no gaps."""
    fold.accept(fold.pen.logged("a"))
    fold.refuse(fold.pen.logged("a", mse=9.0))
    fold.accept(fold.pen.logged("b"))

    assert 2 == fold.state("b").row.version


def test_a_model_may_have_a_policy_before_its_first_training(fold: PureFold) -> None:
    """A policy is no training: versions begin with 1."""
    fold.accept(fold.pen.logged("a"))

    assert 1 == fold.state("a").row.version


def test_a_run_is_announced_once_and_before_its_training(fold: PureFold) -> None:
    """What is over can't begin."""
    fold.accept(fold.pen.started("a"))
    assert f"run {id_of('a')} was announced at position 1 already" == fold.refuse(fold.pen.started("a"))
    fold.accept(fold.pen.logged("a"))
    assert f"training {id_of('a')} was logged at position 3 already" == fold.refuse(fold.pen.started("a"))


def test_a_run_that_failed_has_no_training(fold: PureFold) -> None:
    """The first word on how a run ended holds."""
    fold.accept(fold.pen.failed("a"))

    assert f"run {id_of('a')} was reported failed at position 1" == fold.refuse(fold.pen.logged("a"))
    assert f"run {id_of('a')} was reported failed at position 1 already" == fold.refuse(fold.pen.failed("a"))


def test_a_logged_training_did_not_fail(fold: PureFold) -> None:
    """The first word on how a run ended holds."""
    fold.accept(fold.pen.logged("a"))

    assert f"training {id_of('a')} was logged at position 1: it did not fail" == fold.refuse(
        fold.pen.failed("a")
    )


def test_a_run_ends_as_the_model_it_began_as(fold: PureFold) -> None:
    """A training id belongs to one model."""
    fold.accept(fold.pen.started("a", model="rent"))
    reason = f"run {id_of('a')} is of model 'rent', not '{MODEL}'"

    assert reason == fold.refuse(fold.pen.logged("a"))
    assert reason == fold.refuse(fold.pen.failed("a"))
    fold.accept(fold.pen.logged("a", model="rent"))


def test_a_training_waits_for_its_verdict(fold: PureFold) -> None:
    """Nothing is deployable before somebody looked at it."""
    rows = fold.accept(fold.pen.logged("a"))

    assert StandingRow(1, "pending", False, False, "no verdict yet", 1) == only(StandingRow, rows)  # noqa: FBT003
    assert RequestRow(1, 1, 1, "", "", "", "") == only(RequestRow, rows)


def test_not_a_number_is_a_legal_metric(fold: PureFold) -> None:
    """It is recorded as it is; that it passes nothing is the checks' doing."""
    fold.accept(fold.pen.logged("a", mse=math.nan), fold.pen.logged("b", mse=-math.inf))

    assert [False, False] == [fold.deployable(name) for name in "ab"]


def test_an_event_that_is_not_well_formed_is_rejected_with_the_reason(fold: PureFold) -> None:
    """Whoever appended it learns what is wrong."""
    metrics = (facts.Metric(name="mse", value=1), facts.Metric(name="mse", value=2))

    assert "metric 'mse' is given twice" == fold.refuse(fold.pen.logged("a", metrics=metrics))
    assert "training.model is empty" == fold.refuse(fold.pen.logged("a", model=""))
    assert "actor is empty" == fold.refuse(replace(fold.pen.revalidation("a"), actor=""))


@pytest.mark.parametrize(
    ("fact", "topic"),
    [
        (Pen().logged("a"), facts.METRICS),
        (Pen().logged("a"), facts.HOSTS),
        (Pen().steps("a"), facts.REGISTRY),
        (Pen().loaded("A", "a"), facts.REGISTRY),
        (Pen().deploy("A", "a"), facts.HOSTS),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_an_event_on_another_topic_than_its_own_is_rejected(fact: facts.Fact, topic: str) -> None:
    """Nobody stops the fold, or gets around it, by appending to the wrong topic."""
    reason = f"a {type(fact).__name__} belongs on the topic {fact.topic!r}, not {topic!r}"

    assert reason == PureFold().refuse(fact, topic)


@pytest.mark.parametrize("topic", [facts.REGISTRY, facts.METRICS, facts.HOSTS])
def test_news_for_others_decides_nothing_on_a_folded_topic(topic: str) -> None:
    """Work orders and deployment news have topics of their own, which the fold doesn't read."""
    envelope = Pen().envelope()
    order = facts.ValidationRequested(
        **envelope, training=training("a"), requested_at_position=0, policy=by_city()
    )

    assert "belongs on the topic 'validations'" in PureFold().refuse(order, topic)


# --- verdicts ------------------------------------------------------------------------------------


def test_a_passing_verdict_makes_a_training_deployable(fold: PureFold) -> None:
    """Only a pass does."""
    fold.accept(fold.pen.logged("a"))
    rows = fold.judge("a")

    assert StandingRow(1, "passed", True, False, "every check passed", 2) == only(StandingRow, rows)  # noqa: FBT003
    assert 2 == only(RequestRow, rows).closed_position


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.ERROR, Outcome.NOT_EVALUATED])
def test_any_other_verdict_says_why_not(fold: PureFold, outcome: Outcome) -> None:
    """The reasons of the checks that did not pass are the training's reason."""
    fold.accept(fold.pen.logged("a"))
    fold.judge("a", outcome)

    assert (False, f"metric_threshold: {outcome.value}") == (
        fold.deployable("a"),
        fold.state("a").standing.reason,
    )


def test_an_error_without_any_result_still_has_a_reason(fold: PureFold) -> None:
    """Nobody sees an empty reason."""
    fold.accept(fold.pen.logged("a"))
    fold.accept(fold.verdict("a", Outcome.ERROR, checks=()))
    assert "the verdict gives no reason" == fold.state("a").standing.reason

    checks = (CheckResult(check="metric_threshold", outcome=Outcome.FAILED),)
    fold.accept(fold.verdict("a", Outcome.FAILED, checks=checks))
    assert "metric_threshold: failed, with no reason given" == fold.state("a").standing.reason


def test_a_verdict_on_nothing_is_rejected(fold: PureFold) -> None:
    """There must be such a training."""
    fact = fold.pen.verdict("a", by_city(), requested_at_position=0)

    assert f"there is no training {id_of('a')}" == fold.refuse(fact)


def test_a_verdict_answers_the_newest_request(fold: PureFold) -> None:
    """One that was asked for earlier comes too late."""
    fold.accept(fold.pen.logged("a"))
    late = fold.verdict("a")
    fold.accept(fold.pen.revalidation("a"))

    assert "the verdict answers a request at position 1; the newest one is at 2" == fold.refuse(late)


def test_the_first_verdict_on_a_request_holds(fold: PureFold) -> None:
    """Of two validators the first one decides."""
    fold.accept(fold.pen.logged("a"))
    fold.judge("a", Outcome.FAILED)

    assert "the request was answered at position 2 already" == fold.refuse(fold.verdict("a"))


def test_an_error_is_replaced_by_a_later_verdict(fold: PureFold) -> None:
    """That nobody could say is no answer."""
    fold.accept(fold.pen.logged("a"))
    fold.judge("a", Outcome.ERROR)
    fold.judge("a", Outcome.ERROR)
    fold.judge("a", Outcome.PASSED)

    assert fold.deployable("a")
    assert "the request was answered at position 4 already" == fold.refuse(fold.verdict("a", Outcome.ERROR))


def test_a_verdict_is_by_the_policy_that_was_in_force_when_it_was_asked_for(fold: PureFold) -> None:
    """Neither an older nor a newer one."""
    fold.accept(fold.pen.logged("a"), fold.pen.policy(by_city("metric:mae")))

    assert "the verdict is by policy version 2, not 1" == fold.refuse(fold.verdict("a", policy_version=2))
    fold.judge("a")


def test_a_verdict_compares_with_the_baseline_that_the_fold_chose(fold: PureFold) -> None:
    """A validator can't choose its own."""
    fold.passing("a")
    fold.accept(fold.pen.logged("b"))

    assert f"the verdict compares with nothing, not with {id_of('a')}" == fold.refuse(
        fold.verdict("b", baseline_training_id="")
    )
    assert f"the verdict compares with {id_of('b')}, not with {id_of('a')}" == fold.refuse(
        fold.verdict("b", baseline_training_id=id_of("b"))
    )
    fold.judge("b")


def test_a_first_training_is_compared_with_nothing(fold: PureFold) -> None:
    """A baseline out of the blue is refused."""
    fold.accept(fold.pen.logged("a"))

    assert f"the verdict compares with {id_of('z')}, not with nothing" == fold.refuse(
        fold.verdict("a", baseline_training_id=id_of("z"))
    )


def test_a_verdict_has_a_result_for_every_check_of_the_policy(fold: PureFold) -> None:
    """What was not looked at did not pass."""
    fold.accept(fold.pen.policy(replace(by_city(), checks=EVERY_CHECK)), fold.pen.logged("a"))
    whole = fold.verdict("a")

    assert "the verdict lacks results of artifact_intact" == fold.refuse(
        fold.verdict("a", checks=whole.checks[1:])
    )
    assert "the verdict lacks results of artifact_intact, metric_threshold" == fold.refuse(
        fold.verdict("a", checks=())
    )


def test_a_check_demanded_twice_has_two_results(fold: PureFold) -> None:
    """The same check with other settings is another check."""
    twice = tuple(
        CheckSpec(check="metric_threshold", settings=(facts.Parameter(name="metric", text=name),))
        for name in ("mse", "mae")
    )
    fold.accept(fold.pen.policy(replace(by_city(), checks=twice)), fold.pen.logged("a"))
    whole = fold.verdict("a")

    assert "the verdict lacks results of metric_threshold" == fold.refuse(
        fold.verdict("a", checks=whole.checks[:1])
    )
    fold.accept(whole)


def test_a_verdict_has_no_results_of_checks_that_the_policy_lacks(fold: PureFold) -> None:
    """Nobody fails a training by a check of their own."""
    fold.accept(fold.pen.logged("a"))
    whole = fold.verdict("a")
    unasked = CheckResult(check="phase_of_moon", outcome=Outcome.PASSED)

    assert "the policy does not ask for phase_of_moon" == fold.refuse(
        fold.verdict("a", checks=(*whole.checks, unasked))
    )


def test_a_check_may_have_several_results(fold: PureFold) -> None:
    """One for each coefficient, say."""
    fold.accept(fold.pen.logged("a"))
    checks = tuple(
        CheckResult(check="metric_threshold", outcome=Outcome.PASSED, subject=subject) for subject in "xyz"
    )
    rows = fold.accept(fold.verdict("a", checks=checks))

    assert [(0, "x"), (1, "y"), (2, "z")] == [(row.ordinal, row.subject) for row in rows_of(CheckRow, rows)]


@pytest.mark.parametrize(
    ("claimed", "found"),
    [
        (Outcome.PASSED, Outcome.FAILED),
        (Outcome.PASSED, Outcome.NOT_EVALUATED),
        (Outcome.PASSED, Outcome.ERROR),
        (Outcome.FAILED, Outcome.PASSED),
        (Outcome.FAILED, Outcome.ERROR),
        (Outcome.ERROR, Outcome.PASSED),
    ],
)
def test_a_verdict_follows_from_its_checks(fold: PureFold, claimed: Outcome, found: Outcome) -> None:
    """One that says otherwise is rejected."""
    fold.accept(fold.pen.logged("a"))
    checks = fold.verdict("a", found).checks
    combined = facts.combined_outcome(check.outcome for check in checks)

    assert f"the verdict says {claimed.value}, its checks say {combined.value}" == fold.refuse(
        fold.verdict("a", outcome=claimed, checks=checks)
    )


def test_a_pass_without_any_check_is_none() -> None:
    """Nothing that was looked at is nothing that passed."""
    assert Outcome.ERROR is facts.combined_outcome([])


# --- baselines -----------------------------------------------------------------------------------


def test_a_training_is_compared_with_those_before_it_in_its_group(fold: PureFold) -> None:
    """Last trained, last deployable, live in production: each as of when it was logged."""
    fold.passing("live", "good")
    fold.accept(fold.pen.deploy("A", "live"), fold.pen.logged("bad"))
    fold.judge("bad", Outcome.FAILED)
    request = only(RequestRow, fold.accept(fold.pen.logged("new")))

    assert (id_of("bad"), id_of("good"), id_of("live")) == (
        request.last_trained,
        request.last_deployable,
        request.live,
    )


def test_trainings_of_another_city_are_no_baselines(fold: PureFold) -> None:
    """A policy that groups by a parameter compares within its values."""
    fold.passing("a", city="Austin")
    request = only(RequestRow, fold.accept(fold.pen.logged("d", city="Dallas")))

    assert ("", "", "") == (request.last_trained, request.last_deployable, request.live)


def test_a_parameter_that_is_not_set_is_a_value_of_its_own(fold: PureFold) -> None:
    """Absent, and empty, are two groups."""
    fold.passing("none", parameters=())
    fold.passing("empty", parameters=(facts.Parameter(name="city", text=""),))
    groups = {fold.state(name).group_key for name in ("none", "empty")}
    request = only(RequestRow, fold.accept(fold.pen.logged("next", parameters=())))

    assert (2, id_of("none")) == (len(groups), request.last_deployable)


@pytest.mark.parametrize(
    ("role", "baseline"),
    [
        (BaselineRole.LAST_TRAINED, "bad"),
        (BaselineRole.LAST_DEPLOYABLE, "good"),
        (BaselineRole.UNSPECIFIED, "good"),
        (BaselineRole.LIVE, "live"),
    ],
)
def test_the_policy_names_the_baseline_that_decides(role: BaselineRole, baseline: str) -> None:
    """One of three roles; the last deployable one where it names none."""
    fold = PureFold()
    fold.accept(fold.pen.policy(replace(by_city(), baseline=role)))
    fold.passing("live", "good")
    fold.accept(fold.pen.deploy("A", "live"), fold.pen.logged("bad"))
    fold.judge("bad", Outcome.FAILED)
    fold.accept(fold.pen.logged("new"))

    assert id_of(baseline) == fold.verdict("new").baseline_training_id
    fold.judge("new")


def test_only_production_counts_as_live(fold: PureFold) -> None:
    """What is served elsewhere is being tried out."""
    fold.passing("a")
    fold.accept(fold.pen.deploy("A", "a", environment="staging"))

    assert "" == fold.group("a").live
    fold.accept(fold.pen.deploy("A", "a"))
    assert id_of("a") == fold.group("a").live


def test_a_rollback_makes_the_old_training_live_again(fold: PureFold) -> None:
    """Baselines follow what is current."""
    fold.passing("a", "b")
    fold.accept(fold.pen.deploy("A", "a"), fold.pen.deploy("B", "b"))
    assert id_of("b") == fold.group("a").live
    fold.accept(fold.pen.activate("A"))

    assert id_of("a") == fold.group("a").live


def test_after_a_withdrawal_the_deployable_one_before_is_the_baseline_again(fold: PureFold) -> None:
    """A training that was withdrawn is no measure for others."""
    fold.passing("a", "b")
    assert id_of("b") == fold.group("a").last_deployable
    fold.accept(fold.pen.overridden("b", deployable=False))
    assert id_of("a") == fold.group("a").last_deployable
    fold.accept(fold.pen.overridden("a", deployable=False))

    assert "" == fold.group("a").last_deployable


def test_an_older_training_that_passes_late_is_not_the_last_deployable(fold: PureFold) -> None:
    """Last is by when it was logged, not by when it was judged."""
    fold.accept(fold.pen.logged("a"), fold.pen.logged("b"))
    fold.judge("b")
    fold.judge("a")

    assert id_of("b") == fold.group("a").last_deployable


def test_an_override_makes_a_baseline_too(fold: PureFold) -> None:
    """Deployable is deployable, whoever said so."""
    fold.accept(fold.pen.logged("a"))
    fold.judge("a", Outcome.FAILED)
    fold.accept(fold.pen.overridden("a", deployable=True))

    assert id_of("a") == fold.group("a").last_deployable


# --- asked again ---------------------------------------------------------------------------------


def test_a_revalidation_compares_with_what_came_before_never_with_itself(fold: PureFold) -> None:
    """The training itself, and those after it, are no baselines of it."""
    fold.passing("a", "b", "c")
    fold.accept(fold.pen.deploy("B", "b"))
    request = only(RequestRow, fold.accept(fold.pen.revalidation("b")))

    assert (id_of("a"), id_of("a"), "") == (request.last_trained, request.last_deployable, request.live)


def test_a_revalidation_of_the_first_training_compares_with_nothing(fold: PureFold) -> None:
    """There was nothing before it."""
    fold.passing("a", "b")
    request = only(RequestRow, fold.accept(fold.pen.revalidation("a")))

    assert ("", "", "") == (request.last_trained, request.last_deployable, request.live)


def test_a_revalidation_uses_the_policy_in_force_now(fold: PureFold) -> None:
    """That is what it is asked for."""
    fold.passing("a")
    fold.accept(fold.pen.policy(by_city("metric:mae")))
    request = only(RequestRow, fold.accept(fold.pen.revalidation("a")))

    assert 2 == request.policy_version


def test_the_old_verdict_holds_until_the_new_one_comes(fold: PureFold) -> None:
    """Asking withdraws nothing."""
    fold.passing("a")
    fold.accept(fold.pen.revalidation("a"))
    assert fold.deployable("a")
    fold.judge("a", Outcome.FAILED)

    assert not fold.deployable("a")


def test_asking_again_closes_a_request_that_is_still_open(fold: PureFold) -> None:
    """Only one request of a training is pending."""
    fold.accept(fold.pen.logged("a"))
    closed, opened = rows_of(RequestRow, fold.accept(fold.pen.revalidation("a")))

    assert (1, 2, 2, None) == (
        closed.requested_at_position,
        closed.closed_position,
        opened.requested_at_position,
        opened.closed_position,
    )


def test_only_a_training_can_be_asked_about_again(fold: PureFold) -> None:
    """There must be such a training."""
    assert f"there is no training {id_of('a')}" == fold.refuse(fold.pen.revalidation("a"))


# --- policies ------------------------------------------------------------------------------------


def test_policies_are_numbered_by_the_fold(fold: PureFold) -> None:
    """What the publisher wrote as the version doesn't matter."""
    rows = fold.accept(fold.pen.policy(replace(by_city("metric:mae"), version=99)))

    assert (2, 2) == (only(PolicyRow, rows).version, only(PolicyRow, rows).policy.version)


def test_without_a_policy_the_default_one_judges() -> None:
    """It compares trainings that have the very same parameters, and is version 0."""
    fold = PureFold()
    fold.passing("a", city="Austin")
    fold.accept(fold.pen.logged("b", city="Austin"), fold.pen.logged("c", city="Dallas"))

    assert (0, id_of("a"), "") == (
        fold.state("b").request.policy_version,
        fold.state("b").request.last_deployable,
        fold.state("c").request.last_deployable,
    )
    assert [check.check for check in default_policy(MODEL).checks] == [
        check.check for check in fold.verdict("b").checks
    ]


def test_a_policy_touches_no_old_verdict(fold: PureFold) -> None:
    """What was deployable stays so."""
    fold.passing("a")
    rows = fold.accept(fold.pen.policy(by_city("metric:mae")))

    assert ([], True) == (rows_of(StandingRow, rows), fold.deployable("a"))


def test_a_policy_that_groups_alike_leaves_the_groups_alone(fold: PureFold) -> None:
    """Regrouping is work, and this one has none."""
    fold.passing("a")

    assert [] == rows_of(GroupingRow, fold.accept(fold.pen.policy(by_city("metric:mae"))))


def test_a_policy_that_groups_otherwise_regroups_all_trainings_of_the_model(fold: PureFold) -> None:
    """Baselines are those of the new groups."""
    fold.passing("a", city="Austin")
    fold.passing("d", city="Dallas")
    fold.passing("r", model="rent")
    fold.accept(fold.pen.deploy("A", "a"), fold.pen.policy(replace(by_city(), group_by=())))
    fold.accept(fold.pen.logged("new", city="Waco"))

    assert (id_of("d"), id_of("d"), id_of("a")) == (
        fold.state("new").request.last_trained,
        fold.state("new").request.last_deployable,
        fold.state("new").request.live,
    )
    assert id_of("r") == fold.group("r").last_deployable


def test_a_policy_may_group_as_an_older_one_did(fold: PureFold) -> None:
    """What moved meanwhile is not found in its old group."""
    fold.passing("a", city="Austin")
    fold.accept(fold.pen.policy(replace(by_city(), group_by=())))
    fold.accept(fold.pen.amended("a", city="Dallas"), fold.pen.policy(by_city()))
    austin = only(RequestRow, fold.accept(fold.pen.logged("b", city="Austin")))
    dallas = only(RequestRow, fold.accept(fold.pen.logged("c", city="Dallas")))

    assert ("", id_of("a")) == (austin.last_trained, dallas.last_trained)
    assert ("", id_of("a")) == (austin.last_deployable, dallas.last_deployable)


# --- requests to replay --------------------------------------------------------------------------


def test_a_training_is_replayed_the_newest_set_that_is_for_it(fold: PureFold) -> None:
    """A set is for the trainings that have all of its parameters."""
    fold.accept(
        fold.pen.requests("any"),
        fold.pen.requests("austin", city="Austin"),
        fold.pen.requests("dallas", city="Dallas"),
        fold.pen.requests("austin, other alpha", city="Austin", alpha="0.9"),
        fold.pen.requests("rent", model="rent"),
        fold.pen.logged("a", city="Austin"),
        fold.pen.logged("d", city="Dallas"),
        fold.pen.logged("w", city="Waco"),
        fold.pen.logged("y", model="yield"),
    )

    assert [id_of("austin"), id_of("dallas"), id_of("any"), ""] == [
        fold.state(name).request.requests_id for name in "adwy"
    ]


def test_a_set_published_later_is_for_later_requests(fold: PureFold) -> None:
    """What a verdict is based on is fixed when it is asked for."""
    fold.accept(fold.pen.logged("a"), fold.pen.requests("r"))
    assert "" == fold.state("a").request.requests_id
    fold.accept(fold.pen.revalidation("a"))

    assert id_of("r") == fold.state("a").request.requests_id


# --- amendments ----------------------------------------------------------------------------------


def test_an_amendment_keeps_who_why_and_the_new_value(fold: PureFold) -> None:
    """The original stays on the log, and in the table, beside it."""
    fold.passing("a")
    row = only(AmendmentRow, fold.accept(fold.pen.amended("a", mse=2.5)))

    assert AmendmentRow(1, "metric", "mse", "", "", 2.5, "a typing error", "ada", 3) == row


def test_an_amendment_of_what_the_verdict_looked_at_withdraws_it(fold: PureFold) -> None:
    """A new verdict is due."""
    fold.passing("a")
    fold.accept(fold.pen.amended("a", mse=2.5))
    state = fold.state("a")

    assert (False, "pending", "amended at position 3: a typing error") == (
        state.standing.deployable,
        state.standing.outcome,
        state.standing.reason,
    )
    assert (3, None) == (state.request.requested_at_position, state.request.closed_position)
    assert "" == fold.group("a").last_deployable
    fold.judge("a")
    assert fold.deployable("a")


def test_an_amendment_of_anything_else_withdraws_nothing(fold: PureFold) -> None:
    """The verdict did not look at it."""
    mae = (facts.Metric(name="mae", value=1.0),)
    fold.accept(fold.pen.logged("a", metrics=(*training("a").metrics, *mae)))
    fold.judge("a")
    fold.accept(
        fold.pen.amended("a", metrics=mae),
        fold.pen.amended("a", team="rents"),
        fold.pen.amended("a", parameters=(facts.Parameter(name="alpha", text="0.6", number=0.6),)),
    )

    assert fold.deployable("a")


@pytest.mark.parametrize(
    ("reads", "values", "withdrawn"),
    [
        ((), {"mse": 2.5}, True),
        ((), {"team": "rents"}, False),
        (("metrics",), {"mse": 2.5}, True),
        (("metric:mae",), {"mse": 2.5}, False),
        (("artifact", "metric:mse"), {"mse": 2.5}, True),
        (("parameters",), {"mse": 2.5}, False),
        (("parameters",), {"parameters": (facts.Parameter(name="alpha", text="0.6"),)}, True),
    ],
)
def test_what_a_check_may_read_says_what_an_amendment_touches(
    reads: tuple[str, ...], values: dict[str, Any], *, withdrawn: bool
) -> None:
    """A check that says nothing may read anything but tags."""
    fold = PureFold()
    checks = (CheckSpec(check="metric_threshold", reads=reads),)
    fold.accept(fold.pen.policy(replace(by_city(), checks=checks)))
    fold.passing("a")
    fold.accept(fold.pen.amended("a", **values))

    assert withdrawn is not fold.deployable("a")


def test_an_amended_parameter_moves_a_training_to_another_group(fold: PureFold) -> None:
    """Both groups have the baselines of those who are in them now."""
    fold.passing("a1", "a2", city="Austin")
    fold.passing("d", city="Dallas")
    fold.accept(fold.pen.amended("a2", city="Dallas"))

    assert (id_of("a1"), id_of("a1")) == (fold.group("a1").last_trained, fold.group("a1").last_deployable)
    assert (id_of("d"), id_of("d")) == (fold.group("d").last_trained, fold.group("d").last_deployable)
    assert (False, "") == (fold.deployable("a2"), fold.state("a2").request.last_deployable)


def test_a_live_training_stays_live_in_the_group_it_moves_to(fold: PureFold) -> None:
    """It is still what production serves."""
    fold.passing("a", city="Austin")
    fold.accept(fold.pen.deploy("A", "a"), fold.pen.amended("a", city="Dallas"))
    austin = only(RequestRow, fold.accept(fold.pen.logged("next", city="Austin")))
    dallas = only(RequestRow, fold.accept(fold.pen.logged("other", city="Dallas")))

    assert ("", id_of("a")) == (austin.live, dallas.live)


def test_an_amendment_corrects_what_is_there(fold: PureFold) -> None:
    """A value that was never logged can't be corrected."""
    fold.accept(fold.pen.logged("a"))
    unknown = fold.pen.amended("a", metrics=(facts.Metric(name="mse", slice="old homes", value=1.0),))
    parameter = fold.pen.amended("a", parameters=(facts.Parameter(name="county", text="Travis"),))

    assert f"training {id_of('a')} has no metric 'mse' in slice 'old homes' to amend" == fold.refuse(unknown)
    assert f"training {id_of('a')} has no parameter 'county' to amend" == fold.refuse(parameter)
    assert f"there is no training {id_of('b')}" == fold.refuse(fold.pen.amended("b", mse=1.0))


def test_an_amendment_closes_the_request_that_was_open(fold: PureFold) -> None:
    """A verdict on the old values comes too late."""
    fold.accept(fold.pen.logged("a"))
    late = fold.verdict("a")
    fold.accept(fold.pen.amended("a", mse=2.5))

    assert "the verdict answers a request at position 1; the newest one is at 2" == fold.refuse(late)


# --- overrides -----------------------------------------------------------------------------------


def test_a_named_person_may_decide_otherwise(fold: PureFold) -> None:
    """With a reason; what the verdict said stays visible."""
    fold.accept(fold.pen.logged("a"))
    fold.judge("a", Outcome.FAILED)
    fold.accept(fold.pen.overridden("a", deployable=True, reason="holidays"))

    standing = fold.state("a").standing
    assert ("failed", True, True, "overridden by ada: holidays") == (
        standing.outcome,
        standing.deployable,
        standing.overridden,
        standing.reason,
    )


def test_an_override_may_withdraw(fold: PureFold) -> None:
    """What passed is not deployable any more."""
    fold.passing("a")
    fold.accept(fold.pen.overridden("a", deployable=False))

    assert (False, "passed") == (fold.deployable("a"), fold.state("a").standing.outcome)


def test_an_override_says_why(fold: PureFold) -> None:
    """Without a reason it is none."""
    fold.passing("a")

    assert "reason is empty: an override says why" == fold.refuse(
        fold.pen.overridden("a", deployable=False, reason=" ")
    )
    assert f"there is no training {id_of('b')}" == fold.refuse(fold.pen.overridden("b", deployable=True))


@pytest.mark.parametrize("deployable", [False, True])
def test_an_override_stands_against_a_verdict_that_was_asked_for_before_it(
    fold: PureFold,
    deployable: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """A veto on a training that is being judged is no race with the validator."""
    fold.accept(fold.pen.logged("a"), fold.pen.overridden("a", deployable=deployable, reason="leaks"))
    fold.judge("a", Outcome.FAILED if deployable else Outcome.PASSED)

    standing = fold.state("a").standing
    assert (deployable, True) == (fold.deployable("a"), standing.overridden)
    assert ("failed" if deployable else "passed", "overridden by ada: leaks") == (
        standing.outcome,
        standing.reason,
    )


def test_a_new_verdict_replaces_an_override(fold: PureFold) -> None:
    """It was asked for after the override."""
    fold.accept(fold.pen.logged("a"))
    fold.judge("a", Outcome.FAILED)
    fold.accept(fold.pen.overridden("a", deployable=True), fold.pen.revalidation("a"))
    fold.judge("a", Outcome.FAILED)

    assert (False, False) == (fold.deployable("a"), fold.state("a").standing.overridden)


# --- deployments ---------------------------------------------------------------------------------


def test_a_deployment_binds_its_release_and_makes_it_current(fold: PureFold) -> None:
    """Every model of it was deployable."""
    fold.passing("a")
    row = only(DeploymentRow, fold.accept(fold.pen.deploy("A", "a")))
    current = fold.current()

    assert ("accepted", "every model was deployable", "") == (row.decision, row.reason, row.previous)
    assert current is not None
    assert ("A", 3) == (current.release, current.from_position)


def test_a_release_is_bound_once(fold: PureFold) -> None:
    """The first position wins; a new model is a new release."""
    fold.passing("a", "b")
    fold.accept(fold.pen.deploy("A", "a", deployment="first"))
    reason = (
        f"release A of {SERVICE} in production is bound since position 5, by deployment {id_of('first')}; "
        "a new model is a new release"
    )

    assert reason == fold.refuse(fold.pen.deploy("A", "b"))
    assert reason == fold.refuse(fold.pen.deploy("A", "a"))
    fold.accept(fold.pen.deploy("A", "b", environment="staging"), fold.pen.deploy("A", "b", service="other"))


def test_a_refused_release_may_be_asked_for_again(fold: PureFold) -> None:
    """A refusal binds nothing."""
    fold.accept(fold.pen.logged("a"))
    fold.refuse(fold.pen.deploy("A", "a"))
    fold.judge("a")

    fold.accept(fold.pen.deploy("A", "a"))


def test_a_deployment_id_is_used_once(fold: PureFold) -> None:
    """Refused or not."""
    fold.accept(fold.pen.logged("a"))
    fold.refuse(fold.pen.deploy("A", "a", deployment="d"))
    fold.judge("a")

    assert f"deployment {id_of('d')} was requested at position 2 already" == fold.refuse(
        fold.pen.deploy("A", "a", deployment="d")
    )


def test_a_refused_deployment_is_recorded_with_its_reason(fold: PureFold) -> None:
    """It is part of the story."""
    fold.accept(fold.pen.logged("a"))
    decision = fold.add(fold.pen.deploy("A", "a"))

    assert isinstance(decision, Rejected)
    row = only(DeploymentRow, decision.rows)
    assert ("rejected", decision.reason) == (row.decision, row.reason)


def test_nothing_pending_is_deployed(fold: PureFold) -> None:
    """The gate says what is missing."""
    fold.accept(fold.pen.logged("a"))

    assert (
        f"{MODEL} version 1 ({id_of('a')}) is not deployable: pending at position 1: no verdict yet"
        == fold.refuse(fold.pen.deploy("A", "a"))
    )


def test_nothing_that_failed_is_deployed_unless_overridden(fold: PureFold) -> None:
    """A named person answers for it."""
    fold.accept(fold.pen.logged("a"))
    fold.judge("a", Outcome.FAILED)

    assert (
        f"{MODEL} version 1 ({id_of('a')}) is not deployable: failed at position 2: metric_threshold: failed"
        == fold.refuse(fold.pen.deploy("A", "a"))
    )
    fold.accept(fold.pen.overridden("a", deployable=True), fold.pen.deploy("A", "a"))


def test_nothing_withdrawn_is_deployed(fold: PureFold) -> None:
    """Whatever its verdict was."""
    fold.passing("a")
    fold.accept(fold.pen.overridden("a", deployable=False, reason="leaks"))

    assert "passed at position 3: overridden by ada: leaks" in fold.refuse(fold.pen.deploy("A", "a"))


def test_a_deployment_names_every_reason_at_once(fold: PureFold) -> None:
    """Unknown, of another model, not deployable: all are told."""
    fold.passing("a")
    fold.accept(fold.pen.logged("r", model="rent"))
    reason = fold.refuse(fold.pen.deploy("A", "nothing", "a", "r", models=(MODEL, "yield", "rent")))

    assert [
        f"there is no training {id_of('nothing')}",
        f"training {id_of('a')} is of model '{MODEL}', not 'yield'",
        f"rent version 1 ({id_of('r')}) is not deployable: pending at position 3: no verdict yet",
    ] == reason.split("; ")


@pytest.mark.parametrize(
    ("expected", "reason"),
    [
        (None, None),
        ("A", None),
        ("", "the current release is A, not none as expected"),
        ("Z", "the current release is A, not Z as expected"),
    ],
)
def test_a_deployment_may_say_what_it_replaces(
    fold: PureFold, expected: str | None, reason: str | None
) -> None:
    """Where that is not the current release any more, it is refused."""
    fold.passing("a", "b")
    fold.accept(fold.pen.deploy("A", "a", expected_previous=""))
    decision = fold.add(fold.pen.deploy("B", "b", expected_previous=expected))

    assert reason == (decision.reason if isinstance(decision, Rejected) else None)


def test_the_first_deployment_replaces_none(fold: PureFold) -> None:
    """To expect something there is to be mistaken."""
    fold.passing("a")

    assert "the current release is none, not Z as expected" == fold.refuse(
        fold.pen.deploy("A", "a", expected_previous="Z")
    )


@pytest.mark.parametrize(("summary", "said"), [("2 of 9 failed", "2 of 9 failed"), ("", "no summary given")])
def test_a_deployment_whose_acceptance_tests_failed_is_refused(
    fold: PureFold, summary: str, said: str
) -> None:
    """Its own report says so."""
    fold.passing("a")
    report = facts.AcceptanceReport(passed=False, requests_replayed=9, summary=summary)

    assert f"its acceptance tests did not pass: {said}" == fold.refuse(
        fold.pen.deploy("A", "a", acceptance=report)
    )
    fold.accept(fold.pen.deploy("A", "a", acceptance=replace(report, passed=True)))


def test_a_deployment_without_models_is_refused(fold: PureFold) -> None:
    """Nothing to serve is nothing deployed."""
    assert "models is empty: a deployment binds at least one model" == fold.refuse(fold.pen.deploy("A"))


# --- rollbacks -----------------------------------------------------------------------------------


def test_an_old_release_becomes_current_again(fold: PureFold) -> None:
    """With the trainings it was bound to."""
    fold.passing("a", "b")
    fold.accept(
        fold.pen.deploy("A", "a"), fold.pen.deploy("B", "b"), fold.pen.activate("A", reason="B is slow")
    )
    current = fold.current()

    assert current is not None
    assert ("A", 5, "B is slow", 7) == (
        current.release,
        current.deployment_position,
        current.reason,
        current.from_position,
    )


def test_only_a_bound_release_can_be_activated(fold: PureFold) -> None:
    """One that was refused was never bound."""
    fold.accept(fold.pen.logged("a"))
    fold.refuse(fold.pen.deploy("A", "a"))

    assert f"release A of {SERVICE} in production is not bound to any training" == fold.refuse(
        fold.pen.activate("A")
    )


def test_the_current_release_is_not_activated_again(fold: PureFold) -> None:
    """There is nothing to do."""
    fold.passing("a")
    fold.accept(fold.pen.deploy("A", "a"))

    assert f"release A of {SERVICE} in production is the current one already" == fold.refuse(
        fold.pen.activate("A")
    )


def test_a_release_with_a_withdrawn_training_is_not_activated(fold: PureFold) -> None:
    """It was withdrawn after it had been deployed."""
    fold.passing("a", "b")
    fold.accept(fold.pen.deploy("A", "a"), fold.pen.deploy("B", "b"))
    fold.accept(fold.pen.overridden("a", deployable=False, reason="leaks"))

    assert (
        f"{MODEL} version 1 ({id_of('a')}) is not deployable: passed at position 7: overridden by ada: leaks"
        == fold.refuse(fold.pen.activate("A"))
    )
    fold.accept(fold.pen.overridden("a", deployable=True), fold.pen.activate("A"))


def test_a_rollback_may_say_what_it_replaces(fold: PureFold) -> None:
    """Where that is not the current release any more, it is refused."""
    fold.passing("a", "b")
    fold.accept(fold.pen.deploy("A", "a"), fold.pen.deploy("B", "b"))

    assert "the current release is B, not C as expected" == fold.refuse(
        fold.pen.activate("A", expected_previous="C")
    )
    fold.accept(fold.pen.activate("A", expected_previous="B"))


# --- the log about itself ------------------------------------------------------------------------


def test_a_schema_counts_under_its_own_hash_only(fold: PureFold) -> None:
    """Whatever its white space."""
    schema = current_schema("TrainingLogged")
    spaced = json.dumps(json.loads(schema.text), indent=7)

    fold.accept(fold.pen.schema(schema.schema_id, schema.name, spaced))
    assert "the schema does not have the SHA-256 it was published under" == fold.refuse(
        fold.pen.schema("a" * 64, schema.name, schema.text)
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '"\\ud800"',
        "[" * 2_000 + "]" * 2_000,
        '{"a":' * 300 + "1" + "}" * 300,
        "9" * 5_000,
        '["' + ']"," \\"' * 200 + '"' + ",[" * 200 + "]" * 201,
    ],
    ids=["nothing", "half", "half a character", "deep list", "deep record", "long number", "feigned ends"],
)
def test_a_schema_that_is_none_is_rejected_and_stops_nobody(fold: PureFold, text: str) -> None:
    """The decision is the same whatever this machine's limits of recursion are."""
    assert "the schema is not JSON that deedbook reads" == fold.refuse(
        fold.pen.schema("a" * 64, "TrainingLogged", text)
    )


def test_a_schema_may_be_as_deep_as_those_that_are_shipped(fold: PureFold) -> None:
    """The bound on depth is far from what is needed."""
    deep = "[" * 60 + "]" * 60

    fold.accept(fold.pen.schema(schema_id_of(deep), "TrainingLogged", deep))


def test_rules_only_go_up() -> None:
    """Version 1 is in force from the beginning."""
    fold = PureFold()

    assert "rules version 1 are in force; they cannot go back" == fold.refuse(fold.pen.rules(1))


def test_rules_that_this_release_lacks_halt_it() -> None:
    """Going on would make replicas disagree."""
    fold = PureFold()

    assert Halted("the log adopts rules version 2, which this release lacks") == fold.add(fold.pen.rules(2))


def test_a_view_under_rules_that_this_release_lacks_halts_it() -> None:
    """Not even a first event is decided by other rules than those in force."""
    fold = PureFold()
    fold.view = View(fold.source, rules_version=3)

    assert Halted("the log adopted rules version 3, which this release lacks") == fold.add(
        fold.pen.logged("a")
    )


def test_rules_without_a_rule_for_an_event_halt() -> None:
    """A type that a release forgot is not passed over."""
    few: Mapping[str, Rule] = {k: rule for k, rule in VERSION_1.items() if k != "TrainingLogged"}
    fold = PureFold(rules={1: few})

    assert Halted("rules version 1 have no rule for TrainingLogged") == fold.add(fold.pen.logged("a"))


def everything_passes(view: View, event: Event) -> Decision:
    """A made-up rule of version 2: whatever is asked for is deployed."""
    fact = event.fact
    assert isinstance(fact, facts.DeploymentRequested)
    return Accepted() if view.training(fact.models[0].training_id) else Rejected("nothing to deploy")


def test_other_rules_hold_from_their_position_on_and_change_nothing_before() -> None:
    """History is never decided again."""
    fold = PureFold(rules={**RULES, 2: {**VERSION_1, "DeploymentRequested": everything_passes}})
    fold.accept(fold.pen.logged("a"))
    before = fold.add(fold.pen.deploy("A", "a"))
    fold.accept(fold.pen.rules(2))
    after = fold.add(fold.pen.deploy("B", "a"))

    assert isinstance(before, Rejected)
    assert Accepted() == after
    assert "rules version 2 are in force; they cannot go back" == fold.refuse(fold.pen.rules(2))


def test_every_event_of_the_folded_topics_has_a_rule() -> None:
    """No fact was forgotten; news for others is none of the fold's."""
    news = {facts.VALIDATIONS, facts.DEPLOYMENTS}

    assert {fact.__name__ for fact in facts.FACTS if fact.topic not in news} == set(VERSION_1)


def test_what_a_host_says_is_recorded_and_decides_nothing(fold: PureFold) -> None:
    """Not even whether there is such a training."""
    assert 1 == len(fold.accept(fold.pen.loaded("A", "unheard of")))


def test_a_new_training_is_one_row_of_each_of_five_tables(fold: PureFold) -> None:
    """Its metrics and features go to the tables in bulk, past the fold."""
    rows = fold.accept(fold.pen.logged("a"))

    assert TrainingRow(1, id_of("a"), MODEL, 1, fold.state("a").row.content_hash) == only(TrainingRow, rows)
    assert 5 == len(rows)


def test_a_duplicate_changes_nothing_in_the_view(fold: PureFold) -> None:
    """Ignored is ignored."""
    fact = fold.pen.logged("a")
    fold.accept(fact)
    before = fold.state("a")

    assert Ignored("the same event was recorded before") == fold.add(fact)
    assert before == fold.state("a")
