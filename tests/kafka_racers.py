"""What the processes of the fault tests on Kafka do: they append whatever comes, note what was acknowledged, project.

As in `racers`: they are forked by a process of their own, which has no threads. A note is written only after its
acknowledgement, so a kill or a failure in between makes a note miss, and never one too many.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from deedbook.events import facts
from deedbook.events.codec import Codec
from deedbook.events.errors import LogUnavailable
from deedbook.events.kafka.log import KafkaLog
from deedbook.events.kafka.settings import kafka_settings
from deedbook.projector.view import default_policy
from tests.facts_by_hand import Pen
from tests.racers import TESTS, Projectors, fork, forked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deedbook.events.log import NewRecord

START = """
import sys, types
tests = sys.modules["tests"] = types.ModuleType("tests")
tests.__path__ = [sys.argv[1]]
from tests import kafka_racers
kafka_racers.run(*sys.argv[2:])
"""
PATIENCE_SECONDS = 120.0


def started(
    name: str,
    url: str,
    folder: Path,
    count: int,
    *,
    append_seconds: float = 30.0,
    pause_seconds: float = 0.0,
    rounds: int = 0,
) -> subprocess.Popen[bytes]:
    """A process that runs one of the functions below in so many processes; it ends well if they all do.

    ``append_seconds``: the time an append is given before it is tried again; ``pause_seconds``: between two rounds;
    ``rounds``: how many, for those who know an end.
    """
    job = {"url": url, "append_seconds": append_seconds, "pause_seconds": pause_seconds, "rounds": rounds}
    (folder / "job.json").write_text(json.dumps(job))
    return subprocess.Popen([sys.executable, "-c", START, str(TESTS), name, str(folder), str(count)])


def run(name: str, folder: str, what: str) -> None:
    """What a started process does."""
    if name == "projectors":
        fork_projectors(Path(folder), what)
    else:
        fork(globals()[name], Path(folder), int(what))


class Ledger:
    """A writer on Kafka that appends until it is acknowledged, and notes each event then, with its place."""

    def __init__(self, folder: Path, number: int) -> None:
        job = json.loads((folder / "job.json").read_text())
        self.folder = folder
        self.codec = Codec()
        self.pause_seconds = float(job["pause_seconds"])
        self._log = KafkaLog(kafka_settings(job["url"]))
        self._append_seconds = float(job["append_seconds"])
        self._file = (folder / f"acknowledged {number}").open("w", encoding="utf-8")

    def append(self, topic: str, *what: facts.Fact | NewRecord) -> list[int]:
        """Append facts as a client does that must not lose them; return their positions."""
        records = [self.codec.encode(one) if isinstance(one, facts.Fact) else one for one in what]
        tried, began, places = 0, 0.0, list[tuple[int, int]]()
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while not places:
            tried += 1
            began = time.time()
            try:
                places = self._log.append(topic, records, timeout_seconds=self._append_seconds)
            except LogUnavailable:
                if time.monotonic() > ends_at:
                    raise
                time.sleep(0.05)
        for record, (partition, position) in zip(records, places, strict=True):
            event_id = dict(record.headers)["ce_id"].decode()
            self._file.write(f"{topic} {partition} {position} {event_id} {tried} {began} {time.time()}\n")
        self._file.flush()
        return [position for _, position in places]

    def goes_on(self) -> bool:
        """Whether there is no file named stop yet; waits between two rounds."""
        time.sleep(self.pause_seconds)
        return not (self.folder / "stop").exists()


def write_on(folder: Path, number: int) -> None:
    """Append events of many kinds, most of them right, some twice, until there is a file named stop."""
    ledger = Ledger(folder, number)
    pen = Pen(f"writer {number}")
    chance = random.Random(number)  # noqa: S311 - no secret
    turn = 0
    while ledger.goes_on():
        _round(ledger, pen, chance, f"{number} {turn}", turn)
        turn += 1


def _round(ledger: Ledger, pen: Pen, chance: random.Random, name: str, turn: int) -> None:
    """Trainings with step metrics and verdicts, then what people and pipelines make of them."""
    number = name.partition(" ")[0]
    model, service = f"model {number}", f"service {int(number) % 3}"
    names = [f"{name} {n}" for n in range(chance.randint(1, 5))]
    ledger.append(facts.REGISTRY, pen.started(names[0], model=model))
    # Each in a city of its own, so that none is compared with another.
    trainings = [pen.logged(one, model=model, city=one) for one in names]
    positions = ledger.append(facts.REGISTRY, *trainings, trainings[0])
    ledger.append(facts.METRICS, *(pen.steps(one, n) for one in names for n in range(2)))
    policy = default_policy(model)
    verdicts = [
        pen.verdict(one, policy, requested_at_position=position)
        for one, position in zip(names, positions, strict=False)
        if chance.random() < 0.8  # the others are for the announcer to ask for
    ]
    if verdicts:
        ledger.append(facts.REGISTRY, *verdicts, verdicts[0])
    ledger.append(facts.REGISTRY, pen.overridden(names[-1], deployable=chance.random() < 0.7))
    deployment = pen.deploy(name, names[0], models=(model,), service=service)
    ledger.append(facts.REGISTRY, deployment, trainings[0])
    if turn % 4 == 0:
        # An amendment is a transaction of the projector's own: rare, as in life.
        rare = [pen.amended(names[-1], mse=float(turn))] if turn % 40 == 0 else []
        ledger.append(facts.REGISTRY, *rare, pen.failed(f"{name} lost"))
        ledger.append(facts.REGISTRY, pen.activate(name, service=service))
        ledger.append(facts.HOSTS, pen.loaded(name, names[0], f"i-{number}"))


# --- pipelines that bind one release at once -----------------------------------------------------

RACERS = 64
# Made before the fork, and so one for all of them.
START_LINE = multiprocessing.get_context("fork").Barrier(RACERS)


def bind(folder: Path, number: int) -> None:
    """Ask for the release of each round, at the same moment as all others."""
    ledger = Ledger(folder, number)
    pen = Pen(f"pipeline {number}")
    rounds = int(json.loads((folder / "job.json").read_text())["rounds"])
    for turn in range(rounds):
        START_LINE.wait(PATIENCE_SECONDS)
        ledger.append(
            facts.REGISTRY, pen.deploy(f"r{turn}", "a", deployment=f"of pipeline {number} in {turn}")
        )


# --- projectors that are there to be killed ------------------------------------------------------


def fork_projectors(folder: Path, url: str) -> None:
    """Fork a `deedbook project` for each line of standard input, and say when it has ended and how."""
    from deedbook.cli.program import app
    from deedbook.consumers import announcer, quarantining
    from deedbook.projector import following, projection

    del announcer, quarantining, following, projection  # imported once, for all of them
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os.environ |= {"DEEDBOOK_URL": url, "DEEDBOOK_FOLDER": str(folder)}
            with (folder / "projectors.log").open("ab") as said:
                os.dup2(said.fileno(), 2)
                os.dup2(said.fileno(), 1)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            app(["project", *line.split()])
            os._exit(1)
        print(child, flush=True)  # noqa: T201 - this is how its parent knows
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201


@contextmanager
def projectors(url: str, folder: Path) -> Iterator[Projectors]:
    """Start the process that forks projectors, in each of which `deedbook project` runs; it ends afterwards."""
    with forked([sys.executable, "-c", START, str(TESTS), "projectors", str(folder), url]) as projectors:
        yield projectors
