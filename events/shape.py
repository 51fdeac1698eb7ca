"""Whether a fact is well-formed: every id an id, every name a name, everything bounded, nothing twice.

Whatever is not well-formed never counts, whoever appended it; the fold says so with the sentence
found here. Front doors ask first, so that nobody has to learn it from the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from deedbook.events import facts
from deedbook.events.field_rules import (
    MAX_COUNT,
    MAX_TIME_MICROS,
    Problems,
    a_count,
    a_digest_if_any,
    a_label,
    a_name,
    a_number,
    a_number_if_any,
    a_reason_needed,
    a_source,
    a_text,
    a_time,
    an_id,
    an_id_if_any,
    an_outcome,
    each,
    none_twice,
    prose,
    said,
)
from deedbook.events.names import (
    MAX_ERROR_CHARACTERS,
    MAX_NAME_CHARACTERS,
    MAX_REASON_CHARACTERS,
    MAX_SOURCE_BYTES,
    MAX_TEXT_CHARACTERS,
    PLAIN_NAME_PATTERN,
    PLAIN_TEXT_PATTERN,
    name_problem,
    normalise,
    sha256_problem,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deedbook.events.facts import Fact

__all__ = [
    "MAX_CHECKS",
    "MAX_COUNT",
    "MAX_ERROR_CHARACTERS",
    "MAX_ITEMS",
    "MAX_NAME_CHARACTERS",
    "MAX_PARAMETERS",
    "MAX_REASON_CHARACTERS",
    "MAX_SOURCE_BYTES",
    "MAX_TEXT_CHARACTERS",
    "MAX_TIME_MICROS",
    "MAX_URI_CHARACTERS",
    "PLAIN_NAME_PATTERN",
    "PLAIN_TEXT_PATTERN",
    "name_problem",
    "normalise",
    "problem_of",
]

MAX_PARAMETERS: Final = 1_000  # and tags, models, checks' settings
MAX_ITEMS: Final = 10_000  # metrics, points, features, coefficients
MAX_CHECKS: Final = 1_000
MAX_URI_CHARACTERS: Final = 2_000
_MAX_ORDER_PARTS: Final = 100
_MAX_BINS: Final = 1_000


def problem_of(fact: Fact) -> str | None:
    """Return one sentence naming field and value where a fact is not well-formed, else None."""
    return next(_problems_of(fact), None)


def _problems_of(fact: Fact) -> Problems:
    yield from an_id("event_id", fact.event_id)
    yield from a_time("occurred_at", fact.occurred_at)
    yield from a_name("actor", fact.actor)
    match fact:
        case facts.TrainingLogged():
            yield from _training("training", fact.training)
        case facts.TrainingStarted():
            yield from _run(fact.training_id, fact.model)
            yield from _parameters("parameters", fact.parameters)
            yield from a_label("git_sha", fact.git_sha)
            yield from a_time("started_at", fact.started_at)
        case facts.TrainingFailed():
            yield from _run(fact.training_id, fact.model)
            yield from a_text("error", fact.error, MAX_ERROR_CHARACTERS)
            yield from a_time("failed_at", fact.failed_at)
        case facts.TrainingAmended():
            yield from _amendment(fact)
        case facts.MetricsLogged():
            yield from an_id("training_id", fact.training_id)
            yield from a_name("producer", fact.producer)
            yield from a_count("sequence", fact.sequence)
            yield from each("points", fact.points, _point, MAX_ITEMS)
        case facts.PolicyPublished():
            yield from _policy("policy", fact.policy)
            yield from a_source("source", fact.source)
        case facts.RequestsPublished():
            yield from _request_set("requests", fact.requests)
        case facts.ValidationRequested():
            yield from _order(fact)
        case facts.VerdictIssued():
            yield from _verdict(fact)
        case facts.VerdictOverridden():
            yield from an_id("training_id", fact.training_id)
            yield from a_reason_needed(fact.reason, "an override")
        case facts.RevalidationRequested():
            yield from an_id("training_id", fact.training_id)
            yield from prose("reason", fact.reason)
        case _:
            yield from _problems_of_serving(fact)


def _problems_of_serving(fact: Fact) -> Problems:
    match fact:
        case facts.DeploymentRequested():
            yield from _deployment_request(fact)
        case facts.DeploymentCreated():
            yield from _deployment(fact)
            yield from each("models", fact.models, _deployed_model, MAX_PARAMETERS)
            yield from none_twice("model", [model.model for model in fact.models])
            yield from a_label("git_sha", fact.git_sha)
            yield from a_label("previous", fact.previous)
        case facts.DeploymentRejected():
            yield from _deployment(fact)
            yield from prose("reason", fact.reason)
        case facts.ReleaseActivated():
            yield from _release(fact)
            yield from a_label("expected_previous", fact.expected_previous or "")
            yield from prose("reason", fact.reason)
        case facts.ModelLoaded():
            yield from _release(fact)
            yield from a_name("instance", fact.instance)
            yield from _run(fact.training_id, fact.model)
            yield from a_digest_if_any("artifact_sha256", fact.artifact_sha256)
            yield from a_label("source", fact.source)
            yield from a_time("loaded_at", fact.loaded_at)
        case facts.SchemaPublished():
            yield from said("schema_id", sha256_problem(fact.schema_id))
            yield from a_name("name", fact.name)
            yield from a_count("version", fact.version, least=1)
            yield from a_source("schema", fact.schema)
        case facts.RulesAdopted():
            yield from a_count("rules_version", fact.rules_version, least=1)
            yield from prose("reason", fact.reason)
        case _:
            yield f"{type(fact).__name__} is not an event of this release"


def _training(at: str, training: facts.Training) -> Problems:
    yield from an_id(f"{at}.training_id", training.training_id)
    yield from a_name(f"{at}.model", training.model)
    for field in ("model_type", "framework", "git_sha", "data_fingerprint"):
        yield from a_label(f"{at}.{field}", getattr(training, field))
    yield from _artifact(f"{at}.artifact", training.artifact)
    yield from _parameters(f"{at}.parameters", training.parameters)
    yield from _metrics(f"{at}.metrics", training.metrics)
    yield from each(f"{at}.features", training.features, _feature, MAX_ITEMS)
    yield from none_twice("feature", [feature.name for feature in training.features])
    yield from each(f"{at}.coefficients", training.coefficients, _coefficient, MAX_ITEMS)
    yield from none_twice("coefficient", [coefficient.name for coefficient in training.coefficients])
    yield from _tags(f"{at}.tags", training.tags)
    for field in ("created_at", "started_at", "finished_at"):
        yield from a_time(f"{at}.{field}", getattr(training, field))


def _amendment(fact: facts.TrainingAmended) -> Problems:
    yield from an_id("training_id", fact.training_id)
    yield from a_reason_needed(fact.reason, "an amendment")
    yield from _metrics("metrics", fact.metrics)
    yield from _parameters("parameters", fact.parameters)
    yield from _tags("tags", fact.tags)
    if not (fact.metrics or fact.parameters or fact.tags):
        yield "the amendment amends nothing: it has no metrics, parameters or tags"


def _policy(at: str, policy: facts.Policy) -> Problems:
    yield from a_name(f"{at}.model", policy.model)
    yield from a_count(f"{at}.version", policy.version)
    yield from each(f"{at}.group_by", policy.group_by, a_name, MAX_PARAMETERS)
    yield from none_twice("group_by parameter", policy.group_by)
    yield from each(f"{at}.allowed_formats", policy.allowed_formats, a_name, MAX_PARAMETERS)
    yield from each(f"{at}.checks", policy.checks, _check_spec, MAX_CHECKS)
    if not policy.checks:
        yield f"{at}.checks is empty: an empty policy passes nothing"
    specs = [
        (spec.check, *((setting.name, setting.text) for setting in spec.settings)) for spec in policy.checks
    ]
    yield from none_twice("check", specs, lambda spec: f"{shown(spec[0])} with these settings")


def _order(fact: facts.ValidationRequested) -> Problems:
    yield from _training("training", fact.training)
    yield from a_count("requested_at_position", fact.requested_at_position)
    yield from _policy("policy", fact.policy)
    yield from each("baselines", fact.baselines, _baseline, _MAX_ORDER_PARTS)
    yield from each("requests", fact.requests, _request_set, _MAX_ORDER_PARTS)
    yield from a_count("attempt", fact.attempt, least=1)


def _verdict(fact: facts.VerdictIssued) -> Problems:
    yield from an_id("verdict_id", fact.verdict_id)
    yield from an_id("training_id", fact.training_id)
    yield from a_count("requested_at_position", fact.requested_at_position)
    yield from a_count("policy_version", fact.policy_version)
    yield from an_outcome("outcome", fact.outcome)
    yield from a_label("validator_version", fact.validator_version)
    yield from an_id_if_any("baseline_training_id", fact.baseline_training_id)
    yield from each("checks", fact.checks, _check_result, MAX_CHECKS)


def _deployment_request(fact: facts.DeploymentRequested) -> Problems:
    yield from an_id("deployment_id", fact.deployment_id)
    yield from _release(fact)
    yield from each("models", fact.models, _binding, MAX_PARAMETERS)
    if not fact.models:
        yield "models is empty: a deployment binds at least one model"
    yield from none_twice("model", [model.model for model in fact.models])
    yield from a_label("git_sha", fact.git_sha)
    yield from a_label("expected_previous", fact.expected_previous or "")
    if fact.acceptance is not None:
        yield from a_count("acceptance.requests_replayed", fact.acceptance.requests_replayed)
        yield from prose("acceptance.summary", fact.acceptance.summary)
        yield from prose("acceptance.uri", fact.acceptance.uri, MAX_URI_CHARACTERS)
    yield from prose("reason", fact.reason)


def _deployment(fact: facts.DeploymentCreated | facts.DeploymentRejected) -> Problems:
    yield from an_id("deployment_id", fact.deployment_id)
    yield from _release(fact)
    yield from a_count("requested_at_position", fact.requested_at_position)


def _release(
    fact: facts.DeploymentRequested
    | facts.DeploymentCreated
    | facts.DeploymentRejected
    | facts.ReleaseActivated
    | facts.ModelLoaded,
) -> Problems:
    yield from a_name("service", fact.service)
    yield from a_name("environment", fact.environment)
    yield from a_name("release", fact.release)


def _run(training_id: str, model: str) -> Problems:
    yield from an_id("training_id", training_id)
    yield from a_name("model", model)


def _artifact(at: str, artifact: facts.Artifact) -> Problems:
    yield from prose(f"{at}.uri", artifact.uri, MAX_URI_CHARACTERS)
    yield from a_digest_if_any(f"{at}.sha256", artifact.sha256)
    yield from a_count(f"{at}.size_bytes", artifact.size_bytes)
    yield from a_label(f"{at}.format", artifact.format)


def _parameters(at: str, parameters: Sequence[facts.Parameter]) -> Problems:
    yield from each(at, parameters, _parameter, MAX_PARAMETERS)
    yield from none_twice("parameter", [parameter.name for parameter in parameters])


def _metrics(at: str, metrics: Sequence[facts.Metric]) -> Problems:
    yield from each(at, metrics, _metric, MAX_ITEMS)
    yield from none_twice("metric", [(metric.name, metric.slice) for metric in metrics], _metric_words)


def _metric_words(key: tuple[str, str]) -> str:
    name, part = key
    return f"{shown(name)} of slice {shown(part)}" if part else shown(name)


def _tags(at: str, tags: Sequence[facts.Tag]) -> Problems:
    yield from each(at, tags, _tag, MAX_PARAMETERS)
    yield from none_twice("tag", [tag.name for tag in tags])


def _parameter(at: str, parameter: facts.Parameter) -> Problems:
    yield from a_name(f"{at}.name", parameter.name)
    yield from a_text(f"{at}.text", parameter.text, MAX_TEXT_CHARACTERS)
    yield from a_number_if_any(f"{at}.number", parameter.number)


def _metric(at: str, metric: facts.Metric) -> Problems:
    yield from a_name(f"{at}.name", metric.name)
    yield from a_number(f"{at}.value", metric.value)
    yield from a_label(f"{at}.slice", metric.slice)
    yield from a_label(f"{at}.unit", metric.unit)


def _point(at: str, point: facts.MetricPoint) -> Problems:
    yield from a_name(f"{at}.name", point.name)
    yield from a_count(f"{at}.step", point.step, least=-MAX_COUNT - 1)
    yield from a_number(f"{at}.value", point.value)
    yield from a_label(f"{at}.slice", point.slice)
    yield from a_time(f"{at}.logged_at", point.logged_at)


def _feature(at: str, feature: facts.Feature) -> Problems:
    yield from a_name(f"{at}.name", feature.name)
    yield from a_label(f"{at}.dtype", feature.dtype)


def _coefficient(at: str, coefficient: facts.Coefficient) -> Problems:
    yield from a_name(f"{at}.name", coefficient.name)
    yield from a_number(f"{at}.value", coefficient.value)


def _tag(at: str, tag: facts.Tag) -> Problems:
    yield from a_name(f"{at}.name", tag.name)
    yield from a_text(f"{at}.text", tag.text, MAX_TEXT_CHARACTERS)


def _check_spec(at: str, spec: facts.CheckSpec) -> Problems:
    yield from a_name(f"{at}.check", spec.check)
    yield from _parameters(f"{at}.settings", spec.settings)
    yield from each(f"{at}.reads", spec.reads, _read, MAX_PARAMETERS)


def _read(at: str, text: str) -> Problems:
    yield from prose(at, text, MAX_TEXT_CHARACTERS)
    if not text:
        yield f"{at} is empty"


def _request_set(at: str, requests: facts.RequestSet) -> Problems:
    yield from an_id(f"{at}.requests_id", requests.requests_id)
    yield from a_name(f"{at}.model", requests.model)
    yield from _parameters(f"{at}.parameters", requests.parameters)
    yield from _artifact(f"{at}.artifact", requests.artifact)
    yield from a_count(f"{at}.count", requests.count)


def _baseline(at: str, baseline: facts.Baseline) -> Problems:
    yield from _training(f"{at}.training", baseline.training)
    yield from a_count(f"{at}.version", baseline.version)


def _check_result(at: str, result: facts.CheckResult) -> Problems:
    yield from a_name(f"{at}.check", result.check)
    yield from an_outcome(f"{at}.outcome", result.outcome)
    yield from prose(f"{at}.subject", result.subject, MAX_TEXT_CHARACTERS)
    yield from a_number_if_any(f"{at}.observed", result.observed)
    yield from a_number_if_any(f"{at}.threshold", result.threshold)
    yield from an_id_if_any(f"{at}.baseline_training_id", result.baseline_training_id)
    yield from prose(f"{at}.reason", result.reason)
    yield from each(f"{at}.distributions", result.distributions, _distribution, _MAX_ORDER_PARTS)


def _distribution(at: str, distribution: facts.Distribution) -> Problems:
    yield from prose(f"{at}.name", distribution.name, MAX_TEXT_CHARACTERS)
    yield from each(f"{at}.edges", distribution.edges, a_number, _MAX_BINS + 1)
    yield from each(f"{at}.candidate_counts", distribution.candidate_counts, a_count, _MAX_BINS)
    yield from each(f"{at}.baseline_counts", distribution.baseline_counts, a_count, _MAX_BINS)
    bins = len(distribution.candidate_counts)
    if not (bins == len(distribution.baseline_counts) == max(0, len(distribution.edges) - 1)):
        yield f"{at} has {len(distribution.edges)} edges, which do not fit its counts"


def _binding(at: str, binding: facts.ModelBinding) -> Problems:
    yield from a_name(f"{at}.model", binding.model)
    yield from an_id(f"{at}.training_id", binding.training_id)


def _deployed_model(at: str, model: facts.DeployedModel) -> Problems:
    yield from a_name(f"{at}.model", model.model)
    yield from an_id(f"{at}.training_id", model.training_id)
    yield from a_count(f"{at}.version", model.version)
    yield from _artifact(f"{at}.artifact", model.artifact)
