"""What orchestrators and Prometheus ask: does the process live, should it be sent requests, how does it do."""

from __future__ import annotations

from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from deedbook.service.access.roles import Permission
from deedbook.service.measuring import readiness
from deedbook.service.web.pages import OPEN, Page
from deedbook.service.web.rendering import service_of


async def healthz(_: Request) -> Response:
    """Say that the process lives: whoever reads this has been answered by its loop."""
    return PlainTextResponse("ok\n")


async def readyz(request: Request) -> Response:
    """Say whether this process should be sent requests: 200, or 503 with what is in the way."""
    service = service_of(request)
    ready, told = readiness(service.live, service.settings)
    return JSONResponse(told, status_code=200 if ready else 503)


def metrics(request: Request) -> Response:
    """Return what the service measures of itself."""
    return Response(service_of(request).measures.exposition(), media_type=CONTENT_TYPE_LATEST)


PAGES: Final = (
    Page(path="/healthz", endpoint=healthz, permission=OPEN),
    Page(path="/readyz", endpoint=readyz, permission=OPEN),
    Page(path="/metrics", endpoint=metrics, permission=Permission.METRICS),
)
