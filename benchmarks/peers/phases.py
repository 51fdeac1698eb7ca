"""The command line that every peer answers to: one phase per process, one line of JSON per measure."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from measure import Measure


@dataclass(frozen=True, slots=True)
class Task:
    """What a phase is asked to do: over how many trainings, how often, in which store."""

    store: Path
    n: int
    repeats: int


Phase = Callable[[Task], Iterable[Measure]]


def run(phases: Mapping[str, Phase]) -> None:
    """Run the phase named on the command line and print its measures; whatever the peer prints goes to stderr."""
    parser = argparse.ArgumentParser()
    parser.add_argument("phase", choices=sorted(phases))
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("-n", type=int, default=3_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with contextlib.redirect_stdout(sys.stderr):
        measures = list(phases[arguments.phase](Task(arguments.store, arguments.n, arguments.repeats)))
    for measure in measures:
        sys.stdout.write(measure.to_json() + "\n")
