"""The rules the fold decides by, version by version; a released version never changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from deedbook.projector.decision import Decision, Event
from deedbook.projector.rules import deployments, policies, records, trainings, verdicts
from deedbook.projector.view import View

Rule = Callable[[View, Event], Decision]

VERSION_1: Mapping[str, Rule] = {
    "TrainingStarted": trainings.training_started,
    "TrainingFailed": trainings.training_failed,
    "TrainingLogged": trainings.training_logged,
    "TrainingAmended": trainings.training_amended,
    "MetricsLogged": records.metrics_logged,
    "PolicyPublished": policies.policy_published,
    "RequestsPublished": policies.requests_published,
    "VerdictIssued": verdicts.verdict_issued,
    "VerdictOverridden": verdicts.verdict_overridden,
    "RevalidationRequested": verdicts.revalidation_requested,
    "DeploymentRequested": deployments.deployment_requested,
    "ReleaseActivated": deployments.release_activated,
    "ModelLoaded": records.model_loaded,
    "SchemaPublished": records.schema_published,
    "RulesAdopted": records.rules_adopted,
}

RULES: Mapping[int, Mapping[str, Rule]] = {1: VERSION_1}
