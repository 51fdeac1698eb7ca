"""What the processes of the race tests do; started in a process of its own, which forks before it has threads.

A test's own process has the threads of DuckDB and Arrow: what is forked from it may wait for ever.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from deedbook.events.codec import Codec
from deedbook.events.sqlite_log import SqliteLog
from deedbook.projector.projection import Projection
from deedbook.projector.view import default_policy
from tests.facts_by_hand import Pen

if TYPE_CHECKING:
    from collections.abc import Callable

TESTS = Path(__file__).parent
# Other people's packages are called `tests`, too: this one is found by its folder.
START = """
import sys, types
tests = sys.modules["tests"] = types.ModuleType("tests")
tests.__path__ = [sys.argv[1]]
from tests import racers
racers.fork(getattr(racers, sys.argv[2]), racers.Path(sys.argv[3]), int(sys.argv[4]))
"""


def started(name: str, folder: Path, count: int) -> subprocess.Popen[bytes]:
    """A process that runs one of the functions below in so many processes; it ends well if they all do."""
    command = [sys.executable, "-c", START, str(TESTS), name, str(folder), str(count)]
    return subprocess.Popen(command)


def fork(run: Callable[[Path, int], None], folder: Path, count: int) -> None:
    """Run a function in so many processes, and wait for them."""
    Codec()  # reads the schemas once, for all of them
    children = []
    for number in range(count):
        child = os.fork()
        if child == 0:
            try:
                run(folder, number)
            except BaseException:  # noqa: BLE001 - nothing of the parent's may run in the child
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    if any(os.waitpid(child, 0)[1] for child in children):
        sys.exit(1)


def bind(folder: Path, number: int) -> None:
    """Ask for the release, wait until the fold has passed the request, and note its answer in a file."""
    pen = Pen(f"pipeline {number}")
    codec = Codec()
    log = SqliteLog(folder)
    fact = pen.deploy("A", "a", deployment=f"of pipeline {number}")
    ((_, position),) = log.append("registry", [codec.encode(fact)])
    with Projection(folder, log, codec).caught_up() as connection:
        row = connection.execute(
            "select decision, reason from events where topic = 'registry' and position = ?", [position]
        ).fetchone()
    assert row is not None
    (folder / f"answer {number}").write_text(f"{row[0]}\n{row[1]}")


def count(folder: Path, number: int) -> None:
    """Append six trainings, and see each."""
    pen = Pen(f"process {number}")
    codec = Codec()
    log = SqliteLog(folder)
    for turn in range(6):
        ((_, position),) = log.append("registry", [codec.encode(pen.logged(f"{number} {turn}"))])
        with Projection(folder, log, codec).caught_up() as connection:
            row = connection.execute("select max(position) from events").fetchone()
            assert row is not None
            assert row[0] >= position


def write_on(folder: Path, number: int) -> None:
    """Append events of many kinds, most of them right, some twice, until there is a file named stop."""
    pen = Pen(f"writer {number}")
    codec = Codec()
    log = SqliteLog(folder)
    chance = random.Random(number)  # noqa: S311 - no secret
    model = f"model {number}"
    for turn in range(100_000):
        if (folder / "stop").exists():
            return
        names = [f"{number} {turn} {n}" for n in range(chance.randint(1, 5))]
        trainings = [pen.logged(name, model=model) for name in names]
        records = [codec.encode(fact) for fact in trainings]
        positions = log.append("registry", [*records, records[0]])
        log.append("metrics", [codec.encode(pen.steps(name, turn)) for name in names])
        policy = default_policy(model)
        verdicts = [
            pen.verdict(name, policy, requested_at_position=position)
            for name, (_, position) in zip(names, positions, strict=False)
        ]
        log.append("registry", [codec.encode(verdict) for verdict in verdicts])
        deployment = pen.deploy(
            f"{number} {turn}", names[0], models=(model,), service=f"service {number % 3}"
        )
        log.append("registry", [codec.encode(deployment), records[0]])
        if turn % 10 == 0:  # each of them is a transaction of its own
            log.append("registry", [codec.encode(pen.amended(names[-1], mse=float(turn)))])
        time.sleep(0.1)
