"""Whether the model's coefficients are like its baseline's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deedbook.consumers.checks.check import Check
from deedbook.consumers.checks.finding import Finding
from deedbook.consumers.checks.sentences import listed, percentages, spelled, spelled_apart
from deedbook.consumers.checks.settings import Setting
from deedbook.events.facts import Outcome
from deedbook.events.names import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deedbook.consumers.checks.evidence import Evidence
    from deedbook.consumers.checks.settings import Settings
    from deedbook.events.facts import Training

_NAMED_MOVES = 3


@dataclass(frozen=True, slots=True)
class _Move:
    """One coefficient, before and now, and how far it may move."""

    name: str
    before: float
    now: float
    allowed: float

    @property
    def size(self) -> float:
        return abs(self.now - self.before)

    @property
    def excess(self) -> float:
        """The move as a multiple of what is allowed; above 1 is too far."""
        if self.size == 0:
            return 0.0
        return self.size / self.allowed if self.allowed else math.inf

    def __str__(self) -> str:
        before, now = spelled_apart(self.before, self.now)
        share = f", {percentages((self.now - self.before) / abs(self.before))[0]}" if self.before else ""
        return f"{shown(self.name)} from {before} to {now}{share}"


def _evaluate(evidence: Evidence, settings: Settings) -> Finding:
    now = evidence.training.coefficients
    if not now:
        reason = "the training logged no coefficients, so they can't be compared"
        return Finding(outcome=Outcome.NOT_EVALUATED, reason=reason)
    problem = _problem_of(evidence.training)
    if problem:
        return problem
    baseline = evidence.baseline
    if baseline is None:
        return evidence.nothing_to_compare()
    against = f"against {evidence.baseline_words}"
    if not baseline.coefficients or _problem_of(baseline):
        reason = f"the baseline has no coefficients that can be compared with: {evidence.baseline_words}"
        return Finding(outcome=Outcome.NOT_EVALUATED, reason=reason)
    values, old = _by_name(evidence.training), _by_name(baseline)
    added, removed = sorted(values.keys() - old.keys()), sorted(old.keys() - values.keys())
    if added or removed:
        named = [
            f"{listed(names)} {what}" for names, what in ((added, "added"), (removed, "removed")) if names
        ]
        return Finding(
            outcome=Outcome.FAILED,
            subject=(added + removed)[0],
            observed=len(added) + len(removed),
            threshold=0,
            reason=f"the model has other coefficients: {'; '.join(named)}; {against}",
        )
    if settings.text("method") == "cosine":
        return _by_cosine(values, old, settings, against)
    return _each(values, old, settings, against)


def _each(values: Mapping[str, float], old: Mapping[str, float], settings: Settings, against: str) -> Finding:
    """Hold each coefficient to its own tolerance: a share of the baseline's size, or an amount if that is more."""
    relative, absolute = settings.number("max_relative"), settings.number("max_absolute")
    moves = [_Move(n, old[n], value, max(relative * abs(old[n]), absolute)) for n, value in values.items()]
    moves.sort(key=lambda move: (-move.excess, -move.size, move.name))
    # A tolerance of 20% means 20%, whatever the last bit of the division says.
    beyond = [move for move in moves if move.excess > 1 + 1e-9]
    worst = moves[0]
    most = "; ".join(str(move) for move in (beyond or moves)[:_NAMED_MOVES])
    amount = f" and more than {spelled(absolute)}" if absolute else ""
    limit = f"{percentages(relative)[0].lstrip('+')} of its size{amount}"
    counts = f"{len(beyond):,} of {len(moves):,} coefficients moved by more than {limit}"
    reason = (
        f"{counts}, {against}; most: {most}" if beyond or worst.size else f"no coefficient moved, {against}"
    )
    return Finding(
        outcome=Outcome.FAILED if beyond else Outcome.PASSED,
        subject=worst.name,
        observed=worst.size,
        threshold=worst.allowed,
        reason=reason,
    )


def _by_cosine(
    values: Mapping[str, float], old: Mapping[str, float], settings: Settings, against: str
) -> Finding:
    """Hold the coefficients together, as a vector, to the direction the baseline's point in."""
    least = settings.number("min_cosine")
    cosine = _cosine([values[name] for name in old], list(old.values()))
    if cosine is None:
        reason = f"all coefficients are 0, here or in the baseline, so they point nowhere; {against}"
        return Finding(outcome=Outcome.NOT_EVALUATED, threshold=least, reason=reason)
    below = cosine < least and not math.isclose(cosine, least, rel_tol=1e-9)
    seen, limit = spelled_apart(cosine, least)
    moves = [_Move(name, old[name], value, 0) for name, value in values.items()]
    moves.sort(key=lambda move: (-move.size, move.name))
    most = "; ".join(str(move) for move in moves[:_NAMED_MOVES] if move.size) or "none"
    return Finding(
        outcome=Outcome.FAILED if below else Outcome.PASSED,
        subject=moves[0].name,
        observed=cosine,
        threshold=least,
        reason=(
            f"the cosine of the {len(old):,} coefficients with the baseline's is {seen},"
            f" {'below' if below else 'at least'} the minimum of {limit}, {against}; moved most: {most}"
        ),
    )


def _cosine(first: list[float], second: list[float]) -> float | None:
    """Return the cosine of two vectors, None if one is zero; neither overflows nor vanishes on the way."""
    units = []
    for vector in (first, second):
        largest = max(map(abs, vector))
        if largest == 0:
            return None
        scaled = [value / largest for value in vector]
        length = math.hypot(*scaled)
        units.append([value / length for value in scaled])
    return max(-1.0, min(1.0, math.fsum(a * b for a, b in zip(*units, strict=True))))


def _problem_of(training: Training) -> Finding | None:
    """Return why a training's coefficients can't be compared with any others."""
    values = _by_name(training)
    if len(values) != len(training.coefficients):
        return Finding(outcome=Outcome.ERROR, reason="the training names a coefficient twice")
    wrong = [name for name, value in values.items() if not math.isfinite(value)]
    if not wrong:
        return None
    return Finding(
        outcome=Outcome.FAILED,
        subject=wrong[0],
        observed=values[wrong[0]],
        reason=f"{len(wrong):,} of {len(values):,} coefficients are NaN or infinite: {listed(wrong)}",
    )


def _by_name(training: Training) -> dict[str, float]:
    return {coefficient.name: coefficient.value for coefficient in training.coefficients}


COEFFICIENT_SIMILARITY = Check(
    name="coefficient_similarity",
    summary="The model's coefficients are the baseline's, and have not moved far from them.",
    evaluate=_evaluate,
    reads=lambda _: ("coefficients",),
    compares=True,
    settings=(
        Setting(
            name="method",
            kind="text",
            default="each",
            choices=("each", "cosine"),
            meaning=(
                "`each` holds every coefficient to max_relative and max_absolute;"
                " `cosine` holds all together to min_cosine, and does not see a change of scale."
            ),
        ),
        Setting(
            name="max_relative",
            method="each",
            kind="number",
            default=0.5,
            minimum=0,
            meaning="How far a coefficient may move, as a share of its size in the baseline (0.5 is 50%).",
        ),
        Setting(
            name="max_absolute",
            method="each",
            kind="number",
            default=0.0,
            minimum=0,
            meaning="How far a coefficient may move in its own unit, where that is more than max_relative allows.",
        ),
        Setting(
            name="min_cosine",
            method="cosine",
            kind="number",
            default=0.9,
            minimum=0,
            maximum=1,
            meaning="The least cosine between the candidate's coefficients and the baseline's.",
        ),
    ),
)
