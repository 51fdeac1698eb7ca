"""Rules version 1 for deployments: the gate, the binding, the current release."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from deedbook.events import facts
from deedbook.projector.decision import PRODUCTION, Accepted, Decision, Event, Rejected, fact_of
from deedbook.projector.rows import CurrentRow, DeploymentRow, GroupRow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deedbook.projector.view import View


def deployment_requested(view: View, event: Event) -> Decision:
    """Bind a release to trainings: once, and only to trainings that are deployable at this position."""
    fact = fact_of(event, facts.DeploymentRequested)
    requested = view.deployment_position(fact.deployment_id)
    if requested is not None:
        return Rejected(f"deployment {fact.deployment_id} was requested at position {requested} already")
    current = view.current(fact.service, fact.environment)
    previous = current.release if current else ""
    reason = _refusal(view, fact, previous)
    row = _deployment_row(fact, event, previous, reason)
    if reason is not None:
        return Rejected(reason, (row,))
    now_current = CurrentRow(
        fact.service, fact.environment, fact.release, event.position, fact.actor, fact.reason, event.position
    )
    live = _live_rows(view, fact.environment, (m.training_id for m in fact.models))
    return Accepted((row, now_current, *live))


def _refusal(view: View, fact: facts.DeploymentRequested, previous: str) -> str | None:
    bound = view.binding(fact.service, fact.environment, fact.release)
    if bound is not None:
        return (
            f"release {fact.release} of {fact.service} in {fact.environment} is bound since position "
            f"{bound.position}, by deployment {bound.deployment_id}; a new model is a new release"
        )
    if (unexpected := _unexpected(fact.expected_previous, previous)) is not None:
        return unexpected
    if fact.acceptance is not None and not fact.acceptance.passed:
        return f"its acceptance tests did not pass: {fact.acceptance.summary or 'no summary given'}"
    refused = [
        refusal for m in fact.models if (refusal := _model_refusal(view, m.model, m.training_id)) is not None
    ]
    return "; ".join(refused) or None


def _unexpected(expected: str | None, previous: str) -> str | None:
    if expected is None or expected == previous:
        return None
    return f"the current release is {previous or 'none'}, not {expected or 'none'} as expected"


def _model_refusal(view: View, model: str | None, training_id: str) -> str | None:
    state = view.training(training_id)
    if state is None:
        return f"there is no training {training_id}"
    name = f"{state.row.model} version {state.row.version} ({training_id})"
    if model is not None and state.row.model != model:
        return f"training {training_id} is of model {state.row.model!r}, not {model!r}"
    if not state.standing.deployable:
        standing = state.standing
        return f"{name} is not deployable: {standing.outcome} at position {standing.from_position}: {standing.reason}"
    return None


def _deployment_row(
    fact: facts.DeploymentRequested, event: Event, previous: str, refusal: str | None
) -> DeploymentRow:
    acceptance = fact.acceptance
    return DeploymentRow(
        position=event.position,
        deployment_id=fact.deployment_id,
        service=fact.service,
        environment=fact.environment,
        release=fact.release,
        git_sha=fact.git_sha,
        decision="accepted" if refusal is None else "rejected",
        reason=refusal or "every model was deployable",
        previous=previous,
        note=fact.reason,
        acceptance_passed=acceptance.passed if acceptance else None,
        acceptance_requests=acceptance.requests_replayed if acceptance else 0,
        acceptance_summary=acceptance.summary if acceptance else "",
        acceptance_uri=acceptance.uri if acceptance else "",
        actor=fact.actor,
        models=tuple((m.model, m.training_id) for m in fact.models),
    )


def _live_rows(view: View, environment: str, training_ids: Iterable[str]) -> tuple[GroupRow, ...]:
    """Return the groups whose live training is another from now on; only production counts as live."""
    if environment != PRODUCTION:
        return ()
    groups: dict[str, GroupRow] = {}
    for training_id in training_ids:
        state = view.training(training_id)
        if state is not None:
            known = view.group(state.group_key) or GroupRow(state.group_key, state.row.model)
            groups[state.group_key] = replace(known, live=training_id)
    return tuple(groups.values())


def release_activated(view: View, event: Event) -> Decision:
    """Make an already bound release the current one again, if its trainings still may be."""
    fact = fact_of(event, facts.ReleaseActivated)
    where = f"of {fact.service} in {fact.environment}"
    bound = view.binding(fact.service, fact.environment, fact.release)
    if bound is None:
        return Rejected(f"release {fact.release} {where} is not bound to any training")
    current = view.current(fact.service, fact.environment)
    previous = current.release if current else ""
    if (unexpected := _unexpected(fact.expected_previous, previous)) is not None:
        return Rejected(unexpected)
    if previous == fact.release:
        return Rejected(f"release {fact.release} {where} is the current one already")
    withdrawn = [
        refusal for training_id in bound.trainings if (refusal := _model_refusal(view, None, training_id))
    ]
    if withdrawn:
        return Rejected("; ".join(withdrawn))
    now_current = CurrentRow(
        fact.service, fact.environment, fact.release, bound.position, fact.actor, fact.reason, event.position
    )
    return Accepted((now_current, *_live_rows(view, fact.environment, bound.trainings)))
