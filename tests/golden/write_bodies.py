"""Write the golden body and the id of every event's newest schema that has none yet; none is written again.

Run it after a new version of a schema, and commit what it made: `python tests/golden/write_bodies.py`.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deedbook.events import facts
from deedbook.events.codec import Codec, current_schema
from deedbook.events.facts import BaselineRole, Direction, Outcome

FOLDER = Path(__file__).parent / "bodies"
SCHEMA_IDS = Path(__file__).parent / "schema_ids.json"
TRAINING_ID = "0193c1f4-6f1e-7c1e-8f55-3d3a2a0a1b2c"
BASELINE_ID = "0193c1f4-0000-7000-8000-000000000001"
ENVELOPE: dict[str, Any] = {
    "event_id": "0193c1f5-aaaa-7bbb-8ccc-dddddddddddd",
    "occurred_at": 1_732_392_191_123_456,
    "actor": "Zoë at pricing.example",
}
PARAMETERS = (
    facts.Parameter(name="city", text="Austin"),
    facts.Parameter(name="alpha", text="0.1", number=0.1),
    facts.Parameter(name="depth", text="-3", number=-3.0),
)
ARTIFACT = facts.Artifact(
    uri="file:sha256/ab/cd", sha256="ab" * 32, size_bytes=123_456_789_012, format="skops"
)
BASELINE_TRAINING = facts.Training(training_id=BASELINE_ID, model="home-price")
TRAINING = facts.Training(
    training_id=TRAINING_ID,
    model="home-price",
    model_type="sklearn.linear_model.Ridge",
    framework="scikit-learn 1.9.1",
    artifact=ARTIFACT,
    features=(facts.Feature(name="sales", dtype="float64"), facts.Feature(name="größe", dtype="int32")),
    parameters=PARAMETERS,
    metrics=(
        facts.Metric(
            name="mse", value=1234.5, slice="Austin", direction=Direction.LOWER, unit="dollars squared"
        ),
        facts.Metric(name="r2", value=float("nan"), direction=Direction.HIGHER),
        facts.Metric(name="worst", value=float("-inf")),
    ),
    coefficients=(
        facts.Coefficient(name="sales", value=5e-324),
        facts.Coefficient(name="größe", value=-0.0),
    ),
    git_sha="9fceb02d0ae598e95dc970b74767f19372d61af8",
    data_fingerprint="rows:187",
    created_at=1_732_392_190_000_000,
    started_at=1_732_392_000_000_000,
    finished_at=1_732_392_189_999_999,
    tags=(facts.Tag(name="owner", text="pricing\nteam"), facts.Tag(name="nightly")),
)
POLICY = facts.Policy(
    model="home-price",
    version=3,
    group_by=("city",),
    group_by_all=True,
    baseline=BaselineRole.LIVE,
    allowed_formats=("skops", "onnx"),
    checks=(
        facts.CheckSpec(
            check="metric_regression",
            settings=(facts.Parameter(name="tolerance", text="0.05", number=0.05),),
            reads=("metric:mse",),
        ),
        facts.CheckSpec(check="artifact_intact"),
    ),
)
REQUESTS = facts.RequestSet(
    requests_id="0193c1f4-1111-7000-8000-000000000002",
    model="home-price",
    parameters=PARAMETERS[:1],
    artifact=ARTIFACT,
    count=500,
)
CHECKS = (
    facts.CheckResult(
        check="prediction_similarity",
        outcome=Outcome.FAILED,
        subject="predictions",
        observed=0.41,
        threshold=0.2,
        baseline_training_id=BASELINE_ID,
        reason="the predictions moved: population stability index 0.41, over 0.2",
        distributions=(
            facts.Distribution(
                name="predictions",
                edges=(0.0, 1.5, 3.0),
                candidate_counts=(1, 499),
                baseline_counts=(250, 250),
            ),
        ),
    ),
    facts.CheckResult(check="coefficients", outcome=Outcome.NOT_EVALUATED),
)
RELEASE: dict[str, Any] = {
    "service": "pricing-api",
    "environment": "production",
    "release": "9fceb02+2024-11",
}
DEPLOYMENT: dict[str, Any] = {"deployment_id": "0193c1f4-2222-7000-8000-000000000003", **RELEASE}
SAMPLES: tuple[facts.Fact, ...] = (
    facts.TrainingStarted(
        **ENVELOPE,
        training_id=TRAINING_ID,
        model="home-price",
        parameters=PARAMETERS,
        git_sha="9fceb02",
        started_at=1_732_392_000_000_000,
    ),
    facts.TrainingFailed(
        **ENVELOPE,
        training_id=TRAINING_ID,
        model="home-price",
        error="Traceback:\n\tout of memory",
        failed_at=253_402_300_799_999_999,
    ),
    facts.TrainingLogged(**ENVELOPE, training=TRAINING),
    facts.TrainingAmended(
        **ENVELOPE,
        training_id=TRAINING_ID,
        reason="the unit was wrong",
        metrics=TRAINING.metrics[:1],
        parameters=PARAMETERS[1:],
        tags=TRAINING.tags,
    ),
    facts.MetricsLogged(
        **ENVELOPE,
        training_id=TRAINING_ID,
        producer="0193c1f4-3333-7000-8000-000000000004",
        sequence=7,
        points=(
            facts.MetricPoint(
                name="loss", step=0, value=2.5, slice="Austin", logged_at=1_732_392_000_000_001
            ),
            facts.MetricPoint(name="loss", step=-9_223_372_036_854_775_808, value=float("inf")),
        ),
    ),
    facts.PolicyPublished(**ENVELOPE, policy=POLICY, source='model = "home-price"\n'),
    facts.RequestsPublished(**ENVELOPE, requests=REQUESTS),
    facts.ValidationRequested(
        **ENVELOPE,
        training=TRAINING,
        requested_at_position=41,
        policy=POLICY,
        baselines=(
            facts.Baseline(role=BaselineRole.LAST_TRAINED, training=TRAINING),
            facts.Baseline(role=BaselineRole.LAST_DEPLOYABLE, training=BASELINE_TRAINING),
        ),
        requests=(REQUESTS,),
        attempt=2,
    ),
    facts.VerdictIssued(
        **ENVELOPE,
        verdict_id="0193c1f4-4444-5000-8000-000000000005",
        training_id=TRAINING_ID,
        requested_at_position=41,
        policy_version=3,
        outcome=Outcome.FAILED,
        validator_version="1",
        baseline_training_id=BASELINE_ID,
        checks=CHECKS,
    ),
    facts.VerdictOverridden(
        **ENVELOPE, training_id=TRAINING_ID, deployable=True, reason="seen, and it is right"
    ),
    facts.RevalidationRequested(**ENVELOPE, training_id=TRAINING_ID, reason="a new baseline is live"),
    facts.DeploymentRequested(
        **ENVELOPE,
        **DEPLOYMENT,
        models=(facts.ModelBinding(model="home-price", training_id=TRAINING_ID),),
        git_sha="9fceb02d0ae598e95dc970b74767f19372d61af8",
        expected_previous="",
        acceptance=facts.AcceptanceReport(
            passed=True, requests_replayed=500, summary="all within 2 %", uri="https://ci.example/1"
        ),
        reason="monthly",
    ),
    facts.DeploymentCreated(
        **ENVELOPE,
        **DEPLOYMENT,
        requested_at_position=44,
        models=(
            facts.DeployedModel(model="home-price", training_id=TRAINING_ID, version=12, artifact=ARTIFACT),
        ),
        git_sha="9fceb02d0ae598e95dc970b74767f19372d61af8",
        previous="1a2b3c4",
    ),
    facts.DeploymentRejected(
        **ENVELOPE, **DEPLOYMENT, requested_at_position=45, reason="home-price is not deployable"
    ),
    facts.ReleaseActivated(**ENVELOPE, **RELEASE, expected_previous="1a2b3c4", reason="rollback"),
    facts.ModelLoaded(
        **ENVELOPE,
        **RELEASE,
        instance="pricing-7f9c",
        model="home-price",
        training_id=TRAINING_ID,
        artifact_sha256="ab" * 32,
        source="cache",
        loaded_at=1_732_392_200_000_000,
    ),
    facts.SchemaPublished(
        **ENVELOPE, schema_id="cd" * 32, name="TrainingLogged", version=2, schema='{"type": "record"}'
    ),
    facts.RulesAdopted(**ENVELOPE, rules_version=2, reason="release 2"),
)


def main() -> None:
    """Write what is missing."""
    FOLDER.mkdir(exist_ok=True)
    ids = json.loads(SCHEMA_IDS.read_text(encoding="utf-8")) if SCHEMA_IDS.exists() else {}
    for fact in SAMPLES:
        schema = current_schema(type(fact).__name__)
        title = f"{schema.name}.v{schema.version}"
        ids.setdefault(title, schema.schema_id)
        body = FOLDER / f"{title}.bin"
        if not body.exists():
            body.write_bytes(Codec().encode(fact).value)
            expected = json.dumps(asdict(fact), indent=2, ensure_ascii=False) + "\n"
            body.with_suffix(".json").write_text(expected, encoding="utf-8")
    SCHEMA_IDS.write_text(json.dumps(ids, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
