"""What may be deployed, and why not: failures, policies, new verdicts, and people's own decisions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deedbook.cli.asking import asked
from deedbook.cli.commands.training import print_checks
from deedbook.cli.documents import print_document
from deedbook.cli.moments import shown
from deedbook.cli.options import AsJson, Limit, TrainingId, settings_of
from deedbook.cli.plain_text import plain
from deedbook.cli.tables import note, print_fields, say
from deedbook.cli.wiring import missing
from deedbook.cli.writing import recorded
from deedbook.events.errors import InvalidInput, NotFound
from deedbook.events.names import normalise

if TYPE_CHECKING:
    from deedbook.projector.queries import Failure, PublishedPolicy, Standing


def failures(
    ctx: typer.Context,
    model: Annotated[str | None, typer.Option(help="Of this model.", metavar="NAME")] = None,
    current: Annotated[bool, typer.Option("--current", help="Leave out those with a later verdict.")] = False,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List failed validations, each with its reasons."""
    with asked(settings_of(ctx)) as registry, registry.asking() as questions:
        found = questions.failures(model=model, include_superseded=not current, limit=limit)
    if as_json:
        print_document(found)
    elif found:
        for failure in found:
            _print_failure(failure)
    else:
        say("No validation has failed.")


def _print_failure(failure: Failure) -> None:
    verdict = failure.verdict
    parameters = " ".join(f"{name}={value}" for name, value in failure.parameters.items())
    policy = f"policy version {verdict.policy_version}" if verdict.policy_version else "the default policy"
    say(f"{verdict.model}@{verdict.version} {verdict.outcome}", style="bold")
    print_fields(
        [
            ("training", verdict.training_id),
            ("parameters", parameters),
            (
                "verdict",
                f"position {verdict.position}, {shown(verdict.issued_at)}, by {policy}, from {verdict.actor}",
            ),
            ("compared with", verdict.baseline_training_id),
            ("since then", _since(failure)),
        ]
    )
    print_checks(verdict.failing)
    say()


def _since(failure: Failure) -> str:
    word = "deployable" if failure.deployable else "not deployable"
    if failure.overridden:
        return f"overridden: {word}"
    return f"judged again: {word}" if failure.superseded else ""


policy = typer.Typer(help="Publish and show what trainings must pass.", no_args_is_help=False)


@policy.command("publish")
def publish_policy(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The policy, a TOML file; - reads standard input.")],
    as_json: AsJson = False,
) -> None:
    """Publish a policy for the trainings logged from now on."""
    from deedbook.cli.input_files import read_input
    from deedbook.events.facts import PolicyPublished

    try:
        from deedbook.consumers.policy import read_policy
    except ModuleNotFoundError as error:
        raise missing(error, "validation") from error

    source = read_input(str(file))
    read = read_policy(source)
    with asked(settings_of(ctx), create=True) as registry:
        fact = PolicyPublished(**registry.envelope(), policy=read, source=source)
        with recorded(registry, fact) as (decided, questions):
            published = questions.policies(read.model)
    version = next((one.version for one in published if one.position == decided.position), 0)
    if as_json:
        print_document({"model": read.model, "version": version, "position": decided.position})
    else:
        say(f"Policy version {version} of {read.model} holds from position {decided.position} on.")


@policy.command("show")
def show_policy(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(help="The model's name.")],
    version: Annotated[
        int | None, typer.Option(help="This version; else the one in force.", min=0, metavar="NUMBER")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a model's trainings must pass."""
    name = normalise(model)
    with asked(settings_of(ctx)) as registry, registry.asking() as questions:
        published = questions.policies(name)
    chosen = next((one for one in reversed(published) if version in (None, one.version)), None)
    if chosen is None and version not in (None, 0):
        known = f"{len(published)} were published" if published else "none was published"
        raise NotFound(f"there is no policy version {version} of {plain(name, 80)}: {known}")
    if chosen is None or version == 0:
        _show_default(name, as_json=as_json)
    elif as_json:
        print_document(_document(chosen))
    else:
        say(
            f"Policy version {chosen.version} of {name}, published at position {chosen.position} by {chosen.actor}:"
        )
        for line in chosen.source.splitlines():
            say(f"  {line}")


def _document(chosen: PublishedPolicy) -> dict[str, object]:
    return {
        "model": chosen.model,
        "version": chosen.version,
        "policy": json.loads(chosen.policy),
        "source": chosen.source,
        "actor": chosen.actor,
        "position": chosen.position,
    }


def _show_default(model: str, *, as_json: bool) -> None:
    from deedbook.projector.view import default_policy

    default = default_policy(model)
    if as_json:
        absent = {"source": None, "actor": None, "position": None}
        print_document({"model": model, "version": 0, "policy": default, **absent})
        return
    say(f"No policy was published for {model}, so the default one holds:")
    group = "all parameters" if default.group_by_all else ", ".join(default.group_by) or "nothing"
    print_fields(
        [
            ("compared with", f"{default.baseline.value} of the same values of {group}"),
            ("formats", ", ".join(default.allowed_formats)),
        ]
    )
    for spec in default.checks:
        settings = ", ".join(f"{setting.name} = {setting.text}" for setting in spec.settings)
        say(f"  {spec.check}{': ' if settings else ''}{settings}")


def revalidate(
    ctx: typer.Context,
    training: TrainingId,
    reason: Annotated[str, typer.Option(help="Why, for whoever asks in a year.", metavar="TEXT")] = "",
    as_json: AsJson = False,
) -> None:
    """Ask for a new verdict; the old one holds until it comes."""
    from deedbook.events.facts import RevalidationRequested

    with asked(settings_of(ctx)) as registry:
        with registry.asking() as questions:
            training_id = questions.training_id(training)
        fact = RevalidationRequested(**registry.envelope(), training_id=training_id, reason=reason)
        with recorded(registry, fact) as (decided, questions):
            now = questions.standing(training_id)
    if as_json:
        print_document({"training_id": training_id, "requested_at_position": decided.position})
        return
    say(f"A new verdict on {now.model}@{now.version} is asked for at position {decided.position}.")
    note("It is for a worker to give: deedbook validate --once")


def override(
    ctx: typer.Context,
    training: TrainingId,
    reason: Annotated[str, typer.Option(help="Why: it is recorded with your name.", metavar="TEXT")],
    deployable: Annotated[
        bool | None,
        typer.Option("--deployable/--not-deployable", help="What is decided instead of the verdict."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Decide otherwise than the verdict; till one asked for later."""
    from deedbook.events.facts import VerdictOverridden

    if deployable is None:
        raise InvalidInput("say what is decided: --deployable or --not-deployable")
    if not reason.strip():
        raise InvalidInput("an override needs its reason: --reason TEXT")
    with asked(settings_of(ctx)) as registry:
        with registry.asking() as questions:
            training_id = questions.training_id(training)
        fact = VerdictOverridden(
            **registry.envelope(), training_id=training_id, deployable=deployable, reason=reason
        )
        with recorded(registry, fact) as (_, questions):
            now = questions.standing(training_id)
    if as_json:
        print_document(now)
        return
    say(f"{now.model}@{now.version} is {_word(now)} from position {now.from_position} on: {now.reason}")


def _word(now: Standing) -> str:
    return "deployable" if now.deployable else "not deployable"
