"""A browser of a few lines, within the test's process: it keeps cookies, sends what it is told, and sees everything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlencode

from deedbook.service.access.sessions import form_token

if TYPE_CHECKING:
    from starlette.types import ASGIApp

PATIENCE_SECONDS = 60.0
SEEN_BY_PEOPLE = "text/html,application/xhtml+xml,*/*;q=0.8"
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; of a stream what came until the browser left."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def text(self) -> str:
        """The body as a text."""
        return self.body.decode("utf-8")

    def header(self, name: str) -> str:
        """The header of this name, empty without one."""
        return dict(self.headers).get(name, "")


@dataclass(slots=True)
class Browser:
    """Somebody's browser, on a loop of its own; `host` is what it believes to speak to."""

    app: ASGIApp
    runner: asyncio.Runner
    host: str = "localhost:8470"
    scheme: str = "http"
    port: int = 8470
    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, target: str, **headers: str) -> Answer:
        """Open an address."""
        return self.send("GET", target, (), **headers)

    def post(self, target: str, fields: Mapping[str, str] | None = None, **headers: str) -> Answer:
        """Send a form as it was given by a page: with the token that its form held."""
        return self.send("POST", target, [self.form(fields or {})], **{"content_type": FORM} | headers)

    def form(self, fields: Mapping[str, str]) -> bytes:
        """The body of a form, with the token that a page gave."""
        kept = [value for name, value in self.cookies.items() if name.endswith(("-session", "-form"))]
        token = {"csrf_token": form_token(kept[0])} if kept else {}
        return urlencode({**fields, **token}).encode()

    def follow(self, target: str, began: Callable[[], object], **headers: str) -> tuple[Answer, bool]:
        """Open a stream and stay until the other side ends it; return what came, and whether it ended as it should.

        `began` is called when the first of it has come.
        """
        answer, whole = self.runner.run(_exchange(self.app, self._scope("GET", target, headers), [], began))
        return answer, whole

    def send(self, method: str, target: str, body: Iterable[bytes | None], /, **headers: str) -> Answer:
        """Send a request; a None in the body never comes. Headers' names are written with low lines."""
        answer, _ = self.runner.run(_exchange(self.app, self._scope(method, target, headers), list(body)))
        for name, value in answer.headers:
            if name == "set-cookie":
                self._keep(value)
        return answer

    def _scope(self, method: str, target: str, headers: Mapping[str, str]) -> dict[str, Any]:
        sent = {"host": self.host, "accept": SEEN_BY_PEOPLE}
        if self.cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        path, _, query = target.partition("?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "server": ("127.0.0.1", self.port),
            "client": ("127.0.0.1", 50_000),
            "scheme": self.scheme,
            "method": method,
            "root_path": "",
            "path": unquote(path),
            "raw_path": path.encode("latin-1"),
            "query_string": query.encode("latin-1"),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in sent.items() if value],
        }

    def _keep(self, cookie: str) -> None:
        name, _, value = cookie.partition(";")[0].partition("=")
        if value:
            self.cookies[name] = value
        else:
            self.cookies.pop(name, None)


async def _exchange(
    app: ASGIApp,
    scope: dict[str, Any],
    body: list[bytes | None],
    began: Callable[[], object] | None = None,
) -> tuple[Answer, bool]:
    """Send a request and take the answer; with `began` a stream is stayed with, else it is left at once."""
    head: dict[str, Any] = {}
    parts: list[bytes] = []
    left = asyncio.Event()
    waiting = body or [b""]
    whole = False

    async def receive() -> dict[str, Any]:
        if waiting:
            part = waiting.pop(0)
            if part is not None:
                return {"type": "http.request", "body": part, "more_body": bool(waiting)}
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:  # noqa: ANN401 - any message of ASGI
        nonlocal whole
        if message["type"] == "http.response.start":
            head.update(message)
            return
        is_first = not any(parts)
        parts.append(message.get("body", b""))
        whole = not message.get("more_body", False)
        if is_first and any(parts) and began is not None:
            began()
        if began is None and b"text/event-stream" in dict(head["headers"]).get(b"content-type", b""):
            left.set()

    async with asyncio.timeout(PATIENCE_SECONDS):
        await app(scope, receive, send)
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in head["headers"])
    return Answer(head["status"], headers, b"".join(parts)), whole
