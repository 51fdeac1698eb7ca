"""From the log to committed rows: final metrics of trainings, and step-wise values, beside a raw insert of the rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Final

import duckdb
import measure
import pyarrow as pa
from measure import Measure

from deedbook.events.log import Log
from own import DEEDBOOK, records
from own.registries import filled_log, projected

RAW: Final = "raw DuckDB"
ROUTE: Final = "catch_up"
RAW_ROUTE: Final = "INSERT of the same rows from Arrow"
TRAININGS: Final = 10_000
CHUNKS: Final = 1_000
REPEATS: Final = 5
# The columns of the projection's own tables, with integers for names.
TABLES: Final = {
    "metric": "training_key bigint not null, name_key integer not null, slice_key integer not null, value double",
    "step_metric": "partition integer not null, chunk_position bigint not null, name_key integer not null, "
    "slice_key integer not null, step bigint, value double, logged_at bigint",
}


def fold_seconds(log: Log, path: Path, table: str) -> tuple[float, pa.Table]:
    """How long a log takes to be folded into a new file, and the rows that came of it."""
    with projected(log, path) as (store, projector):
        began = perf_counter()
        projector.catch_up()
        seconds = perf_counter() - began
        rows = store.connection.execute(f"from base.{table}").to_arrow_table()
    path.unlink()
    return seconds, rows


def insert_seconds(rows: pa.Table, path: Path, table: str) -> float:
    """How long the same rows take to be inserted into a bare table of a new file, in one statement."""
    connection = duckdb.connect(str(path))
    try:
        connection.execute(f"create table {table} ({TABLES[table]})")
        began = perf_counter()
        connection.register("incoming", rows)
        connection.execute(f"insert into {table} select * from incoming")  # noqa: S608 - our own constants
        seconds = perf_counter() - began
    finally:
        connection.close()
    path.unlink()
    return seconds


def compared(log: Log, folder: Path, table: str, what: str, *, n: int, repeats: int) -> Iterator[Measure]:
    """Fold and insert by turns, each into new files: rows per second."""
    ours, raw = [], []
    count = 0
    for _ in range(repeats):
        seconds, rows = fold_seconds(log, folder / "projection.duckdb", table)
        count = len(rows)
        ours.append(count / seconds)
        raw.append(count / insert_seconds(rows, folder / "raw.duckdb", table))
    note = f"{count:,} rows"
    yield measure.of_samples(DEEDBOOK, what, n, ours, unit="rows_per_second", route=ROUTE, note=note)
    yield measure.of_samples(RAW, what, n, raw, unit="rows_per_second", route=RAW_ROUTE, note=note)


def folding(folder: Path, *, quick: bool) -> Iterator[Measure]:
    """10,000 trainings of 100 metrics, then 1,000 chunks of 1,000 step-wise values (quick: a tenth of each)."""
    trainings, chunks = (TRAININGS // 10, CHUNKS // 10) if quick else (TRAININGS, CHUNKS)
    repeats = 2 if quick else REPEATS
    with filled_log(folder / "trainings", trainings) as log:
        yield from compared(log, folder, "metric", "fold", n=trainings, repeats=repeats)
    with filled_log(folder / "steps", 0) as log:
        for record in records.step_records(chunks):
            log.append("metrics", [record])
        yield from compared(log, folder, "step_metric", "fold_steps", n=0, repeats=repeats)
