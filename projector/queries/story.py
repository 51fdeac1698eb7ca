"""A training's or a deployment's whole story: what happened, where in the log, and why it was decided so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deedbook.events.errors import NotFound
from deedbook.events.facts import HOSTS, REGISTRY
from deedbook.projector.queries.asking import ask
from deedbook.projector.queries.deployments import (
    Deployment,
    deployment_id_of,
    deployment_with_id,
    is_deployment,
)
from deedbook.projector.queries.detail import TrainingDetail, training_detail, training_id_of
from deedbook.projector.queries.timeline import Event, events

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    import duckdb


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryLine:
    """One thing that happened: where in the log, when it was recorded, and what it meant, in a sentence.

    ``decision``: accepted, ignored or rejected; empty for what followed from another event.
    """

    topic: str
    position: int
    at: datetime
    actor: str
    type: str
    decision: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """All that happened to a training, a run without a model, or a deployment, in order.

    ``kind``: training, run or deployment. ``now``: how it stands.
    """

    kind: str
    subject: str
    title: str
    now: str
    lines: tuple[StoryLine, ...]


def explain(connection: duckdb.DuckDBPyConnection, text: str) -> Story:
    """Return the story of a training (an id, its beginning, or MODEL@VERSION), run or deployment (an id).

    Raises NotFound, InvalidInput where several are meant.
    """
    if is_deployment(connection, text):
        return deployment_story(connection, text)
    try:
        return training_story(connection, training_id_of(connection, text))
    except NotFound:
        if (run := _run_story(connection, text)) is not None:
            return run
        deployment_id = deployment_id_of(connection, text)
        if deployment_id is None:
            raise NotFound(f"there is no training or deployment {text[:200]} in this registry") from None
    return deployment_story(connection, deployment_id)


def training_story(connection: duckdb.DuckDBPyConnection, training_id: str) -> Story:
    """Return a training's story; raises NotFound."""
    detail = training_detail(connection, training_id)
    lines = [_training_line(event, detail) for event in detail.events]
    for deployment in detail.deployments:
        lines += _deployment_lines(connection, deployment)
    lines += _load_lines(connection, training_id=training_id)
    word = "deployable" if detail.deployable else "not deployable"
    return Story(
        kind="training",
        subject=training_id,
        title=f"{detail.model} version {detail.version}",
        now=f"{word} ({detail.outcome}): {detail.reason}",
        lines=_in_order(lines),
    )


def deployment_story(connection: duckdb.DuckDBPyConnection, deployment_id: str) -> Story:
    """Return a deployment's story; raises NotFound."""
    deployment = deployment_with_id(connection, deployment_id)
    asked, *followed = _deployment_lines(connection, deployment)
    lines = [asked, *_why_lines(connection, deployment), *followed]
    if deployment.decision == "accepted":
        lines += _load_lines(connection, deployment=deployment)
        now = "the current release" if deployment.current else "bound, and not the current release"
    else:
        now = f"rejected: {deployment.reason}"
    return Story(
        kind="deployment",
        subject=deployment_id,
        title=f"{deployment.service} {deployment.release} in {deployment.environment}",
        now=now,
        lines=_in_order(lines),
    )


def _run_story(connection: duckdb.DuckDBPyConnection, training_id: str) -> Story | None:
    """Return the story of a run that has no training (yet), None where there was no such run."""
    runs = ask(connection, "select model, state, error from main.runs where training_id = ?", [training_id])
    if not runs:
        return None
    (run,) = runs
    lines = [
        _line(
            event,
            f"{event.actor} started it" if event.type == "TrainingStarted" else f"it failed: {run['error']}",
        )
        for event in events(connection, subject=training_id)
    ]
    now = "running, or gone without a word" if run["state"] == "running" else f"failed: {run['error']}"
    return Story(
        kind="run", subject=training_id, title=f"{run['model']}, a run", now=now, lines=_in_order(lines)
    )


