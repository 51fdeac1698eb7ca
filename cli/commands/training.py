"""One training, and trainings side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from deedbook.cli.asking import asked
from deedbook.cli.commands.trainings import standing_words
from deedbook.cli.documents import print_document
from deedbook.cli.moments import shown
from deedbook.cli.numbers import short_number, size
from deedbook.cli.options import AsJson, TrainingId, settings_of
from deedbook.cli.tables import Column, print_fields, print_table, say

if TYPE_CHECKING:
    from deedbook.projector.queries import Check, ComparedMetric, Comparison, TrainingDetail

_NUMBER: Final = "right"


def training(ctx: typer.Context, training: TrainingId, as_json: AsJson = False) -> None:
    """Show all that is known of one training."""
    with asked(settings_of(ctx)) as registry, registry.asking() as questions:
        detail = questions.training(training)
    if as_json:
        print_document(detail)
        return
    _print_head(detail)
    _print_values(detail)
    _print_judged(detail)
    _print_use(detail)


def _print_head(detail: TrainingDetail) -> None:
    say(f"{detail.model}@{detail.version}", style="bold")
    print_fields(
        [
            ("id", detail.training_id),
            (
                "standing",
                standing_words(detail.outcome, deployable=detail.deployable, overridden=detail.overridden),
            ),
            ("because", detail.reason),
            ("created (UTC)", shown(detail.created_at)),
            ("started", shown(detail.started_at)),
            ("finished", shown(detail.finished_at)),
            ("by", detail.actor),
            ("position", detail.position),
            ("model type", detail.model_type),
            ("framework", detail.framework),
            ("git sha", detail.git_sha),
            ("data", detail.data_fingerprint),
            ("artifact", detail.artifact_uri),
            ("", _artifact_words(detail)),
            ("features", ", ".join(feature.name for feature in detail.features)),
            ("parameters", " ".join(f"{p.name}={p.value}" for p in detail.parameters)),
            ("tags", " ".join(f"{name}={text}" if text else name for name, text in detail.tags.items())),
        ]
    )


def _artifact_words(detail: TrainingDetail) -> str:
    if not detail.artifact_sha256:
        return ""
    return f"{detail.artifact_format or 'no format given'}, {size(detail.artifact_size_bytes)}"


def _print_values(detail: TrainingDetail) -> None:
    if detail.metrics:
        say()
        columns = [
            Column("metric"),
            Column("slice"),
            Column("value", align=_NUMBER),
            Column("unit"),
            Column("better"),
        ]
        print_table(
            columns,
            (
                (
                    m.name,
                    m.slice,
                    short_number(m.value),
                    m.unit,
                    "" if m.direction == "unspecified" else m.direction,
                )
                for m in detail.metrics
            ),
        )
    if detail.step_metrics:
        say()
        columns = [Column("step metric"), Column("slice"), Column("points", align=_NUMBER)]
        columns += [Column("last step", align=_NUMBER), Column("last value", align=_NUMBER)]
        print_table(
            columns,
            (
                (m.name, m.slice, m.count, m.last_step, short_number(m.last_value))
                for m in detail.step_metrics
            ),
        )
    if detail.coefficients:
        say()
        columns = [Column("coefficient"), Column("value", align=_NUMBER)]
        print_table(columns, ((c.name, short_number(c.value)) for c in detail.coefficients))


def _print_judged(detail: TrainingDetail) -> None:
    if detail.verdicts:
        newest = detail.verdicts[-1]
        policy = f"policy version {newest.policy_version}" if newest.policy_version else "the default policy"
        say()
        say(f"Verdict at position {newest.position}, by {policy}, from {newest.actor}: {newest.outcome}")
        print_checks(newest.checks)
    for override in detail.overrides:
        word = "deployable" if override.deployable else "not deployable"
        say(f"Overridden at position {override.position} by {override.actor}, {word}: {override.reason}")
    for a in detail.amendments:
        old, new = (a.old_value_number, a.value_number) if a.kind == "metric" else (a.old_value, a.value)
        say(
            f"Amended at position {a.position} by {a.actor}: {a.kind} {a.name} from {old} to {new}: {a.reason}"
        )


def print_checks(checks: tuple[Check, ...]) -> None:
    """Print what checks found: observed beside threshold, and the sentence."""
    columns = [
        Column("check"),
        Column("outcome", whole=True),
        Column("observed", whole=True, align=_NUMBER),
        Column("threshold", whole=True, align=_NUMBER),
        Column("reason", narrow="below"),
    ]
    rows = [
        (
            f"{check.check} {check.subject}".strip(),
            check.outcome,
            short_number(check.observed),
            short_number(check.threshold),
            check.reason,
        )
        for check in checks
    ]
    print_table(columns, rows)


def _print_use(detail: TrainingDetail) -> None:
    if detail.deployments:
        say()
        columns = [
            Column("deployment", whole=True),
            Column("service"),
            Column("environment"),
            Column("release"),
        ]
        columns += [Column("decision", whole=True), Column("position", align=_NUMBER)]
        print_table(
            columns,
            (
                (d.deployment_id, d.service, d.environment, d.release, d.decision, d.position)
                for d in detail.deployments
            ),
        )
    if detail.model_loads:
        say()
        columns = [
            Column("instance"),
            Column("service"),
            Column("environment"),
            Column("release"),
            Column("loaded (UTC)"),
        ]
        print_table(
            columns,
            (
                (m.instance, m.service, m.environment, m.release, shown(m.loaded_at))
                for m in detail.model_loads
            ),
        )


def compare(
    ctx: typer.Context,
    trainings: Annotated[
        list[str],
        typer.Argument(
            metavar="ID ID...", help="Two trainings or more: ids, beginnings of ids, or MODEL@VERSION."
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Put trainings side by side."""
    with asked(settings_of(ctx)) as registry, registry.asking() as questions:
        found = questions.compare(trainings)
    if as_json:
        print_document(_document(found))
    else:
        _print_compared(found)


