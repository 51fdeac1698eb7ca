"""Whether a metric got worse than the baseline's."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deedbook.consumers.checks.check import Check
from deedbook.consumers.checks.finding import Finding
from deedbook.consumers.checks.metric_values import METRIC, SLICE, Absent, metric_of, not_a_number, subject_of
from deedbook.consumers.checks.sentences import percentages, spelled_apart
from deedbook.consumers.checks.settings import Setting
from deedbook.events.facts import Direction, Outcome
from deedbook.events.names import shown

if TYPE_CHECKING:
    from deedbook.consumers.checks.evidence import Evidence
    from deedbook.consumers.checks.settings import Settings
    from deedbook.events.facts import Metric

# A limit of 20% means 20%, whatever the last bit of the division says.
_SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class _Unclear:
    """The sentence that says why nobody knows which way a metric is better."""

    reason: str


def _evaluate(evidence: Evidence, settings: Settings) -> Finding:
    subject = subject_of(settings)

    def ended(outcome: Outcome, reason: str, observed: float | None = None) -> Finding:
        return Finding(outcome=outcome, subject=subject, observed=observed, reason=reason)

    # The candidate first: a misspelt metric must not pass because there is nothing to compare with.
    now = metric_of(evidence.training, settings)
    if isinstance(now, Absent):
        return ended(Outcome.ERROR, f"the training {now.reason}")
    if not math.isfinite(now.value):
        return ended(Outcome.FAILED, f"{shown(subject)} {not_a_number(now.value)}", now.value)
    before = metric_of(evidence.baseline, settings) if evidence.baseline else None
    direction = _direction(settings, now, before)
    if isinstance(direction, _Unclear):
        return ended(Outcome.ERROR, direction.reason)
    if before is None:
        return evidence.nothing_to_compare(subject)
    if isinstance(before, Absent):
        return ended(Outcome.NOT_EVALUATED, f"the baseline, {evidence.baseline_words}, {before.reason}")
    if not math.isfinite(before.value):
        reason = (
            f"{shown(subject)} of the baseline {not_a_number(before.value)}; it is {evidence.baseline_words}"
        )
        return ended(Outcome.NOT_EVALUATED, reason)
    against = evidence.baseline_words
    return _compared(settings, now=now.value, before=before.value, direction=direction, against=against)


def _direction(settings: Settings, now: Metric, before: Metric | Absent | None) -> Direction | _Unclear:
    """Return which way the metric is better, where everybody who says so agrees."""
    stated = {"the training": now.direction}
    if settings.text("direction"):
        stated["the policy"] = Direction(settings.text("direction"))
    if before is not None and not isinstance(before, Absent):
        stated["the baseline"] = before.direction
    known = {who: way for who, way in stated.items() if way is not Direction.UNSPECIFIED}
    ways = set(known.values())
    if len(ways) == 1:
        return ways.pop()
    subject = shown(subject_of(settings))
    if ways:
        words = ", ".join(f"{way.value} by {who}'s word" for who, way in known.items())
        return _Unclear(f"it is not clear which way {subject} is better: {words}")
    return _Unclear(
        f"it is not known which way {subject} is better: log it with direction='lower' or 'higher',"
        " or set direction in the policy"
    )


def _compared(
    settings: Settings, *, now: float, before: float, direction: Direction, against: str
) -> Finding:
    subject = subject_of(settings)
    worsening = now - before if direction is Direction.LOWER else before - now
    relative = _share(worsening, before)
    limits = {
        "max_relative": (relative, settings.number_or_none("max_relative")),
        "max_absolute": (worsening, settings.number_or_none("max_absolute")),
    }
    given = {name: (seen, limit) for name, (seen, limit) in limits.items() if limit is not None}
    broken = {name: pair for name, pair in given.items() if _over(*pair)}
    name, (observed, threshold) = next(iter((broken or given).items()))
    to, was = spelled_apart(now, before)
    sign = 1 if direction is Direction.LOWER else -1
    by, limit = (
        percentages(sign * observed, sign * threshold)
        if name == "max_relative"
        else spelled_apart(abs(observed), threshold)
    )
    moved = "stayed at" if now == before else "rose from" if now > before else "fell from"
    way = to if now == before else f"{was} to {to} ({'' if name == 'max_relative' else 'by '}{by})"
    verdict = f"over the limit of {limit}" if broken else f"within the limit of {limit}"
    better = ", which is better" if worsening < 0 else ""
    return Finding(
        outcome=Outcome.FAILED if broken else Outcome.PASSED,
        subject=subject,
        observed=max(observed, -sys.float_info.max),
        threshold=threshold,
        reason=f"{shown(subject)} {moved} {way}{better}, {verdict}, against {against}",
    )


def _share(worsening: float, before: float) -> float:
    if before == 0:
        return math.copysign(math.inf, worsening) if worsening else 0.0
    return worsening / abs(before)


def _over(observed: float, limit: float) -> bool:
    return observed > limit and not math.isclose(observed, limit, rel_tol=_SLACK)


def _problem(settings: Settings) -> str:
    if settings.number_or_none("max_relative") is None and settings.number_or_none("max_absolute") is None:
        return "it needs max_relative, max_absolute or both: without a limit any value would pass"
    return ""


METRIC_REGRESSION = Check(
    name="metric_regression",
    summary="A metric of the training is not much worse than its baseline's, whichever way the metric is better.",
    evaluate=_evaluate,
    reads=lambda settings: (f"metric:{settings.text('metric')}",),
    compares=True,
    problem=_problem,
    settings=(
        METRIC,
        SLICE,
        Setting(
            name="max_relative",
            kind="number",
            minimum=0,
            meaning="How much worse it may be, as a share of the baseline's size: 0.2 is 20%.",
        ),
        Setting(
            name="max_absolute",
            kind="number",
            minimum=0,
            meaning="How much worse it may be, in the metric's own unit; give this, max_relative or both.",
        ),
        Setting(
            name="direction",
            kind="text",
            choices=("lower", "higher"),
            meaning="Which way the metric is better, for metrics that are logged without saying so.",
        ),
    ),
)
