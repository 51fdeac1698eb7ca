"""The pages' door: who gets in where, and what another site can do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from deedbook.service.access import streams
from deedbook.service.access.access import Access
from deedbook.service.access.attempts import MAX_FAILED
from deedbook.service.access.origins import Origins
from deedbook.service.access.roles import GRANTED, Permission, Role
from deedbook.service.access.sessions import form_token
from deedbook.service.access.token_file import TokenFile
from deedbook.service.access.visits import own_path
from deedbook.service.access.web import PROBES, guarded
from deedbook.service.context import Service
from deedbook.service.web.app import web_app
from tests.facts_by_hand import id_of
from tests.serving.browser import FORM, Answer, Browser
from tests.serving.house import (
    OTHER_MODEL,
    House,
    house_of,
    page_route,
    plain_refusal,
    routes_of,
    runner,
    service,
    unlocked,
)

__all__ = ["runner", "service", "unlocked"]

# What each address needs; the application's own routes are held against this, so that none is forgotten.
OPEN = None
TABLE: dict[tuple[str, str], str | None] = {
    ("GET", "/"): "read",
    ("GET", "/model"): "read",
    ("GET", "/model/series"): "read",
    ("GET", "/model/series.csv"): "read",
    ("GET", "/model/series.json"): "read",
    ("GET", "/model/training"): "read",
    ("GET", "/compare"): "read",
    ("GET", "/trainings"): "read",
    ("GET", "/trainings.csv"): "read",
    ("GET", "/trainings.parquet"): "read",
    ("GET", "/trainings/{training_id}"): "read",
    ("GET", "/trainings/{training_id}/override"): "override",
    ("POST", "/trainings/{training_id}/override"): "override",
    ("GET", "/trainings/{training_id}/revalidate"): "revalidate",
    ("POST", "/trainings/{training_id}/revalidate"): "revalidate",
    ("GET", "/failures"): "read",
    ("GET", "/deployments"): "read",
    ("GET", "/deployments/{deployment_id}"): "read",
    ("GET", "/live"): "read",
    ("GET", "/fleet"): "read",
    ("GET", "/health"): "read",
    ("GET", "/log"): "read",
    ("GET", "/log/stream"): "read",
    ("GET", "/log/{topic}/{partition:int}/{position:int}"): "read",
    ("GET", "/log/{topic}/{partition:int}/{position:int}/body.json"): "read",
    ("GET", "/sql"): "sql",
    ("GET", "/sql.csv"): "sql",
    ("GET", "/sql.parquet"): "sql",
    ("GET", "/sql/chart.json"): "sql",
    ("GET", "/metrics"): "metrics",
    ("GET", "/healthz"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/static/{name}"): OPEN,
    ("GET", "/sign-in"): OPEN,
    ("POST", "/sign-in"): OPEN,
    ("POST", "/sign-out"): OPEN,
}


@pytest.fixture(scope="module")
def house(service: Service, runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> House:
    """The pages with a token for each role, and some that are good no more."""
    path = tmp_path_factory.mktemp("tokens") / "tokens.json"
    file = TokenFile(path)
    tokens = {role.value: file.create(f"a {role}", frozenset({role}))[1] for role in Role}
    tokens["scoped"] = file.create("scoped", frozenset({Role.ADMIN}), frozenset({OTHER_MODEL}))[1]
    return house_of(service, runner, Access(path), tokens)


@pytest.fixture
def ended(service: Service, runner: asyncio.Runner, tmp_path: Path) -> House:
    """The same pages where two tokens are no longer good: `revoked`, and `expired`."""
    path = tmp_path / "tokens.json"
    file = TokenFile(path)
    tokens = {name: file.create(name, frozenset({Role.ADMIN}))[1] for name in ("revoked", "expired", "admin")}
    return house_of(service, runner, Access(path), tokens)


def end_tokens(house: House) -> None:
    """Revoke one token, and let the other one's time be over."""
    file = house.access._file  # noqa: SLF001 - where its tokens are
    assert file is not None
    by_name = {token.name: token.id for token in file.tokens()}
    file.revoke(by_name["revoked"])
    document = json.loads(file.path.read_text(encoding="utf-8"))
    for row in document["tokens"]:
        if row["name"] == "expired":
            row["expires_at"] = "2020-01-01T00:00:00+00:00"
    file.path.write_text(json.dumps(document), encoding="utf-8")


