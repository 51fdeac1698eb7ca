"""Logs and projections for the benchmarks: filled, opened, folded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import workload

from deedbook.events.codec import Codec
from deedbook.events.log import Log
from deedbook.events.sqlite_log import SqliteLog
from deedbook.projector.loop import Projector
from deedbook.projector.store import Store
from own import records


@contextlib.contextmanager
def filled_log(folder: Path, count: int, metrics: int = workload.METRICS_PER_TRAINING) -> Iterator[SqliteLog]:
    """A log that holds the first `count` trainings, with so many of their metrics each."""
    folder.mkdir(parents=True, exist_ok=True)
    log = SqliteLog.create(folder)
    try:
        records.fill(log, count, metrics)
        yield log
    finally:
        log.close()


@contextlib.contextmanager
def projected(log: Log, path: Path) -> Iterator[tuple[Store, Projector]]:
    """A projection of a log, open, with what folds into it; nothing is folded yet."""
    store = Store(path, log_identity=log.identity())
    try:
        yield store, Projector(log, store, Codec())
    finally:
        store.close()
