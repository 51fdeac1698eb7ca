"""A work order in, a verdict out: real models, through real files and the real sandbox."""

from __future__ import annotations

import dataclasses
import math
import os
import pickle
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from deedbook.artifacts.formats import save_model
from deedbook.artifacts.requests import encode
from deedbook.artifacts.store import LocalArtifactStore
from deedbook.consumers.checks import BUILT_IN, Catalogue, Check, Evidence, Finding, Settings
from deedbook.consumers.policy import check_spec, read_policy
from deedbook.consumers.sandbox import Failure, Limits, Predictions, Sandbox
from deedbook.consumers.validation import MAX_REASON_CHARACTERS, Validator, judge
from deedbook.consumers.worker import work
from deedbook.events.codec import Codec
from deedbook.events.facts import (
    REGISTRY,
    VALIDATIONS,
    Artifact,
    Baseline,
    BaselineRole,
    CheckResult,
    CheckSpec,
    Coefficient,
    Direction,
    Distribution,
    Feature,
    Metric,
    Outcome,
    Parameter,
    Policy,
    RequestSet,
    Training,
    ValidationRequested,
    VerdictIssued,
    VerdictOverridden,
)
from deedbook.events.ids import new_id
from deedbook.events.log import Record
from deedbook.events.shape import problem_of
from deedbook.events.sqlite_log import SqliteLog

NAMES = ("rooms", "area")
POLICY = dataclasses.replace(
    read_policy(
        """
        model = "home-price"
        group_by = ["city"]
        [[checks]]
        check = "artifact_intact"
        [[checks]]
        check = "features_match"
        [[checks]]
        check = "metric_threshold"
        metric = "r2"
        min = 0.5
        [[checks]]
        check = "metric_regression"
        metric = "mse"
        max_relative = 0.25
        [[checks]]
        check = "coefficient_similarity"
        [[checks]]
        check = "prediction_similarity"
        threshold = 0.2
        [[checks]]
        check = "prediction_similarity"
        method = "wasserstein"
        threshold = 0.25
        """
    ),
    version=3,
)


class CountingSandbox(Sandbox):
    """The sandbox, which remembers what it was asked to run."""

    def __init__(self, limits: Limits | None = None) -> None:
        """Nothing was asked yet."""
        super().__init__(limits)
        self.ran: list[str] = []

    def predict(self, model: Path, sha256: str, *rest: Any, **options: Any) -> Predictions | Failure:  # noqa: ANN401
        """Remember the model, and run it."""
        self.ran.append(sha256)
        return super().predict(model, sha256, *rest, **options)


@pytest.fixture(scope="module")
def shared_sandbox() -> Iterator[CountingSandbox]:
    """One warm sandbox for all tests, impatient enough for a model that hangs."""
    with CountingSandbox(Limits(wall_seconds=3.0)) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared_sandbox: CountingSandbox) -> CountingSandbox:
    """The shared sandbox, with its memory wiped."""
    shared_sandbox.ran.clear()
    return shared_sandbox


@pytest.fixture
def store(tmp_path: Path) -> LocalArtifactStore:
    """A store of this test's own."""
    return LocalArtifactStore(tmp_path / "artifacts")


def put(store: LocalArtifactStore, data: bytes, format: str = "") -> Artifact:  # noqa: A002 (the domain's word)
    """Keep bytes, and return how an event describes them."""
    stored = store.put(data)
    return Artifact(uri=stored.uri, sha256=stored.sha256, size_bytes=stored.size_bytes, format=format)


def fitted(seed: int, unit: float = 1.0) -> LinearRegression:
    """A model of house prices, in dollars or another unit, fitted on one month's noisy sales."""
    random = np.random.default_rng(seed)
    rooms, area = random.integers(1, 7, 400), random.uniform(40, 240, 400)
    prices = 20_000 + 15_000 * rooms + 900 * area + random.normal(0, 8_000, 400)
    return LinearRegression().fit(np.column_stack([rooms, area]), prices * unit)


def trained(store: LocalArtifactStore, seed: int, unit: float = 1.0, mse: float = 6.4e7) -> Training:
    """A training of that model, as a client logs it."""
    model = fitted(seed, unit)
    return Training(
        training_id=f"01985a00-0000-7000-8000-{seed:012d}",
        model="home-price",
        artifact=put(store, save_model(model).data, "skops"),
        features=tuple(Feature(name=name, dtype="float64") for name in NAMES),
        parameters=(Parameter(name="city", text="Austin"), Parameter(name="alpha", text="1", number=1.0)),
        metrics=(
            Metric(name="mse", value=mse * unit**2, direction=Direction.LOWER),
            Metric(name="r2", value=0.97, direction=Direction.HIGHER),
        ),
        coefficients=tuple(
            Coefficient(name=name, value=float(value)) for name, value in zip(NAMES, model.coef_, strict=True)
        ),
        created_at=1_393_632_000_000_000,
    )


