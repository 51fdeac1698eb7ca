"""What the fold looks at: the state before the next event.

A :class:`View` answers from what the events of this batch left, then from its source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from deedbook.events.facts import CheckSpec, Parameter, Policy
from deedbook.projector.decision import Accepted, Rejected
from deedbook.projector.rows import (
    ChunkRow,
    CurrentRow,
    DeploymentRow,
    GroupRow,
    PolicyRow,
    RequestSetRow,
    Row,
    RulesRow,
    RunRow,
    TrainingRow,
)
from deedbook.projector.states import BindingState, ModelState, TrainingState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from deedbook.projector.decision import Decision, Event

K = TypeVar("K")
V = TypeVar("V")


class Source(Protocol):
    """Where a view finds what no event of this batch has touched."""

    def event_hash(self, topic: str, partition: int, event_id: str) -> str | None:
        """Return the body hash of the first event with this id."""

    def run(self, training_id: str) -> RunRow | None:
        """Return the announced run."""

    def training(self, training_id: str) -> TrainingState | None:
        """Return the training."""

    def model(self, model: str) -> ModelState | None:
        """Return the model, or None where it has neither trainings nor a policy."""

    def policy(self, model: str, version: int) -> Policy | None:
        """Return a published version of a model's policy."""

    def group(self, group_key: str) -> GroupRow | None:
        """Return the group's baselines."""

    def members(self, group_key: str) -> list[TrainingState]:
        """Return all trainings of a group."""

    def trainings_of(self, model: str) -> list[TrainingState]:
        """Return all trainings of a model."""

    def has_value(self, training_key: int, kind: str, name: str, slice_: str) -> bool:
        """Tell whether a training has this metric, parameter or tag."""

    def request_sets(self, model: str) -> list[RequestSetRow]:
        """Return a model's request sets, oldest first."""

    def binding(self, service: str, environment: str, release: str) -> BindingState | None:
        """Return what a release is bound to."""

    def deployment_position(self, deployment_id: str) -> int | None:
        """Return where a deployment with this id was requested."""

    def current(self, service: str, environment: str) -> CurrentRow | None:
        """Return the current release of a service."""

    def chunk_position(self, partition: int, training_id: str, producer: str, sequence: int) -> int | None:
        """Return where in a partition this chunk of step-wise metrics was first seen."""


def default_policy(model: str) -> Policy:
    """Return the policy of a model for which none was published.

    It compares a training with the last deployable one that has the very same parameters, and asks
    only what holds for every model: its file is whole, and its inputs are those of its predecessor.
    """
    return Policy(
        model=model,
        group_by_all=True,
        checks=(
            CheckSpec(check="artifact_intact", reads=("artifact",)),
            CheckSpec(
                check="features_match",
                settings=(Parameter(name="required", text="false"),),
                reads=("features",),
            ),
        ),
    )


