"""Whether the model's file is there, unchanged, and what it is declared to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deedbook.artifacts.formats import check_format, checked_format
from deedbook.artifacts.store import checked_digest
from deedbook.consumers.checks.check import Check
from deedbook.consumers.checks.finding import Finding
from deedbook.events.errors import ArtifactDamaged, InvalidInput, NotFound
from deedbook.events.facts import Outcome

if TYPE_CHECKING:
    from deedbook.consumers.checks.evidence import Evidence
    from deedbook.consumers.checks.settings import Settings

_HEAD_BYTES = 64


def _evaluate(evidence: Evidence, _: Settings) -> Finding:
    artifact = evidence.training.artifact
    if not artifact.sha256:
        return _failed("the training has no artifact")
    try:
        checked_digest(artifact.sha256)
        declared = checked_format(artifact.format)
    except InvalidInput as error:
        return _failed(f"the training's artifact is not described properly: {error}")
    if declared not in evidence.allowed_formats:
        allowed = ", ".join(sorted(evidence.allowed_formats))
        return _failed(f"the artifact is a {declared}, which the policy does not allow (it allows {allowed})")
    try:
        file = evidence.artifact_file(evidence.training)
        size_bytes = file.stat().st_size
        with file.open("rb") as opened:
            head = opened.read(_HEAD_BYTES)
    except (NotFound, ArtifactDamaged) as error:
        return _failed(f"the artifact can't be had as it was recorded: {error}")
    if size_bytes != artifact.size_bytes:
        reason = f"the artifact has {size_bytes:,} bytes, not {artifact.size_bytes:,} as recorded"
        return _failed(reason, observed=size_bytes, threshold=artifact.size_bytes)
    try:
        check_format(head, declared)
    except InvalidInput as error:
        return _failed(f"the artifact's format is wrong: {error}")
    return Finding(
        outcome=Outcome.PASSED,
        subject=declared,
        observed=size_bytes,
        threshold=artifact.size_bytes,
        reason=f"the artifact is there: {size_bytes:,} bytes of {declared} with the recorded digest",
    )


def _failed(reason: str, observed: float | None = None, threshold: float | None = None) -> Finding:
    return Finding(outcome=Outcome.FAILED, reason=reason, observed=observed, threshold=threshold)


ARTIFACT_INTACT = Check(
    name="artifact_intact",
    summary=(
        "The model's file exists, has the recorded digest and size, and is in a format that the policy"
        " allows, by its first bytes, too."
    ),
    evaluate=_evaluate,
    reads=lambda _: ("artifact",),
)