def requests(
    store: LocalArtifactStore, count: int = 500, names: Sequence[str] = NAMES
) -> tuple[RequestSet, ...]:
    """Past requests, as they were published."""
    random = np.random.default_rng(1)
    ranges = {"rooms": (1, 7), "area": (40, 240), "garden": (0, 1)}
    data = encode({name: float(random.uniform(*ranges[name])) for name in names} for _ in range(count))
    return (RequestSet(requests_id=new_id(), model="home-price", artifact=put(store, data), count=count),)


def order(
    training: Training,
    baseline: Training | None = None,
    policy: Policy = POLICY,
    replayed: tuple[RequestSet, ...] = (),
) -> ValidationRequested:
    """A work order, as the announcer writes it."""
    baselines = (Baseline(role=BaselineRole.LAST_DEPLOYABLE, training=baseline),) if baseline else ()
    return ValidationRequested(
        event_id=new_id(),
        occurred_at=1,
        actor="announcer",
        training=training,
        requested_at_position=42,
        policy=policy,
        baselines=baselines,
        requests=replayed,
    )


def demanding(*checks: Check, **settings: object) -> Policy:
    """A policy with these checks."""
    catalogue = Catalogue(checks)
    return dataclasses.replace(
        POLICY, checks=tuple(check_spec(c.name, dict(settings), catalogue) for c in checks)
    )


def only(name: str, **settings: object) -> Policy:
    """A policy with one built-in check."""
    return dataclasses.replace(POLICY, checks=(check_spec(name, settings, Catalogue()),))


Judge = Callable[..., VerdictIssued]


@pytest.fixture
def judged(store: LocalArtifactStore, sandbox: CountingSandbox) -> Judge:
    """What judges an order against this test's store and the shared sandbox."""

    def verdict(work_order: ValidationRequested, checks: Catalogue | None = None) -> VerdictIssued:
        issued = judge(work_order, artifacts=store, sandbox=sandbox, actor="worker-1", now=77, checks=checks)
        # Whatever a check did, the verdict is one that the fold takes.
        assert None is problem_of(issued)
        return issued

    return verdict


def ends(verdict: VerdictIssued) -> list[tuple[str, Outcome]]:
    """Each check with its outcome, in the verdict's order."""
    return [(result.check, result.outcome) for result in verdict.checks]


# --- a training in and out of order ------------------------------------------------------------


def test_a_retrain_like_the_last_one_passes_every_check(store: LocalArtifactStore, judged: Judge) -> None:
    """One result for each check of the policy, in its order, and the baseline beside those that compare."""
    before, now = trained(store, 1), trained(store, 2, mse=6.5e7)

    verdict = judged(order(now, before, replayed=requests(store)))

    assert [(spec.check, Outcome.PASSED) for spec in POLICY.checks] == ends(verdict)
    assert Outcome.PASSED is verdict.outcome
    assert (now.training_id, 42, 3, "deedbook 0.1.0", before.training_id, "worker-1", 77) == (
        verdict.training_id,
        verdict.requested_at_position,
        verdict.policy_version,
        verdict.validator_version,
        verdict.baseline_training_id,
        verdict.actor,
        verdict.occurred_at,
    )
    assert ["", before.training_id, "", *[before.training_id] * 4] == [
        c.baseline_training_id for c in verdict.checks
    ]


def test_a_month_in_the_wrong_unit_fails_with_reasons_a_reviewer_understands(
    store: LocalArtifactStore, judged: Judge
) -> None:
    """Its own metrics look fine; its coefficients and its answers to past requests do not."""
    before, now = trained(store, 1), trained(store, 2, unit=0.001)

    verdict = judged(order(now, before, replayed=requests(store)))

    reasons = {result.check: result.reason for result in verdict.checks if result.outcome is Outcome.FAILED}
    assert Outcome.FAILED is verdict.outcome
    assert {"coefficient_similarity", "prediction_similarity"} == set(reasons)
    assert reasons["coefficient_similarity"].startswith(
        "2 of 2 coefficients moved by more than 50% of its size, against the last deployable training"
        f" ({before.training_id}, of 2014-03-01); most: 'area' from 911.056 to 0.899405, -100%;"
    )
    assert (
        "over 500 replayed requests the median prediction went from 205,172 to 206.172;"
        in reasons["prediction_similarity"]
    )
    drawn = [result.distributions for result in verdict.checks if result.check == "prediction_similarity"]
    assert [500, 500] == [sum(found[0].candidate_counts) for found in drawn]


