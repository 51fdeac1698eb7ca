"""What the service measures of itself, for Prometheus; and what it says of its health."""

from __future__ import annotations

from collections import Counter as Tally
from typing import TYPE_CHECKING, Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from deedbook import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from deedbook.projector.store import Batch
    from deedbook.service.live import Live
    from deedbook.service.settings import ServiceSettings

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Measures:
    """The service's counters; the live state is asked when somebody asks for them."""

    def __init__(self, live: Live) -> None:
        # When each counter began is one more series for each, and nobody's question.
        disable_created_metrics()  # type: ignore[no-untyped-call] # it has none
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        registry.register(_Health(live))
        self.folded = Counter(
            "deedbook_events_folded", "Events folded, by decision.", ["topic", "decision"], registry=registry
        )
        self.appended = Counter(
            "deedbook_appends",
            "Events that this service put on the log, or could not.",
            ["topic", "outcome"],
            registry=registry,
        )
        self.append_seconds = Histogram(
            "deedbook_append_seconds",
            "Until events were durable on the log.",
            ["topic"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.requests = Counter(
            "deedbook_requests",
            "Requests answered, by page or call, and by status.",
            ["interface", "route", "code"],
            registry=registry,
        )
        self.request_seconds = Histogram(
            "deedbook_request_seconds",
            "Until a request was answered; streams are not among them.",
            ["interface", "route"],
            buckets=_SECONDS,
            registry=registry,
        )
        # By label: looking a series up costs more than counting in it, and there are few.
        self._counted: dict[tuple[str, str, str], Counter] = {}
        self._timed: dict[tuple[str, str], Histogram] = {}
        self.streams = Gauge(
            "deedbook_streams", "Streams that are open.", ["interface", "route"], registry=registry
        )
        build = Gauge("deedbook_build", "Always 1, with the release.", ["release"], registry=registry)
        build.labels(__version__).set(1)
        live.heard.append(self._hear)

    def _hear(self, batch: Batch) -> None:
        tally = Tally(type(decision).__name__.lower() for _, decision in batch.decided)
        for decision, count in tally.items():
            self.folded.labels(batch.topic, decision).inc(count)

    def append(self, topic: str, count: int, seconds: float, outcome: str) -> None:
        """Take note of an append: ``outcome`` is durable, or the name of the error."""
        self.appended.labels(topic, outcome).inc(count)
        self.append_seconds.labels(topic).observe(seconds)

    def request(self, interface: str, route: str, code: str, seconds: float | None) -> None:
        """Take note of a request that was answered; of a stream without how long it was open."""
        counted = self._counted.get((interface, route, code))
        if counted is None:
            counted = self.requests.labels(interface, route, code)
            self._counted[interface, route, code] = counted
        counted.inc()
        if seconds is None:
            return
        timed = self._timed.get((interface, route))
        if timed is None:
            timed = self._timed[interface, route] = self.request_seconds.labels(interface, route)
        timed.observe(seconds)

    def exposition(self) -> bytes:
        """Return all measures as Prometheus reads them."""
        return generate_latest(self.registry)


class _Health(Collector):
    """What the live state tells of itself, as of the moment somebody asks."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges."""
        health = self._live.health()
        position = GaugeMetricFamily(
            "deedbook_folded_position", "Up to where a partition is folded.", labels=["topic", "partition"]
        )
        for (topic, partition), folded in health.folded.items():
            position.add_metric([topic, str(partition)], folded)
        yield position
        lag = GaugeMetricFamily("deedbook_lag_events", "Events that are not folded yet.", labels=["topic"])
        for topic, events in health.lag.items():
            lag.add_metric([topic], events)
        yield lag
        for name, meaning, value in (
            ("deedbook_log_reachable", "1 while the log answers.", health.log_reachable),
            ("deedbook_caught_up", "1 once all is folded that was there at the start.", health.ready),
            ("deedbook_quarantined_records", "Records that could not be decoded.", health.quarantined),
            ("deedbook_pending_validations", "Trainings that wait for a verdict.", health.pending),
            ("deedbook_rules_version", "The rules in force.", health.rules_version),
        ):
            yield GaugeMetricFamily(name, meaning, value=float(value))


def readiness(live: Live, settings: ServiceSettings) -> tuple[bool, dict[str, Any]]:
    """Return whether this process should be sent requests, and what says so."""
    health = live.health()
    behind = max(health.lag.values(), default=0)
    problems = [
        problem
        for problem, is_one in (
            ("the service is being stopped", live.ending),
            ("the log is being folded for the first time", not health.ready),
            (health.problem, not health.log_reachable),
            (f"{behind:,} events are not folded yet", behind > settings.max_lag),
        )
        if is_one
    ]
    told: dict[str, Any] = {
        "ready": not problems,
        "degraded": health.quarantined > 0,
        "problems": problems,
        "position": live.position,
        "lag": dict(health.lag),
        "quarantined": health.quarantined,
        "pending_validations": health.pending,
        "rules_version": health.rules_version,
        "release": __version__,
    }
    return not problems, told
