"""`deedbook copy`: a whole registry carried from one place to another."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deedbook.cli.documents import print_document
from deedbook.cli.ending import FAILED
from deedbook.cli.options import AsJson, settings_of
from deedbook.cli.progress import waiting_for
from deedbook.cli.settings import Settings
from deedbook.cli.tables import Column, note, print_fields, print_table
from deedbook.cli.wiring import missing
from deedbook.events.errors import DeedbookError, InvalidInput

if TYPE_CHECKING:
    from deedbook.artifacts.copying import ArtifactsCopied
    from deedbook.client.place import Place
    from deedbook.events.copying import Copied, CopyTarget
    from deedbook.events.log import Log
    from deedbook.projector.comparing import Compared


class Artifacts(StrEnum):
    """What becomes of the artifacts."""

    COPY = "copy"
    LEAVE = "leave"


def copy(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(help="The URL of the registry to copy.", metavar="FROM")],
    target: Annotated[str, typer.Argument(help="The URL of the place to copy it to.", metavar="TO")],
    *,
    artifacts: Annotated[
        Artifacts, typer.Option(help="Copy the artifacts, too, or leave them where they are.")
    ] = Artifacts.COPY,
    artifacts_from: Annotated[
        str | None,
        typer.Option(
            help="Where FROM's artifacts are; else its folder, or DEEDBOOK_ARTIFACTS for one on Kafka.",
            metavar="LOCATION",
        ),
    ] = None,
    artifacts_to: Annotated[
        str | None,
        typer.Option(
            help="Where TO's artifacts are; else DEEDBOOK_ARTIFACTS, or its folder.", metavar="LOCATION"
        ),
    ] = None,
    partitions: Annotated[
        int,
        typer.Option(
            help="On Kafka: into how many partitions new topics are divided; registry always has one.",
            metavar="NUMBER",
            min=1,
            max=1_000,
        ),
    ] = 6,
    as_json: AsJson = False,
) -> None:
    """Carry a whole registry to an empty place, and compare the two; given again, it goes on where it ended."""
    began = time.monotonic()
    settings = settings_of(ctx)
    here = _from(settings, source, artifacts_from)
    there = replace(settings, url=target).place()
    there = replace(there, artifacts_at=artifacts_to or there.artifacts_at)
    for place in (here, there):
        place.check_log_is_here()
    if here.key() == there.key():
        raise InvalidInput("a registry cannot be copied into itself: name another place")
    moving = artifacts is Artifacts.COPY and _location(here, "from") != _location(there, "to")
    try:
        with _opened(here, there, partitions) as (log, to):
            copied, compared = _carry(log, to, there)
            moved = _move(compared, here, there) if moving else None
            to.finish()
    except KeyboardInterrupt:
        note(f"Ended before the copy at {there.url} was whole: the same command goes on with it.")
        raise
    _tell(copied, compared, moved, time.monotonic() - began, as_json=as_json)
    if moved is not None and (moved.missing or moved.damaged):
        raise typer.Exit(FAILED)


def _from(settings: Settings, url: str, artifacts_from: str | None) -> Place:
    """Return the place to copy from: where new artifacts go says nothing of where a folder's own are."""
    place = replace(settings, url=url).place()
    own = "" if place.kafka is None else place.artifacts_at
    return replace(place, artifacts_at=artifacts_from or own)


def _location(place: Place, side: str) -> str:
    """Return where a registry's artifacts are: a folder, or a URL."""
    if not place.artifacts_at:
        if place.kafka is not None:
            raise InvalidInput(
                f"where the artifacts of {place.url} are is not known: name the place with --artifacts-{side}, or "
                "leave them where they are with --artifacts leave"
            )
        return str(place.folder / "artifacts")
    scheme, separator, rest = place.artifacts_at.partition("://")
    if separator and scheme != "file":
        return place.artifacts_at
    return str(Path(rest if separator else scheme).absolute())


@contextmanager
def _opened(here: Place, there: Place, partitions: int) -> Iterator[tuple[Log, CopyTarget]]:
    """Open both sides; nothing is written yet."""
    from deedbook.events.clock import now_micros

    with (
        closing(here.log(create=False, clock=now_micros)) as log,
        closing(_target(there, partitions)) as target,
    ):
        yield log, target


def _target(place: Place, partitions: int) -> CopyTarget:
    if place.kafka is None:
        from deedbook.events.sqlite_restoring import SqliteTarget

        return SqliteTarget(place.folder)
    from deedbook.events.kafka.copying import KafkaTarget

    return KafkaTarget(place.kafka, partitions=partitions)


def _carry(log: Log, to: CopyTarget, there: Place) -> tuple[Copied, Compared]:
    """Carry what is missing, and see that the same is true of both; the copy stays closed if it is not."""
    from deedbook.events.copying import Copy

    try:
        from deedbook.projector.comparing import compare
    except ModuleNotFoundError as error:
        raise missing(error, "server") from error

    copying = Copy(log, to)
    with waiting_for("Reading both sides") as on_progress:
        copying.look(on_progress=on_progress)
    with waiting_for("Copying the log") as on_progress:
        copied = copying.carry(on_progress=on_progress)
    there.folder.mkdir(parents=True, exist_ok=True)
    with waiting_for("Folding both logs") as on_progress:
        compared = compare(
            (log, copied.source_ends), (copied.log, copied.target_ends), there.folder, on_progress=on_progress
        )
    if compared.left != compared.right:
        raise DeedbookError(
            f"the copy holds every record, and yet folds to another state ({', '.join(compared.differing)} differ): "
            "it stays closed; go on with the registry it was copied from"
        )
    return copied, compared


def _move(compared: Compared, here: Place, there: Place) -> ArtifactsCopied:
    """Carry the artifacts that the log refers to."""
    from deedbook.artifacts.copying import copy_artifacts
    from deedbook.artifacts.store import store_at

    scratch = there.folder / "copy-artifacts"
    source = store_at(here.artifacts_at or here.folder / "artifacts", cache=scratch)
    try:
        with waiting_for("Copying the artifacts") as on_progress:
            return copy_artifacts(
                compared.artifacts, source, there.artifacts(), scratch=scratch, on_progress=on_progress
            )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _tell(
    copied: Copied, compared: Compared, moved: ArtifactsCopied | None, seconds: float, *, as_json: bool
) -> None:
    lacking = {
        "missing": moved.missing if moved else (),
        "damaged": moved.damaged if moved else (),
    }
    if as_json:
        print_document(
            {
                "state_hash": compared.right,
                "records": copied.records,
                "carried": copied.carried,
                "artifacts_copied": moved.copied if moved else 0,
                "artifacts_missing": lacking["missing"],
                "artifacts_damaged": lacking["damaged"],
                "seconds": round(seconds, 3),
            }
        )
        return
    print_fields(
        [
            ("state hash", f"{compared.right}, before and after"),
            ("records", f"{copied.records:,}, of them {copied.carried:,} carried now"),
            (
                "artifacts",
                f"{moved.copied:,} copied, {moved.already_there:,} already there" if moved else "left",
            ),
            ("time", f"{seconds:.1f} s"),
        ]
    )
    rows = [(word, digest) for word, digests in lacking.items() for digest in digests]
    if rows:
        print_table([Column("artifact", whole=True), Column("SHA-256")], rows)
        note(
            "These artifacts are not whole where the registry was copied from, so they could not be copied; with "
            "--artifacts leave that is no failure."
        )