def test_a_verdict_survives_the_log(store: LocalArtifactStore, judged: Judge) -> None:
    """Numbers, histograms and names of any script come back as they were issued."""
    now = dataclasses.replace(trained(store, 2), model="Zürich 🏠")
    verdict = judged(order(now, trained(store, 1, unit=0.1), replayed=requests(store)))
    codec = Codec()
    new = codec.encode(verdict)

    assert verdict == codec.decode(Record(REGISTRY, 0, 0, 0, new.key, new.value, new.headers))


def test_a_first_training_passes_and_says_so(store: LocalArtifactStore, judged: Judge) -> None:
    """Its own file, metrics and answers are still looked at."""
    verdict = judged(order(trained(store, 1), replayed=requests(store)))

    assert Outcome.PASSED is verdict.outcome
    assert "" == verdict.baseline_training_id
    assert 5 == sum("nothing to compare with, so it passes" in result.reason for result in verdict.checks)


# --- the verdict's identity --------------------------------------------------------------------


def test_two_workers_reach_the_same_verdict(store: LocalArtifactStore, sandbox: CountingSandbox) -> None:
    """At any time, whichever attempt it is, and in whatever order the state lists a training's metrics."""
    first = order(trained(store, 2), trained(store, 1), replayed=requests(store))
    shuffled = dataclasses.replace(first.training, metrics=first.training.metrics[::-1])
    again = dataclasses.replace(first, event_id=new_id(), attempt=2, occurred_at=99, training=shuffled)
    clocks = iter([5, 6])
    workers = [Validator(store, sandbox, name, lambda: next(clocks)) for name in ("a", "b")]

    one, other = workers[0].verdict(first), workers[1].verdict(again)

    assert (one.verdict_id, one.event_id, one.checks) == (other.verdict_id, other.event_id, other.checks)
    assert [("a", 5), ("b", 6)] == [(verdict.actor, verdict.occurred_at) for verdict in (one, other)]


def test_whatever_a_verdict_rests_on_gives_it_another_id(store: LocalArtifactStore, judged: Judge) -> None:
    """The training, the request's position, the policy, the baseline, the artifacts, the validator."""
    spec = only("metric_threshold", metric="r2", min=0.5)
    before, now = trained(store, 1), trained(store, 2)
    base = order(now, before, spec)
    variants = [
        base,
        dataclasses.replace(base, requested_at_position=43),
        dataclasses.replace(base, policy=dataclasses.replace(spec, version=4)),
        dataclasses.replace(base, policy=only("metric_threshold", metric="r2", min=0.4)),
        dataclasses.replace(base, baselines=()),
        dataclasses.replace(base, requests=requests(store, 5)),
        order(dataclasses.replace(now, training_id=new_id()), before, spec),
        order(dataclasses.replace(now, metrics=now.metrics[1:]), before, spec),
        order(dataclasses.replace(now, artifact=before.artifact), before, spec),
        order(now, trained(store, 1, mse=1), spec),
    ]

    verdicts = [judged(variant) for variant in variants]

    assert {Outcome.PASSED} == {verdict.outcome for verdict in verdicts}
    assert len(variants) == len({verdict.verdict_id for verdict in verdicts})
    assert len(variants) == len({verdict.event_id for verdict in verdicts})


def test_a_later_answer_that_says_more_is_another_event_of_the_same_verdict(
    store: LocalArtifactStore, sandbox: CountingSandbox, judged: Judge, tmp_path: Path
) -> None:
    """The artifacts were not there at first; when they are, the answer must not look like a repetition."""
    work_order = order(
        trained(store, 2), trained(store, 1), only("prediction_similarity", threshold=0.2), requests(store)
    )
    elsewhere = LocalArtifactStore(tmp_path / "elsewhere")

    without = judge(work_order, artifacts=elsewhere, sandbox=sandbox, actor="w", now=1)
    with_them = judged(work_order)

    assert [Outcome.ERROR, Outcome.PASSED] == [without.outcome, with_them.outcome]
    assert without.verdict_id == with_them.verdict_id
    assert without.event_id != with_them.event_id


