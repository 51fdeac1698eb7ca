"""What a subscriber wants to hear of: a topic, types, models, services, and whether what was rejected too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deedbook.events import facts
from deedbook.events.errors import InvalidInput
from deedbook.events.names import shown
from deedbook.service.rpc.fields import name_given
from deedbook.service.rpc.limits import MAX_FILTERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deedbook.api.v1 import registry_pb2 as pb
    from deedbook.events.facts import Fact

TOPICS = (facts.REGISTRY, facts.DEPLOYMENTS, facts.HOSTS, facts.METRICS)
TYPES = frozenset(cls.__name__ for cls in facts.FACTS)


@dataclass(frozen=True, slots=True)
class About:
    """Which models and services an event is about."""

    models: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events of a topic are wanted; an empty set is all."""

    topic: str
    types: frozenset[str]
    models: frozenset[str]
    services: frozenset[str]
    rejected: bool

    @property
    def decisions(self) -> tuple[str, ...]:
        """The decisions that are wanted."""
        return ("accepted", "rejected") if self.rejected else ("accepted",)

    def may_want(self, type_: str, decision: str, model: str | None) -> bool:
        """Tell whether an event may be wanted; ``model``: the one that it is known to be about, and no other."""
        return (
            (not self.types or type_ in self.types)
            and (not decision or decision in self.decisions)
            and (model is None or not self.models or model in self.models)
        )

    def wants(self, type_: str, decision: str, about: About) -> bool:
        """Tell whether an event is wanted."""
        return (
            self.may_want(type_, decision, None)
            and (not self.models or not self.models.isdisjoint(about.models))
            and (not self.services or not self.services.isdisjoint(about.services))
        )


def wanted_by(request: pb.SubscribeRequest) -> Wanted:
    """Return what a request asks for. Raises InvalidInput."""
    topic = request.topic or facts.REGISTRY
    if topic not in TOPICS:
        raise InvalidInput(f"the topic is {shown(topic)}, not one of {', '.join(TOPICS)}")
    return Wanted(
        topic=topic,
        types=types_of(request.types),
        models=_names(request.models, "models"),
        services=_names(request.services, "services"),
        rejected=request.include_rejected,
    )


def types_of(given: Sequence[str]) -> frozenset[str]:
    """Return the types of events that are named. Raises InvalidInput for one that there is not."""
    types = frozenset(given)
    if unknown := sorted(types - TYPES):
        raise InvalidInput(f"{shown(unknown[0])} is no type of event")
    return types


def _names(given: Sequence[str], what: str) -> frozenset[str]:
    if len(given) > MAX_FILTERS:
        raise InvalidInput(f"{what} has {len(given):,} entries, over the limit of {MAX_FILTERS}")
    return frozenset(name_given(name, f"{what}[{number}]") for number, name in enumerate(given))


def about(fact: Fact, model: str | None) -> About:
    """Return what a fact is about; ``model``: that of the training it names."""
    models = {model} if model is not None else set()
    services: set[str] = set()
    match fact:
        case facts.TrainingLogged() | facts.ValidationRequested():
            models.add(fact.training.model)
        case facts.TrainingStarted() | facts.TrainingFailed():
            models.add(fact.model)
        case facts.PolicyPublished():
            models.add(fact.policy.model)
        case facts.RequestsPublished():
            models.add(fact.requests.model)
        case facts.DeploymentRequested() | facts.DeploymentCreated():
            models.update(bound.model for bound in fact.models)
            services.add(fact.service)
        case facts.DeploymentRejected() | facts.ReleaseActivated():
            services.add(fact.service)
        case facts.ModelLoaded():
            models.add(fact.model)
            services.add(fact.service)
        case _:
            pass
    return About(frozenset(models), frozenset(services))
