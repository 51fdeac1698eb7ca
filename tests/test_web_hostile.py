"""What hostile names, fields, bodies and connections do to the pages: nothing."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from deedbook.service.access import bodies, connections
from deedbook.service.access.access import Access
from deedbook.service.access.hardening import CONTENT_SECURITY_POLICY
from deedbook.service.access.origins import Origins
from deedbook.service.access.web import guarded
from tests.facts_by_hand import id_of
from tests.serving.browser import FORM, Answer, Browser
from tests.serving.house import (
    FORMULA,
    HOSTILE,
    House,
    page_route,
    plain_refusal,
    routes_of,
    runner,
    service,
    unlocked,
)

__all__ = ["runner", "service", "unlocked"]


# --- what people write -------------------------------------------------------------------------


class Looked(HTMLParser):
    """What in a page a browser would run, load or follow."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.dangers: list[str] = []
        self.links: list[str] = []
        self._open_script = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at an element."""
        given = dict(attrs)
        if tag == "script" and not str(given.get("src", "")).startswith("/static/"):
            self.dangers.append(f"script {given}")
        if tag in {"style", "iframe", "object", "embed", "base"} or (
            tag == "img" and given.get("src") == "x"
        ):
            self.dangers.append(tag)
        self.dangers += [f"{tag} {name}" for name in given if name.startswith("on") or name == "style"]
        for name in ("href", "src", "action", "formaction", "srcset", "data-url", "poster"):
            target = given.get(name)
            if target and not target.startswith(("/", "#", "?", "data:image/")):
                self.dangers.append(f"{tag} {name}={target}")
            elif target and tag == "a":
                self.links.append(target)


def kind_of(target: str) -> str:
    """The path of an address without what tells pages of one kind apart."""
    return "/".join(
        "{}" if any(c.isdigit() for c in part) else part for part in urlsplit(target).path.split("/")
    )


def crawled(browser: Browser, start: list[str]) -> dict[str, Answer]:
    """The pages that can be reached by links, at most three of each kind, those with the longest addresses first."""
    waiting, found = list(start), dict[str, Answer]()
    kinds: Counter[str] = Counter()
    while waiting:
        target = urljoin("/", waiting.pop(0)).partition("#")[0]
        if target in found or kinds[kind_of(target)] == 3:
            continue
        kinds[kind_of(target)] += 1
        answer = found[target] = browser.get(target)
        if answer.header("content-type").startswith("text/html"):
            links = (urljoin(target, link) for link in Looked(answer.text).links)
            # Each query is a process of its own: one, of those the page begins with, shows what there is to see.
            waiting += sorted({link for link in links if "/sql" not in link}, key=len, reverse=True)
    return found


@pytest.fixture(scope="module")
def seen(unlocked: House) -> dict[str, Answer]:
    """Every kind of page that links lead to, with names that are markup."""
    known = [target for (method, _), target in routes_of(unlocked.app).items() if method == "GET"]
    hostile = quote(HOSTILE, safe="")
    started = [f"/model?name={hostile}", f"/model/training?model={hostile}&version=1"]
    started += [f"/live?service={hostile}&environment={hostile}"]
    return crawled(unlocked.browser(), ["/", *known, *started])


def test_names_that_are_markup_stay_text_on_every_page(seen: dict[str, Answer]) -> None:
    """Of models, parameters, services, releases, actors; in reasons, tags, checks: all that links lead to."""
    pages = {t: a for t, a in seen.items() if a.header("content-type").startswith("text/html")}

    assert {} == {target: Looked(a.text).dangers for target, a in pages.items() if Looked(a.text).dangers}
    assert [] == [target for target, a in pages.items() if a.status >= 500]
    assert sum("&lt;script&gt;hostile" in answer.text for answer in pages.values()) > 10
    assert [] == [
        target for target, a in pages.items() if "49" in a.text.replace("{{7*7}}", "") and "}}49" in a.text
    ]


def test_every_answer_tells_the_browser_to_trust_nothing_else(seen: dict[str, Answer]) -> None:
    """Pages, data, files and errors alike."""
    wanted = {
        "content-security-policy": CONTENT_SECURITY_POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "x-frame-options": "DENY",
    }

    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert dict.fromkeys(seen, wanted) == {
        target: {name: answer.header(name) for name in wanted} for target, answer in seen.items()
    }
    assert {"no-store"} == {a.header("cache-control") for t, a in seen.items() if "/static/" not in t}


def test_an_error_of_ours_is_hardened_too(tmp_path: Path, runner: asyncio.Runner) -> None:
    """What no handler saw coming passes the door as well."""

    def fail(_: Request) -> PlainTextResponse:
        raise RuntimeError("no")

    app = Starlette(exception_handlers={Exception: lambda *_: PlainTextResponse("sorry", 500)})
    app.router.routes.append(page_route("/", fail))
    guarded(app, Access(tmp_path / "tokens.json"), Origins(), plain_refusal)

    answer = Browser(app, runner).get("/")

    assert (500, CONTENT_SECURITY_POLICY) == (answer.status, answer.header("content-security-policy"))


def test_a_browser_that_speaks_tls_is_told_to_stay_with_it(unlocked: House) -> None:
    """And one that doesn't is not; nor is a developer's, whose other ports would have to have it too."""
    by_https = unlocked.browser(host="deeds.example.com").get("/sign-in")

    assert by_https.header("strict-transport-security") == "max-age=31536000"
    for others in (unlocked.browser(), unlocked.browser(scheme="https")):
        assert others.get("/sign-in").header("strict-transport-security") == ""


SEARCHES = [
    *(HOSTILE, FORMULA, "' or 1=1 --", "%", "\x00", "\ud800", "../../etc/passwd"),
    *("a" * 3_000, "-1", "NaN", "1e999", "9" * 400),
]


@pytest.mark.parametrize("path", ["/trainings", "/model", "/failures", "/deployments", "/live", "/fleet"])
def test_no_search_breaks_a_page(unlocked: House, path: str) -> None:
    """Whatever stands in whichever of its fields: a page, or a sentence that says what is wrong; never a fault."""
    browser = unlocked.browser()
    asked = [dict.fromkeys(FIELDS, text) for text in SEARCHES]
    asked += [{name: HOSTILE} for name in [*FIELDS, HOSTILE]]
    found = {}
    for fields in asked:
        query = urlencode(fields, errors="surrogatepass")
        answer = browser.get(f"{path}?{query}")
        if answer.status >= 500 or Looked(answer.text).dangers:
            found[query] = answer.status

    assert {} == found


FIELDS = [
    "name",
    "model",
    "metric",
    "by",
    "value",
    "after",
    "before",
    "order",
    "service",
    "environment",
    "at",
    "q",
]


@pytest.mark.parametrize(
    "target",
    [
        *("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static/%2e%2e%2fapp.py"),
        *(
            "/static//etc/passwd",
            "/static/%2fetc%2fpasswd",
            "/static/deedbook.css%00.html",
            "/static/.%2e/app.py",
        ),
        *(
            "/trainings/..%2f..%2ftokens.json",
            "/deployments/%2e%2e",
            "/trainings/%00",
            "/trainings/" + "a" * 3_000,
        ),
    ],
)
def test_no_path_leads_out_of_the_house(unlocked: House, target: str) -> None:
    """Not to files, nor to a fault."""
    answer = unlocked.browser().get(target)

    assert answer.status in {400, 404}
    assert b"import" not in answer.body


def test_no_cell_of_an_export_is_a_formula(unlocked: House) -> None:
    """A spreadsheet shows it as the text that it is."""
    answer = unlocked.browser().get("/trainings.csv")

    assert answer.status == 200
    assert FORMULA.split('"')[0] in answer.text
    assert not any(
        cell.startswith(("=", '"=')) for line in answer.text.splitlines() for cell in line.split(",")
    )


# --- sizes and time ----------------------------------------------------------------------------


def test_a_form_that_is_too_large_is_not_read(unlocked: House) -> None:
    """Whether it says so before or not, and the connection ends."""
    browser = unlocked.browser()
    browser.get(f"/trainings/{id_of('innocent')}/override")
    said = browser.send("POST", "/sign-out", [None], content_type=FORM, content_length=str(1 << 40))
    unsaid = browser.send("POST", "/sign-out", [b"x" * (1 << 19)] * 3 + [None], content_type=FORM)
    wrong = browser.send("POST", "/sign-out", [None], content_type=FORM, content_length="-1")

    assert [413] * 3 == [said.status, unsaid.status, wrong.status]
    assert {"close"} == {answer.header("connection") for answer in (said, unsaid, wrong)}


def test_a_form_with_too_many_fields_is_refused(unlocked: House) -> None:
    """Small as it is."""
    browser = unlocked.browser()
    browser.get(f"/trainings/{id_of('innocent')}/override")

    assert browser.send("POST", "/sign-out", [b"a&" * 2_000], content_type=FORM).status == 400


def test_a_form_that_does_not_arrive_is_given_up(unlocked: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its deadline, not by its last byte."""
    monkeypatch.setattr("deedbook.service.access.web.BODY_TIMEOUT_SECONDS", 0.05)
    browser = unlocked.browser()

    assert browser.send("POST", "/sign-out", [b"csrf", None], content_type=FORM).status == 408
    assert bodies.BODY_TIMEOUT_SECONDS == 20.0


