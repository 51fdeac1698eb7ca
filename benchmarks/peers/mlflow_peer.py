"""MLflow on its local SQLite store.

Up to 3,000 trainings are logged through its client, one by one, with `synchronous=OFF` to save time. Beyond that they
are written by SQL into its tables, row for row what the client writes: through the client 30,000 would take half an
hour. Which of the two was done stands in the output. The chart and the search go through `search_runs`, and for
fairness through SQL on its tables as well, which is no interface of MLflow's and is named "mlflow by SQL".
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import measure
import workload
from measure import Measure

from peers import phases
from peers.phases import Task

PEER = "mlflow"
SQL_ROUTE = "SQL on its tables"
BY_SQL = "mlflow by SQL"
THROUGH_CLIENT = 3_000
FRESH_TRAININGS = 30
STEPS = 200
ASYNCHRONOUS_STEPS = 1_000
BULK_ROWS = 1_000
CHART_SQL = """
    SELECT r.start_time, p.value, m.value
    FROM latest_metrics m JOIN params p USING (run_uuid) JOIN runs r USING (run_uuid)
    WHERE m.key = 'mse' AND p.key = 'city'
"""
SEARCH_SQL = f"""
    SELECT run_uuid, m.value
    FROM params p JOIN latest_metrics m USING (run_uuid)
    WHERE p.key = 'city' AND p.value = '{workload.SEARCH_CITY}'
      AND m.key = 'mse' AND m.value < {workload.search_below()!r}
    ORDER BY m.value LIMIT {workload.SEARCH_LIMIT}
"""  # noqa: S608 - our own constants


def database(task: Task) -> Path:
    """MLflow's file."""
    return task.store / "mlflow.db"


def client(task: Task) -> tuple[Any, str]:
    """MLflow's client on the store, and the id of the experiment that everything goes to."""
    import mlflow

    os.chdir(task.store)
    mlflow.set_tracking_uri(f"sqlite:///{database(task)}")
    tracking = mlflow.MlflowClient()
    experiment = tracking.get_experiment_by_name(workload.MODEL)
    if experiment is not None:
        return tracking, experiment.experiment_id
    return tracking, tracking.create_experiment(
        workload.MODEL, artifact_location=(task.store / "artifacts").as_uri()
    )


def milliseconds(training: workload.Training) -> int:
    """When it was made, in MLflow's unit."""
    return int(training.created_at.timestamp() * 1000)


def log_by_client(tracking: Any, experiment: str, training: workload.Training) -> None:  # noqa: ANN401 - untyped
    """Log one training in the three calls that MLflow's client needs at the least."""
    from mlflow.entities import Metric, Param

    moment = milliseconds(training)
    run = tracking.create_run(experiment, start_time=moment, run_name=training.name).info.run_id
    metrics = [Metric(name, value, moment, 0) for name, value in training.metrics.items()]
    tracking.log_batch(run, metrics, [Param(name, value) for name, value in training.parameters.items()], [])
    tracking.set_terminated(run, end_time=moment)


def log_by_run(experiment: str, training: workload.Training) -> None:
    """Log one training as MLflow's guide does."""
    import mlflow

    with mlflow.start_run(experiment_id=experiment, run_name=training.name):
        mlflow.log_params(training.parameters)
        mlflow.log_metrics(training.metrics)


def logged(task: Task, n: int) -> Iterator[Measure]:
    """One training logged, over and over."""
    tracking, experiment = client(task)
    trainings = list(workload.trainings(min(FRESH_TRAININGS, task.repeats * 5)))
    calls: dict[str, Callable[[workload.Training], None]] = {
        "create_run, log_batch, set_terminated": lambda training: log_by_client(
            tracking, experiment, training
        ),
        "start_run, log_params, log_metrics": lambda training: log_by_run(experiment, training),
    }
    for route, call in calls.items():
        samples = []
        for training in trainings:
            began = perf_counter()
            call(training)
            samples.append(perf_counter() - began)
        yield measure.of_samples(PEER, "log_training", n, samples[1:], route=route)


def log(task: Task) -> Iterator[Measure]:
    """Logging into an empty store: one training, and step metrics."""
    yield from logged(task, 0)
    import mlflow

    _, experiment = client(task)
    with mlflow.start_run(experiment_id=experiment):
        samples = []
        for step in range(STEPS):
            began = perf_counter()
            mlflow.log_metric("loss", 1.0 / (step + 1), step=step)
            samples.append(perf_counter() - began)
        yield measure.of_samples(PEER, "step_metric_written", 0, samples, route="log_metric")
        samples = []
        for step in range(ASYNCHRONOUS_STEPS):
            began = perf_counter()
            mlflow.log_metric("later", 1.0 / (step + 1), step=step, synchronous=False)
            samples.append(perf_counter() - began)
        mlflow.flush_async_logging()
        route, note = "log_metric(synchronous=False)", "returns before it is written"
        yield measure.of_samples(PEER, "step_metric", 0, samples, route=route, note=note)


