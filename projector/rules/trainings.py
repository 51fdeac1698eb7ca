"""Rules version 1 for trainings: announced, logged, amended."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from deedbook.events import facts
from deedbook.projector.decision import Accepted, Decision, Event, Ignored, Rejected, TrainingHead, fact_of
from deedbook.projector.rows import AmendmentRow, GroupingRow, GroupRow, Row, RunRow, StandingRow, TrainingRow
from deedbook.projector.rules.groups import group_key_of, group_of, request_again, request_validation
from deedbook.projector.states import TrainingState

if TYPE_CHECKING:
    from deedbook.events.facts import Policy
    from deedbook.projector.view import View

PENDING = "pending"


def training_started(view: View, event: Event) -> Decision:
    """Announce a run, once, and only before its training."""
    fact = fact_of(event, facts.TrainingStarted)
    if (logged := view.training(fact.training_id)) is not None:
        return Rejected(f"training {fact.training_id} was logged at position {logged.row.key} already")
    if (run := view.run(fact.training_id)) is not None:
        return Rejected(f"run {fact.training_id} was announced at position {run.position} already")
    row = RunRow(
        training_id=fact.training_id,
        model=fact.model,
        state="running",
        actor=fact.actor,
        git_sha=fact.git_sha,
        started_at=fact.started_at or fact.occurred_at,
        failed_at=0,
        error="",
        position=event.position,
    )
    return Accepted((row,))


def training_failed(view: View, event: Event) -> Decision:
    """Record that a run ended without a model."""
    fact = fact_of(event, facts.TrainingFailed)
    if (logged := view.training(fact.training_id)) is not None:
        return Rejected(
            f"training {fact.training_id} was logged at position {logged.row.key}: it did not fail"
        )
    run = view.run(fact.training_id)
    if run is not None and run.state == "failed":
        return Rejected(f"run {fact.training_id} was reported failed at position {run.position} already")
    if run is not None and run.model != fact.model:
        return Rejected(f"run {fact.training_id} is of model {run.model!r}, not {fact.model!r}")
    row = RunRow(
        training_id=fact.training_id,
        model=fact.model,
        state="failed",
        actor=fact.actor,
        git_sha=run.git_sha if run else "",
        started_at=run.started_at if run else 0,
        failed_at=fact.failed_at or fact.occurred_at,
        error=fact.error,
        position=event.position,
    )
    return Accepted((row,))


def training_logged(view: View, event: Event) -> Decision:
    """Number the training within its model, fix what it is compared with, and wait for a verdict."""
    head = fact_of(event, TrainingHead)
    known = view.training(head.training_id)
    if known is not None:
        if known.row.content_hash == head.content_hash:
            return Ignored(f"training {head.training_id} was logged at position {known.row.key} already")
        return Rejected(
            f"training {head.training_id} was logged at position {known.row.key}, with other content"
        )
    run = view.run(head.training_id)
    if run is not None and run.state == "failed":
        return Rejected(f"run {head.training_id} was reported failed at position {run.position}")
    if run is not None and run.model != head.model:
        return Rejected(f"run {head.training_id} is of model {run.model!r}, not {head.model!r}")
    policy = view.policy_in_force(head.model)
    model = view.model(head.model)
    group_key = group_key_of(policy, head.model, head.parameters)
    group = view.group(group_key) or GroupRow(group_key, head.model)
    key = event.position
    version = model.last_version + 1 if model else 1
    row = TrainingRow(key, head.training_id, head.model, version, head.content_hash)
    standing = StandingRow(key, PENDING, False, False, "no verdict yet", key)  # noqa: FBT003 - a row
    request = request_validation(view, event, row, head.parameters, group)
    state = TrainingState(row, group_key, head.parameters, standing, request)
    baseline = GroupRow(group_key, head.model, head.training_id, group.last_deployable, group.live)
    return Accepted((row, GroupingRow(key, group_key), baseline, standing, request), (state,))


def training_amended(view: View, event: Event) -> Decision:
    """Correct values, keep the originals; what a verdict looked at is judged anew."""
    fact = fact_of(event, facts.TrainingAmended)
    state = view.training(fact.training_id)
    if state is None:
        return Rejected(f"there is no training {fact.training_id}")
    key = state.row.key
    amendments = _amendments(fact, key, event.position)
    for row in amendments:
        if row.kind != "tag" and not view.source.has_value(key, row.kind, row.name, row.slice):
            where = f" in slice {row.slice!r}" if row.slice else ""
            return Rejected(f"training {fact.training_id} has no {row.kind} {row.name!r}{where} to amend")
    amended = {row.name: row.text for row in amendments if row.kind == "parameter"}
    parameters = tuple((name, amended.get(name, text)) for name, text in state.parameters)
    policy = view.policy_in_force(state.row.model)
    group_key = group_key_of(policy, state.row.model, parameters)
    state = replace(state, parameters=parameters)
    judged_by = view.policy(state.row.model, state.request.policy_version) or policy
    if group_key == state.group_key and not _touches(judged_by, amendments):
        return Accepted(amendments, (state,))
    reason = f"amended at position {event.position}: {fact.reason}"
    standing = StandingRow(key, PENDING, False, False, reason, event.position)  # noqa: FBT003 - a row
    moved = replace(state, group_key=group_key, standing=standing)
    rows: list[Row] = [*amendments, standing]
    group = group_of(view, group_key, state.row.model, joined_by=moved)
    if group_key != state.group_key:
        rows.append(GroupingRow(key, group_key))
        left = view.group(state.group_key)
        if left is not None and left.live == fact.training_id:  # it is served as before
            group = replace(group, live=group.live or fact.training_id)
        rows.append(group_of(view, state.group_key, state.row.model, without=moved))
    requests = request_again(view, event, moved, group)
    return Accepted((*rows, group, *requests), (replace(moved, request=requests[-1]),))


def _amendments(fact: facts.TrainingAmended, key: int, position: int) -> tuple[AmendmentRow, ...]:
    metrics = [("metric", m.name, m.slice, "", m.value) for m in fact.metrics]
    parameters = [("parameter", p.name, "", p.text, p.number) for p in fact.parameters]
    tags = [("tag", t.name, "", t.text, None) for t in fact.tags]
    return tuple(
        AmendmentRow(key, *values, reason=fact.reason, actor=fact.actor, position=position)
        for values in (*metrics, *parameters, *tags)
    )


def _touches(policy: Policy, amendments: tuple[AmendmentRow, ...]) -> bool:
    """Tell whether a verdict by this policy looked at any of the amended values."""
    amended: set[str] = set()
    for row in amendments:
        match row.kind:
            case "metric":
                amended |= {"metrics", f"metric:{row.name}"}
            case "parameter":
                amended.add("parameters")
            case _:
                pass
    return bool(amended) and any(not spec.reads or amended & set(spec.reads) for spec in policy.checks)
