"""What the processes of the race tests do; started in a process of its own, which forks before it has threads.

A test's own process has the threads of DuckDB and Arrow: what is forked from it may wait for ever.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import IO, TYPE_CHECKING

from deedbook.events.codec import Codec
from deedbook.events.sqlite_log import SqliteLog
from deedbook.projector.loop import Bounds, Projector
from deedbook.projector.projection import Projection
from deedbook.projector.store import Store
from deedbook.projector.view import default_policy
from tests.facts_by_hand import Pen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

TESTS = Path(__file__).parent
# Other people's packages are called `tests`, too: this one is found by its folder.
START = """
import sys, types
tests = sys.modules["tests"] = types.ModuleType("tests")
tests.__path__ = [sys.argv[1]]
from tests import racers
racers.run(sys.argv[2], racers.Path(sys.argv[3]), sys.argv[4:])
"""


def started(name: str, folder: Path, count: int) -> subprocess.Popen[bytes]:
    """A process that runs one of the functions below in so many processes; it ends well if they all do."""
    return subprocess.Popen([sys.executable, "-c", START, str(TESTS), name, str(folder), str(count)])


def run(name: str, folder: Path, count: list[str]) -> None:
    """What a started process does."""
    # DuckDB loads it at the first value that it is handed: once for all of them, where it is there.
    with contextlib.suppress(ImportError):
        importlib.import_module("pandas")
    if count:
        fork(globals()[name], folder, int(count[0]))
    else:
        fork_projectors(globals()[name], folder)


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
    """Append four trainings, and see each."""
    pen = Pen(f"process {number}")
    codec = Codec()
    log = SqliteLog(folder)
    for turn in range(4):
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


# --- projectors that are there to be killed ------------------------------------------------------


def fork_projectors(run: Callable[[Path, int], None], folder: Path) -> None:
    """Fork a projector for each number on standard input; say that it was begun, and how it has ended."""
    Codec()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                run(folder, int(line))
            except BaseException:  # noqa: BLE001 - nothing of the parent's may run in the child
                traceback.print_exc()
            os._exit(1)
        print(child, flush=True)  # noqa: T201 - this is how its parent knows
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201


class Projectors:
    """Projectors, one after the other, each a process that another one, which is prepared for it, forks."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self, *words: object) -> int:
        """Start one with what it is told and return its process id; the one before must have ended."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()
        return int(self._line())

    def status(self) -> int:
        """Wait for the end of the one that was started last; negative: the signal that ended it."""
        return int(self._line())

    def _line(self) -> str:
        stdout: IO[str] | None = self._process.stdout
        assert stdout is not None
        return stdout.readline()


@contextlib.contextmanager
def projectors(name: str, folder: Path) -> Iterator[Projectors]:
    """Start the process that forks projectors, which run `fold_on` or `fold_and_die`; it ends afterwards."""
    with forked([sys.executable, "-c", START, str(TESTS), name, str(folder)]) as projectors:
        yield projectors


@contextlib.contextmanager
def forked(command: Sequence[str]) -> Iterator[Projectors]:
    """Start a process that forks a projector for each line it is told; it ends afterwards."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Projectors(process)
        finally:
            process.kill()


def fold_on(folder: Path, bites: int) -> None:
    """Fold what comes, in batches of so many, until killed; a file named open says that the projection is."""
    log = SqliteLog(folder)
    store = Store(folder / "projection.duckdb", log_identity=log.identity())
    projector = Projector(log, store, Codec(), bounds=Bounds(max_records=bites))
    (folder / "open").touch()
    while True:
        if not projector.catch_up():
            log.read("registry", 0, log.end("registry"), timeout_seconds=0.05)


class Dying:
    """A connection, until so many statements were sent."""

    def __init__(self, connection: object, left: int) -> None:
        self._connection = connection
        self._left = left

    def __getattr__(self, name: str) -> object:
        """Return what is asked of the connection, or die before it."""
        self._left -= 1
        if self._left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return getattr(self._connection, name)


def fold_and_die(folder: Path, statements: int) -> None:
    """Fold, and be killed after so many statements; or, if there are fewer, at the end, with all left open."""
    log = SqliteLog(folder)
    store = Store(folder / "projection.duckdb", log_identity=log.identity())
    store.connection = Dying(store.connection, statements)  # type: ignore[assignment]
    Projector(log, store, Codec(), bounds=Bounds(max_records=4)).catch_up()
    os.kill(os.getpid(), signal.SIGKILL)
