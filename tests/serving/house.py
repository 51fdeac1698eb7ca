"""The pages of a registry that hostile people write to, with a door that tests set up."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from deedbook.events import facts
from deedbook.service.access.access import Access
from deedbook.service.access.roles import Permission
from deedbook.service.web.app import web_app
from deedbook.service.web.pages import Page
from tests.facts_by_hand import Pen, id_of
from tests.folded import Registry
from tests.serving.browser import Browser
from tests.serving.in_process import live_registry

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request

    from deedbook.service.context import Service

HOSTILE = "<script>hostile()</script>\"'><img src=x onerror=hostile()>{{7*7}}"
FORMULA = '=HYPERLINK("http://evil.example")'
OTHER_MODEL = "another model"
# Examples of what stands in an address.
VALUES = {
    "training_id": id_of("hostile"),
    "deployment_id": id_of("hostile deployment"),
    "name": "deedbook.css",
    "topic": "registry",
    "partition": "0",
    "position": "0",
}
QUERIES = {"/model/training": "?model=" + quote(OTHER_MODEL) + "&version=1"}


_PLACE = re.compile(r"\{(\w+)(?::\w+)?\}")


@dataclass(frozen=True, slots=True)
class House:
    """The pages of a registry that hostile people write to; open, or with a token for everybody."""

    app: Starlette
    access: Access
    runner: asyncio.Runner
    tokens: dict[str, str]

    def browser(self, token: str = "", **more: Any) -> Browser:  # noqa: ANN401 - any field
        """A browser, signed in if there is a token."""
        made = Browser(self.app, self.runner, **more)
        if token:
            made.cookies["deedbook-8470-session"] = self.access.new_session(self.tokens[token])[1]
        return made


def hostile_facts() -> Iterator[facts.Fact]:
    """A registry in which every text that somebody writes is markup."""
    pen = Pen(actor=HOSTILE)
    check = facts.CheckSpec(check="metric_threshold", reads=(f"metric:{HOSTILE}",))
    policy = facts.Policy(model=HOSTILE, version=1, group_by=(HOSTILE,), checks=(check,))
    yield pen.policy(policy)
    for name in ("hostile", "formula"):
        text = HOSTILE if name == "hostile" else FORMULA
        yield pen.logged(
            name,
            model=HOSTILE,
            model_type=text,
            parameters=(facts.Parameter(name=HOSTILE, text=text),),
            metrics=(facts.Metric(name=HOSTILE, value=0.5, slice=text, unit=text),),
            features=(facts.Feature(name=HOSTILE, dtype=text),),
            tags=(facts.Tag(name=HOSTILE, text=text),),
        )
    yield pen.verdict(
        "hostile", policy, outcome=facts.Outcome.FAILED, validator_version=HOSTILE, requested_at_position=1
    )
    yield pen.overridden("hostile", deployable=True, reason=HOSTILE)
    yield pen.deploy(
        HOSTILE,
        "hostile",
        deployment="hostile deployment",
        models=(HOSTILE,),
        service=HOSTILE,
        environment=HOSTILE,
        reason=HOSTILE,
        git_sha="",
    )
    yield pen.deploy(
        f"{HOSTILE}2", "formula", models=(HOSTILE,), service=HOSTILE, environment=HOSTILE, git_sha=""
    )
    yield facts.ModelLoaded(
        **pen.envelope(),
        service=HOSTILE,
        environment=HOSTILE,
        release=HOSTILE,
        instance=HOSTILE,
        model=HOSTILE,
        training_id=id_of("hostile"),
    )
    yield pen.failed("gone", model=HOSTILE)
    yield pen.amended("formula", reason=HOSTILE, tags=(facts.Tag(name=HOSTILE, text=FORMULA),))
    yield pen.logged("innocent", model=OTHER_MODEL)


def house_of(service: Service, runner: asyncio.Runner, access: Access, tokens: dict[str, str]) -> House:
    """The pages of a service with another list of tokens than its own."""
    settings = replace(service.settings, public_hosts=("deeds.example.com",))
    return House(web_app(replace(service, access=access, settings=settings)), access, runner, tokens)


def routes_of(app: Starlette) -> dict[tuple[str, str], str]:
    """Each address of the application, by method and path, with an example of it."""
    found = {}
    for route in app.routes:
        assert isinstance(route, Route)
        for method in sorted(route.methods or ()):
            if method != "HEAD":
                found[method, route.path] = _PLACE.sub(
                    lambda place: VALUES[place[1]], route.path
                ) + QUERIES.get(route.path, "")
    return found


def page_route(path: str, endpoint: Any, permission: Permission = Permission.READ) -> Route:  # noqa: ANN401
    """A route as the pages have them."""
    route = Route(path, endpoint)
    route.page = Page(path=path, endpoint=endpoint, permission=permission)  # type: ignore[attr-defined]
    return route


def plain_refusal(
    request: Request,
    status_code: int,
    sentence: str,
    *,
    advice: str = "",
    headers: Mapping[str, str] | None = None,
) -> PlainTextResponse:
    """A refusal without the pages' looks."""
    del request
    return PlainTextResponse(f"{sentence} {advice}", status_code, headers)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """The loop that all browsers and pages share."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A registry that hostile people write to, served."""
    registry = Registry(tmp_path_factory.mktemp("hostile"))
    registry.append(*hostile_facts())
    registry.log.close()
    with live_registry(registry.folder) as service:
        yield service


@pytest.fixture(scope="module")
def unlocked(service: Service, runner: asyncio.Runner) -> House:
    """The pages without any token: on loopback, for everybody."""
    return house_of(service, runner, Access(), {})
