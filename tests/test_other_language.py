"""A program in another language tells a model's whole story from the interface's file alone."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.serving.program import served

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "tests/other_language"
# What npm installs stays here from one run to the next; `make clean` removes it.
INSTALLED = ROOT / "build/other_language"
PATIENCE_SECONDS = 120.0

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or shutil.which("npm") is None, reason="there is no Node with npm here"
)


def modules() -> Path:
    """The pinned packages that the program needs, installed once for each set of pins."""
    lock = (SOURCE / "package-lock.json").read_bytes()
    INSTALLED.mkdir(parents=True, exist_ok=True)
    with FileLock(INSTALLED / "installing.lock"):
        done = INSTALLED / "installed-from"
        if not done.is_file() or done.read_bytes() != lock:
            for name in ("package.json", "package-lock.json"):
                shutil.copy2(SOURCE / name, INSTALLED / name)
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            ended = subprocess.run(command, cwd=INSTALLED, capture_output=True, text=True, check=False)
            assert 0 == ended.returncode, ended.stderr
            done.write_bytes(lock)
    return INSTALLED / "node_modules"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the program found, step by step."""
    node_modules = modules()
    with served(tmp_path_factory.mktemp("other_language") / "registry") as service:
        ended = subprocess.run(
            ["node", str(SOURCE / "story.js"), service.grpc_target, str(ROOT / "api/proto")],
            env={**os.environ, "NODE_PATH": str(node_modules), "no_grpc_proxy": "127.0.0.1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
        assert (0, "") == (ended.returncode, ended.stderr), service.written.read_text(encoding="utf-8")
        yield json.loads(ended.stdout)


def test_a_training_is_logged_with_its_artifact(told: dict[str, Any]) -> None:
    """Its file went up in chunks, and has the digest that the program itself works out."""
    assert (told["sha256"], str(2 * (1 << 20) + 77)) == (
        told["artifact"]["sha256"],
        told["artifact"]["size_bytes"],
    )
    assert "DECISION_ACCEPTED" == told["good"]["decision"]


def test_a_retry_is_answered_as_the_first_time(told: dict[str, Any]) -> None:
    """The same id, the same position, the same training."""
    assert told["good"] == told["again"]


def test_verdicts_are_followed_as_they_come(told: dict[str, Any]) -> None:
    """One on each training."""
    assert {told["good"]["training_id"], told["bad"]["training_id"]} == set(told["verdicts"])


def test_what_passed_is_deployable(told: dict[str, Any]) -> None:
    """By the program's own policy."""
    assert ("OUTCOME_PASSED", True) == (
        told["passed"]["standing"]["outcome"],
        told["passed"]["standing"]["deployable"],
    )


def test_what_failed_says_so_with_its_numbers(told: dict[str, Any]) -> None:
    """What was observed, what it was held to, and a sentence."""
    (check,) = told["failed"]["training"]["verdicts"][0]["checks"]

    assert ("metric_threshold", "OUTCOME_FAILED", 0.75, 0.5) == tuple(
        check[name] for name in ("check", "outcome", "observed", "threshold")
    )
    assert "'mse' is 0.75, above the maximum of 0.5" == check["reason"]


def test_a_search_compares_metrics(told: dict[str, Any]) -> None:
    """It finds the one below."""
    (found,) = told["found"]["trainings"]

    assert (told["good"]["training_id"], {"mse": 0.25}) == (found["training_id"], found["metrics"])


def test_a_deployment_of_what_failed_is_refused_with_the_reason(told: dict[str, Any]) -> None:
    """In a sentence for people and in details for programs."""
    refusal = told["refusal"]

    assert "FAILED_PRECONDITION" == refusal["code"]
    assert told["bad"]["training_id"] in refusal["sentence"]
    assert ("deedbook", "REJECTED") == (refusal["info"]["domain"], refusal["info"]["reason"])
    assert {"decision": "rejected"}.items() <= refusal["info"]["metadata"].items()


def test_a_deployment_of_what_passed_is_accepted_and_found(told: dict[str, Any]) -> None:
    """The release is bound to the training and to its file."""
    (model,) = told["bound"]["deployment"]["models"]

    assert "DECISION_ACCEPTED" == told["deployment"]["decision"]
    assert (told["good"]["training_id"], told["sha256"]) == (model["training_id"], model["artifact_sha256"])
    assert True is told["bound"]["deployment"]["current"]


def test_a_release_that_is_not_bound_is_not_found(told: dict[str, Any]) -> None:
    """The sentence says which are bound instead."""
    assert ("NOT_FOUND", "NOT_FOUND") == (told["unbound"]["code"], told["unbound"]["info"]["reason"])
    assert "newest first: r1" in told["unbound"]["sentence"]


def test_deployments_are_followed(told: dict[str, Any]) -> None:
    """The one that was rejected and the one that was created, with all that a host needs."""
    rejected, created = told["announced"]

    assert ("deployment_rejected", "deployment_created") == (rejected["fact"], created["fact"])
    assert told["sha256"] == created["deployment_created"]["models"][0]["artifact"]["sha256"]


def test_the_artifact_comes_back_as_it_went(told: dict[str, Any]) -> None:
    """The program's own digest of what it received is the one that was deployed."""
    downloaded = told["downloaded"]

    assert (told["sha256"], told["sha256"]) == (downloaded["sha256"], downloaded["head"]["sha256"])
    assert downloaded["head"]["size_bytes"] == str(downloaded["sizeBytes"])


def test_a_loaded_model_is_reported_and_seen_in_the_fleet(told: dict[str, Any]) -> None:
    """By the instance's name, and in the topic that it was said in."""
    (load,) = told["fleet"]["model_loads"]

    assert ("node-1", told["sha256"]) == (load["instance"], load["artifact_sha256"])
    assert "node-1" == told["heard"][0]["model_loaded"]["instance"]


def test_a_subscription_goes_on_where_it_was_left(told: dict[str, Any]) -> None:
    """Nothing comes twice, and nothing is left out."""
    positions = told["positions"]

    assert 3 == len(positions["begun"])
    assert told["decided"] == [*positions["begun"], *positions["goneOn"]]


def test_the_actor_is_recorded_as_claimed(told: dict[str, Any]) -> None:
    """On a service without tokens everybody says who they are."""
    assert "a program in JavaScript" == told["failed"]["training"]["actor"]
