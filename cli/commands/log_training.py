"""`deedbook log-training`: trainings from JSON onto the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deedbook.cli.asking import Asked, Decided, asked
from deedbook.cli.documents import print_document
from deedbook.cli.input_files import read_input, read_objects
from deedbook.cli.options import AsJson, settings_of
from deedbook.cli.plain_text import plain
from deedbook.cli.progress import waiting_for
from deedbook.cli.tables import note, say
from deedbook.events.errors import InvalidInput, NotFound, RequestRejected

if TYPE_CHECKING:
    from deedbook.events.facts import Training


@dataclass(frozen=True, slots=True)
class Logged:
    """A training that was put on the log, and what was decided on it; `version` is None if it was rejected."""

    training_id: str
    model: str
    version: int | None
    position: int
    decision: str
    reason: str


def log_training(
    ctx: typer.Context,
    file: Annotated[
        str, typer.Argument(help="A JSON object, an array of them, or one a line; - reads standard input.")
    ],
    artifact: Annotated[
        Path | None,
        typer.Option(help="The model's file: it is stored, and its digest recorded.", metavar="FILE"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Log trainings described in JSON: all, or none."""
    name = "standard input" if file == "-" else plain(file, 200)
    trainings = _trainings(read_objects(read_input(file), name))
    if artifact is not None:
        _check_artifact(trainings, artifact)
    with asked(settings_of(ctx), create=True) as registry:
        logged = _logged(registry, trainings, artifact)
    if as_json:
        print_document(logged)
    else:
        _print(logged)
    rejected = [one for one in logged if one.decision == "rejected"]
    if rejected:
        count = f"{len(rejected)} of {len(logged)} trainings were rejected: " if len(logged) > 1 else ""
        raise RequestRejected(f"{count}{rejected[0].reason}")


def _trainings(objects: Sequence[dict[str, object]]) -> list[Training]:
    """Return the trainings that JSON objects describe, every one of them good to be logged."""
    from deedbook.cli.training_records import training_of
    from deedbook.events.clock import now_micros

    found = []
    for number, item in enumerate(objects, start=1):
        try:
            training = training_of(item, now=now_micros())
            _check(training)
        except InvalidInput as error:
            raise InvalidInput(f"training {number}: {error}" if len(objects) > 1 else str(error)) from None
        found.append(training)
    return found


def _check(training: Training) -> None:
    """Raise InvalidInput for what could not be logged, before a registry is opened or made for it."""
    from deedbook.events.clock import now_micros
    from deedbook.events.codec import Codec
    from deedbook.events.facts import TrainingLogged
    from deedbook.events.ids import new_id
    from deedbook.events.shape import problem_of

    fact = TrainingLogged(event_id=new_id(), occurred_at=now_micros(), actor="nobody", training=training)
    if (problem := problem_of(fact)) is not None:
        raise InvalidInput(problem)
    Codec().encode(fact)


def _check_artifact(trainings: Sequence[Training], file: Path) -> None:
    if len(trainings) != 1:
        raise InvalidInput(f"--artifact is the file of one training, and these are {len(trainings)}")
    if trainings[0].artifact.uri or trainings[0].artifact.sha256:
        raise InvalidInput("the training names an artifact already: leave that out, or --artifact")
    if not file.is_file():
        raise NotFound(f"there is no file {plain(file, 200)!r}")


def _logged(registry: Asked, trainings: Sequence[Training], artifact: Path | None) -> list[Logged]:
    """Append the trainings, the file of the only one stored before, and return what was decided."""
    from deedbook.client.records import prepared_training
    from deedbook.events.facts import Artifact

    recording = registry.recording
    facts = []
    for training in trainings:
        if artifact is None:
            prepared = prepared_training(recording, training)
        else:
            bare, kind = replace(training, artifact=Artifact()), training.artifact.format or None
            with waiting_for("Storing the artifact", in_bytes=True) as on_progress:
                prepared = prepared_training(recording, bare, artifact, kind, on_progress=on_progress)
        facts.append(prepared)
    with registry.deciding(facts) as (decided, questions):
        there = [
            training.training_id
            for training, found in zip(trainings, decided, strict=True)
            if found.decision != "rejected"
        ]
        versions = questions.versions(there)
    return [_one(training, found, versions) for training, found in zip(trainings, decided, strict=True)]


def _one(training: Training, found: Decided, versions: Mapping[str, int]) -> Logged:
    return Logged(
        training_id=training.training_id,
        model=training.model,
        version=None if found.decision == "rejected" else versions.get(training.training_id),
        position=found.position,
        decision=found.decision,
        reason=found.reason,
    )


def _print(logged: Sequence[Logged]) -> None:
    for one in logged:
        match one.decision:
            case "accepted":
                say(f"Logged {one.model}@{one.version} ({one.training_id}) at position {one.position}.")
            case "ignored":
                say(f"{one.model}@{one.version} ({one.training_id}) was there already.")
            case _:
                say(f"Rejected {one.model} ({one.training_id}): {one.reason}")
    if any(one.decision == "accepted" for one in logged):
        note("Whether it may be deployed is for a verdict to say: deedbook validate --once")
