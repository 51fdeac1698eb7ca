"""A verdict on a scikit-learn training: every check, five hundred past requests replayed, in the sandbox."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Final

import measure
import numpy as np
import workload
from measure import Measure
from sklearn.linear_model import LinearRegression

from deedbook.artifacts.formats import load_model, save_model
from deedbook.artifacts.predictions import predict_rows
from deedbook.artifacts.requests import decode, encode, rows_for
from deedbook.artifacts.store import LocalArtifactStore
from deedbook.consumers.policy import read_policy
from deedbook.consumers.sandbox import Sandbox
from deedbook.consumers.validation import Validator
from deedbook.events.facts import (
    Artifact,
    Baseline,
    BaselineRole,
    Coefficient,
    Direction,
    Feature,
    Metric,
    Outcome,
    Parameter,
    RequestSet,
    Training,
    ValidationRequested,
)
from own import DEEDBOOK, records

RAW: Final = "no sandbox, no checks"
REQUESTS: Final = 500
VERDICTS: Final = 20
WARM_UP: Final = 3
FEATURES: Final = ("rooms", "area", "age", "distance", "garden", "garage", "floor", "lots")
POLICY: Final = """
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
"""


def stored(store: LocalArtifactStore, data: bytes, kind: str = "") -> Artifact:
    """What an event says of bytes that were just stored."""
    kept = store.put(data)
    return Artifact(uri=kept.uri, sha256=kept.sha256, size_bytes=kept.size_bytes, format=kind)


def trained(store: LocalArtifactStore, number: int) -> Training:
    """One month's model, fitted on noisy sales, as a client logs it."""
    random = np.random.default_rng([workload.SEED, number])
    inputs = random.uniform(1.0, 9.0, (400, len(FEATURES)))
    prices = 20_000 + inputs @ np.linspace(5_000, 20_000, len(FEATURES)) + random.normal(0, 4_000, 400)
    model = LinearRegression().fit(inputs, prices)
    return Training(
        training_id=str(workload.training_id(number)),
        model=workload.MODEL,
        model_type="LinearRegression",
        framework="scikit-learn",
        artifact=stored(store, save_model(model).data, "skops"),
        features=tuple(Feature(name=name, dtype="float64") for name in FEATURES),
        parameters=(Parameter(name="city", text=workload.SEARCH_CITY),),
        metrics=(
            Metric(name="mse", value=1.6e7, direction=Direction.LOWER),
            Metric(name="r2", value=0.97, direction=Direction.HIGHER),
        ),
        coefficients=tuple(
            Coefficient(name=name, value=float(value))
            for name, value in zip(FEATURES, model.coef_, strict=True)
        ),
        created_at=1_393_632_000_000_000 + number,
    )


def past_requests(store: LocalArtifactStore) -> RequestSet:
    """The requests that are replayed."""
    rows = np.random.default_rng(workload.SEED).uniform(1.0, 9.0, (REQUESTS, len(FEATURES))).tolist()
    data = encode(dict(zip(FEATURES, row, strict=True)) for row in rows)
    requests_id = str(workload.training_id(0))
    return RequestSet(
        requests_id=requests_id, model=workload.MODEL, artifact=stored(store, data), count=REQUESTS
    )


def orders(store: LocalArtifactStore, count: int) -> Iterator[ValidationRequested]:
    """Work orders as they come month after month: each training compared with the one before it."""
    policy = replace(read_policy(POLICY), version=1)
    requests = past_requests(store)
    before = trained(store, 0)
    for number in range(1, count + 1):
        training = trained(store, number)
        yield ValidationRequested(
            event_id=str(workload.training_id(number)),
            occurred_at=training.created_at,
            actor=records.ACTOR,
            training=training,
            requested_at_position=number,
            policy=policy,
            baselines=(Baseline(role=BaselineRole.LAST_DEPLOYABLE, training=before),),
            requests=(requests,),
        )
        before = training


def replay_seconds(store: LocalArtifactStore, order: ValidationRequested) -> float:
    """How long loading both models and answering the requests takes in this very process."""
    began = perf_counter()
    requests = decode(store.fetch(order.requests[0].artifact.sha256))
    rows = rows_for(requests, FEATURES)
    for training in (order.training, order.baselines[0].training):
        model = load_model(store.path(training.artifact.sha256), "skops")
        predict_rows(model, FEATURES, rows)
    return perf_counter() - began


def validating(folder: Path, *, quick: bool) -> Iterator[Measure]:
    """Twenty verdicts after the sandbox has warmed up (quick: three); each has to be a pass."""
    store = LocalArtifactStore(folder / "artifacts")
    ours, raw = [], []
    with Sandbox() as sandbox:
        validator = Validator(store, sandbox, records.ACTOR, lambda: time.time_ns() // 1_000)
        for order in list(orders(store, WARM_UP + (3 if quick else VERDICTS))):
            began = perf_counter()
            verdict = validator.verdict(order)
            ours.append(perf_counter() - began)
            if verdict.outcome is not Outcome.PASSED:
                reasons = "; ".join(check.reason for check in verdict.checks)
                raise ValueError(f"the verdict is {verdict.outcome}: {reasons}")
            raw.append(replay_seconds(store, order))
    note = "six checks, 500 requests, candidate and baseline in the sandbox"
    yield measure.of_samples(DEEDBOOK, "validation", 0, ours[WARM_UP:], route="Validator", note=note)
    route = "both models loaded and asked in this process"
    yield measure.of_samples(RAW, "validation", 0, raw[WARM_UP:], route=route)
