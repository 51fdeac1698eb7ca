"""Whether the model answers past requests as its baseline does."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, cast

from deedbook.consumers.checks.check import Check
from deedbook.consumers.checks.distances import Method, Scale, distance, histograms
from deedbook.consumers.checks.finding import Finding
from deedbook.consumers.checks.sentences import spelled_apart
from deedbook.consumers.checks.settings import Setting
from deedbook.consumers.sandbox import Failure
from deedbook.events.errors import InvalidInput
from deedbook.events.facts import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deedbook.consumers.checks.evidence import Evidence
    from deedbook.consumers.checks.settings import Settings
    from deedbook.events.facts import Training

_METHOD_WORDS = {
    "ks": "the Kolmogorov-Smirnov distance",
    "wasserstein": "the Wasserstein distance",
    "psi": "the population stability index",
}
_SCALE_WORDS = {
    "std": " in the baseline's standard deviations",
    "iqr": " in the baseline's interquartile ranges",
}


def _evaluate(evidence: Evidence, settings: Settings) -> Finding:
    if evidence.baseline is None:
        return _first(evidence)
    count, least = len(evidence.requests), settings.whole("min_requests")
    if count < least:
        have = f"only {count:,} past requests" if count else "no past requests"
        return Finding(
            outcome=Outcome.NOT_EVALUATED,
            observed=count,
            threshold=least,
            reason=f"there are {have} to replay, and the policy asks for at least {least:,}: publish more",
        )
    values = []
    for whose, training in (("model", evidence.training), ("baseline", evidence.baseline)):
        predicted = _replayed(evidence, whose, training)
        if isinstance(predicted, Finding):
            return predicted
        values.append(predicted)
    return compared(values[0], values[1], settings, evidence.baseline_words)


def _first(evidence: Evidence) -> Finding:
    """Return the pass of a first training, unless there are requests that its model fails to answer."""
    predicted = _replayed(evidence, "model", evidence.training) if evidence.requests else ()
    return predicted if isinstance(predicted, Finding) else evidence.nothing_to_compare()


def _replayed(evidence: Evidence, whose: str, training: Training) -> tuple[float, ...] | Finding:
    """Return a training's predictions for the past requests, or what to say where there are none."""
    try:
        evidence.rows(training)
    except InvalidInput as error:
        reason = f"the past requests can't be replayed through the {whose}: {error}"
        return Finding(outcome=Outcome.NOT_EVALUATED, reason=reason)
    outcome = evidence.predictions(training)
    if isinstance(outcome, Failure):
        who = "model" if training is evidence.training else f"baseline, {evidence.baseline_words},"
        return Finding(
            outcome=Outcome.ERROR, reason=f"the {who} can't be run on past requests: {outcome.reason}"
        )
    return outcome.values


def compared(
    candidate: Sequence[float], baseline: Sequence[float], settings: Settings, against: str
) -> Finding:
    """Return how two sets of predictions for the same requests compare, with histograms of both."""
    method, scale = cast("Method", settings.text("method")), cast("Scale", settings.text("scale") or "std")
    threshold = settings.number("threshold")
    bins = settings.whole("bins") if method == "psi" else 0
    observed = distance(method, candidate, baseline, scale=scale, bins=bins)
    over = observed > threshold
    before, now = spelled_apart(statistics.median(baseline), statistics.median(candidate))
    seen, limit = spelled_apart(observed, threshold)
    unit = _SCALE_WORDS[scale] if method == "wasserstein" else ""
    moved = (
        f"the median prediction stayed at {now}"
        if before == now
        else f"the median prediction went from {before} to {now}"
    )
    return Finding(
        outcome=Outcome.FAILED if over else Outcome.PASSED,
        subject=method,
        observed=observed,
        threshold=threshold,
        reason=(
            f"over {len(candidate):,} replayed requests {moved}; {_METHOD_WORDS[method]}{unit} is {seen},"
            f" {'over' if over else 'within'} the limit of {limit}, against {against}"
        ),
        distributions=(histograms("prediction", candidate, baseline),),
    )


def _problem(settings: Settings) -> str:
    if settings.text("method") == "ks" and settings.number("threshold") >= 1:
        return (
            "its threshold must be below 1: no Kolmogorov-Smirnov distance is greater, so anything would pass"
        )
    return ""


PREDICTION_SIMILARITY = Check(
    name="prediction_similarity",
    summary=(
        "Past requests, replayed through the model and its baseline in the sandbox, get answers of much the"
        " same distribution."
    ),
    evaluate=_evaluate,
    # Which requests are replayed hangs on the training's parameters.
    reads=lambda _: ("artifact", "features", "parameters"),
    compares=True,
    problem=_problem,
    settings=(
        Setting(
            name="method",
            kind="text",
            default="ks",
            choices=("ks", "wasserstein", "psi"),
            meaning=(
                "How the two distributions are compared: Kolmogorov-Smirnov (0 to 1), Wasserstein (in units of"
                " scale), or the population stability index."
            ),
        ),
        Setting(
            name="threshold",
            kind="number",
            required=True,
            minimum=0,
            meaning="The greatest distance that passes; customary are 0.2 for ks, 0.25 for wasserstein, 0.2 for psi.",
        ),
        Setting(
            name="min_requests",
            kind="whole number",
            default=30,
            minimum=1,
            maximum=100_000,
            meaning="How many past requests there must be; with fewer the check is not evaluated, which is no pass.",
        ),
        Setting(
            name="scale",
            method="wasserstein",
            kind="text",
            default="std",
            choices=("std", "iqr"),
            meaning="What wasserstein is measured in: the baseline's standard deviation, or its interquartile range.",
        ),
        Setting(
            name="bins",
            method="psi",
            kind="whole number",
            default=10,
            minimum=2,
            maximum=100,
            meaning="How many quantiles of the baseline psi counts in.",
        ),
    ),
)
