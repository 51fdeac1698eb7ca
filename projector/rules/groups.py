"""Which trainings are comparable, and what a new one is compared with."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from deedbook.projector.rows import GroupRow, RequestRow, TrainingRow

if TYPE_CHECKING:
    from deedbook.events.facts import Policy
    from deedbook.projector.decision import Event
    from deedbook.projector.states import TrainingState
    from deedbook.projector.view import View


_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@functools.lru_cache(maxsize=8192)  # a batch's trainings may all be of groups of their own
def group_key_of(policy: Policy, model: str, parameters: tuple[tuple[str, str], ...]) -> str:
    """Return the key of the trainings a policy makes comparable: model and shared parameter values."""
    names = {name for name, _ in parameters} if policy.group_by_all else set(policy.group_by)
    values = dict(parameters)
    shared = [[name, values.get(name)] for name in sorted(names)]
    text = _COMPACT.encode([model, shared])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def request_validation(
    view: View, event: Event, row: TrainingRow, parameters: tuple[tuple[str, str], ...], group: GroupRow
) -> RequestRow:
    """Fix what a training is judged by, and compared with, as of this event."""
    values = dict(parameters)
    matching = [
        found.requests_id
        for found in view.request_sets(row.model)
        if all(values.get(name) == text for name, text in found.parameters)
    ]
    return RequestRow(
        training_key=row.key,
        requested_at_position=event.position,
        policy_version=view.policy_in_force(row.model).version,
        last_trained=group.last_trained,
        last_deployable=group.last_deployable,
        live=group.live,
        requests_id=matching[-1] if matching else "",
    )


def request_again(view: View, event: Event, state: TrainingState, group: GroupRow) -> tuple[RequestRow, ...]:
    """Ask for a verdict on an old training: compared with what came before it, never with itself.

    Returns the old request, closed, where it was still open, and last the new one.
    """
    before = [t for t in view.members(group.group_key) if t.row.key < state.row.key]
    deployable = [t.row.training_id for t in before if t.standing.deployable]
    earlier = replace(
        group,
        last_trained=before[-1].row.training_id if before else "",
        last_deployable=deployable[-1] if deployable else "",
        live="" if group.live == state.row.training_id else group.live,
    )
    again = request_validation(view, event, state.row, state.parameters, earlier)
    if state.request.closed_position is None:
        return (replace(state.request, closed_position=event.position), again)
    return (again,)


def group_of(
    view: View,
    group_key: str,
    model: str,
    *,
    joined_by: TrainingState | None = None,
    without: TrainingState | None = None,
) -> GroupRow:
    """Return a group's baselines, found anew from its members."""
    changed = joined_by or without
    members = [t for t in view.members(group_key) if changed is None or t.row.key != changed.row.key]
    if joined_by is not None:
        members = sorted([*members, joined_by], key=lambda t: t.row.key)
    known = view.group(group_key) or GroupRow(group_key, model)
    ids = {t.row.training_id for t in members}
    deployable = [t.row.training_id for t in members if t.standing.deployable]
    return replace(
        known,
        last_trained=members[-1].row.training_id if members else "",
        last_deployable=deployable[-1] if deployable else "",
        live=known.live if known.live in ids else "",
    )
