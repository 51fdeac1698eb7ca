"""Failed validations, newest first, each with its reasons, and what became of it."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from deedbook.projector import queries
from deedbook.projector.queries import FailureState
from deedbook.service.access.roles import Permission
from deedbook.service.web import asked
from deedbook.service.web.pages import Page
from deedbook.service.web.rendering import changed, page, service_of

_ON_A_PAGE: Final = 25


def failures(request: Request) -> Response:
    """Return a page of failures; `model`, `check` and `state` choose among them, `before` is a position."""
    query = request.query_params
    model, check = asked.name(query, "model"), asked.name(query, "check")
    state = asked.choice(query, "state", FailureState)
    before = asked.whole(query, "before")
    with service_of(request).live.reading() as connection:
        found = queries.failures(
            connection, model=model, check=check, state=state, before=before, limit=_ON_A_PAGE + 1
        )
        shown = found[:_ON_A_PAGE]
        known = queries.failure_names(connection, model=model, check=check)
        overrides = queries.overrides_of(connection, list({one.verdict.training_id for one in shown}))
        compared = {one.verdict.baseline_training_id for one in shown}
        compared |= {check.baseline_training_id for one in shown for check in one.verdict.failing}
        names = queries.training_names(connection, [one for one in compared if one])
    return page(
        request,
        "failures.html",
        failures=shown,
        overrides=overrides,
        names=names,
        known=known,
        model=model,
        check=check,
        state=state,
        newest=changed(request, before=None) if before is not None else None,
        older=changed(request, before=shown[-1].verdict.position) if len(found) > _ON_A_PAGE else None,
    )


PAGES: Final = (Page(path="/failures", endpoint=failures, permission=Permission.READ),)
