"""What serves what: releases bound to trainings, rolled back, and what was live when."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deedbook.cli.asking import Questions, asked
from deedbook.cli.documents import print_document
from deedbook.cli.input_files import read_input, read_objects
from deedbook.cli.moments import iso, moment, shown
from deedbook.cli.options import PRODUCTION, AsJson, Environment, Limit, settings_of
from deedbook.cli.plain_text import plain
from deedbook.cli.tables import Column, print_fields, print_table, say
from deedbook.cli.writing import recorded
from deedbook.events.errors import InvalidInput, NotFound
from deedbook.events.names import normalise

if TYPE_CHECKING:
    from deedbook.events.facts import AcceptanceReport, ModelBinding
    from deedbook.projector.queries import Deployment, LiveRelease

Service = Annotated[str, typer.Argument(help="The service's name.")]
Release = Annotated[str, typer.Argument(help="The release of the service's code, such as its git sha.")]
ExpectedPrevious = Annotated[
    str | None,
    typer.Option(help="Only if this release is the current one; '' for none.", metavar="RELEASE"),
]
_ACCEPTANCE_KEYS = {"passed": bool, "requests_replayed": int, "summary": str, "uri": str}


def deploy(
    ctx: typer.Context,
    service: Service,
    release: Release,
    *,
    model: Annotated[
        list[str],
        typer.Option(
            help="A model and the training it is bound to (an id, its beginning, or MODEL@VERSION); may be repeated.",
            metavar="NAME=TRAINING",
        ),
    ],
    environment: Environment = PRODUCTION,
    expected_previous: ExpectedPrevious = None,
    git_sha: Annotated[str, typer.Option(help="The commit of the service's code.", metavar="SHA")] = "",
    acceptance: Annotated[
        Path | None,
        typer.Option(
            help="What the acceptance tests found: JSON with passed, requests_replayed, summary, uri.",
            metavar="FILE",
        ),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, for whoever asks in a year.", metavar="TEXT")] = "",
    as_json: AsJson = False,
) -> None:
    """Bind a release of a service to deployable trainings."""
    from deedbook.events.facts import DeploymentRequested
    from deedbook.events.ids import new_id

    report = None if acceptance is None else _acceptance(acceptance)
    with asked(settings_of(ctx)) as registry:
        with registry.asking() as questions:
            models = tuple(_binding(questions, text) for text in model)
        fact = DeploymentRequested(
            **registry.envelope(),
            deployment_id=new_id(),
            service=normalise(service),
            environment=normalise(environment),
            release=normalise(release),
            models=models,
            git_sha=git_sha,
            expected_previous=expected_previous,
            acceptance=report,
            reason=reason,
        )
        with recorded(registry, fact) as (_, questions):
            found = questions.deployment(fact.deployment_id)
    if as_json:
        print_document(found)
        return
    before = f", after {found.previous}" if found.previous else ""
    say(f"Release {found.release} of {found.service} is the current one in {found.environment}{before}.")
    print_fields([("deployment", found.deployment_id), ("position", found.position)])


def _binding(questions: Questions, text: str) -> ModelBinding:
    from deedbook.events.facts import ModelBinding

    name, equals, training = text.rpartition("=")
    if not (name and equals and training):
        raise InvalidInput(
            f"--model {plain(text, 80)!r} must be written NAME=TRAINING, such as home-price=0198c2a4"
        )
    return ModelBinding(model=normalise(name), training_id=questions.training_id(training))


def _acceptance(file: Path) -> AcceptanceReport:
    from deedbook.events.facts import AcceptanceReport

    name = plain(file, 200)
    objects = read_objects(read_input(str(file)), name)
    if len(objects) != 1:
        raise InvalidInput(f"{name} must hold one JSON object, not {len(objects)}")
    report: dict[str, Any] = objects[0]
    for key, value in report.items():
        kind = _ACCEPTANCE_KEYS.get(key)
        if kind is None:
            raise InvalidInput(
                f"{plain(key, 60)!r} is not a key of an acceptance report: its keys are {', '.join(_ACCEPTANCE_KEYS)}"
            )
        if type(value) is not kind:
            wanted = {bool: "true or false", int: "a whole number", str: "a text"}[kind]
            raise InvalidInput(f"{key} in {name} must be {wanted}")
    if "passed" not in report:
        raise InvalidInput(f'{name} does not say whether the tests passed: {{"passed": true}}')
    return AcceptanceReport(**report)


def rollback(
    ctx: typer.Context,
    service: Service,
    release: Release,
    *,
    environment: Environment = PRODUCTION,
    expected_previous: ExpectedPrevious = None,
    reason: Annotated[str, typer.Option(help="Why, for whoever asks in a year.", metavar="TEXT")] = "",
    as_json: AsJson = False,
) -> None:
    """Make an already bound release the current one again."""
    from deedbook.events.facts import ReleaseActivated

    with asked(settings_of(ctx)) as registry:
        fact = ReleaseActivated(
            **registry.envelope(),
            service=normalise(service),
            environment=normalise(environment),
            release=normalise(release),
            expected_previous=expected_previous,
            reason=reason,
        )
        with recorded(registry, fact) as (decided, questions):
            found = questions.live(fact.service, fact.environment, None)
    if as_json:
        print_document(found if found is not None and found.from_position == decided.position else None)
        return
    say(f"Release {fact.release} of {fact.service} is the current one in {fact.environment} again.")
    print_fields([("position", decided.position)])


def deployments(
    ctx: typer.Context,
    service: Annotated[str | None, typer.Argument(help="Of this service; else of all.")] = None,
    *,
    environment: Annotated[str | None, typer.Option(help="In this environment.", metavar="NAME")] = None,
    accepted: Annotated[
        bool | None, typer.Option("--accepted/--rejected", help="That the registry accepted, or rejected.")
    ] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List requested deployments and what was decided."""
    decision = None if accepted is None else ("accepted" if accepted else "rejected")
    with asked(settings_of(ctx)) as registry, registry.asking() as questions:
        found = questions.deployments(
            service=service, environment=environment, decision=decision, limit=limit
        )
    if as_json:
        print_document(found)
    elif found:
        _print_deployments(found)
    else:
        say(
            "There are no such deployments. Bind a release with: deedbook deploy SERVICE RELEASE --model NAME=TRAINING"
        )


