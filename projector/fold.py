"""The fold: what an appended event counts for, decided from the log's prefix alone.

Pure: no clock, no chance, no files. Rules have versions; those in force at a position are the ones
the log had adopted there, so history is never decided again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deedbook.events import facts
from deedbook.projector.decision import Decision, Event, Halted, Ignored, Rejected, fact_of
from deedbook.projector.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deedbook.projector.rules import Rule
    from deedbook.projector.view import View


def decide(view: View, event: Event, rules: Mapping[int, Mapping[str, Rule]] | None = None) -> Decision:
    """Decide one event against the state before it, by the rules in force there."""
    known_rules = RULES if rules is None else rules
    in_force = known_rules.get(view.rules_version)
    if in_force is None:
        return Halted(f"the log adopted rules version {view.rules_version}, which this release lacks")
    first = view.event_hash(event.topic, event.partition, event.event_id)
    if first is not None:
        if first == event.body_hash:
            return Ignored("the same event was recorded before")
        return Rejected(f"event id {event.event_id} was used before, for another event")
    if event.problem is not None:
        return Rejected(event.problem)
    rule = in_force.get(event.type)
    if rule is None:
        return Halted(f"rules version {view.rules_version} have no rule for {event.type}")
    if event.type == "RulesAdopted":
        adopted = fact_of(event, facts.RulesAdopted)
        if adopted.rules_version not in known_rules:
            return Halted(f"the log adopts rules version {adopted.rules_version}, which this release lacks")
    return rule(view, event)
