"""What is measured, in which words, and what deedbook promises of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from measure import Measure

LABELS: Final[Mapping[str, str]] = {
    "chart": "MSE over time by city",
    "chart_peak_rss": "  memory it takes",
    "search": "search: one city, mse below x, first 50",
    "search_peak_rss": "  memory it takes",
    "log_training": "log one training of 100 metrics, durably",
    "log_training_unsynced": "  the same, not synced",
    "step_metric": "log one step metric",
    "step_metric_written": "  the same, until it is written",
    "fill": "fill the store",
    "disk": "bytes on disk",
    "import": "import in a fresh interpreter",
    "import_peak_rss": "  memory it takes",
}


@dataclass(frozen=True, slots=True)
class Goal:
    """A promise about one figure at one size; `met` is handed ours and the others' best by subject."""

    what: str
    n: int
    text: str
    met: Callable[[Measure, Mapping[str, Measure]], bool]


def at_most(what: str, n: int, limit: float, text: str) -> Goal:
    """The promise that our figure stays at or under `limit`."""
    return Goal(what, n, f"≤ {text}", lambda ours, _: ours.median <= limit)


GOALS: Final = (
    at_most("chart", 30_000, 0.050, "50 ms"),
    at_most("search", 30_000, 0.030, "30 ms"),
    at_most("log_training", 0, 0.001, "1 ms"),
    at_most("step_metric", 0, 5e-6, "5 µs"),
    at_most("disk", 3_000, 13 << 20, "13 MiB"),
    at_most("import", 0, 0.150, "150 ms"),
)


def goal_for(ours: Measure) -> Goal | None:
    """The promise about this figure, where there is one."""
    return next((goal for goal in GOALS if (goal.what, goal.n) == (ours.what, ours.n)), None)