def outcome(answer: Answer) -> str:
    """What the door decided."""
    if answer.status == 303 and answer.header("location").startswith("/sign-in"):
        return "sign in"
    return {401: "unknown", 403: "refused"}.get(answer.status, "in")


# --- every page, every role --------------------------------------------------------------------


def test_every_address_is_in_the_table_and_no_other(house: House) -> None:
    """A page that is new is in neither hand before somebody has decided who may open it."""
    assert sorted(TABLE, key=str) == sorted(routes_of(house.app), key=str)


def walked(browser: Browser) -> dict[tuple[str, str], str]:
    """What becomes of each address but signing in and out, which decide for themselves."""
    found = {}
    for (method, path), target in routes_of(browser.app).items():  # type: ignore[arg-type]
        if not (method == "POST" and TABLE[method, path] is OPEN):
            answer = browser.get(target) if method == "GET" else browser.post(target, {})
            found[method, path] = outcome(answer)
    return found


def expected(granted: set[str], otherwise_get: str, otherwise_post: str) -> dict[tuple[str, str], str]:
    """What should become of each address for somebody with these permissions."""
    return {
        (method, path): "in"
        if permission is OPEN or permission in granted
        else otherwise_get
        if method == "GET"
        else otherwise_post
        for (method, path), permission in TABLE.items()
        if not (method == "POST" and permission is OPEN)
    }


@pytest.mark.parametrize("role", Role)
def test_a_role_opens_its_pages_and_no_other(house: House, role: Role) -> None:
    """Signed in with a token of each role."""
    granted = {permission.value for permission in GRANTED[role]}

    assert expected(granted, "refused", "refused") == walked(house.browser(role.value))


def test_nobody_is_led_to_the_sign_in(house: House) -> None:
    """Every page but the open ones, with no cookie."""
    browser = house.browser()
    browser.get("/sign-in")

    assert expected(set(), "sign in", "unknown") == walked(browser)


@pytest.mark.parametrize("who", ["revoked", "expired"])
def test_a_session_opens_nothing_once_its_token_is_over(ended: House, who: str) -> None:
    """It was good a moment ago."""
    browser = ended.browser(who)
    assert browser.get("/").status == 200
    end_tokens(ended)

    found = walked(browser)

    # Of somebody who is not known any more a form brings back what another browser was given.
    assert expected(set(), "sign in", "unknown") == found


@pytest.mark.parametrize("who", ["revoked", "expired"])
def test_a_token_in_a_header_opens_nothing_once_it_is_over(ended: House, who: str) -> None:
    """As Prometheus sends it."""
    authorization = f"Bearer {ended.tokens[who]}"
    assert ended.browser().get("/metrics", authorization=authorization).status == 200
    end_tokens(ended)

    assert ended.browser().get("/metrics", authorization=authorization, accept="*/*").status == 401


def test_an_open_server_lets_everybody_in(unlocked: House) -> None:
    """On loopback, without tokens: everything, in the name that people claim."""
    browser = unlocked.browser()
    browser.get("/sign-in")
    browser.get(f"/trainings/{id_of('innocent')}/override")

    assert expected(set(Permission), "", "") == walked(browser)


def test_a_token_for_one_model_overrides_no_other(house: House) -> None:
    """Its holder is an administrator, of another model."""
    browser = house.browser("scoped")
    fields = {"decision": "deployable", "reason": "mine", "request_id": id_of("form"), "stood": "0"}

    assert browser.post(f"/trainings/{id_of('hostile')}/override", fields).status == 403
    assert browser.post(f"/trainings/{id_of('innocent')}/override", fields).status == 409


