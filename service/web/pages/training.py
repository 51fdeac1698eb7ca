"""A training's page: all that was logged of it, what was decided about it and why, and where it is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from deedbook.events.errors import NotFound
from deedbook.projector import queries
from deedbook.service.access.roles import Permission
from deedbook.service.web import asked
from deedbook.service.web.asking_log import wait_until_folded
from deedbook.service.web.distributions import drawing
from deedbook.service.web.pages import Page
from deedbook.service.web.rendering import page, service_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb

_MIN_PREFIX: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A training and what its page shows besides: others' names, when it was live, and who runs it.

    ``baseline`` is what its newest verdict compared it with, ``before`` the one trained before it in its group.
    """

    training: queries.TrainingDetail
    names: Mapping[str, queries.TrainingName]
    periods: tuple[queries.LivePeriod, ...]
    hosts: tuple[tuple[queries.FleetService, queries.FleetHost], ...]
    baseline: str | None
    before: str | None


def training(request: Request) -> Response:
    """Return a training's page, and from the beginning of an id lead to it; of a run, what is known of it."""
    text = request.path_params["training_id"]
    done = asked.whole(request.query_params, "done")
    if done is not None:
        wait_until_folded(request, done)
    with service_of(request).live.reading() as connection:
        try:
            training_id = queries.training_id_of(connection, text)
        except NotFound:
            return _other(request, connection, text)
        if training_id != text:
            return RedirectResponse(f"/trainings/{training_id}", 307)
        found = seen(connection, training_id)
    return page(
        request,
        "training.html",
        seen=found,
        training=found.training,
        done=next((event for event in found.training.events if event.position == done), None),
        drawing=drawing,
        claimed=not service_of(request).access.required,
    )


def seen(connection: duckdb.DuckDBPyConnection, training_id: str) -> Seen:
    """Return a training and all that its page shows. Raises NotFound."""
    detail = queries.training_detail(connection, training_id)
    newest = detail.validations[-1] if detail.validations else None
    verdict = detail.verdicts[-1] if detail.verdicts else None
    baseline = verdict.baseline_training_id if verdict else newest.last_deployable if newest else None
    named = {check.baseline_training_id for verdict in detail.verdicts for check in verdict.checks}
    named |= {verdict.baseline_training_id for verdict in detail.verdicts}
    for validation in detail.validations:
        named |= {validation.last_trained, validation.last_deployable, validation.live}
    return Seen(
        training=detail,
        names=queries.training_names(connection, [one for one in named if one]),
        periods=queries.live_periods(connection, training_id=training_id),
        hosts=queries.hosts_of(connection, training_id),
        baseline=baseline,
        before=newest.last_trained if newest else None,
    )


def _other(request: Request, connection: duckdb.DuckDBPyConnection, text: str) -> Response:
    """Return what else an id may name: a run without a training, or a deployment. Raises NotFound."""
    story = queries.explain(connection, text)
    if story.kind == "deployment":
        return RedirectResponse(f"/deployments/{story.subject}", 307)
    return page(request, "run.html", story=story)


PAGES: Final = (Page(path="/trainings/{training_id}", endpoint=training, permission=Permission.READ),)
