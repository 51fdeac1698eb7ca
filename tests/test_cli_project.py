"""`deedbook project`: the process that keeps a projection at the log's end, as it is run for months."""

from __future__ import annotations

import signal
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from deedbook.events.codec import Codec
from deedbook.events.facts import REGISTRY, VALIDATIONS, TrainingLogged, ValidationRequested, VerdictIssued
from deedbook.events.sqlite_log import SqliteLog
from tests.command import PATIENCE_SECONDS, THRESHOLD_POLICY, Command, ended
from tests.facts_by_hand import Pen, training

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """A registry with a policy; nothing is added to it."""
    command = Command(tmp_path_factory.mktemp("ruled") / "registry")
    command.done("policy", "publish", "-", given=THRESHOLD_POLICY)
    return command


@pytest.fixture
def deedbook(ruled: Command, tmp_path: Path) -> Command:
    """The command on a registry of the test's own, with a policy."""
    return ruled.copied(tmp_path / "registry")


@pytest.fixture
def log(deedbook: Command) -> Iterator[SqliteLog]:
    """The registry's log, as another program appends to it and reads it."""
    opened = SqliteLog(deedbook.folder)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def projecting(ruled: Command, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """A registry whose projection is kept at the log's end all the while; whatever is added is added to its end."""
    command = ruled.copied(tmp_path_factory.mktemp("projecting") / "registry")
    with command.running("project"):
        yield command


def logged_elsewhere(log: SqliteLog) -> str:
    """Append a training as a job does that folds nothing, and return its id."""
    logged = training(f"after {log.end(REGISTRY)}")
    fact = TrainingLogged(**Pen(actor=logged.training_id).envelope(), training=logged)
    log.append(REGISTRY, [Codec().encode(fact)])
    return logged.training_id


def orders(log: SqliteLog, count: int, start: int = 0) -> list[ValidationRequested]:
    """The first work orders on the log, or the first from a position on, once there are so many."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while log.end(VALIDATIONS) < start + count and time.monotonic() < deadline:
        time.sleep(0.02)
    found = [Codec().decode(record) for record in log.read(VALIDATIONS, 0, start, max_records=count)]
    return [fact for fact in found if isinstance(fact, ValidationRequested)]


def test_what_comes_is_announced_though_nobody_runs_a_command(projecting: Command) -> None:
    """A training that a job appended becomes a work order."""
    with closing(SqliteLog(projecting.folder)) as log:
        start = log.end(VALIDATIONS)
        training_id = logged_elsewhere(log)

        assert [training_id] == [order.training.training_id for order in orders(log, 1, start)]


def test_it_hands_over_the_projection_to_a_command_and_goes_on(projecting: Command) -> None:
    """Other commands on the same folder are answered while it runs, and it announces what comes after them."""
    with closing(SqliteLog(projecting.folder)) as log:
        start = log.end(VALIDATIONS)
        first = logged_elsewhere(log)
        orders(log, 1, start)
        listed = projecting.json("trainings")
        second = logged_elsewhere(log)

        assert (start + 1, first) == (len(listed), listed[0]["training_id"])
        assert [first, second] == [order.training.training_id for order in orders(log, 2, start)]


def test_it_ends_when_it_is_asked_to_and_leaves_a_snapshot(deedbook: Command, log: SqliteLog) -> None:
    """SIGTERM is the ordinary end: status 0, and analysts find the state as of then."""
    with deedbook.running("project") as process:
        logged_elsewhere(log)
        orders(log, 1)
        process.send_signal(signal.SIGTERM)
        end = ended(process)

    assert 0 == end.status
    assert "Ended" in end.err
    assert (deedbook.folder / "snapshot.duckdb").exists()


def test_killed_it_goes_on_where_it_was(deedbook: Command, log: SqliteLog) -> None:
    """A kill -9 loses nothing, and nothing is announced anew."""
    with deedbook.running("project") as process:
        first = logged_elsewhere(log)
        orders(log, 1)
        process.kill()
        process.wait()
    second = logged_elsewhere(log)
    with deedbook.running("project"):
        found = orders(log, 2)

    assert [first, second] == [order.training.training_id for order in found]
    assert 2 == log.end(VALIDATIONS)


def test_an_order_nobody_answers_is_announced_again_and_then_given_up(
    deedbook: Command, log: SqliteLog
) -> None:
    """After the last attempt a verdict says that nobody answered: nothing stays pending for ever."""
    with deedbook.running("project", "--patience", "0.2", "--attempts", "2"):
        training_id = logged_elsewhere(log)
        attempts = [(order.training.training_id, order.attempt) for order in orders(log, 2)]
        deadline = time.monotonic() + PATIENCE_SECONDS
        verdicts: list[VerdictIssued] = []
        while not verdicts and time.monotonic() < deadline:
            facts = [Codec().decode(record) for record in log.read(REGISTRY, 0, 0)]
            verdicts = [fact for fact in facts if isinstance(fact, VerdictIssued)]
            time.sleep(0.02)

    assert [(training_id, 1), (training_id, 2)] == attempts
    assert ["no validator answered 2 requests for a verdict"] == [
        check.reason for verdict in verdicts for check in verdict.checks
    ]