def test_who_may_not_decide_is_shown_no_form_for_it(house: House) -> None:
    """An analyst sees no way to override; a reviewer does."""
    path = f"/trainings/{id_of('innocent')}"

    assert f"{path}/override" not in house.browser("analyst").get(path).text
    assert f"{path}/override" in house.browser("reviewer").get(path).text


def test_what_is_not_there_is_told_to_those_who_are_known(house: House) -> None:
    """Others learn nothing of what there is."""
    assert house.browser("host").get("/no-such-page").status == 404
    assert outcome(house.browser().get("/no-such-page")) == "sign in"
    assert house.browser("admin").send("DELETE", "/", [house.browser("admin").form({})]).status in {403, 415}


def test_a_program_is_told_what_to_send(house: House) -> None:
    """It asked for no page for people."""
    answer = house.browser().get("/trainings.csv", accept="text/csv")

    assert (401, "Bearer") == (answer.status, answer.header("www-authenticate"))


def test_a_route_without_a_permission_is_nobodys(tmp_path: Path, runner: asyncio.Runner) -> None:
    """Somebody added one past the pages' table."""
    app = Starlette(routes=[Route("/", lambda _: PlainTextResponse("in"))])
    guarded(app, Access(tmp_path / "tokens.json"), Origins(), plain_refusal)

    assert Browser(app, runner).get("/").status == 403


# --- other sites -------------------------------------------------------------------------------

FORGED_HOSTS = [
    *("evil.example", "evil.example:8470", "localhost", "localhost:1", "deeds.example.com:8471"),
    *("localhost:8470/healthz?", "localhost:8470@evil.example", "localhost.evil.example:8470", ""),
]


@pytest.mark.parametrize("host", FORGED_HOSTS)
def test_a_forged_host_opens_no_page(unlocked: House, host: str) -> None:
    """A name of somebody else's that leads here opens nothing but what orchestrators ask."""
    browser = unlocked.browser(host=host)
    targets = {path: target for (method, path), target in routes_of(unlocked.app).items() if method == "GET"}

    statuses = {path: browser.get(target).status for path, target in targets.items()}

    assert {path: 400 for path in targets if path not in PROBES} == {
        path: status for path, status in statuses.items() if path not in PROBES
    }


