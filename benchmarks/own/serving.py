"""The service: how soon it is ready and what it takes, its pages, its bindings under load, its idle subscribers."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Final
from urllib.parse import urlencode

import grpc
import httpx
import measure
import workload
from measure import Measure

import deedbook
from deedbook.api.v1 import registry_pb2 as pb
from deedbook.api.v1.registry_pb2_grpc import RegistryStub
from deedbook.projector.queries import MetricName
from deedbook.projector.queries.charted import charted
from deedbook.projector.snapshot import open_snapshot
from own import BARE_GRPC, DEEDBOOK, ITSELF
from own.queries import chart_by_client, search_by_client
from own.registries import filled_log
from own.served import Served, served

TRAININGS: Final = 30_000
REPEATS: Final = 9
STARTS: Final = 5
SETTLE_SECONDS: Final = 10.0
SERVICE: Final = "pricing-api"
RELEASE: Final = "4f1d2ab"
RATE: Final = 500
LOGGED_PER_SECOND: Final = 10
LOADED_SECONDS: Final = 30.0
SUBSCRIBERS: Final = 200
IDLE_SECONDS: Final = 30.0
LOAD: Final = Path(__file__).with_name("load.py")
BARE: Final = Path(__file__).with_name("bare.py")


def serving(folder: Path, *, quick: bool) -> Iterator[Measure]:
    """Everything about one server over 30,000 trainings (quick: 3,000)."""
    n = TRAININGS // 10 if quick else TRAININGS
    registry = folder / "registry"
    ids = _registry(registry, n)
    yield from _starts(registry, n, 2 if quick else STARTS)
    with served(registry) as server:
        yield from _pages(server, n, ids)
        yield from _bindings(server, n, seconds=5.0 if quick else LOADED_SECONDS)
        yield from _subscribers(server, n, seconds=5.0 if quick else IDLE_SECONDS)
    yield _chart_query(registry, n)


def served_like_the_peer(folder: Path, n: int) -> Iterator[Measure]:
    """A server over `n` trainings: its start, its memory, and the chart and the search as programs ask for them."""
    registry = folder / "registry"
    _registry(registry, n)
    yield from _starts(registry, n, 2)
    with served(registry) as server, deedbook.connect(server.grpc) as client:
        searched = partial(search_by_client, client)
        workload.check_search(searched(), n)
        samples = measure.timed(searched, REPEATS)
        yield measure.of_samples(DEEDBOOK, "search_served", n, samples, route="Registry.search over gRPC")
        charted = partial(chart_by_client, client)
        workload.check_chart(charted(), n)
        samples = measure.timed(charted, REPEATS)
        yield measure.of_samples(
            DEEDBOOK, "chart_served", n, samples, route="Registry.metric_series over gRPC"
        )


def _registry(folder: Path, n: int) -> tuple[str, str]:
    """Make a registry of `n` trainings with a deployment of one of them; return the ids of two."""
    with filled_log(folder, n):
        pass
    # Whoever folds announces what is to be judged: a registry that has been in use has that behind it.
    command = [str(Path(sys.executable).with_name("deedbook")), "--url", f"sqlite:///{folder}", "state-hash"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with deedbook.connect(f"sqlite:///{folder}") as registry:
        first, second, *_ = (found.training_id for found in registry.search(workload.MODEL, limit=2))
        registry.override(first, reason="a benchmark needs something to be deployed")
        registry.request_deployment(SERVICE, RELEASE, {workload.MODEL: first})
    return first, second


def _starts(folder: Path, n: int, repeats: int) -> Iterator[Measure]:
    """How soon a server that starts on the registry is ready, and what it takes when nothing happens."""
    ready: list[float] = []
    resident: list[int] = []
    for _ in range(repeats):
        with served(folder) as server:
            ready.append(server.ready_seconds)
            if not resident:
                time.sleep(SETTLE_SECONDS)
                resident.append(server.rss_bytes())
    yield measure.of_samples(DEEDBOOK, "serve_ready", n, ready, route="deedbook serve until /readyz")
    yield measure.of_bytes(DEEDBOOK, "serve_idle_rss", n, resident[0])


def _pages(server: Served, n: int, ids: tuple[str, str]) -> Iterator[Measure]:
    """Each page as a browser asks for it, and the chart's data."""
    model = workload.MODEL
    asked = {
        "models": "/",
        "a model": f"/model?{urlencode({'name': model, 'metric': 'mse', 'by': 'city'})}",
        "search": "/trainings?"
        + urlencode({"model": model, "where": f"mse < {workload.search_below()!r}", "order_by": "mse"}),
        "compare": f"/compare?{urlencode([('training', one) for one in ids])}",
        "a training": f"/trainings/{ids[0]}",
        "failures": "/failures",
        "deployments": "/deployments",
        "fleet": "/fleet",
        "log": "/log",
        "health": "/health",
    }
    with httpx.Client(base_url=server.web, timeout=60.0) as browser:
        for page, path in asked.items():
            samples = measure.timed(partial(_got, browser, path), REPEATS)
            yield measure.of_samples(DEEDBOOK, f"page {page}", n, samples, route=path.partition("?")[0])
        series = f"/model/series.json?{urlencode({'name': model, 'metric': 'mse', 'by': 'city'})}"
        samples = measure.timed(partial(_got, browser, series), REPEATS)
        yield measure.of_samples(DEEDBOOK, "chart_served", n, samples, route="/model/series.json")


