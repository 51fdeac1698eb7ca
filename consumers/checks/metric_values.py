"""A training's metrics, as the checks of metrics look them up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deedbook.consumers.checks.sentences import listed, spelled
from deedbook.consumers.checks.settings import Setting, near
from deedbook.events.names import shown

if TYPE_CHECKING:
    from deedbook.consumers.checks.settings import Settings
    from deedbook.events.facts import Metric, Training

METRIC = Setting(
    name="metric",
    kind="text",
    required=True,
    meaning="The name of the metric.",
)
SLICE = Setting(
    name="slice",
    kind="text",
    default="",
    meaning="The part of the data the metric holds for; empty for all of it.",
)


@dataclass(frozen=True, slots=True)
class Absent:
    """Why a metric can't be had, as the rest of a sentence that starts with the training."""

    reason: str


def metric_of(training: Training, settings: Settings) -> Metric | Absent:
    """Return the metric that the settings name, whatever its value, or why there is none."""
    name, part = settings.text("metric"), settings.text("slice")
    found = [metric for metric in training.metrics if metric.name == name and metric.slice == part]
    if len(found) == 1:
        return found[0]
    if found:
        return Absent(f"has the metric {subject_of(settings)} {len(found)} times")
    slices = sorted({metric.slice for metric in training.metrics if metric.name == name})
    if slices:
        others = [text for text in slices if text]
        only = f"only in {listed(others)}" if others else ""
        whole = "only for all of the data" if "" in slices else ""
        return Absent(f"has {shown(name)} {whole or only}, not {_place(part)}{near(part, others)}")
    names = sorted({metric.name for metric in training.metrics})
    hint = near(name, names) or (f"; it has {listed(names)}" if names else "; it has none at all")
    return Absent(f"has no metric {shown(name)}{hint}")


def subject_of(settings: Settings) -> str:
    """Return how a result names its metric: `mse`, or `mse (Austin)` for a slice."""
    part = settings.text("slice")
    return f"{settings.text('metric')} ({part})" if part else settings.text("metric")


def not_a_number(value: float) -> str:
    """Return why a metric that is NaN or infinite can't be judged, as the rest of a sentence."""
    return f"is {spelled(value)}, which is no value to compare"


def _place(part: str) -> str:
    return f"in {shown(part)}" if part else "for all of the data"
