"""What the fold writes: one row class per table under ``base`` in the projection.

A class's fields are the columns that the fold decides, in the table's order.
"""

from __future__ import annotations

from dataclasses import dataclass

from deedbook.events.facts import BaselineRole, Policy


@dataclass(frozen=True, slots=True)
class RunRow:
    """A training run that was announced: ``state`` is running or failed."""

    training_id: str
    model: str
    state: str
    actor: str
    git_sha: str
    started_at: int
    failed_at: int
    error: str
    position: int


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """An accepted training: ``key`` is the registry position of its TrainingLogged."""

    key: int
    training_id: str
    model: str
    version: int
    content_hash: str


@dataclass(frozen=True, slots=True)
class GroupingRow:
    """Which group of comparable trainings a training is in; the newest row holds."""

    training_key: int
    group_key: str


@dataclass(frozen=True, slots=True)
class GroupRow:
    """The baselines a group offers: training ids, or empty."""

    group_key: str
    model: str
    last_trained: str = ""
    last_deployable: str = ""
    live: str = ""


@dataclass(frozen=True, slots=True)
class StandingRow:
    """Whether a training is deployable, and why, from a position on."""

    training_key: int
    outcome: str
    deployable: bool
    overridden: bool
    reason: str
    from_position: int


@dataclass(frozen=True, slots=True)
class RequestRow:
    """A validation that is due: what it must be compared with, fixed at its position."""

    training_key: int
    requested_at_position: int
    policy_version: int
    last_trained: str
    last_deployable: str
    live: str
    requests_id: str
    closed_position: int | None = None

    def baseline(self, role: BaselineRole) -> str:
        """Return the training id in a role, or ``""``."""
        match role:
            case BaselineRole.LAST_TRAINED:
                return self.last_trained
            case BaselineRole.LIVE:
                return self.live
            case BaselineRole.LAST_DEPLOYABLE | BaselineRole.UNSPECIFIED:
                return self.last_deployable


@dataclass(frozen=True, slots=True)
class AmendmentRow:
    """One corrected value of a training; ``kind`` is metric, parameter or tag."""

    training_key: int
    kind: str
    name: str
    slice: str
    text: str
    number: float | None
    reason: str
    actor: str
    position: int


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """A version of a model's policy."""

    model: str
    version: int
    policy: Policy
    source: str
    actor: str
    position: int


@dataclass(frozen=True, slots=True)
class RequestSetRow:
    """A set of past prediction requests; ``parameters`` select the trainings it is for."""

    requests_id: str
    model: str
    parameters: tuple[tuple[str, str], ...]
    artifact_uri: str
    artifact_sha256: str
    artifact_size_bytes: int
    count: int
    actor: str
    position: int


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """An accepted verdict."""

    position: int
    verdict_id: str
    training_key: int
    requested_at_position: int
    policy_version: int
    validator_version: str
    baseline_training_id: str
    outcome: str
    actor: str


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One check of an accepted verdict; ``distributions`` is JSON."""

    verdict_position: int
    ordinal: int
    check_name: str
    outcome: str
    subject: str
    observed: float | None
    threshold: float | None
    baseline_training_id: str
    reason: str
    distributions: str


@dataclass(frozen=True, slots=True)
class OverrideRow:
    """A named person's decision against, or without, the verdict."""

    position: int
    training_key: int
    deployable: bool
    reason: str
    actor: str


@dataclass(frozen=True, slots=True)
class DeploymentRow:
    """A requested deployment and what was decided; ``models`` are (model, training id) pairs."""

    position: int
    deployment_id: str
    service: str
    environment: str
    release: str
    git_sha: str
    decision: str
    reason: str
    previous: str
    note: str
    acceptance_passed: bool | None
    acceptance_requests: int
    acceptance_summary: str
    acceptance_uri: str
    actor: str
    models: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class CurrentRow:
    """Which release of a service is current from a position on."""

    service: str
    environment: str
    release: str
    deployment_position: int
    actor: str
    reason: str
    from_position: int


@dataclass(frozen=True, slots=True)
class ModelLoadRow:
    """A host's word on what it runs."""

    partition: int
    position: int
    service: str
    environment: str
    release: str
    instance: str
    model: str
    training_id: str
    artifact_sha256: str
    source: str
    loaded_at: int


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """A chunk of step-wise metrics."""

    partition: int
    position: int
    training_id: str
    producer: str
    sequence: int


@dataclass(frozen=True, slots=True)
class SchemaRow:
    """A schema published on the log."""

    position: int
    schema_id: str
    name: str
    version: int
    schema: str


@dataclass(frozen=True, slots=True)
class RulesRow:
    """A version of the fold's rules, in force from the position after this one."""

    position: int
    rules_version: int
    actor: str
    reason: str


Row = (
    RunRow
    | TrainingRow
    | GroupingRow
    | GroupRow
    | StandingRow
    | RequestRow
    | AmendmentRow
    | PolicyRow
    | RequestSetRow
    | VerdictRow
    | CheckRow
    | OverrideRow
    | DeploymentRow
    | CurrentRow
    | ModelLoadRow
    | ChunkRow
    | SchemaRow
    | RulesRow
)
