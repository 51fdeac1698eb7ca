"""MLflow's server on a store that is filled: how soon it answers, what it takes, its chart and search over HTTP."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import measure
import workload
from measure import Measure

from peers.mlflow_peer import PEER, database
from peers.phases import Task

# Runs in one answer, which takes 7 ms for each: for 30,000 in one, longer than the two minutes that its client waits.
_PAGE = 3_000
PATIENCE_SECONDS = 300.0
SETTLE_SECONDS = 10.0


def server(task: Task) -> Iterator[Measure]:
    """MLflow's server as its guide starts it; what it answers is compared with the workload before it counts."""
    began = perf_counter()
    with _served(task) as (process, url):
        ready = perf_counter() - began
        yield measure.of_samples(PEER, "serve_ready", task.n, [ready], route="mlflow server until /health")
        time.sleep(SETTLE_SECONDS)
        yield measure.of_bytes(PEER, "serve_idle_rss", task.n, _group_rss_bytes(process))
        yield from _asked(task, url)


@contextlib.contextmanager
def _served(task: Task) -> Iterator[tuple[int, str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        str(Path(sys.executable).with_name("mlflow")),
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    command += ["--backend-store-uri", f"sqlite:///{database(task)}"]
    command += ["--default-artifact-root", (task.store / "artifacts").as_uri()]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"}
    # Its workers are processes of its group, which ends as one.
    process = subprocess.Popen(
        command, stdout=sys.stderr, cwd=task.store, env=environment, start_new_session=True
    )
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = perf_counter() + PATIENCE_SECONDS
        while not _answers(f"{url}/health"):
            if process.poll() is not None or perf_counter() > deadline:
                raise RuntimeError("MLflow's server does not answer")
            time.sleep(0.02)
        yield process.pid, url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5.0) as answer:  # noqa: S310 - our own address
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _group_rss_bytes(group: int) -> int:
    """The memory that the processes of a group have in use, what each shares with others included."""
    total = 0
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (path / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(fields[2]) == group:
                lines = (path / "status").read_text(encoding="utf-8", errors="replace").splitlines()
                total += next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0) * 1024
    return total


def _asked(task: Task, url: str) -> Iterator[Measure]:
    """The chart and the search through its client, over HTTP."""
    import mlflow

    tracking = mlflow.MlflowClient(tracking_uri=url)
    experiment = tracking.get_experiment_by_name(workload.MODEL).experiment_id
    matching = f"params.city = '{workload.SEARCH_CITY}' and metrics.mse < {workload.search_below()!r}"

    def search() -> list[Any]:
        return list(
            tracking.search_runs(
                [experiment], matching, order_by=["metrics.mse ASC"], max_results=workload.SEARCH_LIMIT
            )
        )

    def chart() -> list[Any]:
        points: list[Any] = []
        token = None
        while True:
            page = tracking.search_runs([experiment], max_results=_PAGE, page_token=token)
            points += [
                (run.info.start_time, run.data.params["city"], run.data.metrics["mse"]) for run in page
            ]
            token = page.token
            if not token:
                return points

    workload.check_search([run.data.metrics["mse"] for run in search()], task.n)
    samples = measure.timed(search, task.repeats)
    yield measure.of_samples(PEER, "search_served", task.n, samples, route="search_runs over HTTP")
    began = perf_counter()
    points = chart()
    samples = [perf_counter() - began]
    workload.check_chart(points, task.n)
    samples += measure.timed(chart, max(0, task.repeats // 2 - 1), warm_up=0)
    yield measure.of_samples(PEER, "chart_served", task.n, samples, route="search_runs over HTTP")
