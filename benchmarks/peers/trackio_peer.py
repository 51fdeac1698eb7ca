"""trackio on its local SQLite store.

Logging goes through its public calls. The store is filled by `SQLiteStorage.bulk_log`, the call its own runs end in,
with one row per training and `synchronous=OFF` so that filling doesn't take an hour. The chart and the search take
every route there is, and all are printed: `query_project` (the SQL of `trackio query`), the same SQL straight on the
file, and reading the JSON documents to parse them in Python.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import measure
import workload
from measure import Measure

from peers import phases
from peers.phases import Task

PEER = "trackio"
PROJECT = workload.MODEL
FRESH_TRAININGS = 100
STEPS = 20_000
DISK_TRAININGS = 3_000
CHART_SQL = """
    SELECT json_extract(config, '$._Created') AS created_at, json_extract(config, '$.city') AS city,
           json_extract(metrics, '$.mse') AS value
    FROM metrics JOIN configs USING (run_id)
"""
SEARCH_SQL = f"""
    SELECT run_id, json_extract(metrics, '$.mse') AS value
    FROM configs CROSS JOIN metrics USING (run_id)
    WHERE json_extract(config, '$.city') = '{workload.SEARCH_CITY}' AND value < {workload.search_below()!r}
    ORDER BY value LIMIT {workload.SEARCH_LIMIT}
"""  # noqa: S608 - our own constants


def storage() -> Any:  # noqa: ANN401 - trackio has no types here
    """Its storage class: what its runs, its dashboard and its command line all use."""
    from trackio.sqlite_storage import SQLiteStorage

    return SQLiteStorage


def log_once(training: workload.Training) -> None:
    """Log one training through the public calls; it is in the file when this returns.

    It is given no name: on a small store a name makes it about a tenth slower, on a large one neither way wins.
    """
    import trackio

    trackio.init(PROJECT, config=training.parameters, auto_log_cpu=False, auto_log_gpu=False)
    trackio.log(training.metrics)
    trackio.finish()


def logged(task: Task, n: int) -> Iterator[Measure]:
    """One training logged, over and over: durably, and as trackio ships (not synced at each commit)."""
    trainings = list(workload.trainings(FRESH_TRAININGS))
    for synchronous, note in (("FULL", "synchronous=FULL"), ("NORMAL", "as shipped: not synced at commit")):
        os.environ["TRACKIO_SQLITE_SYNCHRONOUS"] = synchronous
        samples = []
        for training in trainings[: max(5, task.repeats * 5)]:
            began = perf_counter()
            log_once(training)
            samples.append(perf_counter() - began)
        what = "log_training" if synchronous == "FULL" else "log_training_unsynced"
        yield measure.of_samples(PEER, what, n, samples[1:], route="init, log, finish", note=note)


def log(task: Task) -> Iterator[Measure]:
    """Logging into an empty store: one training, and step metrics."""
    yield from logged(task, 0)
    import trackio

    trackio.init(PROJECT, name="steps", auto_log_cpu=False, auto_log_gpu=False)
    samples = []
    whole = perf_counter()
    for step in range(STEPS):
        began = perf_counter()
        trackio.log({"loss": 1.0 / (step + 1)}, step=step)
        samples.append(perf_counter() - began)
    trackio.finish()
    flushed = (perf_counter() - whole) / STEPS
    yield measure.of_samples(
        PEER, "step_metric", 0, samples, route="log", note="returns before it is written"
    )
    yield measure.of_samples(
        PEER, "step_metric_written", 0, [flushed], route="log, finish", note="of the whole loop"
    )


def fill(task: Task) -> Iterator[Measure]:
    """Fill the store with n trainings, and tell its size at 3,000 of them (or at n where that is less)."""
    os.environ["TRACKIO_SQLITE_SYNCHRONOUS"] = "OFF"
    bulk_log = storage().bulk_log
    began = perf_counter()
    disk_at = min(task.n, DISK_TRAININGS)
    for number, training in enumerate(workload.trainings(task.n), start=1):
        moment = training.created_at.isoformat()
        bulk_log(
            project=PROJECT,
            run=training.name,
            run_id=training.training_id.hex,
            metrics_list=[training.metrics],
            steps=[0],
            timestamps=[moment],
            log_ids=[training.training_id.hex[::-1]],
            config={**training.parameters, "_Username": None, "_Created": moment, "_Group": None},
        )
        if number == disk_at:
            yield measure.of_bytes(PEER, "disk", disk_at, measure.folder_bytes(task.store))
    seconds = perf_counter() - began
    note = "one bulk_log call per training, synchronous=OFF"
    yield measure.of_samples(PEER, "fill", task.n, [seconds], route="SQLiteStorage.bulk_log", note=note)


def query(task: Task, sql: str) -> list[Any]:
    """The rows that `trackio query` gets for `sql`; its limit of 10,000 rows is raised, as its Python call allows."""
    rows: list[Any] = storage().query_project(PROJECT, sql, max_rows=task.n + 1)["rows"]
    return rows


def sqlite_rows(sql: str) -> list[Any]:
    """The rows of `sql` straight from trackio's file."""
    connection = sqlite3.connect(storage().get_project_db_path(PROJECT))
    try:
        connection.execute("PRAGMA cache_size = -200000")
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def parsed_rows() -> list[Any]:
    """The chart's rows, the JSON documents read whole and parsed by orjson, as trackio's own Python calls do."""
    import orjson

    loads = orjson.loads
    rows = sqlite_rows("SELECT config, metrics FROM metrics JOIN configs USING (run_id)")
    parsed = ((loads(config), loads(metrics)) for config, metrics in rows)
    return [(config["_Created"], config["city"], metrics["mse"]) for config, metrics in parsed]


