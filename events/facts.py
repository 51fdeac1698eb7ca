"""The facts deedbook records, as plain values.

Times are whole microseconds since 1970-01-01T00:00:00Z. Absent text is ``""``: the bulk
path reads columns without unions. Each class has an Avro schema of
its own name under ``schemas/``, which is the source of truth; a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable

REGISTRY = "registry"
METRICS = "metrics"
VALIDATIONS = "validations"
DEPLOYMENTS = "deployments"
HOSTS = "hosts"
QUARANTINE = "quarantine"
TOPICS = (REGISTRY, METRICS, VALIDATIONS, DEPLOYMENTS, HOSTS, QUARANTINE)


class Direction(StrEnum):
    """Which way a metric is better."""

    UNSPECIFIED = "unspecified"
    LOWER = "lower"
    HIGHER = "higher"


class Outcome(StrEnum):
    """How a check, or a whole verdict, ended."""

    UNKNOWN = "unknown"
    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    NOT_EVALUATED = "not_evaluated"


def combined_outcome(outcomes: Iterable[Outcome]) -> Outcome:
    """Return a verdict's outcome from its checks': only passes, and at least one, make a pass."""
    seen = set(outcomes)
    if not seen or seen & {Outcome.ERROR, Outcome.UNKNOWN}:
        return Outcome.ERROR
    return Outcome.PASSED if seen == {Outcome.PASSED} else Outcome.FAILED


class BaselineRole(StrEnum):
    """Which earlier training a candidate is compared with."""

    UNSPECIFIED = "unspecified"
    LAST_TRAINED = "last_trained"
    LAST_DEPLOYABLE = "last_deployable"
    LIVE = "live"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A named setting of a training: always a text, and its number where it has one."""

    name: str
    text: str
    number: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A named measurement of a finished training; ``slice`` is the part of the data it holds for."""

    name: str
    value: float
    slice: str = ""
    direction: Direction = Direction.UNSPECIFIED
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricPoint:
    """One step-wise value logged while a training runs."""

    name: str
    step: int
    value: float
    slice: str = ""
    logged_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One input column of a model, in the order the model takes them."""

    name: str
    dtype: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficient:
    """One learned weight of a model that has them."""

    name: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """A free label; decides nothing."""

    name: str
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """Where a file is, and what it is: an empty ``sha256`` means there is no file."""

    uri: str = ""
    sha256: str = ""
    size_bytes: int = 0
    format: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One training run and what it produced."""

    training_id: str
    model: str
    model_type: str = ""
    framework: str = ""
    artifact: Artifact = field(default_factory=Artifact)
    features: tuple[Feature, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    metrics: tuple[Metric, ...] = ()
    coefficients: tuple[Coefficient, ...] = ()
    git_sha: str = ""
    data_fingerprint: str = ""
    created_at: int = 0
    started_at: int = 0
    finished_at: int = 0
    tags: tuple[Tag, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSpec:
    """One check a policy demands: its name, its settings, and what of a training it reads.

    ``reads`` holds ``metric:NAME``, ``metrics``, ``parameters``, ``coefficients``, ``features``,
    ``artifact``; empty means it may read anything.
    """

    check: str
    settings: tuple[Parameter, ...] = ()
    reads: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a model's trainings must pass, and whom they are compared with.

    ``group_by`` names the parameters whose values a training shares with its baseline; with
    ``group_by_all`` it shares all of them. ``version`` is 0 for the default policy.
    """

    model: str
    version: int = 0
    group_by: tuple[str, ...] = ()
    group_by_all: bool = False
    baseline: BaselineRole = BaselineRole.LAST_DEPLOYABLE
    allowed_formats: tuple[str, ...] = ()
    checks: tuple[CheckSpec, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSet:
    """Past prediction requests to replay for the trainings that have these parameters."""

    requests_id: str
    model: str
    parameters: tuple[Parameter, ...] = ()
    artifact: Artifact = field(default_factory=Artifact)
    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """An earlier training a candidate may be compared with: in which role, and its version."""

    role: BaselineRole
    training: Training
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Two histograms over the same bins: ``len(edges) == len(counts) + 1``."""

    name: str
    edges: tuple[float, ...] = ()
    candidate_counts: tuple[int, ...] = ()
    baseline_counts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What one check of a policy found."""

    check: str
    outcome: Outcome
    subject: str = ""
    observed: float | None = None
    threshold: float | None = None
    baseline_training_id: str = ""
    reason: str = ""
    distributions: tuple[Distribution, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelBinding:
    """A model name bound to one training."""

    model: str
    training_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedModel:
    """A model of an accepted deployment, with all a host needs to load it."""

    model: str
    training_id: str
    version: int = 0
    artifact: Artifact = field(default_factory=Artifact)


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptanceReport:
    """What the acceptance tests of a deployment found."""

    passed: bool = False
    requests_replayed: int = 0
    summary: str = ""
    uri: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What every event carries: its id (UUID), when it occurred, and who says so."""

    topic: ClassVar[str] = REGISTRY

    event_id: str
    occurred_at: int
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStarted(Fact):
    """A training run began."""

    training_id: str
    model: str
    parameters: tuple[Parameter, ...] = ()
    git_sha: str = ""
    started_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFailed(Fact):
    """A training run ended without a model."""

    training_id: str
    model: str
    error: str = ""
    failed_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingLogged(Fact):
    """A training run produced a model."""

    training: Training


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingAmended(Fact):
    """Values of a training were corrected; the originals are kept."""

    training_id: str
    reason: str
    metrics: tuple[Metric, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    tags: tuple[Tag, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsLogged(Fact):
    """A chunk of step-wise metrics; (``producer``, ``sequence``) names the chunk."""

    topic: ClassVar[str] = METRICS

    training_id: str
    producer: str
    sequence: int
    points: tuple[MetricPoint, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyPublished(Fact):
    """A model has a new policy; ``policy.version`` is assigned by the fold, ``source`` is the file as written."""

    policy: Policy
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestsPublished(Fact):
    """A set of past prediction requests is there to be replayed."""

    requests: RequestSet


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationRequested(Fact):
    """A complete work order for one validation."""

    topic: ClassVar[str] = VALIDATIONS

    training: Training
    requested_at_position: int
    policy: Policy
    baselines: tuple[Baseline, ...] = ()
    requests: tuple[RequestSet, ...] = ()
    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictIssued(Fact):
    """A validation ended; ``requested_at_position`` names the request it answers."""

    verdict_id: str
    training_id: str
    requested_at_position: int
    policy_version: int
    outcome: Outcome
    validator_version: str = ""
    baseline_training_id: str = ""
    checks: tuple[CheckResult, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictOverridden(Fact):
    """A named person decided otherwise than the verdict."""

    training_id: str
    deployable: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RevalidationRequested(Fact):
    """Somebody asks for a new verdict on a training."""

    training_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentRequested(Fact):
    """Somebody asks to bind a release of a service to trainings.

    ``expected_previous`` is the release that must be current (``""``: none), or None to not say.
    """

    deployment_id: str
    service: str
    environment: str
    release: str
    models: tuple[ModelBinding, ...]
    git_sha: str = ""
    expected_previous: str | None = None
    acceptance: AcceptanceReport | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentCreated(Fact):
    """A release of a service is bound to trainings, and is the current one."""

    topic: ClassVar[str] = DEPLOYMENTS

    deployment_id: str
    service: str
    environment: str
    release: str
    requested_at_position: int
    models: tuple[DeployedModel, ...] = ()
    git_sha: str = ""
    previous: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentRejected(Fact):
    """A requested deployment does not count, and why."""

    topic: ClassVar[str] = DEPLOYMENTS

    deployment_id: str
    service: str
    environment: str
    release: str
    requested_at_position: int
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseActivated(Fact):
    """An already bound release becomes the current one again: a rollback."""

    service: str
    environment: str
    release: str
    expected_previous: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLoaded(Fact):
    """A serving host says which model it runs."""

    topic: ClassVar[str] = HOSTS

    service: str
    environment: str
    release: str
    instance: str
    model: str
    training_id: str
    artifact_sha256: str = ""
    source: str = ""
    loaded_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaPublished(Fact):
    """A schema that later events are written with; ``schema_id`` is the SHA-256 of ``schema``."""

    schema_id: str
    name: str
    version: int
    schema: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesAdopted(Fact):
    """From the next position on the fold decides by these rules."""

    rules_version: int
    reason: str = ""


FACTS: tuple[type[Fact], ...] = (
    TrainingStarted,
    TrainingFailed,
    TrainingLogged,
    TrainingAmended,
    MetricsLogged,
    PolicyPublished,
    RequestsPublished,
    ValidationRequested,
    VerdictIssued,
    VerdictOverridden,
    RevalidationRequested,
    DeploymentRequested,
    DeploymentCreated,
    DeploymentRejected,
    ReleaseActivated,
    ModelLoaded,
    SchemaPublished,
    RulesAdopted,
)
