"""Whether the model takes the same features as its baseline, of the same kinds, in the same order."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from deedbook.consumers.checks.check import Check
from deedbook.consumers.checks.finding import Finding
from deedbook.consumers.checks.sentences import listed
from deedbook.consumers.checks.settings import Setting
from deedbook.events.facts import Outcome
from deedbook.events.names import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deedbook.consumers.checks.evidence import Evidence
    from deedbook.consumers.checks.settings import Settings
    from deedbook.events.facts import Feature


def _evaluate(evidence: Evidence, settings: Settings) -> Finding:
    features, baseline = evidence.training.features, evidence.baseline
    repeated = _repeated(features)
    if repeated:
        return Finding(
            outcome=Outcome.ERROR, reason=f"the training names a feature twice: {listed(repeated)}"
        )
    if not features and not (baseline and baseline.features):
        if not settings.flag("required"):
            return Finding(
                outcome=Outcome.PASSED, reason="no features are recorded, and the policy requires none"
            )
        reason = "the training names no features, so there is nothing to compare: log it with its features"
        return Finding(outcome=Outcome.NOT_EVALUATED, reason=reason)
    if baseline is None:
        return evidence.nothing_to_compare()
    differences = _differences(features, baseline.features, settings)
    against = f"against {evidence.baseline_words}"
    if differences:
        return Finding(
            outcome=Outcome.FAILED,
            reason=f"the features differ: {'; '.join(text for text, _ in differences)}; {against}",
            observed=sum(count for _, count in differences),
            threshold=0,
        )
    reason = f"the {len(features):,} features match, {against}"
    return Finding(outcome=Outcome.PASSED, reason=reason, observed=0, threshold=0)


def _differences(
    now: Sequence[Feature], before: Sequence[Feature], settings: Settings
) -> list[tuple[str, int]]:
    """Return what differs, each with the number of features it is about."""
    kinds_now = {feature.name: feature.dtype for feature in now}
    kinds_before = {feature.name: feature.dtype for feature in before}
    added = [name for name in kinds_now if name not in kinds_before]
    removed = [name for name in kinds_before if name not in kinds_now]
    common = [name for name in kinds_now if name in kinds_before]
    common_before = [name for name in kinds_before if name in kinds_now]
    found = []
    if added:
        found.append((f"{listed(added)} added", len(added)))
    if removed:
        found.append((f"{listed(removed)} removed", len(removed)))
    if settings.flag("dtypes"):
        changed = [name for name in common if kinds_now[name] != kinds_before[name]]
        texts = [f"{shown(n)} was {shown(kinds_before[n])} and is {shown(kinds_now[n])}" for n in changed[:5]]
        more = [f"{len(changed) - 5} more of another dtype"] if len(changed) > 5 else []
        if changed:
            found.append((", ".join(texts + more), len(changed)))
    moved = [name for name, old in zip(common, common_before, strict=True) if name != old]
    if settings.flag("order") and moved:
        first = common.index(moved[0])
        text = f"another order, from {shown(common[first])} on, where there was {shown(common_before[first])}"
        found.append((text, len(moved)))
    return found


def _repeated(features: Sequence[Feature]) -> list[str]:
    counts = Counter(feature.name for feature in features)
    return [name for name, count in counts.items() if count > 1]


FEATURES_MATCH = Check(
    name="features_match",
    summary="The model takes the baseline's features: the same names and dtypes, in the same order.",
    evaluate=_evaluate,
    reads=lambda _: ("features",),
    compares=True,
    settings=(
        Setting(
            name="dtypes",
            kind="true or false",
            default=True,
            meaning="Whether a feature must keep its dtype.",
        ),
        Setting(
            name="order",
            kind="true or false",
            default=True,
            meaning="Whether the features must keep their order.",
        ),
        Setting(
            name="required",
            kind="true or false",
            default=True,
            meaning="Whether a training that names no features, like its baseline, is refused.",
        ),
    ),
)
