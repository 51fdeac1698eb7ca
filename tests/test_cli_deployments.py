"""What serves what: deploy, rollback, deployments, live."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command import Command


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Two deployable trainings and a pending one; each test has a copy of its own."""
    command = Command(tmp_path_factory.mktemp("logged") / "registry")
    command.deployable(metrics={"mse": 1})
    command.deployable(metrics={"mse": 2})
    command.log({})
    return command


@pytest.fixture
def deedbook(logged: Command, tmp_path: Path) -> Command:
    """The command, on a registry with two deployable trainings and a pending one."""
    return logged.copied(tmp_path / "registry")


@pytest.fixture(scope="module")
def released(logged: Command, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The same with a first release; each test that adds to it has a copy of its own."""
    command = logged.copied(tmp_path_factory.mktemp("released") / "registry")
    command.done(
        *("deploy", "pricing", "r1", "--model", "home-price=home-price@1"),
        *("--expected-previous", "", "--reason", "first"),
    )
    return command


@pytest.fixture
def first(released: Command, tmp_path: Path) -> Command:
    """The command, on a registry where pricing's release r1 serves home-price@1."""
    return released.copied(tmp_path / "first")


@pytest.fixture(scope="module")
def released_twice(released: Command, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The same with a second release; each test that adds to it has a copy of its own."""
    command = released.copied(tmp_path_factory.mktemp("twice") / "registry")
    command.done("deploy", "pricing", "r2", "--model", "home-price=home-price@2")
    return command


@pytest.fixture
def second(released_twice: Command, tmp_path: Path) -> Command:
    """The command, on a registry where pricing's release r2 serves home-price@2, and r1 did before."""
    return released_twice.copied(tmp_path / "second")


def test_a_release_is_bound_and_is_live(deedbook: Command) -> None:
    """By the deployer's name, with the reason, from a position on."""
    told = deedbook.done("deploy", "pricing", "r1", "--model", "home-price=home-price@1", "--reason", "first")
    live = deedbook.done("live", "pricing").splitlines()

    assert told.startswith("Release r1 of pricing is the current one in production.\ndeployment  ")
    assert "pricing in production: release r1" == live[0]
    assert ["by               ana", "because          first"] == live[2:4]
    assert live[-1].startswith("home-price@1")
    assert live[-1].endswith("yes         overridden by ana: seen by me")


def test_a_training_that_is_not_deployable_is_refused_with_the_reason(deedbook: Command) -> None:
    """Status 3, the reason on standard error, and the refusal on the record."""
    ended = deedbook("deploy", "pricing", "r1", "--model", "home-price=home-price@3")
    (listed,) = deedbook.json("deployments", "pricing", "--rejected")

    assert (3, "") == (ended.status, ended.out)
    assert ended.err.startswith("deedbook: home-price version 3 (")
    assert ended.err.endswith(") is not deployable: pending at position 22: no verdict yet\n")
    assert ("rejected", ended.err.removeprefix("deedbook: ").rstrip()) == (
        listed["decision"],
        listed["reason"],
    )


def test_a_release_is_bound_once(first: Command) -> None:
    """A new model is a new release."""
    ended = first("deploy", "pricing", "r1", "--model", "home-price=home-price@2")

    assert 3 == ended.status
    assert "release r1 of pricing in production is bound since position 23" in ended.err


@pytest.mark.parametrize(("expected", "status"), [("r1", 0), ("", 3), ("r7", 3)])
def test_a_pipeline_can_say_what_it_expects_to_replace(first: Command, expected: str, status: int) -> None:
    """Two pipelines at once can't overtake each other unseen."""
    ended = first(
        "deploy", "pricing", "r2", "--model", "home-price=home-price@2", "--expected-previous", expected
    )

    assert status == ended.status


@pytest.mark.parametrize(
    ("report", "status", "sentence"),
    [
        ({"passed": True, "requests_replayed": 500, "summary": "fine", "uri": "https://ci/7"}, 0, ""),
        (
            {"passed": False, "summary": "3 of 500 differ"},
            3,
            "its acceptance tests did not pass: 3 of 500 differ",
        ),
        ({}, 2, "report.json does not say whether the tests passed"),
        ({"passed": 1}, 2, "passed in "),
        ({"passed": True, "requests_replayed": True}, 2, "requests_replayed in "),
        ({"passed": True, "notes": ""}, 2, "'notes' is not a key of an acceptance report"),
    ],
)
def test_acceptance_tests_are_part_of_the_record(
    deedbook: Command, tmp_path: Path, report: dict[str, object], status: int, sentence: str
) -> None:
    """A deployment whose tests failed is refused; a report that says nothing is no report."""
    (tmp_path / "report.json").write_text(json.dumps(report), encoding="utf-8")

    ended = deedbook(
        *("deploy", "pricing", "r1", "--model", "home-price=home-price@1"),
        *("--acceptance", str(tmp_path / "report.json"), "--git-sha", "a41f7c0"),
    )

    assert status == ended.status
    assert sentence in ended.err
    if status == 0:
        (found,) = deedbook.json("deployments")
        assert (True, 500, "fine", "https://ci/7", "a41f7c0") == tuple(
            found[key]
            for key in (
                *("acceptance_passed", "acceptance_requests", "acceptance_summary", "acceptance_uri"),
                "git_sha",
            )
        )


def test_a_rollback_makes_an_old_release_current_again(second: Command) -> None:
    """The binding is still there; the log says who went back, and why."""
    told = second.done("rollback", "pricing", "r1", "--expected-previous", "r2", "--reason", "r2 is slow")
    live = second.json("live", "pricing")

    assert told.startswith("Release r1 of pricing is the current one in production again.\n")
    assert ("r1", "r2 is slow", None) == (live["release"], live["reason"], live["live_until"])
    assert [False, True] == ["r1 (current)" in line for line in second.done("deployments").splitlines()[1:]]


@pytest.mark.parametrize(
    ("release", "reason"),
    [("r7", "is not bound to any training"), ("r1", "is the current one already")],
)
def test_a_rollback_to_nowhere_is_refused(first: Command, release: str, reason: str) -> None:
    """Only what was bound can be gone back to."""
    ended = first("rollback", "pricing", release)

    assert 3 == ended.status
    assert reason in ended.err


def test_what_was_live_at_a_time_is_answered(second: Command) -> None:
    """As the log's clock recorded it, with the standing of that moment."""
    current = second.json("live", "pricing")
    second.done("override", "home-price@1", "--not-deployable", "--reason", "withdrawn")

    (first,) = [d for d in second.json("deployments") if d["release"] == "r1"]
    then = second.json("live", "pricing", "--at", first["requested_at"])

    assert ("r2", "r1") == (current["release"], then["release"])
    assert current["live_from"] == then["live_until"]
    assert [(1, True, "overridden by ana: seen by me")] == [
        (model["version"], model["deployable"], model["reason"]) for model in then["models"]
    ]
    assert "r2" == second.json("live", "pricing", "--at", "now")["release"]


def test_before_the_first_deployment_nothing_was_live(released: Command) -> None:
    """Status 2, and the moment as it was understood."""
    ended = released("live", "pricing", "--at", "2020-01-01T02:00:00+02:00")

    assert (2, "deedbook: nothing of pricing was live in production at 2020-01-01T00:00:00.000000Z\n") == (
        ended.status,
        ended.err,
    )


def test_environments_are_apart(deedbook: Command) -> None:
    """Staging says nothing of production."""
    deedbook.done("deploy", "pricing", "r1", "--model", "home-price=home-price@1", "--environment", "staging")

    assert 2 == deedbook("live", "pricing").status
    assert "r1" == deedbook.json("live", "pricing", "--environment", "staging")["release"]
    assert [1, 0, 1, 0] == [
        len(deedbook.json("deployments", *arguments))
        for arguments in (["pricing"], ["other"], ["--environment", "staging"], ["--rejected"])
    ]


def test_no_deployment_says_how_to_make_one(deedbook: Command) -> None:
    """A newcomer is not left alone."""
    assert deedbook.done("deployments").startswith(
        "There are no such deployments. Bind a release with: deedbook"
    )


def test_several_models_are_bound_together(deedbook: Command) -> None:
    """All of them, or none: one that may not be deployed keeps out the others."""
    deedbook.done("log-training", "-", given='{"model": "rent"}')
    both = ("--model", "home-price=home-price@1", "--model", "rent=rent@1")

    refused = deedbook("deploy", "pricing", "r1", *both)
    deedbook.done("override", "rent@1", "--deployable", "--reason", "seen")
    deedbook.done("deploy", "pricing", "r2", *both)

    assert 3 == refused.status
    assert ["home-price", "rent"] == [model["model"] for model in deedbook.json("live", "pricing")["models"]]