# --- nothing passes by accident ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (
            CheckSpec(check="metric_treshold"),
            "'metric_treshold' is not a check; did you mean 'metric_threshold'",
        ),
        (CheckSpec(check="metric_threshold"), "metric is missing: the name of the metric."),
        (
            CheckSpec(check="artifact_intact", settings=(Parameter(name="size", text="1"),)),
            "'size' is not one of its settings (it has none)",
        ),
        (
            CheckSpec(
                check="prediction_similarity",
                settings=(Parameter(name="threshold", text="x", number=math.nan),),
            ),
            "threshold must be a finite number, not NaN",
        ),
    ],
)
def test_a_check_that_makes_no_sense_is_an_error(
    store: LocalArtifactStore, judged: Judge, spec: CheckSpec, reason: str
) -> None:
    """A policy on the log may hold anything; the check's name stays as it is there, so that it is answered."""
    policy = dataclasses.replace(POLICY, checks=(spec, CheckSpec(check="artifact_intact")))

    verdict = judged(order(trained(store, 1), policy=policy))

    assert Outcome.ERROR is verdict.outcome
    assert [(spec.check, Outcome.ERROR), ("artifact_intact", Outcome.PASSED)] == ends(verdict)
    assert reason == verdict.checks[0].reason[: len(reason)]


def test_an_empty_policy_passes_nothing(store: LocalArtifactStore, judged: Judge) -> None:
    """And its verdict says why."""
    verdict = judged(order(trained(store, 1), policy=dataclasses.replace(POLICY, checks=())))

    assert Outcome.ERROR is verdict.outcome
    assert [
        CheckResult(
            check="policy",
            outcome=Outcome.ERROR,
            reason="the policy demands no checks, so nothing was looked at",
        )
    ] == list(verdict.checks)


def test_a_training_is_not_compared_with_itself(store: LocalArtifactStore, judged: Judge) -> None:
    """Every check that compares ends in an error; the others are judged as ever."""
    itself = trained(store, 1)

    verdict = judged(order(itself, itself, replayed=requests(store)))

    comparing = {check.name for check in BUILT_IN if check.compares}
    assert [
        (spec.check, Outcome.ERROR if spec.check in comparing else Outcome.PASSED) for spec in POLICY.checks
    ] == ends(verdict)
    assert {"the baseline is the training itself, and a training is not compared with itself"} == {
        result.reason for result in verdict.checks if result.outcome is Outcome.ERROR
    }


def test_two_baselines_in_one_role_are_an_error(store: LocalArtifactStore, judged: Judge) -> None:
    """It is not clear which one the policy means."""
    work_order = order(trained(store, 3), trained(store, 1))
    second = Baseline(role=BaselineRole.LAST_DEPLOYABLE, training=trained(store, 2))

    verdict = judged(dataclasses.replace(work_order, baselines=(*work_order.baselines, second)))

    assert (Outcome.ERROR, "") == (verdict.outcome, verdict.baseline_training_id)
    assert "the order names 2 trainings as the last deployable training" == verdict.checks[1].reason


def test_the_baseline_is_the_one_in_the_policys_role(store: LocalArtifactStore, judged: Judge) -> None:
    """Whatever other baselines the order offers."""
    offered: dict[BaselineRole, Training] = {
        role: trained(store, n) for n, role in enumerate(BaselineRole) if role is not BaselineRole.UNSPECIFIED
    }
    baselines = tuple(Baseline(role=role, training=training) for role, training in offered.items())
    policies = {role: dataclasses.replace(only("features_match"), baseline=role) for role in BaselineRole}

    compared = {
        role: judged(
            dataclasses.replace(order(trained(store, 9), policy=policy), baselines=baselines)
        ).baseline_training_id
        for role, policy in policies.items()
    }

    # As in the fold, a policy that does not say is one that says last_deployable.
    offered[BaselineRole.UNSPECIFIED] = offered[BaselineRole.LAST_DEPLOYABLE]
    assert {role: training.training_id for role, training in offered.items()} == compared


# --- replays -----------------------------------------------------------------------------------


def test_each_model_is_run_once_however_many_checks_ask(
    store: LocalArtifactStore, sandbox: CountingSandbox, judged: Judge
) -> None:
    """Two checks compare predictions, and share them."""
    before, now = trained(store, 1), trained(store, 2)

    judged(order(now, before, replayed=requests(store)))

    assert [now.artifact.sha256, before.artifact.sha256] == sandbox.ran


def test_no_model_is_run_unless_a_check_asks(
    store: LocalArtifactStore, sandbox: CountingSandbox, judged: Judge
) -> None:
    """Requests alone cost nothing."""
    policy = dataclasses.replace(POLICY, checks=POLICY.checks[:5])

    verdict = judged(order(trained(store, 2), trained(store, 1), policy, requests(store)))

    assert Outcome.PASSED is verdict.outcome
    assert [] == sandbox.ran