FOREIGN = {
    "another site": {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
    "another port": {"origin": "http://localhost:3000", "sec-fetch-site": "same-site"},
    "an old browser": {"origin": "http://evil.example"},
    "a sandboxed frame": {"origin": "null"},
    "no origin": {"sec-fetch-site": "cross-site"},
    "another scheme": {"origin": "https://localhost:8470"},
}


@pytest.mark.parametrize("who", ["admin", ""])
@pytest.mark.parametrize("site", FOREIGN)
def test_a_form_of_another_page_is_refused(house: House, unlocked: House, site: str, who: str) -> None:
    """With or without sign-in, even where it brings the right token; nothing is written."""
    there = house if who else unlocked
    browser = there.browser(who)
    browser.get("/sign-in")
    browser.get(f"/trainings/{id_of('innocent')}/override")
    posts = [target for (method, _), target in routes_of(there.app).items() if method == "POST"]

    found = {target: browser.post(target, {}, **FOREIGN[site]).status for target in posts}

    assert dict.fromkeys(posts, 403) == found


@pytest.mark.parametrize("who", ["admin", ""])
def test_a_form_must_bring_back_what_it_was_given(house: House, unlocked: House, who: str) -> None:
    """No token, an empty one, another browser's: each form refuses each, with and without sign-in."""
    there = house if who else unlocked
    browser = there.browser(who)
    browser.get(f"/trainings/{id_of('innocent')}/override")
    posts = [target for (method, _), target in routes_of(there.app).items() if method == "POST"]
    wrong = ["", "csrf_token=", f"csrf_token={form_token('another')}", "csrf_token=%00", "csrf_token=%C3%A9"]

    found = {
        (target, body): browser.send("POST", target, [body.encode()], content_type=FORM).status
        for target in posts
        for body in wrong
    }

    assert {(target, body): 403 for target in posts for body in wrong} == found


def test_a_form_without_any_cookie_is_refused(unlocked: House) -> None:
    """A browser that never saw a page of ours has nothing to bring back."""
    answer = unlocked.browser().send("POST", "/sign-out", [b"csrf_token=" + b"0" * 64], content_type=FORM)

    assert answer.status == 403


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x", "text/plain", ""])
def test_a_post_that_is_no_form_is_refused(unlocked: House, kind: str) -> None:
    """What scripts and forms of other sites may send without being asked first, among others."""
    browser = unlocked.browser()
    browser.get(f"/trainings/{id_of('innocent')}/override")

    assert browser.post("/sign-out", {}, content_type=kind).status == 415


@pytest.mark.parametrize("dest", ["image", "script", "iframe", "empty", "style", "object", "embed"])
def test_nothing_of_ours_is_embedded_elsewhere(unlocked: House, dest: str) -> None:
    """A page of another site, or of another port, can't load ours as a part of itself; it may lead there."""
    browser = unlocked.browser()
    mode = "navigate" if dest == "iframe" else "no-cors"
    asked = {"sec-fetch-mode": mode, "sec-fetch-dest": dest}

    for site in ("cross-site", "same-site"):
        assert browser.get("/trainings.csv", **asked, sec_fetch_site=site).status == 403
    followed = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document", "sec-fetch-site": "cross-site"}
    assert browser.get("/", **followed).status == 200


def test_a_link_from_elsewhere_finds_who_is_signed_in(house: House) -> None:
    """A strict cookie stays at home for the first request; the second one is ours, and brings it."""
    arriving = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}

    answer = house.browser().get("/model?name=a%20b", **arriving)

    assert (200, "0; url=/model?name=a%20b") == (answer.status, answer.header("refresh"))
    again = house.browser().get("/model?name=a%20b", sec_fetch_site="same-origin")
    assert (303, "/sign-in?next=%2Fmodel%3Fname%3Da%2520b") == (again.status, again.header("location"))


@pytest.mark.parametrize("target", ["//evil.example/", "/\\evil.example", "//evil.example/%2e%2e"])
def test_a_link_from_elsewhere_leads_nowhere_else(house: House, target: str) -> None:
    """Neither at once nor after the sign-in."""
    arriving = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}

    assert house.browser().get(target, **arriving).header("refresh") == "0; url=/"
    assert house.browser().get(target).header("location") == "/sign-in"


# --- signing in --------------------------------------------------------------------------------


def signed_in(browser: Browser, **fields: str) -> Answer:
    """Sign in as people do."""
    browser.get("/sign-in")
    return browser.post("/sign-in", fields)


def test_signing_in_leads_to_the_page_that_was_wanted(house: House) -> None:
    """And the browser is known from then on."""
    browser = house.browser()
    answer = signed_in(browser, token=f" {house.tokens['analyst']} ", next="/sql?q=1")

    assert (303, "/sql?q=1") == (answer.status, answer.header("location"))
    assert browser.get("/sql").status == 200


@pytest.mark.parametrize(
    "wanted",
    [
        *("//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil.example", "javascript:x()"),
        *("/\tevil", "/\n/evil.example", "/\r\nset-cookie: a=b", "///evil.example", "", "evil", "/\u2028"),
        *("/%0d%0aset-cookie:a=b\r\nx: y", "http:/evil.example", "/" + "x" * 5_000),
    ],
)
def test_signing_in_leads_nowhere_else(house: House, wanted: str) -> None:
    """Nor does it write headers of somebody's choosing."""
    answer = signed_in(house.browser(), token=house.tokens["analyst"], next=wanted)

    assert own_path(wanted) == "/"
    assert (303, "/") == (answer.status, answer.header("location"))
    assert {"a"} != {name.partition("=")[0] for key, name in answer.headers if key == "set-cookie"}


