"""The first page: every model, how it stands and where it is live; and how an empty registry gets its first one."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from deedbook.projector import queries
from deedbook.service.access.roles import Permission
from deedbook.service.web.pages import Page
from deedbook.service.web.rendering import page, service_of


def models(request: Request) -> Response:
    """Return all models."""
    with service_of(request).live.reading() as connection:
        found = queries.models(connection)
    return page(request, "models.html", models=found)


PAGES: Final = (Page(path="/", endpoint=models, permission=Permission.READ),)
