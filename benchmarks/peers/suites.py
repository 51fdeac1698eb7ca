"""The peers' benchmarks: which phases are run, over how many trainings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from measure import Measure
from own.serving import served_like_the_peer

from peers.environment import run_phase


def _suite(peer: str, folder: Path, n: int, repeats: int, phases: tuple[str, ...]) -> Iterator[Measure]:
    for phase in phases:
        store = folder / (f"{peer}-empty" if phase in {"import", "log"} else f"{peer}-{n}")
        yield from run_phase(peer, phase, store, n, repeats)


def trackio(folder: Path, *, quick: bool) -> Iterator[Measure]:
    """Everything of trackio, over 30,000 trainings (quick: 3,000)."""
    phases = ("import", "log", "fill", "chart", "search", "log-full")
    return _suite("trackio", folder, 3_000 if quick else 30_000, 5, phases)


def mlflow(folder: Path, *, quick: bool) -> Iterator[Measure]:
    """Everything of MLflow, over 3,000 trainings (quick: 300) logged through its client."""
    phases = ("import", "log", "fill", "chart", "search", "log-full")
    return _suite("mlflow", folder, 300 if quick else 3_000, 5, phases)


def mlflow_server(folder: Path, *, quick: bool) -> Iterator[Measure]:
    """MLflow's server over 3,000 trainings (quick: 300), and ours over as many."""
    n = 300 if quick else 3_000
    yield from served_like_the_peer(folder, n)
    yield from _suite("mlflow", folder, n, 5, ("fill", "server"))


def mlflow_server_30000(folder: Path, *, quick: bool) -> Iterator[Measure]:
    """MLflow's server over 30,000 trainings written by SQL, and ours over as many: takes minutes (quick: 3,100)."""
    n = 3_100 if quick else 30_000
    yield from served_like_the_peer(folder, n)
    yield from _suite("mlflow", folder, n, 1, ("fill", "server"))


def mlflow_30000(folder: Path, *, quick: bool) -> Iterator[Measure]:
    """MLflow's chart and search over 30,000 trainings written by SQL: takes minutes and 7 GiB of memory.

    The chart takes minutes, so it is drawn once. Quick: 3,100 trainings.
    """
    n = 3_100 if quick else 30_000
    yield from _suite("mlflow", folder, n, 5, ("fill", "search"))
    yield from _suite("mlflow", folder, n, 1, ("chart",))