def test_a_sessions_cookie_is_out_of_reach(house: House) -> None:
    """Of scripts, of other sites, and under TLS of the network and of the neighbours too."""
    plain, secure = house.browser(), house.browser(host="deeds.example.com")
    (by_http,) = [v for k, v in signed_in(plain, token=house.tokens["admin"]).headers if k == "set-cookie"]
    (by_https,) = [v for k, v in signed_in(secure, token=house.tokens["admin"]).headers if k == "set-cookie"]

    assert by_http.startswith("deedbook-8470-session=")
    assert by_http.endswith("; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200")
    assert by_https.startswith("__Host-deedbook-session=")
    assert by_https.endswith("; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200; Secure")
    assert house.tokens["admin"].rpartition("_")[2] not in by_http + by_https


def test_signing_out_ends_the_session(house: House) -> None:
    """In this browser, and for whoever copied its cookie; the form's own token is asked for."""
    browser = house.browser("admin")
    copied = dict(browser.cookies)

    assert browser.post("/sign-out").header("location") == "/sign-in"
    assert {} == browser.cookies
    thief = house.browser()
    thief.cookies = copied
    assert outcome(thief.get("/")) == "sign in"


def test_a_wrong_token_is_answered_late_and_seldom(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some of them at once; whoever has a good one comes in meanwhile."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("deedbook.service.web.pages.signing_in.asyncio.sleep", sleep)
    fresh = web_app(house.app.state.service)
    browser = Browser(fresh, house.runner, port=0, host="localhost:0")
    browser = Browser(fresh, house.runner)
    browser.get("/sign-in")
    statuses = [browser.post("/sign-in", {"token": "db_wrong"}).status for _ in range(MAX_FAILED + 2)]

    assert [401] * MAX_FAILED + [429] * 2 == statuses
    assert [1.0] * MAX_FAILED == waited
    assert browser.post("/sign-in", {"token": house.tokens["host"]}).status == 303


# --- streams -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["text/event-stream", "text/csv"])
def test_an_open_stream_ends_with_its_token(
    tmp_path: Path, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Nothing is sent after it was revoked, and the stream is closed; a download looks cut short."""
    monkeypatch.setattr(streams, "CHECK_SECONDS", 0.01)
    file = TokenFile(tmp_path / "tokens.json")
    made, text = file.create("ana", frozenset({Role.ANALYST}))

    async def forever() -> AsyncIterator[str]:
        yield "data: first\n\n"
        for _ in range(1_000_000):
            yield "data: secret\n\n"
            await asyncio.sleep(0.001)

    app = Starlette()
    app.router.routes.append(page_route("/", lambda _: StreamingResponse(forever(), media_type=kind)))
    guarded(app, Access(file.path), Origins(), plain_refusal)

    came, whole = Browser(app, runner).follow(
        "/", lambda: file.revoke(made.id), authorization=f"Bearer {text}"
    )

    assert (b"data: first\n\n", kind == "text/event-stream") == (came.body, whole)


@pytest.mark.parametrize("who", ["revoked", "expired"])
def test_who_follows_the_log_is_told_no_more_once_the_token_is_over(
    ended: House, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    """Signed in with it, on the page as it is."""
    monkeypatch.setattr(streams, "CHECK_SECONDS", 0.01)

    came, whole = ended.browser(who).follow("/log/stream", lambda: end_tokens(ended))

    assert came.status == 200
    assert came.body.startswith(b"event: begun")
    assert whole


def test_who_follows_the_log_of_an_open_server_is_told_no_more_once_there_are_tokens(
    service: Service, runner: asyncio.Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first token closes what was open, streams included."""
    monkeypatch.setattr(streams, "CHECK_SECONDS", 0.01)
    file = TokenFile(tmp_path / "tokens.json")
    house = house_of(service, runner, Access(file.path), {})

    came, whole = house.browser().follow("/log/stream", lambda: file.create("ana", frozenset({Role.ANALYST})))

    assert (200, True) == (came.status, whole)
    assert outcome(house.browser().get("/log/stream")) == "sign in"