def _in_order(lines: Iterable[StoryLine]) -> tuple[StoryLine, ...]:
    # What follows from an event comes after it: sorting is stable, and positions of the registry are dense.
    return tuple(sorted(lines, key=lambda line: (line.at, line.topic != REGISTRY, line.position)))


def _line(event: Event, text: str) -> StoryLine:
    if event.decision != "accepted":
        text = f"{event.type} {event.decision}: {event.reason or 'no reason given'}"
    return StoryLine(
        topic=event.topic,
        position=event.position,
        at=event.recorded_at,
        actor=event.actor,
        type=event.type,
        decision=event.decision,
        text=text,
    )


def _training_line(event: Event, detail: TrainingDetail) -> StoryLine:
    match event.type:
        case "TrainingStarted":
            text = f"{event.actor} started it"
        case "TrainingLogged":
            artifact = f"artifact {detail.artifact_sha256[:12]}…" if detail.artifact_sha256 else "no artifact"
            text = f"logged as {detail.model} version {detail.version}, {len(detail.metrics)} metrics, {artifact}"
            text += _asked(event.position, detail)
        case "VerdictIssued":
            text = _verdict_text(event.position, detail)
        case "VerdictOverridden":
            override = next((o for o in detail.overrides if o.position == event.position), None)
            word = "deployable" if override is None or override.deployable else "not deployable"
            text = f"{event.actor} overrode the verdict, {word}: {override.reason if override else ''}"
        case "RevalidationRequested":
            text = f"{event.actor} asked for a new verdict{_asked(event.position, detail)}"
        case "TrainingAmended":
            text = _amended_text(event.position, detail) + _asked(event.position, detail)
        case _:
            text = event.type
    return _line(event, text)


def _asked(position: int, detail: TrainingDetail) -> str:
    """Say what the validation that an event asked for is by, and against what."""
    asked = next((v for v in detail.validations if v.requested_at_position == position), None)
    if asked is None:
        return ""
    policy = f"policy version {asked.policy_version}" if asked.policy_version else "the default policy"
    return f"; to be judged by {policy}"


def _verdict_text(position: int, detail: TrainingDetail) -> str:
    verdict = next((v for v in detail.verdicts if v.position == position), None)
    if verdict is None:
        return "a verdict"
    policy = f"policy version {verdict.policy_version}" if verdict.policy_version else "the default policy"
    against = f", against {verdict.baseline_training_id}" if verdict.baseline_training_id else ""
    found = [f"{check.check}: {check.reason}" for check in verdict.failing]
    why = "; ".join(found) or f"all {len(verdict.checks)} checks passed"
    return f"{verdict.outcome} by {policy}{against}: {why}"


def _amended_text(position: int, detail: TrainingDetail) -> str:
    amendments = [amendment for amendment in detail.amendments if amendment.position == position]
    changes = []
    for a in amendments:
        old, new = (a.old_value_number, a.value_number) if a.kind == "metric" else (a.old_value, a.value)
        changes.append(f"{a.kind} {a.name} from {old} to {new}")
    reason = amendments[0].reason if amendments else ""
    return f"amended, {', '.join(changes)}: {reason}"


