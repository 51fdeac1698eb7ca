"""Putting a fact on the log, and hearing what the fold decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deedbook.events.errors import RequestRejected

if TYPE_CHECKING:
    from deedbook.cli.asking import Asked, Decided
    from deedbook.events.facts import Fact


def record_one(registry: Asked, fact: Fact) -> Decided:
    """Append one fact. Raises InvalidInput, and RequestRejected with the fold's reason."""
    (decided,) = registry.decided([registry.recording.preparer.prepared(fact)])
    if decided.decision == "rejected":
        raise RequestRejected(decided.reason)
    return decided