def _chart_query(registry: Path, n: int) -> Measure:
    """What the chart's data takes of its query alone, on the snapshot that the server left."""
    with closing(open_snapshot(registry / "snapshot.duckdb")) as connection:
        asked = partial(charted, connection, workload.MODEL, MetricName("mse"), by="city")
        if asked().table.num_rows != n:
            raise RuntimeError("the chart has not every training's point")
        samples = measure.timed(asked, REPEATS)
    return measure.of_samples(DEEDBOOK, "chart_query", n, samples, route="charted, in process")


def _got(browser: httpx.Client, path: str) -> httpx.Response:
    return browser.get(path).raise_for_status()


def _bindings(server: Served, n: int, *, seconds: float) -> Iterator[Measure]:
    """What a release is bound to, asked for 500 times a second while trainings are being logged.

    Beside the same logging, the same is asked of a server that does nothing else: before, and after.
    """
    with _bare(_asked_once(server)) as bare:
        logging = _load("log", server.grpc, str(LOGGED_PER_SECOND), str(2 * seconds + 6.0))
        time.sleep(2.0)
        asked = partial(_asked, seconds=seconds)
        limit = asked(bare, share=0.25)
        samples = asked(server.grpc, share=1.0)
        limit += asked(bare, share=0.25)
        logged = _answer(logging)
    note = f"{RATE} requests/s for {seconds:.0f} s, beside {LOGGED_PER_SECOND} trainings/s"
    yield measure.of_samples(DEEDBOOK, "binding", n, samples, route="GetDeployment", note=note)
    yield measure.of_samples(
        BARE_GRPC, "binding", n, limit, route="its answer, from memory", note="as many, beside the same"
    )
    yield _p99(DEEDBOOK, "binding_p99", n, samples)
    yield _p99(BARE_GRPC, "binding_p99", n, limit)
    yield measure.of_samples(DEEDBOOK, "logged_by_service", n, logged, route="LogTraining, decided")


def _asked(address: str, *, seconds: float, share: float) -> list[float]:
    """How long each answer took, asked for a share of the time."""
    return _answer(_load("get-deployment", address, str(RATE), str(share * seconds), SERVICE, RELEASE))


def _asked_once(server: Served) -> bytes:
    """The answer to what is asked, as it goes over the wire."""
    with grpc.insecure_channel(server.grpc.rpartition("/")[2]) as channel:
        request = pb.GetDeploymentRequest(service=SERVICE, environment="production", release=RELEASE)
        answer: pb.GetDeploymentResponse = RegistryStub(channel).GetDeployment(request, timeout=30.0)
    return answer.SerializeToString()


@contextmanager
def _bare(answer: bytes) -> Iterator[str]:
    """The address of a server that knows one answer."""
    command = [sys.executable, "-P", str(BARE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a process without pipes")
        process.stdin.write(answer)
        process.stdin.close()
        try:
            yield process.stdout.readline().decode().strip()
        finally:
            process.terminate()


def _subscribers(server: Served, n: int, *, seconds: float) -> Iterator[Measure]:
    """The share of a core that 200 subscribers take to whom nothing happens, beside none at all."""
    time.sleep(SETTLE_SECONDS)
    alone = _cpu_share(server, seconds)
    waiting = _load("subscribe", server.grpc, str(SUBSCRIBERS), str(seconds + 8.0))
    time.sleep(5.0)
    beside = _cpu_share(server, seconds)
    _answer(waiting)
    note = f"processor seconds per second: {beside:.4f} with them, {alone:.4f} without"
    cost = max(0.0, beside - alone)
    yield measure.of_samples(DEEDBOOK, "subscribers_cpu", n, [cost], route="Subscribe", note=note)
    yield measure.of_samples(ITSELF, "subscribers_cpu", n, [alone], route="the server without any")


def _cpu_share(server: Served, seconds: float) -> float:
    before, began = server.cpu_seconds(), perf_counter()
    time.sleep(seconds)
    return (server.cpu_seconds() - before) / (perf_counter() - began)


def _load(*arguments: str) -> subprocess.Popen[str]:
    """Start a client process; it says as JSON how long each of its calls took."""
    return subprocess.Popen([sys.executable, "-P", str(LOAD), *arguments], stdout=subprocess.PIPE, text=True)


def _answer(process: subprocess.Popen[str]) -> list[float]:
    said, _ = process.communicate(timeout=600)
    if process.returncode != 0:
        raise RuntimeError(f"{LOAD.name} ended with status {process.returncode}")
    samples: list[float] = json.loads(said)
    return samples


def _p99(subject: str, what: str, n: int, samples: Sequence[float]) -> Measure:
    worst = statistics.quantiles(samples, n=100)[98]
    return measure.of_samples(subject, what, n, [worst], note=f"of {len(samples)}")
