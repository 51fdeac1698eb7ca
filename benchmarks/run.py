"""Run the benchmarks and print each figure beside its limit or a peer: `make bench`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

import own.folding
import own.latency
import own.on_kafka
import own.queries
import own.rebuilding
import own.serving
import own.starts
import own.trainings
import own.validating
import peers.suites
from measure import Measure
from peers.environment import PeerUnavailableError
from rich.console import Console
from table import Unavailable, render

RESULTS: Final = Path(__file__).resolve().parent / "results"
WIDTH_WITHOUT_TERMINAL: Final = 170


class Suite(Protocol):
    """What a benchmark is: measures, made in a folder that is removed afterwards."""

    def __call__(self, folder: Path, *, quick: bool) -> Iterator[Measure]:
        """Measure."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A suite and its name; those not `usual` run only when they are asked for by name."""

    name: str
    suite: Suite
    usual: bool = True


BENCHMARKS: Final = (
    Benchmark("fold", own.folding.folding),
    Benchmark("queries", own.queries.asked),
    Benchmark("log", own.trainings.logged),
    Benchmark("starts", own.starts.started),
    Benchmark("validation", own.validating.validating),
    Benchmark("rebuild", own.rebuilding.rebuilding),
    Benchmark("latency", own.latency.latency),
    Benchmark("kafka-fold", own.on_kafka.folding),
    Benchmark("kafka-memory", own.on_kafka.memory),
    Benchmark("kafka-latency", own.on_kafka.latency),
    Benchmark("serving", own.serving.serving),
    Benchmark("trackio", peers.suites.trackio),
    Benchmark("mlflow", peers.suites.mlflow),
    Benchmark("mlflow-server", peers.suites.mlflow_server),
    Benchmark("mlflow-server-30000", peers.suites.mlflow_server_30000, usual=False),
    Benchmark("mlflow-30000", peers.suites.mlflow_30000, usual=False),
)


def chosen(names: Sequence[str]) -> list[Benchmark]:
    """The benchmarks named, or the usual ones."""
    if not names:
        return [benchmark for benchmark in BENCHMARKS if benchmark.usual]
    return [benchmark for benchmark in BENCHMARKS if benchmark.name in names]


def run(
    benchmarks: Sequence[Benchmark], console: Console, *, quick: bool
) -> tuple[list[Measure], list[Unavailable]]:
    """Run them one after the other, each in a temporary folder of its own."""
    measures: list[Measure] = []
    unavailable: list[Unavailable] = []
    for benchmark in benchmarks:
        with tempfile.TemporaryDirectory(prefix="deedbook-benchmark-") as folder:
            try:
                for measure in benchmark.suite(Path(folder), quick=quick):
                    measures.append(measure)
                    console.print(measure.to_json(), markup=False, highlight=False, soft_wrap=True)
            except PeerUnavailableError as error:
                unavailable.append(Unavailable(benchmark.name, str(error)))
    return measures, unavailable


def write(measures: Sequence[Measure], unavailable: Sequence[Unavailable], *, quick: bool) -> Path:
    """Keep the run's figures as JSON, with what they were measured on."""
    now = datetime.now(UTC)
    path = RESULTS / f"{now:%Y%m%dT%H%M%SZ}.json"
    path.parent.mkdir(exist_ok=True)
    document = {
        "at": now.isoformat(),
        "quick": quick,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "measures": [json.loads(measure.to_json()) for measure in measures],
        "unavailable": {missing.name: missing.reason for missing in unavailable},
    }
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return path


def main() -> int:
    """The command line."""
    names = [benchmark.name for benchmark in BENCHMARKS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", action="append", default=[], choices=names, metavar="NAME", help=", ".join(names)
    )
    parser.add_argument(
        "--quick", action="store_true", help="smaller sizes: to see that it runs, not for figures"
    )
    arguments = parser.parse_args()
    progress = Console(stderr=True)
    measures, unavailable = run(chosen(arguments.only), progress, quick=arguments.quick)
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH_WITHOUT_TERMINAL)
    render(console, measures, unavailable)
    path = write(measures, unavailable, quick=arguments.quick)
    console.print(f"Written to {path.relative_to(RESULTS.parent.parent)}.", markup=False, highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
