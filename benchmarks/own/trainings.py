"""Logging through the client: one training, step metrics, and the bytes that three thousand trainings take."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import measure
import workload
from measure import Measure

import deedbook
from own import DEEDBOOK, records

RAW: Final = "raw SQLite"
TRAININGS: Final = 500
WARM_UP: Final = 20
STEPS: Final = 20_000
STORED: Final = 3_000


def registry_in(folder: Path) -> deedbook.Registry:
    """The registry in a folder, as a program connects to it."""
    return deedbook.connect(f"sqlite:///{folder}", actor=records.ACTOR)


def arguments(training: workload.Training) -> dict[str, Any]:
    """What `log_training` is told about a training; as with the peers, there is no code version to look up."""
    return {
        "metrics": training.metrics,
        "parameters": training.parameters,
        "training_id": training.training_id,
        "model_type": "GradientBoostingRegressor",
        "framework": "scikit-learn",
        "created_at": training.created_at,
        "git_sha": "",
    }


def log_training(folder: Path, count: int) -> Iterator[Measure]:
    """One training after the other, by turns with a bare insert of the event's bytes: one commit, synced, each."""
    connection = sqlite3.connect(folder / "raw.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE raw (position INTEGER PRIMARY KEY, body BLOB NOT NULL)")
    bodies = [record.value for record in records.records(count + WARM_UP)]
    ours, raw = [], []
    with registry_in(folder / "registry") as registry:
        for training, body in zip(workload.trainings(count + WARM_UP), bodies, strict=True):
            told = arguments(training)
            began = perf_counter()
            registry.log_training(workload.MODEL, **told)
            ours.append(perf_counter() - began)
            began = perf_counter()
            connection.execute("INSERT INTO raw (body) VALUES (?)", (body,))
            raw.append(perf_counter() - began)
    connection.close()
    route, note = "INSERT of the event's bytes", "WAL, synchronous=FULL"
    yield measure.of_samples(DEEDBOOK, "log_training", 0, ours[WARM_UP:], route="Registry.log_training")
    yield measure.of_samples(RAW, "log_training", 0, raw[WARM_UP:], route=route, note=note)


def step_metrics(folder: Path, steps: int) -> Iterator[Measure]:
    """Step metrics of one training: each call, and the whole loop until all is durable."""
    samples = []
    with registry_in(folder) as registry:
        whole = perf_counter()
        with registry.training(workload.MODEL, git_sha="") as training:
            for step in range(steps):
                value = 1.0 / (step + 1)
                began = perf_counter()
                training.log_metric("loss", value, step=step)
                samples.append(perf_counter() - began)
        written = (perf_counter() - whole) / steps
    route = "log_metric"
    note = "kept in memory until a chunk of 1,000 is written, or 2 s have passed"
    yield measure.of_samples(DEEDBOOK, "step_metric", 0, samples, route=route, note=note)
    yield measure.of_samples(
        DEEDBOOK,
        "step_metric_written",
        0,
        [written],
        route=route,
        note="of the whole loop, start and end included",
    )


def disk(folder: Path, count: int) -> Iterator[Measure]:
    """The bytes of log and projection, closed, after `count` trainings were logged one by one and asked for."""
    with registry_in(folder) as registry:
        for training in workload.trainings(count):
            registry.log_training(workload.MODEL, **arguments(training))
        registry.search(workload.MODEL)
    sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    kept = sizes.pop("snapshot.duckdb", 0)
    told = ", ".join(f"{name} {size:,}" for name, size in sorted(sizes.items()))
    note = f"{told}; without snapshot.duckdb, a copy of the projection: {kept:,}"
    yield measure.of_bytes(DEEDBOOK, "disk", count, sum(sizes.values()), note=note)


def logged(folder: Path, *, quick: bool) -> Iterator[Measure]:
    """500 trainings logged, 20,000 step metrics, 3,000 trainings stored (quick: a fifth, a tenth, a tenth)."""
    yield from log_training(folder, TRAININGS // 5 if quick else TRAININGS)
    yield from step_metrics(folder / "steps", STEPS // 10 if quick else STEPS)
    yield from disk(folder / "stored", STORED // 10 if quick else STORED)
