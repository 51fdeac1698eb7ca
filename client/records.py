"""A finished training, from what a program says of it to the record that is logged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from deedbook.client.values import (
    Features,
    Metrics,
    Number,
    coefficients_of,
    features_of,
    id_of,
    metrics_of,
    micros_of,
    name_of,
    parameters_of,
    tags_of,
)
from deedbook.events.errors import InvalidInput, NotFound
from deedbook.events.facts import Artifact, Training, TrainingLogged
from deedbook.events.ids import new_id
from deedbook.events.names import shown

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from deedbook.artifacts.store import Progress
    from deedbook.client.backend import Recording
    from deedbook.client.preparing import Prepared

ArtifactGiven: TypeAlias = "Artifact | Path | str"

_HEAD_BYTES = 16
_BATCH = 500
_BATCH_BYTES = 8 << 20
_KEYS = (
    *(
        "model",
        "metrics",
        "parameters",
        "artifact",
        "artifact_format",
        "training_id",
        "model_type",
        "framework",
    ),
    *(
        "features",
        "coefficients",
        "git_sha",
        "data_fingerprint",
        "created_at",
        "started_at",
        "finished_at",
        "tags",
    ),
)


def training_record(
    *,
    model: str,
    metrics: Metrics = (),
    parameters: Mapping[str, object] | None = None,
    training_id: str | UUID | None = None,
    model_type: str = "",
    framework: str = "",
    features: Features = (),
    coefficients: Mapping[str, Number] | None = None,
    git_sha: str = "",
    data_fingerprint: str = "",
    created_at: datetime | None = None,
    started_at: datetime | None = None,
    finished_at: datetime | None = None,
    tags: Mapping[str, str] | None = None,
    now: int = 0,
) -> Training:
    """Return the record of a training; raises InvalidInput.

    ``now``: microseconds, for what has no time of creation.
    """
    finished = 0 if finished_at is None else micros_of(finished_at, "finished_at")
    created = 0 if created_at is None else micros_of(created_at, "created_at")
    return Training(
        training_id=new_id() if training_id is None else id_of(training_id),
        model=name_of(model, "the model"),
        model_type=name_of(model_type, "model_type"),
        framework=name_of(framework, "framework"),
        features=features_of(features) if features else (),
        parameters=parameters_of(parameters or {}),
        metrics=metrics_of(metrics),
        coefficients=coefficients_of(coefficients) if coefficients else (),
        git_sha=name_of(git_sha, "git_sha"),
        data_fingerprint=name_of(data_fingerprint, "data_fingerprint"),
        created_at=created or finished or now,
        started_at=0 if started_at is None else micros_of(started_at, "started_at"),
        finished_at=finished,
        tags=tags_of(tags or {}),
    )


def prepared_training(
    recording: Recording,
    training: Training,
    artifact: ArtifactGiven | None = None,
    artifact_format: str | None = None,
    *,
    on_progress: Progress | None = None,
) -> Prepared:
    """Return what is appended for a training; a file is stored once all else is found good.

    ``on_progress`` is told how many bytes of how many are stored.

    Raises InvalidInput, NotFound (no such file), StorageFull.
    """
    preparer = recording.preparer
    if isinstance(artifact, Path | str):
        preparer.prepared(TrainingLogged(**preparer.envelope(), training=training))
    if artifact is not None:
        training = replace(training, artifact=_stored(recording, artifact, artifact_format, on_progress))
    return preparer.prepared(TrainingLogged(**preparer.envelope(), training=training))


def _stored(
    recording: Recording, artifact: ArtifactGiven, format_: str | None, on_progress: Progress | None
) -> Artifact:
    """Return what the record says of an artifact, storing a file under the format its bytes have."""
    match artifact:
        case Artifact():
            return artifact
        case Path() | str():
            path = Path(artifact)
        case _:
            raise InvalidInput(f"the artifact is {shown(artifact)}: give a model file, or an Artifact")
    from deedbook.artifacts.formats import check_format, checked_format, detect_format

    head = _head(path)
    detected = detect_format(head)
    declared = checked_format(format_) if format_ is not None else detected
    if declared is None:
        raise InvalidInput(
            f"the format of {shown(str(path))} is not known by its bytes: say artifact_format='joblib', for example"
        )
    check_format(head, declared)
    stored = recording.artifacts.put(path, on_progress=on_progress)
    return Artifact(uri=stored.uri, sha256=stored.sha256, size_bytes=stored.size_bytes, format=declared)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except FileNotFoundError:
        raise NotFound(f"there is no file {shown(str(path))} to store") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput(f"the file {shown(str(path))} cannot be read: {reason}") from None


def log_in_batches(recording: Recording, trainings: Iterable[Mapping[str, Any] | Training]) -> list[str]:
    """Append many trainings, each batch whole or not at all, and return their ids."""
    ids: list[str] = []
    batch: list[tuple[str, Prepared]] = []
    size = 0
    for number, given in enumerate(trainings, start=1):
        try:
            training_id, prepared = _prepared(recording, given)
        except InvalidInput as error:
            raise InvalidInput(f"training {number}: {error} (the first {len(ids)} are logged)") from error
        batch.append((training_id, prepared))
        size += len(prepared.record.value)
        if len(batch) >= _BATCH or size >= _BATCH_BYTES:
            ids += _append(recording, batch)
            batch, size = [], 0
    return ids + _append(recording, batch)


def _prepared(recording: Recording, given: object) -> tuple[str, Prepared]:
    """Return the id of what was given, and the fact that logs it."""
    if isinstance(given, Training):
        return given.training_id, prepared_training(recording, given)
    if not isinstance(given, Mapping):
        raise InvalidInput(f"it is {shown(given)}: give a mapping, or a Training")
    unknown = [key for key in given if key not in _KEYS]
    if unknown:
        raise InvalidInput(f"{shown(unknown[0])} is not one of {', '.join(_KEYS)}")
    if "model" not in given:
        raise InvalidInput("it has no model")
    values = dict(given)
    artifact, artifact_format = values.pop("artifact", None), values.pop("artifact_format", None)
    training = training_record(**values, now=recording.preparer.clock())
    return training.training_id, prepared_training(recording, training, artifact, artifact_format)


def _append(recording: Recording, batch: list[tuple[str, Prepared]]) -> list[str]:
    if batch:
        recording.append([prepared for _, prepared in batch])
    return [training_id for training_id, _ in batch]
