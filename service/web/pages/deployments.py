"""What serves what: what was live when, the requests and what was decided on them, and what was live at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from deedbook.events.errors import NotFound
from deedbook.projector import queries
from deedbook.service.access.roles import Permission
from deedbook.service.web import asked
from deedbook.service.web.pages import Page
from deedbook.service.web.rendering import changed, page, service_of
from deedbook.service.web.strips import segments

_ON_A_PAGE: Final = 50
_PERIODS_OF_ONE: Final = 200
_PERIODS_OF_MANY: Final = 12
_SERVICES_ON_A_PAGE: Final = 50
_MOST_SKIPPED: Final = 1_000_000
_MILLISECOND: Final = timedelta(milliseconds=1)


class Decision(StrEnum):
    """What the fold decided on a request."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"


def deployments(request: Request) -> Response:
    """Return what was live when, and the requests; the query chooses among both, `before` is a position."""
    query = request.query_params
    service, environment = asked.name(query, "service"), asked.name(query, "environment")
    model, decision = asked.name(query, "model"), asked.choice(query, "decision", Decision)
    before, skipped = asked.whole(query, "before"), asked.whole(query, "skip", most=_MOST_SKIPPED) or 0
    chosen = service is not None and environment is not None
    with service_of(request).live.reading() as connection:
        periods = _PERIODS_OF_ONE if chosen else _PERIODS_OF_MANY
        timelines = queries.timelines(
            connection,
            service=service,
            environment=environment,
            limit=periods,
            services=_SERVICES_ON_A_PAGE + 1,
            skipped=skipped,
        )
        found = queries.deployments(
            connection,
            service=service,
            environment=environment,
            model=model,
            decision=decision,
            before=before,
            limit=_ON_A_PAGE + 1,
        )
        known = queries.deployed_names(connection)
    shown = found[:_ON_A_PAGE]
    return page(
        request,
        "deployments.html",
        timelines=timelines[:_SERVICES_ON_A_PAGE],
        whole=timelines[0] if chosen and timelines else None,
        deployments=shown,
        known=known,
        service=service,
        environment=environment,
        model=model,
        decision=decision,
        segments=lambda timeline: segments(timeline.periods, _now(request)),
        newest=changed(request, before=None) if before is not None else None,
        more_services=changed(request, skip=skipped + _SERVICES_ON_A_PAGE)
        if len(timelines) > _SERVICES_ON_A_PAGE
        else None,
        fewer_services=changed(request, skip=max(0, skipped - _SERVICES_ON_A_PAGE) or None)
        if skipped
        else None,
        older=changed(request, before=shown[-1].position) if len(found) > _ON_A_PAGE else None,
    )


def deployment(request: Request) -> Response:
    """Return one requested deployment; from the beginning of an id lead to it."""
    text = request.path_params["deployment_id"]
    with service_of(request).live.reading() as connection:
        deployment_id = queries.deployment_id_of(connection, text)
        if deployment_id is None:
            raise NotFound(f"there is no deployment {text[:200]} in this registry")
        if deployment_id != text:
            return RedirectResponse(f"/deployments/{deployment_id}", 307)
        found = queries.deployment_with_id(connection, deployment_id)
        evidence = queries.gate_evidence(connection, found)
        periods = queries.live_periods(connection, deployment_id=deployment_id)
        served = queries.fleet(connection, service=found.service, environment=found.environment)
        earlier = queries.binding_id(connection, found.service, found.environment, found.previous)
    return page(
        request,
        "deployment.html",
        deployment=found,
        evidence=evidence,
        periods=periods,
        running=[
            (host, load)
            for service in served
            for host in service.hosts
            for load in host.loads
            if load.release == found.release
        ],
        previous_id=earlier,
    )


def live(request: Request) -> Response:
    """Return what was live `at` a time, of one service or all, and why it was allowed; without a time, now."""
    query = request.query_params
    service, environment = asked.name(query, "service"), asked.name(query, "environment")
    at = asked.moment(query, "at")
    with service_of(request).live.reading() as connection:
        releases = queries.live(connection, service=service, environment=environment, at=at)
        asked_for = [
            (model.training_id, release.from_position) for release in releases for model in release.models
        ]
        gate = queries.standings_at(connection, asked_for)
        known = queries.deployed_names(connection)
        position = queries.position_at(connection, at)
        begins = queries.first_recorded_at(connection)
    return page(
        request,
        "live.html",
        releases=releases,
        gate=gate,
        known=known,
        service=service,
        environment=environment,
        at=at,
        entered=_entered(at or _now(request)),
        at_position=position,
        begins=begins,
    )


def _entered(moment: datetime) -> str:
    """Return a time as a form's field holds it: to the millisecond, and not before."""
    exact = moment.replace(tzinfo=None, microsecond=moment.microsecond // 1_000 * 1_000)
    if exact < moment.replace(tzinfo=None) and exact < datetime.max - _MILLISECOND:  # noqa: DTZ901 - as `exact`
        exact += _MILLISECOND
    return exact.isoformat(timespec="milliseconds" if exact.microsecond else "seconds")


def _now(request: Request) -> datetime:
    """Return the time to the second."""
    return datetime.fromtimestamp(service_of(request).writer.clock() // 1_000_000, UTC)


PAGES: Final = (
    Page(path="/deployments", endpoint=deployments, permission=Permission.READ),
    Page(path="/deployments/{deployment_id}", endpoint=deployment, permission=Permission.READ),
    Page(path="/live", endpoint=live, permission=Permission.READ),
)
