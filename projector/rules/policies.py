"""Rules version 1 for what judges trainings: policies, and the requests that are replayed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from deedbook.events import facts
from deedbook.projector.decision import Accepted, Decision, Event, Rejected, fact_of
from deedbook.projector.rows import GroupingRow, GroupRow, PolicyRow, RequestSetRow, Row
from deedbook.projector.rules.groups import group_key_of

if TYPE_CHECKING:
    from deedbook.projector.view import View


def policy_published(view: View, event: Event) -> Decision:
    """Number the policy; where it groups trainings otherwise, regroup all of the model's."""
    fact = fact_of(event, facts.PolicyPublished)
    before = view.policy_in_force(fact.policy.model)
    policy = replace(fact.policy, version=before.version + 1)
    rows: list[Row] = [
        PolicyRow(policy.model, policy.version, policy, fact.source, fact.actor, event.position)
    ]
    if (before.group_by_all, set(before.group_by)) == (policy.group_by_all, set(policy.group_by)):
        return Accepted(tuple(rows))
    regrouped = []
    trainings = view.trainings_of(policy.model)
    # The old groups are empty now: a later policy may group as this one's predecessor did.
    groups = {state.group_key: GroupRow(state.group_key, policy.model) for state in trainings}
    for state in trainings:
        key = group_key_of(policy, policy.model, state.parameters)
        old = view.group(state.group_key)
        group = groups.get(key, GroupRow(key, policy.model))
        training_id = state.row.training_id
        groups[key] = replace(
            group,
            last_trained=training_id,
            last_deployable=training_id if state.standing.deployable else group.last_deployable,
            live=training_id if old and old.live == training_id else group.live,
        )
        rows.append(GroupingRow(state.row.key, key))
        regrouped.append(replace(state, group_key=key))
    return Accepted((*rows, *groups.values()), tuple(regrouped))


def requests_published(view: View, event: Event) -> Decision:
    """Take in a set of past requests, for the trainings logged from now on."""
    requests = fact_of(event, facts.RequestsPublished).requests
    sets = view.request_sets(requests.model)
    if any(row.requests_id == requests.requests_id for row in sets):
        return Rejected(f"request set {requests.requests_id} was published before")
    row = RequestSetRow(
        requests_id=requests.requests_id,
        model=requests.model,
        parameters=tuple((p.name, p.text) for p in requests.parameters),
        artifact_uri=requests.artifact.uri,
        artifact_sha256=requests.artifact.sha256,
        artifact_size_bytes=requests.artifact.size_bytes,
        count=requests.count,
        actor=event.actor,
        position=event.position,
    )
    return Accepted((row,))
