"""What is measured, in which words, and what deedbook promises of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from measure import Measure

PAGES: Final = (
    "models",
    "a model",
    "search",
    "compare",
    "a training",
    "failures",
    "deployments",
    "fleet",
    "log",
    "health",
)

LABELS: Final[Mapping[str, str]] = {
    "fold": "log to committed rows: trainings of 100 metrics",
    "fold_steps": "log to committed rows: step metrics in chunks of 1,000",
    "visible": "one training appended until visible, projection open",
    "visible_opening": "  the same, projection opened for it",
    "chart": "MSE over time by city",
    "chart_by_client": "  the same through the client",
    "chart_peak_rss": "  memory it takes",
    "search": "search: one city, mse below x, first 50",
    "search_by_client": "  the same through the client",
    "search_peak_rss": "  memory it takes",
    "log_training": "log one training of 100 metrics, durably",
    "log_training_unsynced": "  the same, not synced",
    "step_metric": "log one step metric",
    "step_metric_written": "  the same, until it is written",
    "fill": "fill the store",
    "disk": "bytes on disk",
    "import": "import in a fresh interpreter",
    "import_peak_rss": "  memory it takes",
    "help": "the command's help",
    "validation": "a verdict on a scikit-learn training",
    "rebuild": "rebuild: trainings of 100 metrics",
    "fold_peak_rss": "memory of the projector: trainings of 10 metrics",
    "kafka_fold": "on Kafka, log to committed rows: trainings of 100 metrics",
    "kafka_fold_steps": "on Kafka, log to committed rows: step metrics in chunks of 1,000",
    "kafka_fold_peak_rss": "on Kafka, memory of the projector: trainings of 10 metrics",
    "kafka_told": "on Kafka, deployment requested until a host is told",
    "kafka_told_p99": "  99 of 100 under",
    "kafka_judged": "on Kafka, training logged until its verdict is on the log",
    "kafka_judged_p99": "  99 of 100 under",
    "serve_ready": "a server's start until it is ready",
    "serve_idle_rss": "  memory of it and its children, idle",
    "chart_served": "MSE over time by city, from the server",
    "chart_query": "  of it, the query",
    "search_served": "search: one city, mse below x, first 50, from the server",
    "binding": "what a release is bound to, 500 requests/s while trainings are logged",
    "binding_p99": "  99 of 100 under",
    "logged_by_service": "  a training logged meanwhile, until it is decided",
    "subscribers_cpu": "share of a core that 200 idle subscribers take",
    **{f"page {page}": f"page: {page}" for page in PAGES},
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


def at_least(what: str, n: int, text: str, *, rows_per_second: float, share: float, subject: str) -> Goal:
    """The promise that our figure reaches a number, and a share of another subject's in the same run."""

    def met(ours: Measure, others: Mapping[str, Measure]) -> bool:
        return ours.median >= rows_per_second and ours.median >= share * others[subject].median

    return Goal(what, n, f"≥ {text}", met)


def at_most_times(what: str, n: int, text: str, *, limit: float, times: float, subject: str) -> Goal:
    """The promise that our figure stays under a limit, and under so many times another's in the same run."""

    def met(ours: Measure, others: Mapping[str, Measure]) -> bool:
        return ours.median <= limit and ours.median <= times * others[subject].median

    return Goal(what, n, f"≤ {text}", met)


_FOLDED: Final = "1 M rows/s and 50% of raw"
_VISIBLE: Final = "8 ms and 1.3x that at 1,000"
_REBUILT: Final = "20 s and 12x that of a tenth"
GOALS: Final = (
    at_least("fold", 10_000, _FOLDED, rows_per_second=1e6, share=0.5, subject="raw DuckDB"),
    at_least("fold_steps", 0, _FOLDED, rows_per_second=1e6, share=0.5, subject="raw DuckDB"),
    at_most_times("visible", 1_000_000, _VISIBLE, limit=0.008, times=1.3, subject="itself"),
    at_most("chart", 30_000, 0.050, "50 ms"),
    at_most("search", 30_000, 0.030, "30 ms"),
    at_most("log_training", 0, 0.001, "1 ms"),
    at_most("step_metric", 0, 5e-6, "5 µs"),
    at_most("disk", 3_000, 13 << 20, "13 MiB"),
    at_most("import", 0, 0.150, "150 ms"),
    at_most("help", 0, 0.300, "300 ms"),
    at_most("validation", 0, 0.150, "150 ms"),
    at_most_times("rebuild", 100_000, _REBUILT, limit=20.0, times=12.0, subject="itself"),
    at_most("fold_peak_rss", 1_000_000, 1 << 30, "1 GiB"),
    at_least("kafka_fold", 10_000, _FOLDED, rows_per_second=1e6, share=0.5, subject="raw DuckDB"),
    at_least("kafka_fold_steps", 0, _FOLDED, rows_per_second=1e6, share=0.5, subject="raw DuckDB"),
    at_most("kafka_fold_peak_rss", 1_000_000, 1 << 30, "1 GiB"),
    at_most("serve_ready", 30_000, 2.0, "2 s"),
    at_most("serve_idle_rss", 30_000, 300 << 20, "300 MiB"),
    at_most("chart_query", 30_000, 0.050, "50 ms"),
    at_most("binding_p99", 30_000, 0.010, "10 ms"),
    at_most("subscribers_cpu", 30_000, 0.010, "10 ms a second"),
    *(at_most(f"page {page}", 30_000, 0.200, "200 ms") for page in PAGES),
    at_most("kafka_told", 0, 0.010, "10 ms"),
    at_most("kafka_told_p99", 0, 0.050, "50 ms"),
    at_most("kafka_judged", 0, 0.100, "100 ms"),
)


def goal_for(ours: Measure) -> Goal | None:
    """The promise about this figure, where there is one."""
    return next((goal for goal in GOALS if (goal.what, goal.n) == (ours.what, ours.n)), None)