def _print_deployments(found: Sequence[Deployment]) -> None:
    columns = [
        Column("position", whole=True, align="right"),
        Column("requested (UTC)", whole=True),
        Column("service"),
        Column("environment"),
        Column("release"),
        Column("decision", whole=True),
        Column("models", narrow="below"),
        Column("by", narrow="drop"),
        Column("reason", narrow="below"),
    ]
    rows = [
        (
            d.position,
            shown(d.requested_at)[:16],
            d.service,
            d.environment,
            f"{d.release} (current)" if d.current else d.release,
            d.decision,
            " ".join(
                f"{m.model}@{m.version}" if m.version else f"{m.model}={m.training_id}" for m in d.models
            ),
            d.actor,
            d.note if d.decision == "accepted" else d.reason,
        )
        for d in found
    ]
    print_table(columns, rows)


def live(
    ctx: typer.Context,
    service: Service,
    environment: Environment = PRODUCTION,
    at: Annotated[
        str | None,
        typer.Option(help="At this time (ISO-8601, UTC), as the log recorded it; else now.", metavar="TIME"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what is live, or was at a time, and why."""
    when = moment(at, "--at") if at else None
    with asked(settings_of(ctx)) as registry, registry.asking() as questions:
        found = questions.live(normalise(service), normalise(environment), when)
    if found is None:
        then = "is" if when is None else "was"
        at_time = "" if when is None else f" at {iso(when)}"
        raise NotFound(f"nothing of {plain(service, 80)} {then} live in {plain(environment, 80)}{at_time}")
    if as_json:
        print_document(found)
    else:
        _print_live(found)


def _print_live(release: LiveRelease) -> None:
    say(f"{release.service} in {release.environment}: release {release.release}", style="bold")
    print_fields(
        [
            ("live from (UTC)", f"{shown(release.live_from)}, position {release.from_position}"),
            (
                "until",
                f"{shown(release.live_until)}, position {release.to_position}" if release.live_until else "",
            ),
            ("by", release.actor),
            ("because", release.reason),
            ("git sha", release.git_sha),
            ("deployment", release.deployment_id),
        ]
    )
    say()
    columns = [
        Column("model"),
        Column("training", whole=True),
        Column("deployable", whole=True),
        Column("why", narrow="below"),
    ]
    rows = [
        (
            f"{model.model}@{model.version}",
            model.training_id,
            "yes" if model.deployable else "no",
            model.reason,
        )
        for model in release.models
    ]
    print_table(columns, rows)