def test_an_address_that_is_too_long_is_refused(unlocked: House) -> None:
    """Before any page reads it."""
    assert unlocked.browser().get("/trainings?q=" + "x" * 40_000).status == 414


# --- connections -------------------------------------------------------------------------------


@contextmanager
def listening(app: Any) -> Iterator[int]:  # noqa: ANN401 - any application
    """A server with the deadlines of ours, on some port."""
    server = uvicorn.Server(
        uvicorn.Config(
            app, port=0, http=connections.BoundedConnection, log_level="critical", lifespan="off", ws="none"
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


async def hello(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI
    """Answer with as much as is asked for."""
    del receive
    size = int(scope["path"].strip("/") or 2)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(max(1, size // 65_536)):
        await send({"type": "http.response.body", "body": b"x" * min(size, 65_536), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def ends(connection: socket.socket) -> bool:
    """Wait for the other side to end a connection, whatever it sends before."""
    connection.settimeout(30)
    try:
        while connection.recv(65_536):
            pass
    except ConnectionResetError:
        pass
    return True


def test_a_connection_that_asks_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silent, or byte by byte, at first or after an answer; one that asks is answered all the same."""
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_SECONDS", 0.3)
    whole = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
    with listening(hello) as port:
        silent, partial, after = (socket.create_connection(("127.0.0.1", port)) for _ in range(3))
        partial.sendall(whole[:20])
        after.sendall(whole)
        assert after.recv(15) == b"HTTP/1.1 200 OK"
        after.sendall(whole[:20])
        assert all(ends(each) for each in (silent, partial, after))


def test_a_connection_that_takes_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asked for much and reads none of it."""
    monkeypatch.setattr(connections, "TAKING_TIMEOUT_SECONDS", 0.2)
    with listening(hello) as port:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.connect(("127.0.0.1", port))
        connection.sendall(b"GET /50000000 HTTP/1.1\r\nhost: localhost\r\n\r\n")
        time.sleep(0.6)
        received = 0
        connection.settimeout(30)
        try:
            while part := connection.recv(1 << 20):
                received += len(part)
        except ConnectionResetError:
            pass

    assert received < 50_000_000