@pytest.mark.parametrize(
    ("count", "names", "reason"),
    [
        (0, NAMES, "there are no past requests to replay, and the policy asks for at least 30: publish more"),
        (
            29,
            NAMES,
            "there are only 29 past requests to replay, and the policy asks for at least 30: publish more",
        ),
        (
            30,
            ("rooms", "garden"),
            "the past requests can't be replayed through the model: request 1 lacks the feature 'area'",
        ),
    ],
)
def test_requests_that_say_nothing_are_no_pass(
    store: LocalArtifactStore, judged: Judge, count: int, names: tuple[str, ...], reason: str
) -> None:
    """None, too few, or of other features: not evaluated, and so the verdict is failed."""
    replayed = requests(store, count, names) if count else ()

    verdict = judged(
        order(trained(store, 2), trained(store, 1), only("prediction_similarity", threshold=0.2), replayed)
    )

    assert [("prediction_similarity", Outcome.NOT_EVALUATED)] == ends(verdict)
    assert Outcome.FAILED is verdict.outcome
    assert reason == verdict.checks[0].reason


def test_several_request_sets_are_replayed_together(store: LocalArtifactStore, judged: Judge) -> None:
    """Twenty requests and twenty more are forty."""
    replayed = requests(store, 20) + requests(store, 20)

    verdict = judged(
        order(trained(store, 2), trained(store, 1), only("prediction_similarity", threshold=0.2), replayed)
    )

    assert verdict.checks[0].reason.startswith("over 40 replayed requests")


def test_artifacts_that_can_not_be_had_are_errors_with_the_reason(
    store: LocalArtifactStore, judged: Judge
) -> None:
    """The candidate's, the baseline's, the requests': missing or damaged."""
    policy = only("prediction_similarity", threshold=0.2)
    before, now, replayed = trained(store, 1), trained(store, 2), requests(store)
    gone = Artifact(sha256="0" * 64, size_bytes=1, format="skops")
    damaged = requests(store, 31)
    file = store.path(damaged[0].artifact.sha256)
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:-1] + b" ")
    nonsense = (dataclasses.replace(replayed[0], artifact=put(store, b"no requests")),)
    orders = {
        f"no artifact {'0' * 64}": order(dataclasses.replace(now, artifact=gone), before, policy, replayed),
        f"no artifact {'0' * 64} in": order(
            now, dataclasses.replace(before, artifact=gone), policy, replayed
        ),
        f"training {now.training_id} has no artifact": order(
            dataclasses.replace(now, artifact=Artifact()), before, policy, replayed
        ),
        f"artifact {damaged[0].artifact.sha256} is damaged": order(now, before, policy, damaged),
        "request 1 is not a JSON object": order(now, before, policy, nonsense),
    }

    verdicts = {start: judged(work_order) for start, work_order in orders.items()}

    assert {start: (Outcome.ERROR, start) for start in orders} == {
        start: (verdict.outcome, verdict.checks[0].reason[: len(start)])
        for start, verdict in verdicts.items()
    }


# --- hostile models ----------------------------------------------------------------------------


