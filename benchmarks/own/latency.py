"""How soon one more training is visible, in a registry of a thousand and of a million, and what folding those takes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Final

import measure
from measure import Measure

from deedbook.events.codec import Codec
from deedbook.events.log import NewRecord
from deedbook.events.sqlite_log import SqliteLog
from deedbook.projector.projection import Projection
from own import DEEDBOOK, ITSELF, records
from own.registries import filled_log, projected

SMALL: Final = 1_000
LARGE: Final = 1_000_000
METRICS: Final = 10
EVENTS: Final = 50
OPENINGS: Final = 7
WARM_UP: Final = 5
FOLD_ONCE: Final = Path(__file__).with_name("fold_once.py")


def open_seconds(log: SqliteLog, path: Path, news: list[NewRecord]) -> list[float]:
    """How long each record takes from its append until it is committed, the projection being open."""
    samples = []
    with projected(log, path) as (_, projector):
        projector.catch_up()
        for record in news:
            began = perf_counter()
            log.append("registry", [record])
            projector.catch_up()
            samples.append(perf_counter() - began)
    return samples[WARM_UP:]


def opening_seconds(log: SqliteLog, folder: Path, news: list[NewRecord]) -> list[float]:
    """How long each record takes from its append until it can be asked for, the projection opened anew for each."""
    samples = []
    for record in news:
        began = perf_counter()
        log.append("registry", [record])
        with Projection(folder, log, Codec()).caught_up():
            samples.append(perf_counter() - began)
    return samples[1:]


def visible(folder: Path, log: SqliteLog, count: int, subject: str) -> Iterator[Measure]:
    """Both latencies of a registry that holds `count` trainings."""
    news = list(records.records(count + EVENTS + WARM_UP + OPENINGS + 1, count))
    # The very file that was folded before, under the name that an embedded registry gives it.
    path = folder / "projection.duckdb"
    samples = open_seconds(log, path, news[: EVENTS + WARM_UP])
    yield measure.of_samples(subject, "visible", count, samples, route="append, catch_up")
    samples = opening_seconds(log, folder, news[EVENTS + WARM_UP :])
    yield measure.of_samples(subject, "visible_opening", count, samples, route="append, Projection.caught_up")


def latency(folder: Path, *, quick: bool) -> Iterator[Measure]:
    """A registry of 1,000 trainings, and one of 1,000,000 with 10 metrics each (quick: 20,000).

    The large one is folded by a process of its own, whose memory is measured.
    """
    large = 20_000 if quick else LARGE
    with filled_log(folder / "large", large, METRICS):
        pass
    seconds, peak = measure.start([sys.executable, str(FOLD_ONCE), str(folder / "large")])
    note = f"{large * METRICS:,} metric rows, in {seconds:.0f} s"
    yield measure.of_bytes(DEEDBOOK, "fold_peak_rss", large, peak, note=note)
    with filled_log(folder / "small", SMALL, METRICS) as log:
        yield from visible(folder / "small", log, SMALL, ITSELF)
    log = SqliteLog(folder / "large")
    try:
        yield from visible(folder / "large", log, large, DEEDBOOK)
    finally:
        log.close()
