"""Trainings: found, told, compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from deedbook.cli.asking import Questions, asked
from deedbook.cli.documents import print_document
from deedbook.cli.moments import moment, shown
from deedbook.cli.numbers import short_number
from deedbook.cli.options import AsJson, Limit, Since, Until, settings_of
from deedbook.cli.plain_text import plain
from deedbook.cli.tables import Column, on_terminal, print_table, say
from deedbook.events.errors import InvalidInput

if TYPE_CHECKING:
    from deedbook.projector.queries import TrainingSummary

_METRICS_IN_A_LIST = 4


def trainings(
    ctx: typer.Context,
    *,
    model: Annotated[str | None, typer.Option(help="Of this model.", metavar="NAME")] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(help="With this parameter, such as city=Austin; may be repeated.", metavar="NAME=VALUE"),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="With such a metric, as in 'mse < 0.2'; may be repeated.", metavar="COMPARISON"),
    ] = None,
    since: Since = None,
    until: Until = None,
    deployable: Annotated[
        bool | None, typer.Option("--deployable/--not-deployable", help="That may be deployed, or may not.")
    ] = None,
    order_by: Annotated[
        str | None,
        typer.Option(help="In the order of this metric, lowest first; else newest first.", metavar="METRIC"),
    ] = None,
    desc: Annotated[bool, typer.Option("--desc", help="Highest first.")] = False,
    show: Annotated[
        list[str] | None, typer.Option(help="Show this metric, too; may be repeated.", metavar="METRIC")
    ] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """Find trainings."""
    from deedbook.client.searching import search_of
    from deedbook.projector.queries import MetricFilter, MetricName

    filters = [MetricFilter.parse(text) for text in where or []]
    order = MetricName.parse(order_by) if order_by else None
    asked_for = [MetricName.parse(text) for text in show or []]
    wanted = search_of(
        model=model,
        parameters=_parameters(parameter or []),
        metrics=filters,
        created=(moment(since, "--since") if since else None, moment(until, "--until") if until else None),
        deployable=deployable,
        outcome=None,
        order_by=order,
        descending=True if desc else None,
        show=asked_for,
        limit=limit,
        offset=0,
    )
    with asked(settings_of(ctx)) as registry, registry.asking() as questions:
        found = questions.search(wanted)
        named = [*([order] if order else []), *(MetricName(f.name, f.slice) for f in filters), *asked_for]
        if not named:
            found = questions.with_metrics(found)
        if as_json:
            print_document(found)
        elif found:
            _print_list(questions, found, list(dict.fromkeys(str(metric) for metric in named)))
        elif questions.has_trainings():
            say("No training is like that.")
        else:
            say("There are no trainings yet. Log the first with: deedbook log-training FILE")


def _parameters(given: Sequence[str]) -> dict[str, str | float]:
    """Return the values wanted by parameter: texts, as they are written."""
    wanted: dict[str, str | float] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise InvalidInput(
                f"--parameter {plain(text, 80)!r} must be written NAME=VALUE, such as city=Austin"
            )
        if name in wanted:
            raise InvalidInput(f"--parameter {plain(name, 80)} is given twice")
        wanted[name] = value
    return wanted


def _print_list(questions: Questions, found: Sequence[TrainingSummary], metrics: Sequence[str]) -> None:
    ids = [training.training_id for training in found]
    names = questions.short_ids(ids) if on_terminal() else {id_: id_ for id_ in ids}
    columns = [
        Column("id", whole=True, narrow="drop"),
        Column("training"),
        Column("created (UTC)", whole=True),
        Column("standing"),
        Column("parameters"),
        *(Column(name, align="right") for name in metrics),
        *([] if metrics else [Column("metrics")]),
    ]
    rows = [
        (
            names[training.training_id],
            f"{training.model}@{training.version}",
            shown(training.created_at)[:16],
            standing_words(training.outcome, deployable=training.deployable, overridden=training.overridden),
            _joined(training.parameters),
            *(short_number(training.metrics.get(name)) for name in metrics),
            *([] if metrics else [_some(training.metrics)]),
        )
        for training in found
    ]
    print_table(columns, rows)


def standing_words(outcome: str, *, deployable: bool, overridden: bool) -> str:
    """Return how a training stands: its verdict's outcome, and what a person decided otherwise."""
    if not overridden:
        return outcome
    return f"{outcome}, overridden: {'deployable' if deployable else 'not deployable'}"


def _joined(values: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items())


def _some(metrics: Mapping[str, float]) -> str:
    """Return a few metrics by name; the whole list is in the training's own page."""
    names = sorted(metrics)
    shown_ = " ".join(f"{name}={short_number(metrics[name])}" for name in names[:_METRICS_IN_A_LIST])
    return shown_ + (" …" if len(names) > _METRICS_IN_A_LIST else "")
