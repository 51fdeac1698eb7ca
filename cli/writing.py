"""Putting facts on the log, and hearing what the fold decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deedbook.events.errors import ProjectionBusy, RequestRejected

if TYPE_CHECKING:
    from deedbook.cli.wiring import Registry
    from deedbook.events.facts import Fact
    from deedbook.events.log import NewRecord


@dataclass(frozen=True, slots=True)
class Decided:
    """What came of a fact on the log: `decision` is accepted, ignored or rejected."""

    position: int
    decision: str
    reason: str


def decided_on(registry: Registry, records: Sequence[NewRecord]) -> list[Decided]:
    """Append records to the registry topic, all or none, and return what was decided on each, in their order."""
    from deedbook.events.facts import REGISTRY

    positions = [position for _, position in registry.recorder.append_records(REGISTRY, records)]
    try:
        with registry.reading() as connection:
            rows = connection.execute(
                "select position, decision, reason from main.events where topic = ? and position between ? and ?",
                [REGISTRY, positions[0], positions[-1]],
            ).fetchall()
    except ProjectionBusy as error:
        where = f"at position {positions[0]}"
        raise ProjectionBusy(f"it is on the log, {where}, but not decided here yet: {error}") from None
    found = {position: Decided(position, decision, reason or "") for position, decision, reason in rows}
    return [found[position] for position in positions]


def record_one(registry: Registry, fact: Fact) -> Decided:
    """Append one fact. Raises InvalidInput, and RequestRejected with the fold's reason."""
    (decided,) = decided_on(registry, [registry.recorder.prepared(fact)])
    if decided.decision == "rejected":
        raise RequestRejected(decided.reason)
    return decided
