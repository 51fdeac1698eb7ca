"""The registry itself: made, copied, folded anew, hashed, verified."""

from __future__ import annotations

from typing import Annotated

import typer

from deedbook.cli.asking import asked
from deedbook.cli.documents import print_document
from deedbook.cli.ending import FAILED
from deedbook.cli.options import AsJson, settings_of
from deedbook.cli.progress import waiting_for
from deedbook.cli.tables import Column, print_fields, print_table, say
from deedbook.cli.wiring import Registry, opened


def init(
    ctx: typer.Context,
    partitions: Annotated[
        int,
        typer.Option(
            help="On Kafka: into how many partitions new topics are divided; registry always has one.",
            metavar="NUMBER",
            min=1,
            max=1_000,
        ),
    ] = 6,
) -> None:
    """Make a registry, unless there is one already."""
    settings = settings_of(ctx)
    settings.place().make(partitions=partitions)
    with opened(settings) as registry:
        _publish_schemas(registry)
        with registry.reading():
            if registry.place.kafka is None:
                say(f"The registry is in {registry.place.folder}.")
            else:
                say(
                    f"The registry is at {registry.place.url}; this machine folds it in {registry.place.folder}."
                )
    say("Log the first training with: deedbook log-training FILE")


def _publish_schemas(registry: Registry) -> None:
    """Put this release's schemas on the log, as far as they are not there: the log explains itself."""
    from deedbook.client.schemas import schema_facts
    from deedbook.events.facts import REGISTRY

    with registry.reading() as connection:
        known = {
            schema_id for (schema_id,) in connection.execute("select schema_id from main.schemas").fetchall()
        }
    missing = [fact for fact in schema_facts() if fact.schema_id not in known]
    if missing:
        registry.log.append(REGISTRY, [registry.recorder.prepared(fact) for fact in missing])


def snapshot(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Bring the snapshot up to date and print its path."""
    with asked(settings_of(ctx)) as registry:
        path = registry.snapshot()
    if as_json:
        print_document({"snapshot": path})
    else:
        say(path)


def rebuild(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Fold the whole log anew, in the projection's place."""
    from deedbook.projector.rebuild import rebuild as fold_again

    with opened(settings_of(ctx)) as registry, waiting_for("Folding the log") as on_progress:
        rebuilt = fold_again(registry.projection, registry.log, on_progress=on_progress)
    if as_json:
        print_document(
            {"before": rebuilt.before or None, "state_hash": rebuilt.after, "positions": rebuilt.positions}
        )
        return
    before = rebuilt.before or "nothing that could be read"
    print_fields([("before", before), ("now", rebuilt.after), ("positions", rebuilt.positions)])


def state_hash(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Print the hash of all state: equal for equal logs."""
    from deedbook.projector.state_hash import positions
    from deedbook.projector.state_hash import state_hash as hash_of

    with opened(settings_of(ctx)) as registry, registry.reading() as connection:
        found = {"state_hash": hash_of(connection), "positions": positions(connection)}
    if as_json:
        print_document(found)
    else:
        say(f"{found['state_hash']}  {found['positions']}")


def check(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Verify the log end to end, and the projection by it."""
    from deedbook.projector.checkup import Severity
    from deedbook.projector.checkup import check as findings_of

    with opened(settings_of(ctx)) as registry, waiting_for("Reading the log") as on_progress:
        found = findings_of(registry.log, registry.projection, on_progress=on_progress)
    errors = sum(finding.severity is Severity.ERROR for finding in found)
    if as_json:
        print_document({"ok": not errors, "findings": found})
    else:
        print_table(
            [Column("severity", whole=True), Column("where"), Column("finding")],
            [(finding.severity.value, finding.where, finding.sentence) for finding in found],
        )
        say(f"{errors} error{'' if errors == 1 else 's'} found." if errors else "All is well.")
    if errors:
        raise typer.Exit(FAILED)
