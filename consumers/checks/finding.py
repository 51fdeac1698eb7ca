"""What a check may find."""

from __future__ import annotations

from dataclasses import dataclass

from deedbook.events.facts import Distribution, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check found: an outcome, and one sentence with the numbers behind it.

    `subject` is what it is about (a metric, a coefficient). `observed` and `threshold` are in the
    same unit. A passed finding never has an `observed` that is not finite: it would end as an error.
    """

    outcome: Outcome
    reason: str
    subject: str = ""
    observed: float | None = None
    threshold: float | None = None
    distributions: tuple[Distribution, ...] = ()
