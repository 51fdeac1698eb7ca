"""Facts as tests write them: short names for ids, sensible values for all that a test doesn't care about."""

from __future__ import annotations

import itertools
from typing import Any

from deedbook.events import facts
from deedbook.events.facts import Outcome
from deedbook.events.ids import derived_id

MODEL = "home-price"
SERVICE = "pricing-api"
MARCH_2014 = 1_393_632_000_000_000
SECOND = 1_000_000


def id_of(name: str) -> str:
    """The id that goes by a short name, always the same; no name is no id."""
    return derived_id("by hand", name) if name else ""


def by_city(*reads: str) -> facts.Policy:
    """A policy of one check on one metric that compares trainings of the same city."""
    check = facts.CheckSpec(check="metric_threshold", reads=reads or ("metric:mse",))
    return facts.Policy(model=MODEL, group_by=("city",), checks=(check,))


def training(name: str, **more: Any) -> facts.Training:  # noqa: ANN401 - any field of a training
    """A training of a city's model with two metrics; ``city`` and ``mse`` are short for the whole of them."""
    city, mse = more.pop("city", "Austin"), more.pop("mse", 1.5)
    values: dict[str, Any] = {
        "model": MODEL,
        "parameters": (
            facts.Parameter(name="city", text=city),
            facts.Parameter(name="alpha", text="0.5", number=0.5),
        ),
        "metrics": (
            facts.Metric(name="mse", value=mse, direction=facts.Direction.LOWER),
            facts.Metric(name="mse", value=mse * 2, slice="new homes"),
        ),
        "tags": (facts.Tag(name="team", text="homes"),),
        "created_at": MARCH_2014,
        "artifact": facts.Artifact(uri="sha256/aa", sha256="a" * 64, size_bytes=7, format="skops"),
    }
    return facts.Training(training_id=id_of(name), **values | more)


