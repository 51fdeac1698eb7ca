"""`deedbook project`: the process that keeps a projection at the log's end, as it is run for months."""

from __future__ import annotations

import signal
import time
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


@pytest.fixture
def deedbook(tmp_path: Path) -> Command:
    """The command on a registry that was made, with a policy."""
    command = Command(tmp_path / "registry")
    command.done("init")
    policy = tmp_path / "policy.toml"
    policy.write_text(THRESHOLD_POLICY)
    command.done("policy", "publish", str(policy))
    return command


@pytest.fixture
def log(deedbook: Command) -> Iterator[SqliteLog]:
    """The registry's log, as another program appends to it and reads it."""
    opened = SqliteLog(deedbook.folder)
    yield opened
    opened.close()


def logged_elsewhere(log: SqliteLog) -> str:
    """Append a training as a job does that folds nothing, and return its id."""
    logged = training(f"after {log.end(REGISTRY)}")
    fact = TrainingLogged(**Pen(actor=logged.training_id).envelope(), training=logged)
    log.append(REGISTRY, [Codec().encode(fact)])
    return logged.training_id


def orders(log: SqliteLog, count: int) -> list[ValidationRequested]:
    """The first work orders on the log, once there are so many."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while log.end(VALIDATIONS) < count and time.monotonic() < deadline:
        time.sleep(0.02)
    found = [Codec().decode(record) for record in log.read(VALIDATIONS, 0, 0, max_records=count)]
    return [fact for fact in found if isinstance(fact, ValidationRequested)]


def test_what_comes_is_announced_though_nobody_runs_a_command(deedbook: Command, log: SqliteLog) -> None:
    """A training that a job appended becomes a work order."""
    with deedbook.running("project"):
        training_id = logged_elsewhere(log)

        assert [training_id] == [order.training.training_id for order in orders(log, 1)]


def test_it_hands_over_the_projection_to_a_command_and_goes_on(deedbook: Command, log: SqliteLog) -> None:
    """Other commands on the same folder are answered while it runs, and it announces what comes after them."""
    with deedbook.running("project"):
        first = logged_elsewhere(log)
        orders(log, 1)
        listed = deedbook.json("trainings")
        second = logged_elsewhere(log)

        assert [first] == [training["training_id"] for training in listed]
        assert [first, second] == [order.training.training_id for order in orders(log, 2)]


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
