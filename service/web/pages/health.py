"""Health: what is wrong and what to do, and how everything does."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from deedbook.service.access.roles import Permission
from deedbook.service.web.asking_log import log_of
from deedbook.service.web.condition import SHOWN, condition
from deedbook.service.web.pages import Page
from deedbook.service.web.rendering import page, service_of


def health(request: Request) -> Response:
    """Return the page; it is 200 whatever it says: probes ask /readyz."""
    service = service_of(request)
    return page(
        request,
        "health.html",
        at=condition(service, log_of(request)),
        shown=SHOWN,
        promises=service.sql.promises,
        sql_off=service.sql.off,
        limits=service.sql.limits,
    )


PAGES: Final = (Page(path="/health", endpoint=health, permission=Permission.READ),)
