"""Artifacts carried from one store into another, each verified on the way out and on the way in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deedbook.events.errors import ArtifactDamaged, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from deedbook.artifacts.store import ArtifactStore


@dataclass(frozen=True, slots=True)
class ArtifactsCopied:
    """How many were carried and how many were there before; the digests that the source lacks or has damaged."""

    copied: int = 0
    already_there: int = 0
    missing: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()


def copy_artifacts(
    digests: Sequence[str],
    source: ArtifactStore,
    target: ArtifactStore,
    *,
    scratch: Path,
    on_progress: Callable[[int, int], None],
) -> ArtifactsCopied:
    """Carry what the target does not have; ended at any moment, the same call carries the rest.

    ``scratch``: where a source that is elsewhere keeps its local copies; each is removed once it is carried.
    What the source lacks, or has damaged, is told of and stops nothing. Raises what the target's `put` raises.
    """
    copied = already_there = 0
    missing: list[str] = []
    damaged: list[str] = []
    for number, digest in enumerate(digests, start=1):
        if target.has(digest):
            already_there += 1
        else:
            try:
                path = source.path(digest)
            except NotFound:
                missing.append(digest)
            except ArtifactDamaged:
                damaged.append(digest)
            else:
                if target.put(path).sha256 != digest:
                    raise ArtifactDamaged(f"artifact {digest} was changed while it was copied")
                copied += 1
                if path.is_relative_to(scratch):
                    path.unlink()
        on_progress(number, len(digests))
    return ArtifactsCopied(copied, already_there, tuple(missing), tuple(damaged))
