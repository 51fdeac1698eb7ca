"""A program in another language tells a model's whole story, by a client generated from the interface's file alone."""

import json
import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.other_language.project import PINS, ROOT, make, run
from tests.serving.program import Served, served

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or shutil.which("npm") is None, reason="there is no Node with npm here"
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An empty registry, served."""
    make()
    with served(tmp_path_factory.mktemp("other_language") / "registry") as service:
        yield service


@pytest.fixture(scope="module")
def told(service: Served) -> Any:  # noqa: ANN401 - JSON
    """What the program found, step by step."""
    story = (PINS / "story.js").read_text(encoding="utf-8")
    return json.loads(printed(service, story, service.grpc_target))


def printed(service: Served, program: str, *arguments: str) -> str:
    """What a program prints, which ends well and complains of nothing."""
    ended = run(program, *arguments)
    assert (0, "") == (ended.returncode, ended.stderr), service.written.read_text(encoding="utf-8")
    return ended.stdout


def test_a_training_is_logged_with_its_artifact(told: dict[str, Any]) -> None:
    """Its file went up in chunks, and has the digest that the program itself works out."""
    assert (told["sha256"], str(2 * (1 << 20) + 77)) == (
        told["artifact"]["sha256"],
        told["artifact"]["sizeBytes"],
    )
    assert "DECISION_ACCEPTED" == told["good"]["decision"]


def test_a_retry_is_answered_as_the_first_time(told: dict[str, Any]) -> None:
    """The same id, the same position, the same training."""
    assert told["good"] == told["again"]


def test_verdicts_are_followed_as_they_come(told: dict[str, Any]) -> None:
    """One on each training."""
    judged = {event["verdictIssued"]["trainingId"] for event in told["verdicts"]}

    assert {told["good"]["trainingId"], told["bad"]["trainingId"]} == judged


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

    assert (told["good"]["trainingId"], {"mse": 0.25}) == (found["trainingId"], found["metrics"])


def test_a_deployment_of_what_failed_is_refused_with_the_reason(told: dict[str, Any]) -> None:
    """In a sentence for people and in details for programs."""
    refusal = told["refusal"]

    assert "FailedPrecondition" == refusal["code"]
    assert told["bad"]["trainingId"] in refusal["sentence"]
    assert ("deedbook", "REJECTED") == (refusal["info"]["domain"], refusal["info"]["reason"])
    assert {"decision": "rejected"}.items() <= refusal["info"]["metadata"].items()


def test_a_deployment_of_what_passed_is_accepted_and_found(told: dict[str, Any]) -> None:
    """The release is bound to the training and to its file."""
    (model,) = told["bound"]["deployment"]["models"]

    assert "DECISION_ACCEPTED" == told["deployment"]["decision"]
    assert (told["good"]["trainingId"], told["sha256"]) == (model["trainingId"], model["artifactSha256"])
    assert True is told["bound"]["deployment"]["current"]


def test_a_release_that_is_not_bound_is_not_found(told: dict[str, Any]) -> None:
    """The sentence says which are bound instead."""
    assert ("NotFound", "NOT_FOUND") == (told["unbound"]["code"], told["unbound"]["info"]["reason"])
    assert "newest first: r1" in told["unbound"]["sentence"]


def test_deployments_are_followed(told: dict[str, Any]) -> None:
    """The one that was rejected and the one that was created, with all that a host needs."""
    _, created = told["announced"]

    assert ["deploymentRejected", "deploymentCreated"] == told["facts"]
    assert told["sha256"] == created["deploymentCreated"]["models"][0]["artifact"]["sha256"]


def test_the_artifact_comes_back_as_it_went(told: dict[str, Any]) -> None:
    """The program's own digest of what it received is the one that was deployed."""
    downloaded = told["downloaded"]

    assert (told["sha256"], told["sha256"]) == (downloaded["sha256"], downloaded["head"]["sha256"])
    assert downloaded["head"]["sizeBytes"] == downloaded["sizeBytes"]


def test_a_loaded_model_is_reported_and_seen_in_the_fleet(told: dict[str, Any]) -> None:
    """By the instance's name, and in the topic that it was said in."""
    (load,) = told["fleet"]["modelLoads"]

    assert ("node-1", told["sha256"]) == (load["instance"], load["artifactSha256"])
    assert "node-1" == told["heard"][0]["modelLoaded"]["instance"]


def test_a_subscription_goes_on_where_it_was_left(told: dict[str, Any]) -> None:
    """Nothing comes twice, and nothing is left out."""
    positions = told["positions"]

    assert 3 == len(positions["begun"])
    assert told["decided"] == [*positions["begun"], *positions["goneOn"]]


def test_a_silent_subscription_shows_that_it_lives(told: dict[str, Any]) -> None:
    """Behind the last event comes a heartbeat, which says up to where there was nothing."""
    assert ("heartbeat", told["end"]) == (told["silence"]["case"], told["silence"]["value"]["position"])


def test_the_actor_is_recorded_as_claimed(told: dict[str, Any]) -> None:
    """On a service without tokens everybody says who they are."""
    assert "a program in JavaScript" == told["failed"]["training"]["actor"]


def test_the_example_in_the_docs_runs(service: Served, told: dict[str, Any]) -> None:
    """It prints what a release is bound to, and for another one the reason that there is nothing."""
    (example,) = re.findall(r"```js\n(.*?)```", (ROOT / "docs/api.md").read_text(encoding="utf-8"), re.DOTALL)
    here = example.replace("127.0.0.1:8471", service.grpc_target)

    assert f"home-price {told['sha256']}\n" == printed(service, here)
    assert printed(service, here.replace("'r1'", "'r2'")).startswith("NOT_FOUND ")
