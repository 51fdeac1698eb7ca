"""The door of the pages: no request passes it that came to another's name, from another's page, or from nobody."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Final, Protocol
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.datastructures import FormData, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deedbook.events.errors import NotAuthenticated, PermissionRefused
from deedbook.service.access.access import Access
from deedbook.service.access.attempts import Attempts
from deedbook.service.access.bodies import BODY_TIMEOUT_SECONDS, BodyRefused, parse_form, read_body, replayed
from deedbook.service.access.hardening import harden
from deedbook.service.access.origins import Origins
from deedbook.service.access.roles import Caller, Permission
from deedbook.service.access.streams import OpenStreams
from deedbook.service.access.visits import FORM_FIELD, Visit, own_path

logger = logging.getLogger(__name__)

# What orchestrators ask by an address of their own, and what tells nothing.
PROBES: Final = frozenset({"/healthz", "/readyz"})
SIGN_IN: Final = "/sign-in"
MAX_TARGET_BYTES: Final = 32 << 10
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OUT_OF_DATE = "The form is out of date, or came from another page."
_AGAIN = "Go back, load its page again, and send it anew."
_BY_HAND = "If it is what you want, open the page here and do it there."


class Refuse(Protocol):
    """What makes a page that says why a request was not let in."""

    def __call__(
        self,
        request: Request,
        status_code: int,
        sentence: str,
        *,
        advice: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Return the page; `advice` says what to do, where that is not what the status says already."""


def guarded(app: Starlette, access: Access, origins: Origins, refuse: Refuse) -> Starlette:
    """Put the door before an application, all of it, its own error pages included; return the same application.

    Each of its routes has an attribute `page`, whose `permission` a caller needs; None is for everybody. Behind the
    door, `request.state` has the `caller` (None where nobody is signed in), the `visit`, and, of what was posted,
    the `form`.
    """
    # A redirect to the same path with or without its last slash would be to http:, also behind a proxy that has TLS.
    app.router.redirect_slashes = False
    app.middleware_stack = Door(app.build_middleware_stack(), app.routes, access, origins, refuse)
    return app


