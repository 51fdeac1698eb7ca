"""Rebuilding a projection from a log of a million and of ten million metric rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Final

import measure
import workload
from measure import Measure

from deedbook.events.codec import Codec
from deedbook.projector.projection import Projection
from deedbook.projector.rebuild import rebuild
from own import DEEDBOOK, ITSELF
from own.registries import filled_log

SMALL: Final = 10_000
FACTOR: Final = 10


def rebuilt(folder: Path, count: int) -> float:
    """How long a rebuild takes that finds no projection: folding all, and the state's hash."""
    with filled_log(folder, count) as log:
        projection = Projection(folder, log, Codec())
        began = perf_counter()
        rebuild(projection, log)
        return perf_counter() - began


def rebuilding(folder: Path, *, quick: bool) -> Iterator[Measure]:
    """10,000 and 100,000 trainings of 100 metrics (quick: a tenth of each)."""
    small = SMALL // 10 if quick else SMALL
    for count, subject in ((small, ITSELF), (small * FACTOR, DEEDBOOK)):
        seconds = rebuilt(folder / str(count), count)
        rows = count * workload.METRICS_PER_TRAINING
        note = f"{rows:,} metric rows, {rows / seconds:,.0f} a second"
        yield measure.of_samples(subject, "rebuild", count, [seconds], route="rebuild", note=note)
