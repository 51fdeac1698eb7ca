"""What may be deployed: policies, the worker, failures, overrides, new verdicts."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.command import THRESHOLD_POLICY, Command, ended, next_line

FEATURES = ["rooms", "area"]
WHOLE_POLICY = """
model = "home-price"
group_by = ["city"]
baseline = "last_deployable"

[[checks]]
check = "artifact_intact"

[[checks]]
check = "metric_threshold"
metric = "mse"
max = 1.0
"""


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """A registry whose home prices must have an error of 1 at most; nothing is added to it."""
    command = Command(tmp_path_factory.mktemp("ruled") / "registry")
    command.done("policy", "publish", "-", given=THRESHOLD_POLICY)
    return command


@pytest.fixture
def deedbook(ruled: Command, tmp_path: Path) -> Command:
    """The command, on a registry of the test's own whose home prices must have an error of 1 at most."""
    return ruled.copied(tmp_path / "registry")


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    """A model's file, as far as anybody looks at it without running it."""
    file = tmp_path / "model.cbm"
    file.write_bytes(b"CBM1 and so on")
    return file


# --- policies ------------------------------------------------------------------------------------


def test_a_policy_is_published_and_shown_as_it_was_written(deedbook: Command, tmp_path: Path) -> None:
    """Comments and all; the log numbers its versions."""
    (tmp_path / "policy.toml").write_text(f"# our limits\n{WHOLE_POLICY}", encoding="utf-8")

    published = deedbook.json("policy", "publish", str(tmp_path / "policy.toml"))
    shown = deedbook.done("policy", "show", "home-price")

    assert {"model": "home-price", "version": 2, "position": 19} == published
    assert shown.startswith(
        "Policy version 2 of home-price, published at position 19 by ana:\n  # our limits\n"
    )


def test_an_older_policy_can_be_seen(deedbook: Command) -> None:
    """A verdict is by the policy of its time."""
    deedbook.done("policy", "publish", "-", given=WHOLE_POLICY)

    found = deedbook.json("policy", "show", "home-price", "--version", "1")

    assert (1, THRESHOLD_POLICY, "ana", 18) == tuple(
        found[key] for key in ("version", "source", "actor", "position")
    )
    assert ["metric_threshold"] == [spec["check"] for spec in found["policy"]["checks"]]


def test_where_no_policy_was_published_the_default_one_is_shown(ruled: Command) -> None:
    """And it says that it is the default."""
    told = ruled.done("policy", "show", "other")
    found = ruled.json("policy", "show", "home-price", "--version", "0")

    assert told.startswith("No policy was published for other, so the default one holds:\n")
    assert ["artifact_intact", "features_match"] == [spec["check"] for spec in found["policy"]["checks"]]
    assert (0, None) == (found["version"], found["source"])


# --- the worker ----------------------------------------------------------------------------------


def test_the_worker_judges_what_is_pending_and_ends(deedbook: Command, model_file: Path) -> None:
    """One line for each verdict, with its reasons; then there is nothing left to do."""
    good, bad = deedbook.log({"metrics": {"mse": 0.5}}, {"metrics": {"mse": 3}})
    deedbook.done("policy", "publish", "-", given=WHOLE_POLICY.replace("home-price", "rent"))
    (rent,) = with_file(deedbook, model_file, model="rent")

    first, second = deedbook("validate", "--once"), deedbook("validate", "--once")

    assert [
        f"home-price@1 ({good}) passed",
        f"home-price@2 ({bad}) failed: 'mse' is 3, above the maximum of 1",
        f"rent@1 ({rent}) passed",
    ] == first.out.splitlines()
    assert first.err.endswith("3 validations done; nothing is pending.\n")
    assert (0, "") == (second.status, second.out)
    assert second.err.endswith("0 validations done; nothing is pending.\n")
    assert [("passed", True), ("failed", False), ("passed", True)] == [
        (found["outcome"], found["deployable"]) for found in deedbook.json("trainings")[::-1]
    ]


def with_file(deedbook: Command, file: Path, *, model: str = "home-price", times: int = 1) -> list[str]:
    """Log trainings that have a model's file, and return their ids."""
    text = json.dumps({"model": model, "metrics": {"mse": 0.5}, "features": FEATURES})
    words = ("log-training", "-", "--artifact", str(file))
    return [deedbook.json(*words, given=text)[0]["training_id"] for _ in range(times)]