class Running:
    """A pickle that runs a function when it is loaded."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        """Keep what to run."""
        self._call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        """Run it."""
        return self._call


HOSTILE: dict[str, tuple[object, str]] = {
    "hangs": (Running(time.sleep, 60), "the model did not answer within 3 s"),
    "exits": (Running(os._exit, 3), "the model ended its process with status 3 before it answered"),
    "leaves politely": (Running(sys.exit, 0), "the model ended its process with status 0 before it answered"),
    "raises": (Running(int, "no number"), "the model raised ValueError: invalid literal for int()"),
    "opens a socket": (Running(socket.create_connection, ("127.0.0.1", 9)), "the model tried to"),
    "reads the environment": (Running(os.getenv, "HOME"), "the model tried to read the environment"),
    "eats memory": (Running(bytearray, 8 << 30), "the model used more than 512 MiB of memory"),
    "is no model": ({"a": 1}, "the model raised AttributeError"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_model_ends_in_an_error_with_its_reason_and_the_next_order_passes(
    store: LocalArtifactStore, judged: Judge, kind: str
) -> None:
    """Even as a first training, which has nothing to be compared with."""
    model, reason = HOSTILE[kind]
    hostile = dataclasses.replace(trained(store, 2), artifact=put(store, pickle.dumps(model), "pickle"))
    policy = dataclasses.replace(
        only("prediction_similarity", threshold=0.2), allowed_formats=("pickle", "skops")
    )
    replayed = requests(store)

    first, compared = (
        judged(order(hostile, None, policy, replayed)),
        judged(order(hostile, trained(store, 1), policy, replayed)),
    )
    after = judged(order(trained(store, 3), trained(store, 1), policy, replayed))

    assert [Outcome.ERROR, Outcome.ERROR, Outcome.PASSED] == [v.outcome for v in (first, compared, after)]
    expected = f"the model can't be run on past requests: {reason}"
    assert [expected, expected] == [v.checks[0].reason[: len(expected)] for v in (first, compared)]


def test_a_pickle_that_the_policy_does_not_name_is_never_loaded(
    store: LocalArtifactStore, judged: Judge
) -> None:
    """Not by a policy that lacks the check for it, either."""
    harmless = put(store, pickle.dumps(fitted(2)), "pickle")
    training = dataclasses.replace(trained(store, 2), artifact=harmless)
    replayed = requests(store)

    refused = judged(
        order(training, trained(store, 1), only("prediction_similarity", threshold=0.2), replayed)
    )
    named = dataclasses.replace(
        only("prediction_similarity", threshold=0.2), allowed_formats=("pickle", "skops")
    )
    allowed = judged(order(training, trained(store, 1), named, replayed))

    assert [Outcome.ERROR, Outcome.PASSED] == [refused.outcome, allowed.outcome]
    assert (
        "the model can't be run on past requests: the policy does not allow models in the format pickle"
    ) == refused.checks[0].reason


# --- other people's checks ---------------------------------------------------------------------


def finding(**values: Any) -> Finding:  # noqa: ANN401 (whatever a check may get wrong)
    """A pass, but for what is said otherwise."""
    return Finding(**{"outcome": Outcome.PASSED, "reason": "all is well", **values})


def raising(error: BaseException) -> Callable[[Evidence, Settings], Finding]:
    """A check that raises."""

    def evaluate(_evidence: Evidence, _settings: Settings) -> Finding:
        raise error

    return evaluate


class Mute(Exception):
    """An exception that can't even say what it is."""

    def __str__(self) -> str:
        """Raise another one."""
        raise RuntimeError