def _deployment_lines(connection: duckdb.DuckDBPyConnection, deployment: Deployment) -> Iterator[StoryLine]:
    """Tell what was asked and decided, and when the release became current and stopped being so."""
    name = f"release {deployment.release} of {deployment.service} in {deployment.environment}"
    bound = ", ".join(
        f"{model.model} version {model.version}" if model.version else f"{model.model} {model.training_id}"
        for model in deployment.models
    )
    yield StoryLine(
        topic=REGISTRY,
        position=deployment.position,
        at=deployment.requested_at,
        actor=deployment.actor,
        type="DeploymentRequested",
        decision=deployment.decision,
        text=f"{name} bound to {bound}: {deployment.reason}"
        if deployment.decision == "accepted"
        else f"{name} refused: {deployment.reason}",
    )
    if deployment.decision != "accepted":
        return
    for row in ask(
        connection,
        "select l.actor, l.reason, l.live_from, l.live_until, l.from_position, l.to_position, "
        "n.release as next_release, n.actor as next_actor from main.releases_live l "
        "left join main.releases_live n on n.service = l.service and n.environment = l.environment "
        "and n.from_position = l.to_position where l.deployment_id = ? and l.service = ? and l.environment = ? "
        "order by l.from_position",
        [deployment.deployment_id, deployment.service, deployment.environment],
    ):
        first = row["from_position"] == deployment.position
        reason = f": {row['reason']}" if row["reason"] else ""
        yield StoryLine(
            topic=REGISTRY,
            position=row["from_position"],
            at=row["live_from"],
            actor=row["actor"],
            type="DeploymentRequested" if first else "ReleaseActivated",
            decision="" if first else "accepted",
            text=f"{name} became the current one{'' if first else ' again'}{reason}",
        )
        if row["live_until"] is not None:
            yield StoryLine(
                topic=REGISTRY,
                position=row["to_position"],
                at=row["live_until"],
                actor=row["next_actor"] or "",
                type="ReleaseReplaced",
                decision="",
                text=f"{name} gave way to release {row['next_release']}",
            )


def _why_lines(connection: duckdb.DuckDBPyConnection, deployment: Deployment) -> Iterator[StoryLine]:
    """Tell of each model how it stood when the deployment was decided."""
    for row in ask(
        connection,
        "select d.model, d.training_id, d.version, s.outcome, s.deployable, s.reason, s.from_position "
        "from main.deployment_models d left join main.standings s on s.training_id = d.training_id "
        "and s.from_position <= $1 and (s.to_position is null or s.to_position > $1) "
        "where d.deployment_id = $2 and d.position = $1 order by d.model",
        [deployment.position, deployment.deployment_id],
    ):
        if row["outcome"] is None:
            text = f"{row['model']} {row['training_id']}: no such training then"
        else:
            word = "deployable" if row["deployable"] else "not deployable"
            text = (
                f"{row['model']} version {row['version']} ({row['training_id']}) was {word} since position "
                f"{row['from_position']} ({row['outcome']}): {row['reason']}"
            )
        yield StoryLine(
            topic=REGISTRY,
            position=deployment.position,
            at=deployment.requested_at,
            actor=deployment.actor,
            type="DeploymentRequested",
            decision="",
            text=text,
        )


def _load_lines(
    connection: duckdb.DuckDBPyConnection,
    *,
    training_id: str | None = None,
    deployment: Deployment | None = None,
) -> Iterator[StoryLine]:
    """Tell which instances said that they loaded a training, or a deployment's models."""
    service, environment, release = (
        (deployment.service, deployment.environment, deployment.release) if deployment else (None, None, None)
    )
    for row in ask(
        connection,
        "select l.instance, l.model, l.training_id, l.service, l.environment, l.release, l.source, e.position, "
        "e.recorded_at, e.actor from main.model_loads l join main.events e on e.topic = $1 "
        "and e.partition = l.partition and e.position = l.position "
        "where ($2 is null or l.training_id = $2) and ($3 is null or l.service = $3) "
        "and ($4 is null or l.environment = $4) and ($5 is null or l.release = $5) order by e.position",
        [HOSTS, training_id, service, environment, release],
    ):
        source = f", from {row['source']}" if row["source"] else ""
        yield StoryLine(
            topic=HOSTS,
            position=row["position"],
            at=row["recorded_at"],
            actor=row["actor"],
            type="ModelLoaded",
            decision="accepted",
            text=f"{row['instance']} loaded {row['model']} ({row['training_id']}) for release {row['release']} of "
            f"{row['service']} in {row['environment']}{source}",
        )
