"""The story of a golden log. It is told anew only for a new release, so it may grow and change."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from deedbook.events import facts
from deedbook.events.codec import current_schema
from deedbook.events.facts import Outcome
from deedbook.events.log import NewRecord
from tests.facts_by_hand import MODEL, SERVICE, Pen, by_city, id_of, training
from tests.folded import Registry

POLICY = replace(by_city(), version=1)


def tell(registry: Registry) -> None:
    """Append the whole story."""
    pen = Pen()
    _trainings(registry, pen)
    _verdicts(registry, pen)
    _deployments(registry, pen)
    _amendments(registry, pen)
    _records(registry, pen)


def _verdict(pen: Pen, name: str, at: int, baseline: str, outcome: Outcome) -> facts.VerdictIssued:
    claims: dict[str, Any] = {"requested_at_position": at, "baseline_training_id": id_of(baseline)}
    return pen.verdict(name, POLICY, outcome=outcome, **claims)


def _trainings(registry: Registry, pen: Pen) -> None:
    registry.append(pen.policy(by_city()), pen.requests("past", city="Austin"), pen.requests("past"))
    registry.append(pen.started("a1"), pen.started("a1"), pen.failed("lost"), pen.failed("lost"))
    registry.append(pen.failed("a1", model="rent"), pen.logged("lost"), pen.logged("a1", model="rent"))
    first = pen.logged("a1", event="the first")
    registry.append(first, first, pen.logged("a1"), pen.logged("a1", mse=9.0))
    registry.append(pen.started("a1"), pen.failed("a1"), pen.logged("other", event="the first"))
    weights = (facts.Coefficient(name="area", value=math.nan), facts.Coefficient(name="age", value=-math.inf))
    registry.append(
        pen.logged("not a number", mse=math.nan, coefficients=weights),
        pen.logged("b1", city="Beaumont", mse=math.inf),
    )
    twice = facts.Metric(name="mse", value=1.0)
    registry.append(pen.logged("twice", metrics=(twice, twice)))
    registry.append(replace(pen.steps("a1"), actor="ada"), topic=facts.REGISTRY)


def _verdicts(registry: Registry, pen: Pen) -> None:
    a1 = 10  # where the first training is
    registry.append(_verdict(pen, "nobody", a1, "", Outcome.PASSED))
    registry.append(_verdict(pen, "a1", a1 + 1, "", Outcome.PASSED))
    registry.append(_verdict(pen, "a1", a1, "b1", Outcome.PASSED))
    right: dict[str, Any] = {"requested_at_position": a1, "baseline_training_id": ""}
    registry.append(
        pen.verdict("a1", replace(POLICY, version=7), **right),
        pen.verdict("a1", replace(POLICY, checks=(facts.CheckSpec(check="another"),)), **right),
        replace(pen.verdict("a1", POLICY, **right), outcome=Outcome.FAILED),
    )
    registry.append(_verdict(pen, "a1", a1, "", Outcome.ERROR))
    registry.append(_verdict(pen, "a1", a1, "", Outcome.PASSED))
    registry.append(_verdict(pen, "a1", a1, "", Outcome.PASSED))
    (a2,) = registry.append(pen.logged("a2", mse=4.0))
    registry.append(_verdict(pen, "a2", a2, "a1", Outcome.FAILED))
    (a3,) = registry.append(pen.logged("a3", mse=1.25))
    registry.append(_verdict(pen, "a3", a3, "a1", Outcome.PASSED))
    (again,) = registry.append(pen.revalidation("a2"))
    registry.append(pen.revalidation("nobody"), pen.overridden("nobody", deployable=True))
    registry.append(_verdict(pen, "a2", again, "a1", Outcome.NOT_EVALUATED))


def _deployments(registry: Registry, pen: Pen) -> None:
    report = facts.AcceptanceReport(passed=True, requests_replayed=120, summary="all well", uri="ci/17")
    registry.append(
        pen.deploy("sha-a", "a1", deployment="first", expected_previous="", acceptance=report),
        pen.deploy("sha-a", "a3"),
        pen.deploy("sha-b", "a3", deployment="first"),
        pen.deploy("sha-b", "a3", expected_previous="sha-x"),
        pen.deploy("sha-b", "a3", acceptance=replace(report, passed=False)),
        pen.deploy("sha-b", "a2", "nobody", "a3", models=(MODEL, "rent", "yield")),
        pen.overridden("a2", deployable=True),
        pen.deploy("sha-b", "a2", expected_previous="sha-a"),
        pen.deploy("sha-a", "a1", environment="staging"),
        pen.activate("sha-a"),
        pen.activate("sha-a"),
        pen.activate("sha-z"),
        pen.activate("sha-b", expected_previous="sha-b"),
        pen.overridden("a2", deployable=False, reason="it was wrong after all"),
        pen.activate("sha-b"),
    )


def _amendments(registry: Registry, pen: Pen) -> None:
    registry.append(
        pen.amended("nobody", mse=1.0),
        pen.amended("a1", metrics=(facts.Metric(name="rmse", value=1.0),)),
        pen.amended("a1", team="prices"),
        pen.amended("a1", metrics=(facts.Metric(name="mse", value=3.5, slice="new homes"),)),
        pen.amended("a3", city="Beaumont"),
        pen.policy(replace(by_city(), group_by=(), group_by_all=True)),
        pen.policy(replace(by_city(), checks=())),
        pen.logged("a4"),
    )


def _records(registry: Registry, pen: Pen) -> None:
    chunk = pen.steps("a1", values=(0.5, math.nan, math.inf))
    registry.append(chunk, pen.steps("a1"), pen.steps("to come", 1), pen.loaded("sha-a", "a1"))
    schema = current_schema("TrainingLogged")
    registry.append(
        pen.schema(schema.schema_id, schema.name, schema.text, schema.version),
        pen.schema("0" * 64, schema.name, schema.text),
        pen.schema("0" * 64, schema.name, "no JSON"),
        pen.rules(1),
    )
    whole = training("a1")
    registry.append(
        facts.ValidationRequested(**pen.envelope(), training=whole, requested_at_position=3, policy=POLICY),
        facts.DeploymentCreated(
            **pen.envelope(),
            deployment_id=id_of("first"),
            service=SERVICE,
            environment="production",
            release="sha-a",
            requested_at_position=40,
        ),
        facts.DeploymentRejected(
            **pen.envelope(),
            deployment_id=id_of("second"),
            service=SERVICE,
            environment="production",
            release="sha-a",
            requested_at_position=41,
            reason="bound before",
        ),
    )
    registry.append(NewRecord(value=b"no event at all"), NewRecord(value=b"", headers=(("ce_type", b"?"),)))
