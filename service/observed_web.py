"""The outermost layer of the pages: every request has an id, is measured, and leaves a line in the log."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from deedbook.service.logs import REQUEST_ID, REQUEST_ID_HEADER, request_id_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from deedbook.service.measuring import Measures

_LOG = logging.getLogger("deedbook.requests")
INTERFACE = "web"
_ELSEWHERE = "other"
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
_SERVER_ERROR = 500
_SORRY = "Something went wrong here. Whoever runs this service finds it in the log as {}.\n"


class ObservedWeb:
    """An ASGI application that hands requests on to another one, and looks what becomes of them."""

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute], measures: Measures) -> None:
        self._app = app
        self._measures = measures
        self._paths = {
            getattr(route, "endpoint", None) or getattr(route, "app", None): str(getattr(route, "path", ""))
            for route in routes
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        watched = _Watched(scope, send, self._measures, self._paths)
        token = REQUEST_ID.set(watched.request_id)
        try:
            await self._app(scope, receive, watched.send)
        except Exception:
            _LOG.exception("a page failed")
            if watched.status:
                raise
            await watched.sorry()
        finally:
            watched.end()
            REQUEST_ID.reset(token)


class _Watched:
    """One request on its way."""

    def __init__(self, scope: Scope, send: Send, measures: Measures, paths: Mapping[Any, str]) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        self.request_id = request_id_of(headers.get(REQUEST_ID_HEADER.encode(), b"").decode("latin-1"))
        self.status = 0
        self._scope = scope
        self._send = send
        self._measures = measures
        self._paths = paths
        self._begun = time.monotonic()
        self._is_stream = False

    @property
    def route(self) -> str:
        """The page's path as it is written in the code: as many names for measures as there are pages."""
        return self._paths.get(self._scope.get("endpoint"), _ELSEWHERE)

    def _caller(self) -> str | None:
        """Return who asked, where that is known."""
        caller = self._scope.get("state", {}).get("caller")
        return None if caller is None else str(caller.name)

    async def send(self, message: Message) -> None:
        """Send on what the application sends, the answer's head with the request's id."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), (REQUEST_ID_HEADER.encode(), self.request_id.encode())]
            message = {**message, "headers": headers}
            if any(
                name == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers
            ):
                self._is_stream = True
                self._measures.streams.labels(INTERFACE, self.route).inc()
        await self._send(message)

    async def sorry(self) -> None:
        """Answer where the application could not."""
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        await self.send({"type": "http.response.start", "status": _SERVER_ERROR, "headers": headers})
        await self.send({"type": "http.response.body", "body": _SORRY.format(self.request_id).encode()})

    def end(self) -> None:
        """Count the request, and tell of it."""
        seconds = time.monotonic() - self._begun
        code = str(self.status or "cancelled")
        if self._is_stream:
            self._measures.streams.labels(INTERFACE, self.route).dec()
        self._measures.request(INTERFACE, self.route, code, None if self._is_stream else seconds)
        level = logging.DEBUG if self.route in _QUIET else logging.INFO
        _LOG.log(
            level,
            "%s %s %s",
            self._scope["method"],
            self._scope["path"],
            code,
            extra={
                "interface": INTERFACE,
                "route": self.route,
                "code": code,
                "duration_ms": round(seconds * 1000, 3),
                "caller": self._caller(),
            },
        )