def test_the_worker_looks_at_the_model_itself(deedbook: Command, model_file: Path) -> None:
    """The artifact has to be there, and has to be what the log says."""
    deedbook.done("policy", "publish", "-", given=WHOLE_POLICY)
    with_file(deedbook, model_file, times=2)
    (stored,) = (deedbook.folder / "artifacts" / "sha256").rglob("?" * 64)
    deedbook.judge()

    stored.chmod(0o644)
    stored.write_bytes(b"CBM1 and so of")
    deedbook.done("revalidate", "home-price@2", "--reason", "is it still whole?")
    deedbook.judge()

    assert [("home-price", 2, "failed", False), ("home-price", 1, "passed", True)] == [
        (found["model"], found["version"], found["outcome"], found["deployable"])
        for found in deedbook.json("trainings")
    ]


def test_the_worker_follows_until_it_is_asked_to_stop(deedbook: Command) -> None:
    """What comes while it runs is judged; SIGTERM ends it in good order."""
    with deedbook.running("validate") as worker:
        (training_id,) = deedbook.log({"metrics": {"mse": 0.5}})
        line = next_line(worker)
        worker.send_signal(signal.SIGTERM)
        end = ended(worker)

    assert (f"home-price@1 ({training_id}) passed\n", "", 0) == (line, end.out, end.status)
    assert end.err.endswith("Ended between two validations; what is pending waits for the next worker.\n")


# --- failures ------------------------------------------------------------------------------------


def test_a_failure_is_told_with_its_numbers_and_its_reason(deedbook: Command) -> None:
    """Never `failed` with nothing beside it; NaN is no pass either."""
    deedbook.log({"metrics": {"mse": 3}, "parameters": {"city": "Dallas"}}, {"metrics": {"mse": "NaN"}})
    deedbook.judge()

    told = deedbook.done("failures").splitlines()

    assert "home-price@2 failed" == told[0]
    at = told.index("home-price@1 failed")
    assert "parameters  city=Dallas" == told[at + 2]
    assert ["check", "outcome", "observed", "threshold", "reason"] == told[at + 4].split()
    assert (
        "metric_threshold mse  failed          3          1  'mse' is 3, above the maximum of 1"
        == told[at + 5]
    )
    observed = [failure["verdict"]["checks"][0]["observed"] for failure in deedbook.json("failures")]
    assert ["NaN", 3] == observed


def test_what_became_of_a_failure_is_told(deedbook: Command) -> None:
    """Judged again, or overridden by a named person; --current leaves out what was judged again."""
    training_id, _ = deedbook.log({"metrics": {"mse": 3}}, {"metrics": {"mse": 4}})
    deedbook.judge()
    deedbook.done("revalidate", training_id)
    deedbook.judge()
    deedbook.done("override", "home-price@2", "--deployable", "--reason", "known outlier")

    told = deedbook.done("failures")

    assert "since then  judged again: not deployable" in told
    assert "since then  overridden: deployable" in told
    assert [3, 2] == [len(deedbook.json("failures")), len(deedbook.json("failures", "--current"))]
    assert [] == deedbook.json("failures", "--model", "other")


def test_no_failure_is_said(ruled: Command) -> None:
    """Good news is news."""
    assert "No validation has failed.\n" == ruled.done("failures")


# --- people's decisions --------------------------------------------------------------------------


def test_a_person_overrides_a_verdict_with_name_and_reason(deedbook: Command) -> None:
    """Both ways; the log says who and why."""
    (training_id,) = deedbook.log({"metrics": {"mse": 3}})

    told = deedbook.done("override", training_id, "--deployable", "--reason", "known outlier")
    back = deedbook.json("override", training_id, "--not-deployable", "--reason", "I was wrong")

    assert "home-price@1 is deployable from position 20 on: overridden by ana: known outlier\n" == told
    assert (False, True, "overridden by ana: I was wrong") == (
        back["deployable"],
        back["overridden"],
        back["reason"],
    )


def test_a_new_verdict_can_be_asked_for(deedbook: Command) -> None:
    """The old one holds until the new one comes."""
    (training_id,) = deedbook.log({"metrics": {"mse": 0.5}})
    deedbook.judge()

    asked = deedbook.json("revalidate", training_id, "--reason", "new data")
    before = deedbook.json("training", training_id)
    deedbook.judge()
    after = deedbook.json("training", training_id)

    assert {"training_id": training_id, "requested_at_position": 21} == asked
    assert (True, 1, True, 2) == (
        before["deployable"],
        len(before["verdicts"]),
        after["deployable"],
        len(after["verdicts"]),
    )
