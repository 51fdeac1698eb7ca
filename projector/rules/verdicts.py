"""Rules version 1 for verdicts: issued, overridden, asked for again."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from deedbook.events import facts
from deedbook.events.facts import Outcome
from deedbook.projector.decision import Accepted, Decision, Event, Rejected, fact_of
from deedbook.projector.rows import CheckRow, GroupRow, OverrideRow, Row, StandingRow, VerdictRow
from deedbook.projector.rules.groups import group_of, request_again

if TYPE_CHECKING:
    from deedbook.events.facts import Policy
    from deedbook.projector.states import TrainingState
    from deedbook.projector.view import View


def verdict_issued(view: View, event: Event) -> Decision:
    """Let a verdict count if it answers the newest request, by its policy and against its baseline."""
    fact = fact_of(event, facts.VerdictIssued)
    state = view.training(fact.training_id)
    if state is None:
        return Rejected(f"there is no training {fact.training_id}")
    request = state.request
    policy = view.policy(state.row.model, request.policy_version)
    assert policy is not None  # noqa: S101 - the fold wrote the request with a policy it had
    if (problem := _verdict_problem(fact, state, policy)) is not None:
        return Rejected(problem)
    standing = _standing(fact, state, event)
    closed = replace(request, closed_position=event.position)
    judged = replace(state, standing=standing, request=closed)
    rows: tuple[Row, ...] = (_verdict_row(fact, state, event), *_check_rows(fact, event), closed)
    return Accepted((*rows, *_standing_rows(view, state, judged)), (judged,))


def _standing(fact: facts.VerdictIssued, state: TrainingState, event: Event) -> StandingRow:
    """Return what a verdict makes of a training; who overrode it after the verdict was asked for knew better."""
    before = state.standing
    if before.overridden and before.from_position > fact.requested_at_position:
        return replace(before, outcome=fact.outcome.value, from_position=event.position)
    passed = fact.outcome is Outcome.PASSED
    failing = [_why(check) for check in fact.checks if check.outcome is not Outcome.PASSED]
    reason = "every check passed" if passed else "; ".join(failing) or "the verdict gives no reason"
    return StandingRow(state.row.key, fact.outcome.value, passed, False, reason, event.position)  # noqa: FBT003


def _verdict_problem(fact: facts.VerdictIssued, state: TrainingState, policy: Policy) -> str | None:
    request = state.request
    if fact.requested_at_position != request.requested_at_position:
        return (
            f"the verdict answers a request at position {fact.requested_at_position}; "
            f"the newest one is at {request.requested_at_position}"
        )
    if request.closed_position is not None and state.standing.outcome != Outcome.ERROR.value:
        return f"the request was answered at position {request.closed_position} already"
    if fact.policy_version != request.policy_version:
        return f"the verdict is by policy version {fact.policy_version}, not {request.policy_version}"
    baseline = request.baseline(policy.baseline)
    if fact.baseline_training_id != baseline:
        return f"the verdict compares with {fact.baseline_training_id or 'nothing'}, not with {baseline or 'nothing'}"
    demanded = Counter(spec.check for spec in policy.checks)
    missing = demanded - Counter(check.check for check in fact.checks)
    if missing and fact.outcome is not Outcome.ERROR:
        return f"the verdict lacks results of {', '.join(sorted(missing))}"
    unasked = {check.check for check in fact.checks} - set(demanded)
    if unasked and fact.outcome is not Outcome.ERROR:
        return f"the policy does not ask for {', '.join(sorted(unasked))}"
    combined = facts.combined_outcome(check.outcome for check in fact.checks)
    if fact.outcome is not combined:
        return f"the verdict says {fact.outcome.value}, its checks say {combined.value}"
    return None


def _why(check: facts.CheckResult) -> str:
    outcome = check.outcome.value.replace("_", " ")
    return check.reason or f"{check.check}: {outcome}, with no reason given"


def _verdict_row(fact: facts.VerdictIssued, state: TrainingState, event: Event) -> VerdictRow:
    return VerdictRow(
        position=event.position,
        verdict_id=fact.verdict_id,
        training_key=state.row.key,
        requested_at_position=fact.requested_at_position,
        policy_version=fact.policy_version,
        validator_version=fact.validator_version,
        baseline_training_id=fact.baseline_training_id,
        outcome=fact.outcome.value,
        actor=fact.actor,
    )


def _check_rows(fact: facts.VerdictIssued, event: Event) -> tuple[CheckRow, ...]:
    return tuple(
        CheckRow(
            verdict_position=event.position,
            ordinal=ordinal,
            check_name=check.check,
            outcome=check.outcome.value,
            subject=check.subject,
            observed=check.observed,
            threshold=check.threshold,
            baseline_training_id=check.baseline_training_id,
            reason=check.reason,
            distributions=json.dumps([_distribution(d) for d in check.distributions]),
        )
        for ordinal, check in enumerate(fact.checks)
    )


def _distribution(distribution: facts.Distribution) -> dict[str, object]:
    return {
        "name": distribution.name,
        "edges": distribution.edges,
        "candidate_counts": distribution.candidate_counts,
        "baseline_counts": distribution.baseline_counts,
    }


def _standing_rows(view: View, before: TrainingState, after: TrainingState) -> tuple[Row, ...]:
    """Return the new standing, and the group's baselines where it changes them.

    All the group's trainings are looked at only where the last deployable one was withdrawn.
    """
    standing, training_id = after.standing, after.row.training_id
    if standing.deployable == before.standing.deployable:
        return (standing,)
    group = view.group(before.group_key) or GroupRow(before.group_key, before.row.model)
    if standing.deployable:
        last = view.training(group.last_deployable) if group.last_deployable else None
        if last is not None and last.row.key > after.row.key:
            return (standing,)
        return (standing, replace(group, last_deployable=training_id))
    if group.last_deployable != training_id:
        return (standing,)
    return (standing, group_of(view, group.group_key, before.row.model, joined_by=after))


def verdict_overridden(view: View, event: Event) -> Decision:
    """Let a named person decide; it holds until an amendment, or a verdict that is asked for later."""
    fact = fact_of(event, facts.VerdictOverridden)
    state = view.training(fact.training_id)
    if state is None:
        return Rejected(f"there is no training {fact.training_id}")
    reason = f"overridden by {fact.actor}: {fact.reason}"
    standing = StandingRow(
        state.row.key,
        state.standing.outcome,
        fact.deployable,
        True,  # noqa: FBT003 - a row
        reason,
        event.position,
    )
    after = replace(state, standing=standing)
    override = OverrideRow(event.position, state.row.key, fact.deployable, fact.reason, fact.actor)
    return Accepted((override, *_standing_rows(view, state, after)), (after,))


def revalidation_requested(view: View, event: Event) -> Decision:
    """Ask for a new verdict; the old one holds until it comes."""
    fact = fact_of(event, facts.RevalidationRequested)
    state = view.training(fact.training_id)
    if state is None:
        return Rejected(f"there is no training {fact.training_id}")
    group = view.group(state.group_key) or GroupRow(state.group_key, state.row.model)
    requests = request_again(view, event, state, group)
    return Accepted(requests, (replace(state, request=requests[-1]),))