def routes(
    task: Task, what: str, calls: dict[str, Callable[[], list[Any]]], check: Callable[[list[Any]], None]
) -> Iterator[Measure]:
    """Each route, its answer checked against the workload before it is timed."""
    for route, call in calls.items():
        check(call())
        yield measure.of_samples(PEER, what, task.n, measure.timed(call, task.repeats), route=route)
    yield measure.of_bytes(PEER, f"{what}_peak_rss", task.n, measure.peak_rss_bytes())


def chart(task: Task) -> Iterator[Measure]:
    """(created_at, city, mse) of all trainings."""
    calls: dict[str, Callable[[], list[Any]]] = {
        "query_project": lambda: [tuple(row.values()) for row in query(task, CHART_SQL)],
        "SQL on its file": lambda: sqlite_rows(CHART_SQL),
        "documents parsed in Python": parsed_rows,
    }
    yield from routes(task, "chart", calls, lambda rows: workload.check_chart(rows, task.n))


def search(task: Task) -> Iterator[Measure]:
    """One city, mse below a value, ascending, the first 50."""
    calls: dict[str, Callable[[], list[Any]]] = {
        "query_project": lambda: [tuple(row.values()) for row in query(task, SEARCH_SQL)],
        "SQL on its file": lambda: sqlite_rows(SEARCH_SQL),
    }
    yield from routes(
        task, "search", calls, lambda rows: workload.check_search([row[1] for row in rows], task.n)
    )


def log_full(task: Task) -> Iterator[Measure]:
    """Logging one training into the store that n trainings are in."""
    yield from logged(task, task.n)


def fresh_import(task: Task) -> Iterator[Measure]:
    """`import trackio` in a fresh interpreter."""
    yield from measure.fresh_starts(PEER, sys.executable, PEER, repeats=task.repeats)


if __name__ == "__main__":
    phases.run(
        {
            "import": fresh_import,
            "log": log,
            "fill": fill,
            "chart": chart,
            "search": search,
            "log-full": log_full,
        }
    )