BROKEN: dict[str, tuple[object, str]] = {
    "nothing": (None, "the check gave a NoneType, not a Finding"),
    "no finding": ([], "the check gave 0 findings, not 1 to 10"),
    "too many": ([finding()] * 11, "the check gave 11 findings, not 1 to 10"),
    "a truth value": (True, "the check gave a bool, not a Finding"),
    "one of them broken": ([finding(), "ok"], "the check gave a str, not a Finding"),
    "no outcome": (finding(outcome="passed"), "the check gave a finding whose outcome, reason, subject or"),
    "unknown": (finding(outcome=Outcome.UNKNOWN), "the check ended as unknown with the reason 'all is well'"),
    "no reason": (finding(reason=" "), "the check ended as passed with the reason ''"),
    "nan": (finding(observed=math.nan), "the check passed with an observed value of NaN, which no check may"),
    "infinity": (finding(observed=math.inf), "the check passed with an observed value of infinity"),
    "a text for a number": (finding(observed="3"), "the check gave a str as its number"),
    "a list of drawings": (finding(distributions=[]), "the check gave a finding whose outcome"),
    "too many drawings": (
        finding(distributions=(Distribution(name="x"),) * 9),
        "the check gave more than 8 distributions",
    ),
    "a nameless drawing": (
        finding(
            distributions=(
                Distribution(name="", edges=(0.0, 1.0), candidate_counts=(1,), baseline_counts=(1,)),
            )
        ),
        "the check gave a distribution that is not a name and 1 to 200 bins",
    ),
    "no drawing": (
        finding(distributions=("x",)),
        "the check gave a distribution that is not a name and 1 to 200 bins",
    ),
    "an uneven drawing": (
        finding(
            distributions=(
                Distribution(name="x", edges=(0.0, 1.0), candidate_counts=(1, 2), baseline_counts=(1,)),
            )
        ),
        "the check gave a distribution that is not a name and 1 to 200 bins",
    ),
    "a falling drawing": (
        finding(
            distributions=(
                Distribution(name="x", edges=(1.0, 0.0), candidate_counts=(1,), baseline_counts=(1,)),
            )
        ),
        "the check gave a distribution that is not a name and 1 to 200 bins",
    ),
    "a bug": (ZeroDivisionError("division by zero"), "the check raised ZeroDivisionError: division by zero"),
    "an exit": (SystemExit(0), "the check raised SystemExit: 0"),
    "a mute": (Mute(), "the check raised Mute: (it has no text)"),
    "an essay": (ValueError("x" * 10_000), "the check raised ValueError: xxx"),
    "an attack": (ValueError("\x1b]0;owned\x07"), "the check raised ValueError: \\x1b]0;owned\\x07"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_check_is_an_error_with_its_reason_and_the_others_are_judged(
    store: LocalArtifactStore, judged: Judge, kind: str
) -> None:
    """Whatever it returns or raises: bounded, printable, and no pass."""
    outcome, reason = BROKEN[kind]
    evaluate = (
        raising(outcome) if isinstance(outcome, BaseException) else lambda _evidence, _settings: outcome
    )
    broken = Check(name="broken", summary="", evaluate=evaluate, reads=lambda _: ())  # type: ignore[arg-type]
    policy = dataclasses.replace(
        POLICY, checks=(CheckSpec(check="broken"), CheckSpec(check="artifact_intact"))
    )

    verdict = judged(order(trained(store, 1), policy=policy), Catalogue((*BUILT_IN, broken)))

    assert Outcome.ERROR is verdict.outcome
    assert [("broken", Outcome.ERROR), ("artifact_intact", Outcome.PASSED)] == ends(verdict)
    assert reason == verdict.checks[0].reason[: len(reason)]
    assert verdict.checks[0].reason.isprintable()
    assert len(verdict.checks[0].reason) <= MAX_REASON_CHARACTERS + 1


def test_a_check_of_ones_own_is_judged_like_any_other(store: LocalArtifactStore, judged: Judge) -> None:
    """Several findings, numbers of another library, predictions from the sandbox; its baseline is filled in."""

    def evaluate(evidence: Evidence, _settings: Settings) -> list[Finding]:
        predicted = evidence.predictions(evidence.training)
        assert isinstance(predicted, Predictions)
        least: Any = np.float32(min(predicted.values))
        return [
            Finding(outcome=Outcome.PASSED, reason="no price is negative", observed=least, threshold=0),
            Finding(outcome=Outcome.FAILED, reason="too\nhigh", subject="a\x07b"),
        ]

    own = Check(name="own", summary="", evaluate=evaluate, reads=lambda _: ("artifact",), compares=True)
    before, now = trained(store, 1), trained(store, 2)

    verdict = judged(order(now, before, demanding(own), requests(store)), Catalogue((own,)))

    least = verdict.checks[0].observed
    assert Outcome.FAILED is verdict.outcome
    assert isinstance(least, float)
    assert least > 0
    compared = CheckResult(check="own", outcome=Outcome.PASSED, baseline_training_id=before.training_id)
    assert [
        dataclasses.replace(compared, observed=least, threshold=0.0, reason="no price is negative"),
        dataclasses.replace(compared, outcome=Outcome.FAILED, subject="a\\x07b", reason="too\\nhigh"),
    ] == list(verdict.checks)


def test_an_interrupt_is_no_verdict(store: LocalArtifactStore, judged: Judge) -> None:
    """Whoever stops the worker stops it, and the order stays unanswered."""
    stopped = Check(name="stopped", summary="", evaluate=raising(KeyboardInterrupt()), reads=lambda _: ())

    with pytest.raises(KeyboardInterrupt):
        judged(order(trained(store, 1), policy=demanding(stopped)), Catalogue((stopped,)))


# --- the loop ----------------------------------------------------------------------------------


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    """An empty log."""
    opened = SqliteLog(tmp_path / "log", create=True)
    yield opened
    opened.close()


def verdicts_of(log: SqliteLog) -> list[VerdictIssued]:
    """The verdicts on the registry, in order."""
    facts = [Codec().decode(record) for record in log.read(REGISTRY, 0, 0)]
    return [fact for fact in facts if isinstance(fact, VerdictIssued)]


@pytest.fixture
def validator(store: LocalArtifactStore, sandbox: CountingSandbox) -> Validator:
    """A validator with a clock that stands still."""
    return Validator(store, sandbox, "worker-1", lambda: 77)


def simple_order(store: LocalArtifactStore, number: int) -> ValidationRequested:
    """An order that is judged in no time."""
    return dataclasses.replace(
        order(trained(store, number), policy=only("artifact_intact")), requested_at_position=number
    )


def test_the_loop_answers_each_pending_order_and_says_where_it_got(
    store: LocalArtifactStore, log: SqliteLog, validator: Validator
) -> None:
    """From where it is told to start; those that are answered already are passed over."""
    codec = Codec()
    orders = [simple_order(store, number) for number in range(1, 6)]
    log.append(VALIDATIONS, [codec.encode(work_order) for work_order in orders])
    heard: list[VerdictIssued] = []

    end = work(
        log,
        codec,
        validator,
        start=1,
        is_pending=lambda work_order: work_order.requested_at_position != 3,
        until_idle=True,
        heard=heard.append,
    )

    assert 5 == end
    assert [2, 4, 5] == [verdict.requested_at_position for verdict in verdicts_of(log)]
    assert verdicts_of(log) == heard
    assert 5 == work(log, codec, validator, start=end, is_pending=lambda _: True, until_idle=True)
    assert 3 == len(verdicts_of(log))


def test_the_loop_passes_over_what_is_no_order(
    store: LocalArtifactStore, log: SqliteLog, validator: Validator, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged record, another kind of event: said in the worker's own log, and the next order is judged."""
    codec = Codec()
    good = codec.encode(simple_order(store, 1))
    foreign = codec.encode(
        VerdictOverridden(
            event_id=new_id(), occurred_at=1, actor="a", training_id=new_id(), deployable=True, reason="r"
        )
    )
    log.append(VALIDATIONS, [dataclasses.replace(good, value=good.value[:-1]), foreign, good])

    assert 3 == work(log, codec, validator, start=0, is_pending=lambda _: True, until_idle=True)
    assert [1] == [verdict.requested_at_position for verdict in verdicts_of(log)]
    assert [
        "order 0 is passed over: the body does not have the SHA-256 its header ce_valuesha256 states",
        "order 1 is passed over: it is a VerdictOverridden",
    ] == [record.getMessage() for record in caplog.records]


def test_the_loop_answers_an_order_announced_twice_once_but_tries_again_after_an_error(
    store: LocalArtifactStore, log: SqliteLog, validator: Validator
) -> None:
    """The state may lag behind the worker's own verdicts; an error may be gone the next time."""
    codec = Codec()
    good = simple_order(store, 1)
    gone = simple_order(store, 2)
    file = store.path(gone.training.artifact.sha256)
    hidden = file.rename(file.with_suffix(".hidden"))
    policy = only("prediction_similarity", threshold=0.2)
    gone = dataclasses.replace(gone, policy=policy, requests=requests(store, 30))
    twice = [dataclasses.replace(o, attempt=attempt) for attempt in (1, 2) for o in (good, gone)]
    log.append(VALIDATIONS, [codec.encode(work_order) for work_order in twice])

    def heard(verdict: VerdictIssued) -> None:
        if verdict.outcome is Outcome.ERROR:
            hidden.rename(file)

    work(log, codec, validator, start=0, is_pending=lambda _: True, until_idle=True, heard=heard)

    assert [(1, Outcome.PASSED), (2, Outcome.ERROR), (2, Outcome.PASSED)] == [
        (verdict.requested_at_position, verdict.outcome) for verdict in verdicts_of(log)
    ]


def test_the_loop_lives_on_when_a_verdict_can_not_be_written(
    store: LocalArtifactStore, log: SqliteLog, sandbox: CountingSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """One with more results than the fold takes: said in the worker's own log, and the next order is judged."""
    wordy = Check(
        name="wordy",
        summary="",
        evaluate=lambda _evidence, _settings: [finding(reason="x" * 999)] * 10,
        reads=lambda _: (),
    )
    codec = Codec()
    policy = dataclasses.replace(POLICY, checks=(CheckSpec(check="wordy"),) * 120)
    orders = [dataclasses.replace(simple_order(store, 1), policy=policy), simple_order(store, 2)]
    log.append(VALIDATIONS, [codec.encode(work_order) for work_order in orders])
    validator = Validator(store, sandbox, "w", lambda: 1, Catalogue((*BUILT_IN, wordy)))

    assert 2 == work(log, codec, validator, start=0, is_pending=lambda _: True, until_idle=True)
    assert [2] == [verdict.requested_at_position for verdict in verdicts_of(log)]
    assert "could not be judged: InvalidInput: checks has 1,200" in caplog.text


def test_the_loop_stops_between_two_orders(
    store: LocalArtifactStore, log: SqliteLog, validator: Validator
) -> None:
    """And returns the position of the one it did not look at."""
    codec = Codec()
    log.append(VALIDATIONS, [codec.encode(simple_order(store, number)) for number in (1, 2, 3)])
    heard: list[VerdictIssued] = []

    end = work(
        log,
        codec,
        validator,
        start=0,
        is_pending=lambda _: True,
        stop=lambda: bool(heard),
        poll_seconds=0.01,
        heard=heard.append,
    )

    assert 1 == end
    assert [1] == [verdict.requested_at_position for verdict in verdicts_of(log)]
