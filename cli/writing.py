"""Putting a fact on the log, and hearing what the fold decided."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from deedbook.events.errors import RequestRejected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deedbook.cli.asking import Asked, Decided, Questions
    from deedbook.events.facts import Fact


@contextmanager
def recorded(registry: Asked, fact: Fact) -> Iterator[tuple[Decided, Questions]]:
    """Append one fact; hand out what was decided, and what can be asked of that. Keep it briefly.

    Raises InvalidInput, and RequestRejected with the fold's reason.
    """
    prepared = registry.recording.preparer.prepared(fact)
    with registry.deciding([prepared]) as ((decided,), questions):
        if decided.decision == "rejected":
            raise RequestRejected(decided.reason)
        yield decided, questions