class Pen:
    """Writes facts whose event ids are numbered, one after the other; ``event`` names one by hand."""

    def __init__(self, actor: str = "ada") -> None:
        self.actor = actor
        self._numbers = itertools.count(1)

    def envelope(self, event: str = "", actor: str = "") -> dict[str, Any]:
        """The fields that every fact has."""
        number = next(self._numbers)
        return {
            "event_id": id_of(event or f"event {number} of {self.actor}"),
            "occurred_at": MARCH_2014 + number * SECOND,
            "actor": actor or self.actor,
        }

    def started(self, name: str, model: str = MODEL, **envelope: str) -> facts.TrainingStarted:
        """A run that began."""
        return facts.TrainingStarted(**self.envelope(**envelope), training_id=id_of(name), model=model)

    def failed(self, name: str, model: str = MODEL, **envelope: str) -> facts.TrainingFailed:
        """A run that ended without a model."""
        return facts.TrainingFailed(
            **self.envelope(**envelope), training_id=id_of(name), model=model, error="out of memory"
        )

    def logged(self, name: str, event: str = "", **more: Any) -> facts.TrainingLogged:  # noqa: ANN401
        """A training; ``more`` are its fields."""
        return facts.TrainingLogged(**self.envelope(event), training=training(name, **more))

    def amended(self, name: str, event: str = "", **values: Any) -> facts.TrainingAmended:  # noqa: ANN401
        """A correction: ``mse``, ``city`` or ``team`` to a new value, or whole ``metrics``, ``parameters``."""
        if "mse" in values:
            values["metrics"] = (facts.Metric(name="mse", value=values.pop("mse")),)
        if "city" in values:
            values["parameters"] = (facts.Parameter(name="city", text=values.pop("city")),)
        if "team" in values:
            values["tags"] = (facts.Tag(name="team", text=values.pop("team")),)
        return facts.TrainingAmended(
            **self.envelope(event), training_id=id_of(name), **{"reason": "a typing error"} | values
        )

    def steps(
        self, name: str, sequence: int = 0, values: tuple[float, ...] = (0.5,), event: str = ""
    ) -> facts.MetricsLogged:
        """A chunk of step-wise losses."""
        points = tuple(facts.MetricPoint(name="loss", step=n, value=value) for n, value in enumerate(values))
        return facts.MetricsLogged(
            **self.envelope(event),
            training_id=id_of(name),
            producer="trainer",
            sequence=sequence,
            points=points,
        )

    def policy(self, policy: facts.Policy, event: str = "") -> facts.PolicyPublished:
        """A policy, published."""
        return facts.PolicyPublished(**self.envelope(event), policy=policy, source="# as written\n")

    def requests(self, name: str, model: str = MODEL, **selector: str) -> facts.RequestsPublished:
        """A set of past requests for the trainings with these parameters."""
        parameters = tuple(facts.Parameter(name=key, text=text) for key, text in selector.items())
        artifact = facts.Artifact(uri="sha256/bb", sha256="b" * 64, size_bytes=9)
        chosen = facts.RequestSet(
            requests_id=id_of(name), model=model, parameters=parameters, artifact=artifact, count=12
        )
        return facts.RequestsPublished(**self.envelope(), requests=chosen)

    def overridden(
        self, name: str, *, deployable: bool, reason: str = "looked at it", event: str = ""
    ) -> facts.VerdictOverridden:
        """A named person's decision."""
        return facts.VerdictOverridden(
            **self.envelope(event), training_id=id_of(name), deployable=deployable, reason=reason
        )

    def revalidation(self, name: str, event: str = "") -> facts.RevalidationRequested:
        """A wish for a new verdict."""
        return facts.RevalidationRequested(
            **self.envelope(event), training_id=id_of(name), reason="once more"
        )

    def deploy(
        self,
        release: str,
        *trainings: str,
        deployment: str = "",
        event: str = "",
        **more: Any,  # noqa: ANN401
    ) -> facts.DeploymentRequested:
        """A wish to bind a release of the pricing service in production; ``models`` are the model's name each."""
        models = more.pop("models", (MODEL, "rent", "yield"))
        pairs = zip(models, trainings, strict=False)
        values: dict[str, Any] = {
            "service": SERVICE,
            "environment": "production",
            "models": tuple(
                facts.ModelBinding(model=model, training_id=id_of(name)) for model, name in pairs
            ),
            "git_sha": release,
        }
        return facts.DeploymentRequested(
            **self.envelope(event),
            deployment_id=id_of(deployment or f"deployment {next(self._numbers)} of {self.actor}"),
            release=release,
            **values | more,
        )

    def activate(self, release: str, event: str = "", **more: Any) -> facts.ReleaseActivated:  # noqa: ANN401
        """A wish to make an old release of the pricing service in production current again."""
        values = {"service": SERVICE, "environment": "production", "release": release}
        return facts.ReleaseActivated(**self.envelope(event), **values | more)

    def loaded(self, release: str, name: str, instance: str = "i-1", event: str = "") -> facts.ModelLoaded:
        """A host's word on what it runs."""
        return facts.ModelLoaded(
            **self.envelope(event),
            service=SERVICE,
            environment="production",
            release=release,
            instance=instance,
            model=MODEL,
            training_id=id_of(name),
        )

    def rules(self, version: int) -> facts.RulesAdopted:
        """Other rules, adopted."""
        return facts.RulesAdopted(**self.envelope(), rules_version=version, reason="made up")

    def schema(self, schema_id: str, name: str, text: str, version: int = 2) -> facts.SchemaPublished:
        """A schema, published."""
        return facts.SchemaPublished(
            **self.envelope(), schema_id=schema_id, name=name, version=version, schema=text
        )

    def verdict(
        self,
        name: str,
        policy: facts.Policy,
        *,
        outcome: Outcome = Outcome.PASSED,
        event: str = "",
        **claims: Any,  # noqa: ANN401
    ) -> facts.VerdictIssued:
        """A verdict with a result for every check of a policy, of which only the first may not have passed."""
        outcomes = itertools.chain([outcome], itertools.repeat(Outcome.PASSED))
        checks = tuple(
            facts.CheckResult(
                check=spec.check,
                outcome=each,
                observed=1.5,
                threshold=2.0,
                reason=f"{spec.check}: {each.value}",
            )
            for spec, each in zip(policy.checks, outcomes, strict=False)
        )
        stated = outcome if outcome is not Outcome.NOT_EVALUATED else Outcome.FAILED
        values: dict[str, Any] = {
            "verdict_id": derived_id("verdict", name, str(next(self._numbers))),
            "policy_version": policy.version,
            "outcome": stated,
            "validator_version": "by hand",
            "checks": checks,
        }
        return facts.VerdictIssued(**self.envelope(event), training_id=id_of(name), **values | claims)
