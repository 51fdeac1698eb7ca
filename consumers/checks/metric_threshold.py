"""Whether a metric is within fixed bounds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from deedbook.consumers.checks.check import Check
from deedbook.consumers.checks.finding import Finding
from deedbook.consumers.checks.metric_values import METRIC, SLICE, Absent, metric_of, not_a_number, subject_of
from deedbook.consumers.checks.sentences import spelled_apart
from deedbook.consumers.checks.settings import Setting
from deedbook.events.facts import Outcome
from deedbook.events.names import shown

if TYPE_CHECKING:
    from deedbook.consumers.checks.evidence import Evidence
    from deedbook.consumers.checks.settings import Settings


def _evaluate(evidence: Evidence, settings: Settings) -> Finding:
    subject = subject_of(settings)
    least, most = settings.number_or_none("min"), settings.number_or_none("max")
    metric = metric_of(evidence.training, settings)
    if isinstance(metric, Absent):
        return Finding(outcome=Outcome.ERROR, subject=subject, reason=f"the training {metric.reason}")
    value = metric.value

    def found(outcome: Outcome, threshold: float | None, reason: str) -> Finding:
        return Finding(outcome=outcome, subject=subject, observed=value, threshold=threshold, reason=reason)

    if not math.isfinite(value):
        reason = f"{shown(subject)} {not_a_number(value)}"
        return found(Outcome.FAILED, most if most is not None else least, reason)
    if least is not None and value < least:
        seen, limit = spelled_apart(value, least)
        return found(Outcome.FAILED, least, f"{shown(subject)} is {seen}, below the minimum of {limit}")
    if most is not None and value > most:
        seen, limit = spelled_apart(value, most)
        return found(Outcome.FAILED, most, f"{shown(subject)} is {seen}, above the maximum of {limit}")
    bounds = {"at least": least, "at most": most}
    given = {words: bound for words, bound in bounds.items() if bound is not None}
    seen, *limits = spelled_apart(value, *given.values())
    demands = " and ".join(f"{words} {limit}" for words, limit in zip(given, limits, strict=True))
    return found(
        Outcome.PASSED,
        most if most is not None else least,
        f"{shown(subject)} is {seen}; it must be {demands}",
    )


def _problem(settings: Settings) -> str:
    least, most = settings.number_or_none("min"), settings.number_or_none("max")
    if least is None and most is None:
        return "it needs min, max or both: without a bound any value would pass"
    if least is not None and most is not None and least > most:
        return f"its min of {least:g} is above its max of {most:g}: no value could pass"
    return ""


METRIC_THRESHOLD = Check(
    name="metric_threshold",
    summary="A metric of the training is within fixed bounds.",
    evaluate=_evaluate,
    reads=lambda settings: (f"metric:{settings.text('metric')}",),
    problem=_problem,
    settings=(
        METRIC,
        SLICE,
        Setting(
            name="min",
            kind="number",
            meaning="The least value that passes; give min, max or both.",
        ),
        Setting(
            name="max",
            kind="number",
            meaning="The greatest value that passes.",
        ),
    ),
)
