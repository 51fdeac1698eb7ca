"""What the fold is asked and what it answers: an event, and one of four decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from deedbook.events.facts import Fact
    from deedbook.projector.rows import Row
    from deedbook.projector.states import TrainingState

PRODUCTION = "production"
F = TypeVar("F", bound="Fact | TrainingHead | ChunkHead")


@dataclass(frozen=True, slots=True)
class TrainingHead:
    """What the fold reads of a TrainingLogged; its metrics and features go to the tables in bulk."""

    training_id: str
    model: str
    parameters: tuple[tuple[str, str], ...]
    content_hash: str


@dataclass(frozen=True, slots=True)
class ChunkHead:
    """What the fold reads of a MetricsLogged."""

    training_id: str
    producer: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Event:
    """A decoded record: ``problem`` says what is wrong with its form, ``body_hash`` tells bodies apart."""

    topic: str
    partition: int
    position: int
    recorded_at: int
    type: str
    event_id: str
    occurred_at: int
    actor: str
    subject: str
    body_hash: str
    fact: Fact | TrainingHead | ChunkHead
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The event counts: the rows it writes, and the trainings as they are after it."""

    rows: tuple[Row, ...] = ()
    trainings: tuple[TrainingState, ...] = ()


@dataclass(frozen=True, slots=True)
class Ignored:
    """The event was on the log before; nothing changes."""

    reason: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The event does not count, and why; ``rows`` record the attempt where it is worth a row."""

    reason: str
    rows: tuple[Row, ...] = ()


@dataclass(frozen=True, slots=True)
class Halted:
    """The event cannot be decided by this release; folding on would make replicas disagree."""

    reason: str


Decision = Accepted | Ignored | Rejected | Halted


def fact_of(event: Event, cls: type[F]) -> F:
    """Return the event's fact as the class its type names."""
    if not isinstance(event.fact, cls):
        raise TypeError(f"a {event.type} holds a {type(event.fact).__name__}")
    return event.fact