class View:
    """The state before the next event: rows of this batch over a source."""

    def __init__(self, source: Source, *, rules_version: int = 1) -> None:
        self.source = source
        self.rules_version = rules_version
        self.events: dict[tuple[str, int, str], str | None] = {}
        self.runs: dict[str, RunRow | None] = {}
        self.trainings: dict[str, TrainingState | None] = {}
        self.models: dict[str, ModelState | None] = {}
        self.policies: dict[tuple[str, int], Policy | None] = {}
        self.groups: dict[str, GroupRow | None] = {}
        self.request_sets_by_model: dict[str, list[RequestSetRow]] = {}
        self.bindings: dict[tuple[str, str, str], BindingState | None] = {}
        self.deployments: dict[str, int | None] = {}
        self.currents: dict[tuple[str, str], CurrentRow | None] = {}
        self.chunks: dict[tuple[int, str, str, int], int | None] = {}

    def event_hash(self, topic: str, partition: int, event_id: str) -> str | None:
        """Return the body hash of the first event with this id."""
        return _remembered(
            self.events,
            (topic, partition, event_id),
            lambda: self.source.event_hash(topic, partition, event_id),
        )

    def run(self, training_id: str) -> RunRow | None:
        """Return the announced run."""
        return _remembered(self.runs, training_id, lambda: self.source.run(training_id))

    def training(self, training_id: str) -> TrainingState | None:
        """Return the training."""
        return _remembered(self.trainings, training_id, lambda: self.source.training(training_id))

    def model(self, model: str) -> ModelState | None:
        """Return the model."""
        if (known := self.models.get(model)) is not None:
            return known
        return _remembered(self.models, model, lambda: self.source.model(model))

    def policy_in_force(self, model: str) -> Policy:
        """Return the policy that judges a model's trainings now."""
        known = self.model(model)
        return known.policy if known else default_policy(model)

    def policy(self, model: str, version: int) -> Policy | None:
        """Return a version of a model's policy; 0 is the default one."""
        if version == 0:
            return default_policy(model)
        return _remembered(self.policies, (model, version), lambda: self.source.policy(model, version))

    def group(self, group_key: str) -> GroupRow | None:
        """Return the group's baselines."""
        return _remembered(self.groups, group_key, lambda: self.source.group(group_key))

    def members(self, group_key: str) -> list[TrainingState]:
        """Return all trainings of a group, oldest first."""
        return self._overlaid(self.source.members(group_key), lambda t: t.group_key == group_key)

    def trainings_of(self, model: str) -> list[TrainingState]:
        """Return all trainings of a model, oldest first."""
        return self._overlaid(self.source.trainings_of(model), lambda t: t.row.model == model)

    def request_sets(self, model: str) -> list[RequestSetRow]:
        """Return a model's request sets, oldest first."""
        return _remembered(self.request_sets_by_model, model, lambda: self.source.request_sets(model))

    def binding(self, service: str, environment: str, release: str) -> BindingState | None:
        """Return what a release is bound to."""
        return _remembered(
            self.bindings,
            (service, environment, release),
            lambda: self.source.binding(service, environment, release),
        )

    def deployment_position(self, deployment_id: str) -> int | None:
        """Return where a deployment with this id was requested."""
        return _remembered(
            self.deployments, deployment_id, lambda: self.source.deployment_position(deployment_id)
        )

    def current(self, service: str, environment: str) -> CurrentRow | None:
        """Return the current release of a service."""
        return _remembered(
            self.currents, (service, environment), lambda: self.source.current(service, environment)
        )

    def chunk_position(self, partition: int, training_id: str, producer: str, sequence: int) -> int | None:
        """Return where in a partition this chunk of step-wise metrics was first seen."""
        return _remembered(
            self.chunks,
            (partition, training_id, producer, sequence),
            lambda: self.source.chunk_position(partition, training_id, producer, sequence),
        )

    def take_in(self, event: Event, decision: Decision) -> None:
        """Move the view past a decided event."""
        where = (event.topic, event.partition, event.event_id)
        if self.events.get(where) is None:
            self.events[where] = event.body_hash
        match decision:
            case Accepted(rows, trainings):
                self.apply(rows, trainings)
            case Rejected(_, rows):
                self.apply(rows)
            case _:
                pass

    def apply(self, rows: Iterable[Row], trainings: Iterable[TrainingState] = ()) -> None:
        """Take in what the fold decided; rows of tables the fold never reads back are let pass."""
        for training in trainings:
            self.trainings[training.row.training_id] = training
        for row in rows:
            self._apply(row)

    def _apply(self, row: Row) -> None:
        match row:
            case TrainingRow():
                self.models[row.model] = ModelState(row.version, self.policy_in_force(row.model))
            case RunRow():
                self.runs[row.training_id] = row
            case GroupRow():
                self.groups[row.group_key] = row
            case PolicyRow():
                known = self.model(row.model)
                self.models[row.model] = ModelState(known.last_version if known else 0, row.policy)
                self.policies[row.model, row.version] = row.policy
            case RequestSetRow():
                self.request_sets(row.model).append(row)
            case DeploymentRow():
                self._apply_deployment(row)
            case CurrentRow():
                self.currents[row.service, row.environment] = row
            case ChunkRow():
                self.chunks[row.partition, row.training_id, row.producer, row.sequence] = row.position
            case RulesRow():
                self.rules_version = row.rules_version
            case _:
                pass

    def _apply_deployment(self, row: DeploymentRow) -> None:
        self.deployments[row.deployment_id] = row.position
        if row.decision == "accepted":
            trainings = tuple(training_id for _, training_id in row.models)
            binding = BindingState(row.position, row.deployment_id, trainings)
            self.bindings[row.service, row.environment, row.release] = binding

    def _overlaid(
        self, stored: list[TrainingState], belongs: Callable[[TrainingState], bool]
    ) -> list[TrainingState]:
        by_id = {t.row.training_id: t for t in stored}
        by_id.update({t.row.training_id: t for t in self.trainings.values() if t is not None})
        return sorted((t for t in by_id.values() if belongs(t)), key=lambda t: t.row.key)


def _remembered(cache: dict[K, V], key: K, load: Callable[[], V]) -> V:
    if key not in cache:
        cache[key] = load()
    return cache[key]
