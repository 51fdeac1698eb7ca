"""What the sandbox is asked for and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal[
    "digest", "format", "timeout", "memory", "exit", "exception", "malformed", "refused", "unavailable"
]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one prediction job may use; whatever goes beyond is a Failure.

    `memory_bytes` is what a model may use on top of the libraries, `threads` how many it may start,
    and `model_bytes` how big its file may be. Files can't be written, nor programs started, at all.
    """

    wall_seconds: float = 30.0
    cpu_seconds: int = 30
    memory_bytes: int = 512 << 20
    model_bytes: int = 512 << 20
    threads: int = 16


@dataclass(frozen=True, slots=True)
class Predictions:
    """One finite number for each row, in the order of the rows (meaning: `artifacts.predictions`)."""

    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there are no predictions: a kind for programs, and a sentence for reviewers.

    The reason is printable text of at most about 500 characters, whatever the model wrote.

    - digest: the file is not the one the log names, or is not there
    - format: the bytes aren't the declared format, or the format is not allowed or broken
    - timeout, memory: a limit was reached
    - exit: the model's process ended before it answered
    - exception: loading or predicting raised
    - refused: the model tried something that a model has no business with
    - malformed: what came back is not one finite number for each row
    - unavailable: the sandbox itself failed; the same job may succeed when tried again
    """

    kind: Kind
    reason: str


@dataclass(frozen=True, slots=True)
class Isolation:
    """One promise of the sandbox, tried at start-up: whether it holds here, and by what means or why not."""

    what: str
    isolated: bool
    how: str


def printable(text: str, max_characters: int = 400) -> str:
    """Escape what a terminal would act on, and cut what is too long."""
    cut = text[:max_characters]
    escaped = "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in cut
    )
    return escaped[:max_characters] + (
        "…" if len(text) > max_characters or len(escaped) > max_characters else ""
    )
