"""What the fold must know of a training, a model and a release, put together from their rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deedbook.events.facts import Policy
    from deedbook.projector.rows import RequestRow, StandingRow, TrainingRow


@dataclass(frozen=True, slots=True)
class TrainingState:
    """All the fold must know of one training."""

    row: TrainingRow
    group_key: str
    parameters: tuple[tuple[str, str], ...]
    standing: StandingRow
    request: RequestRow


@dataclass(frozen=True, slots=True)
class ModelState:
    """A model's last version and its policy in force."""

    last_version: int
    policy: Policy


@dataclass(frozen=True, slots=True)
class BindingState:
    """An accepted deployment of a release: its position, and the training ids it binds."""

    position: int
    deployment_id: str
    trainings: tuple[str, ...]