def _document(found: Comparison) -> dict[str, object]:
    return {
        "trainings": [
            {
                "training_id": t.training_id,
                "model": t.model,
                "version": t.version,
                "created_at": t.created_at,
                "outcome": t.outcome,
                "deployable": t.deployable,
            }
            for t in found.trainings
        ],
        "parameters": found.parameters,
        "metrics": [
            {
                "name": m.metric.name,
                "slice": m.metric.slice,
                "direction": m.direction,
                "unit": m.unit,
                "values": m.values,
                "best": m.best,
            }
            for m in found.metrics
        ],
    }


def _print_compared(found: Comparison) -> None:
    names = [f"{t.model}@{t.version}" for t in found.trainings]
    columns = [Column(""), *(Column(name, align=_NUMBER) for name in names)]
    rows: list[tuple[object, ...]] = [
        ("id", *(t.training_id for t in found.trainings)),
        ("created (UTC)", *(shown(t.created_at)[:16] for t in found.trainings)),
        (
            "standing",
            *(
                standing_words(t.outcome, deployable=t.deployable, overridden=t.overridden)
                for t in found.trainings
            ),
        ),
    ]
    differing = [p for p in found.parameters if p.differs]
    rows += [(p.name, *p.values) for p in differing]
    rows += [(str(m.metric), *_values(m)) for m in found.metrics]
    print_table(columns, rows)
    if len(differing) < len(found.parameters):
        same = " ".join(f"{p.name}={p.values[0]}" for p in found.parameters if not p.differs)
        say(f"The same in all: {same}")
    if any(m.best for m in found.metrics):
        say("* is the best value.")


def _values(metric: ComparedMetric) -> list[str]:
    return [
        short_number(value) + (" *" if place in metric.best else "")
        for place, value in enumerate(metric.values)
    ]
