"""The first page: every model, how it stands and where it is live; and how an empty registry gets its first one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from deedbook.projector.queries.glance import glances
from deedbook.service.access.origins import is_loopback
from deedbook.service.access.roles import Permission
from deedbook.service.settings import Address, ServiceSettings
from deedbook.service.web.pages import Page
from deedbook.service.web.rendering import page, service_of

FAILURES_DAYS: Final = 7


def models(request: Request) -> Response:
    """Return all models; where there are none, how to log the first training."""
    service = service_of(request)
    since = datetime.now(UTC) - timedelta(days=FAILURES_DAYS)
    with service.live.reading() as connection:
        found = glances(connection, failures_since=since)
    if found:
        return page(request, "models.html", models=found, failures_days=FAILURES_DAYS)
    return page(
        request,
        "first_training.html",
        registry=service.settings.registry,
        elsewhere=_address_for_others(service.settings),
        required=service.access.required,
    )


def _address_for_others(settings: ServiceSettings) -> str:
    """Return the URL by which programs on other machines log; empty where none can reach this one."""
    host = next(iter(settings.public_hosts), settings.grpc.host)
    if is_loopback(settings.grpc.host) or not settings.grpc.port:
        return ""
    return f"grpc{'s' if settings.secure else ''}://{Address(host, settings.grpc.port)}"


PAGES: Final = (Page(path="/", endpoint=models, permission=Permission.READ),)