class _Refused(Exception):
    """A request that is not let in, with the answer to it."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


class Door:
    """The ASGI application that stands before the pages."""

    def __init__(
        self, app: ASGIApp, routes: Sequence[BaseRoute], access: Access, origins: Origins, refuse: Refuse
    ) -> None:
        self._app = app
        self._routes = routes
        self._access = access
        self._origins = origins
        self._refuse = refuse
        self._streams = OpenStreams(access)
        self._attempts = Attempts()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        request.state.caller = None
        request.state.visit = visit = Visit(self._access, self._attempts, self._origin_of(request) or "")
        answering = _Answering(self._access, visit, send)
        try:
            receive = await self._let_in(request, visit)
        except _Refused as refused:
            await refused.response(scope, receive, answering.send)
            return
        except ClientDisconnect:
            return
        await self._hand_on(request, receive, answering)

    def _origin_of(self, request: Request) -> str | None:
        hosts = request.headers.getlist("host")
        server = request.scope.get("server")
        if len(hosts) != 1:
            return None
        return self._origins.origin_of(
            hosts[0], scheme=request.scope["scheme"], port=server[1] if server else None
        )

    async def _let_in(self, request: Request, visit: Visit) -> Receive:
        """Return what gives the body to the pages. Raises _Refused."""
        # Not `request.url`: that is made of the host's name, which anything may stand in.
        if not visit.origin and request.scope["path"] not in PROBES:
            raise _Refused(
                PlainTextResponse(
                    "This is not one of the names that this service is reached by: whoever runs it can add it.\n",
                    400,
                )
            )
        if len(request.scope["raw_path"] or b"") + len(request.scope["query_string"]) > MAX_TARGET_BYTES:
            raise self._refused(request, 414, "The address is too long.")
        self._refuse_what_others_sent(request, visit)
        visit.read_cookies(request.cookies)
        request.state.caller = caller = self._caller_of(request, visit)
        self._refuse_what_is_not_allowed(request, caller)
        if request.method in _SAFE_METHODS:
            return request.receive
        return await self._checked_form(request, visit)

    def _refuse_what_others_sent(self, request: Request, visit: Visit) -> None:
        """Refuse what another site's page had a browser send, as far as the browser says so."""
        site = request.headers.get("sec-fetch-site", "none")
        origin = request.headers.get("origin", visit.origin)
        safe = request.method in _SAFE_METHODS
        # A link on another page may be followed; nothing of ours may be embedded there, or fetched by its scripts.
        followed = request.headers.get("sec-fetch-mode", "navigate") == "navigate"
        followed &= request.headers.get("sec-fetch-dest", "document") == "document"
        foreign = site not in {"none", "same-origin"} and not (safe and followed)
        if foreign or origin != visit.origin:
            raise self._refused(request, 403, "This was sent by the page of another site.", advice=_BY_HAND)

    def _caller_of(self, request: Request, visit: Visit) -> Caller | None:
        session, visit.session = visit.session, ""
        if not self._access.required:
            return self._access.caller_of(None)
        try:
            if (bearer := _bearer_of(request)) is not None:
                return self._access.caller_of(bearer)
            caller = self._access.caller_of_session(session)
        except NotAuthenticated:
            return None
        visit.session = session
        return caller

    def _refuse_what_is_not_allowed(self, request: Request, caller: Caller | None) -> None:
        """Refuse what needs a permission that the caller lacks; what is not there is told to those who are known."""
        route = next((route for route in self._routes if route.matches(request.scope)[0] is Match.FULL), None)
        permission = Permission.READ
        if route is not None:
            page = getattr(route, "page", None)
            if page is None:
                raise self._refused(request, 403, "Nobody is allowed to open this.")
            if page.permission is None:
                return
            permission = page.permission
        if caller is None:
            raise self._unknown(request)
        if route is None:
            return
        try:
            self._access.check(caller, permission)
        except PermissionRefused as error:
            raise self._refused(request, 403, str(error)) from None

    def _unknown(self, request: Request) -> _Refused:
        """Return the way to sign in, for people; for programs, what they have to send."""
        if request.method not in _SAFE_METHODS or "text/html" not in request.headers.get("accept", ""):
            return self._refused(
                request, 401, "This needs a token that is good.", headers={"www-authenticate": "Bearer"}
            )
        target = request.scope["raw_path"] + (
            b"?" + query if (query := request.scope["query_string"]) else b""
        )
        here = own_path(target.decode("ascii", "replace"))
        if request.headers.get("sec-fetch-site") == "cross-site":
            # Who follows another site's link comes without the strict cookie; sent on by ourselves, with it.
            return _Refused(PlainTextResponse("One moment.\n", headers={"refresh": f"0; url={here}"}))
        return _Refused(
            RedirectResponse(f"{SIGN_IN}?{urlencode({'next': here})}" if here != "/" else SIGN_IN, 303)
        )

    async def _checked_form(self, request: Request, visit: Visit) -> Receive:
        try:
            body = await read_body(request.receive, request.headers, timeout_seconds=BODY_TIMEOUT_SECONDS)
            form = parse_form(body, request.headers)
        except BodyRefused as error:
            # Nobody reads the rest: the connection ends.
            raise self._refused(
                request, error.status_code, error.sentence, headers={"connection": "close"}
            ) from None
        brought = form.get(FORM_FIELD)
        if not isinstance(brought, str) or not visit.gave(brought):
            raise self._refused(request, 403, _OUT_OF_DATE, advice=_AGAIN)
        request.state.form = FormData(
            [(name, value) for name, value in form.multi_items() if name != FORM_FIELD]
        )
        return replayed(body, request.receive)

    def _refused(
        self,
        request: Request,
        status_code: int,
        sentence: str,
        *,
        advice: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> _Refused:
        return _Refused(self._refuse(request, status_code, sentence, advice=advice, headers=headers))

    async def _hand_on(self, request: Request, receive: Receive, answering: _Answering) -> None:
        answering.caller = caller = request.state.caller
        ended = asyncio.Event()
        # What is open to everybody stays open, whoever comes and goes.
        looked_after = nullcontext() if caller is None else self._streams.entered(caller, ended.set)
        with looked_after:
            try:
                await self._app(request.scope, _until(ended, receive), answering.send)
            except Exception:
                # What failed before its answer was told and logged by whoever answered.
                if not answering.complete:
                    raise
        await answering.end_stream()


class _Answering:
    """What goes back to the browser: hardened, and nothing more once the caller would not be let in again."""

    def __init__(self, access: Access, visit: Visit, send: Send) -> None:
        self._access = access
        self._visit = visit
        self._send = send
        self._events = False
        self.caller: Caller | None = None
        self.started = False
        self.complete = False

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            harden(headers, secure=self._visit.stays_secure)
            for cookie in self._visit.cookies:
                headers.append("set-cookie", cookie)
            self._events = headers.get("content-type", "").startswith("text/event-stream")
            self.started = True
        elif message["type"] == "http.response.body":
            if message.get("more_body", False) and self.caller and not self._access.still_valid(self.caller):
                return
            self.complete = not message.get("more_body", False)
        await self._send(message)

    async def end_stream(self) -> None:
        """End a stream of events as if it were over; anything else that was cut short looks cut short."""
        if self.started and not self.complete and self._events:
            await self.send({"type": "http.response.body", "body": b"", "more_body": False})


def _until(ended: asyncio.Event, receive: Receive) -> Receive:
    """Return what tells a page that its reader has gone, also when the reader must go."""

    async def receive_or_end() -> Message:
        reading = asyncio.ensure_future(receive())
        ending = asyncio.ensure_future(ended.wait())
        try:
            await asyncio.wait({reading, ending}, return_when=asyncio.FIRST_COMPLETED)
            return reading.result() if reading.done() else {"type": "http.disconnect"}
        finally:
            reading.cancel()
            ending.cancel()

    return receive_or_end


def _bearer_of(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