def fill_by_client(task: Task) -> str:
    """Log the trainings one by one; SQLite isn't asked to sync, which would only add time."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def unsynced(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", unsynced)
    tracking, experiment = client(task)
    for training in workload.trainings(task.n):
        log_by_client(tracking, experiment, training)
    return "create_run, log_batch, set_terminated"


def insert(connection: sqlite3.Connection, table: str, rows: list[dict[str, object]]) -> None:
    """Insert the rows, which all have the same fields."""
    names = list(rows[0])
    sql = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608
    connection.executemany(sql, [tuple(row.values()) for row in rows])


def insert_training(
    connection: sqlite3.Connection, template: dict[str, Any], training: workload.Training
) -> None:
    """Write one training as MLflow would have, `template` being a row of `runs` that MLflow wrote."""
    run, moment = training.training_id.hex, milliseconds(training)
    artifacts = template["artifact_uri"].replace(template["run_uuid"], run)
    times = {"start_time": moment, "end_time": moment}
    values = [
        {"key": name, "value": value, "timestamp": moment, "run_uuid": run, "step": 0, "is_nan": False}
        for name, value in training.metrics.items()
    ]
    insert(
        connection,
        "runs",
        [{**template, **times, "run_uuid": run, "name": training.name, "artifact_uri": artifacts}],
    )
    insert(connection, "metrics", values)
    insert(connection, "latest_metrics", values)
    pairs = training.parameters.items()
    insert(connection, "params", [{"key": name, "value": value, "run_uuid": run} for name, value in pairs])
    insert(connection, "tags", [{"key": "mlflow.runName", "value": training.name, "run_uuid": run}])


def fill_by_sql(task: Task) -> str:
    """Write the trainings into MLflow's tables: the first one by its client, as the pattern for the others."""
    tracking, experiment = client(task)
    trainings = workload.trainings(task.n)
    log_by_client(tracking, experiment, next(trainings))
    connection = sqlite3.connect(database(task))
    connection.row_factory = sqlite3.Row
    connection.executescript(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000"
    )
    template = dict(connection.execute("SELECT * FROM runs").fetchone())
    for number, training in enumerate(trainings):
        insert_training(connection, template, training)
        if number % BULK_ROWS == 0:
            connection.commit()
    connection.commit()
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    return "SQL into its tables, not its interface"


def fill(task: Task) -> Iterator[Measure]:
    """Fill the store with n trainings, and tell its size."""
    began = perf_counter()
    route = fill_by_client(task) if task.n <= THROUGH_CLIENT else fill_by_sql(task)
    seconds = perf_counter() - began
    yield measure.of_samples(PEER, "fill", task.n, [seconds], route=route, note="synchronous=OFF")
    yield measure.of_bytes(PEER, "disk", task.n, measure.folder_bytes(task.store), note=route)


def sqlite_rows(task: Task, sql: str) -> list[Any]:
    """The rows of `sql` straight from MLflow's file."""
    connection = sqlite3.connect(database(task))
    try:
        connection.execute("PRAGMA cache_size = -200000")
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def routes(
    task: Task, what: str, calls: dict[str, Callable[[], list[Any]]], check: Callable[[list[Any]], None]
) -> Iterator[Measure]:
    """Each route, its answer checked against the workload; MLflow's own one tells the peak memory."""
    for route, call in calls.items():
        began = perf_counter()
        rows = call()
        samples = [perf_counter() - began]
        check(rows)
        samples += measure.timed(call, task.repeats - 1, warm_up=0)
        subject = BY_SQL if route == SQL_ROUTE else PEER
        yield measure.of_samples(subject, what, task.n, samples, route=route)
        if subject == PEER:
            yield measure.of_bytes(PEER, f"{what}_peak_rss", task.n, measure.peak_rss_bytes())


def chart(task: Task) -> Iterator[Measure]:
    """(created_at, city, mse) of all trainings."""
    tracking, experiment = client(task)

    def search_runs() -> list[Any]:
        runs = tracking.search_runs([experiment], max_results=50_000)
        return [(run.info.start_time, run.data.params["city"], run.data.metrics["mse"]) for run in runs]

    calls = {"search_runs": search_runs, SQL_ROUTE: lambda: sqlite_rows(task, CHART_SQL)}
    yield from routes(task, "chart", calls, lambda rows: workload.check_chart(rows, task.n))


def search(task: Task) -> Iterator[Measure]:
    """One city, mse below a value, ascending, the first 50."""
    tracking, experiment = client(task)
    matching = f"params.city = '{workload.SEARCH_CITY}' and metrics.mse < {workload.search_below()!r}"

    def search_runs() -> list[Any]:
        runs = tracking.search_runs(
            [experiment], matching, order_by=["metrics.mse ASC"], max_results=workload.SEARCH_LIMIT
        )
        return [(run.info.run_id, run.data.metrics["mse"]) for run in runs]

    calls = {"search_runs": search_runs, SQL_ROUTE: lambda: sqlite_rows(task, SEARCH_SQL)}
    yield from routes(
        task, "search", calls, lambda rows: workload.check_search([row[1] for row in rows], task.n)
    )


def log_full(task: Task) -> Iterator[Measure]:
    """Logging one training into the store that n trainings are in."""
    yield from logged(task, task.n)


def fresh_import(task: Task) -> Iterator[Measure]:
    """`import mlflow` in a fresh interpreter."""
    yield from measure.fresh_starts(PEER, sys.executable, PEER, repeats=task.repeats)


if __name__ == "__main__":
    from peers import mlflow_server

    phases.run(
        {
            "import": fresh_import,
            "log": log,
            "fill": fill,
            "chart": chart,
            "search": search,
            "log-full": log_full,
            "server": mlflow_server.server,
        }
    )
