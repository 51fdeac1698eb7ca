"""The frame of the pages: addresses and what they need, files, errors, and how times and numbers are written."""

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jinja2
import pytest
from starlette.requests import Request
from starlette.responses import Response

from deedbook.events.errors import DeadlineExceeded, RequestRejected
from deedbook.service.access.roles import Permission
from deedbook.service.context import Service
from deedbook.service.web import writing_down
from deedbook.service.web.app import PageRoute, web_app
from deedbook.service.web.pages import OPEN, Page, collected
from deedbook.service.web.rendering import environment, link, static
from tests.serving.in_process import live_registry
from tests.serving.visiting import Browser

NOON = datetime(2024, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of a registry in which nothing has happened."""
    with live_registry(tmp_path_factory.mktemp("frame") / "registry") as service:
        yield service


@pytest.fixture(scope="module")
def browser(service: Service) -> Browser:
    """Somebody who looks at it."""
    return Browser(service)


# --- addresses -----------------------------------------------------------------------------------


def test_every_address_is_a_page_that_says_what_it_needs(service: Service) -> None:
    """No route gets into the application but through a page; what needs nothing is the way in, files and probes."""
    routes = web_app(service).routes
    pages = [route.page for route in routes if isinstance(route, PageRoute)]

    assert len(routes) == len(pages) == len(collected())
    assert {"/sign-in", "/sign-out", "/static/{name}", "/healthz", "/readyz"} == {
        page.path for page in pages if page.permission is OPEN
    }


def test_an_address_is_taken_once() -> None:
    """Two pages never answer the same question."""
    taken = [(page.path, method) for page in collected() for method in page.methods]

    assert sorted(set(taken)) == sorted(taken)


def test_every_address_is_documented_with_what_it_needs() -> None:
    """In one table, which names nothing else."""
    text = (Path(__file__).parent.parent / "docs/pages.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`/[^|]*) \| (?:`(\w+)`|nothing) \| \S", text, re.MULTILINE)
    documented = {(path, needs) for paths, needs in rows for path in re.findall("`([^`]+)`", paths)}

    assert documented == {(re.sub(":int}", "}", page.path), page.permission or "") for page in collected()}


def test_links_leave_out_what_is_empty() -> None:
    """A list is the same name several times; times are in UTC; anything may stand in a value."""
    written = link("/model", name="a&b", value=["x", "y"], by="", metric=None, after=NOON)

    assert "/model?name=a%26b&value=x&value=y&after=2024-03-01T12%3A00%3A00.250000Z" == written
    assert "/fleet" == link("/fleet", service=None)


# --- what is shown when something fails ------------------------------------------------------------


def test_an_address_that_is_none_has_a_page_that_leads_on(browser: Browser) -> None:
    """It says what was asked for, and where to begin."""
    seen = browser.look("/no/such/page")

    assert 404 == seen.status
    assert "There is nothing at /no/such/page." in seen.text
    assert ["/"] == seen.leads_to("All models")


def test_an_address_for_programs_answers_them_in_their_language(browser: Browser) -> None:
    """What ends in .json is answered in JSON, errors too."""
    seen = browser.look("/no/such.json")

    assert (404, "application/json") == (seen.status, seen.headers["content-type"])
    assert '{"error":"There is nothing at /no/such.json."}' == seen.html


def test_what_cannot_be_asked_is_told_in_a_sentence(browser: Browser) -> None:
    """A time that is none is named, with how to write one."""
    seen = browser.look("/trainings?after=yesterday")

    assert 400 == seen.status
    assert "After 'yesterday' is not a time: write it as 2026-01-31T14:05:00" in seen.text


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (DeadlineExceeded("no answer within 10.0 s"), 503, "No answer within 10.0 s."),
        (RequestRejected("r1 is bound already"), 409, "R1 is bound already."),
        (ValueError("secret"), 500, "Something went wrong here, and nothing was changed."),
    ],
)
def test_each_kind_of_failure_has_its_page(
    service: Service, error: Exception, status: int, said: str
) -> None:
    """Ours say their sentence; of what nobody foresaw the page tells nothing."""

    def fail(_: Request) -> Response:
        raise error

    browser = Browser(service)
    page = Page(path="/failing", endpoint=fail, permission=Permission.READ)
    browser._app.routes.append(PageRoute(page))  # noqa: SLF001 - no page of ours fails on demand

    seen = browser.look("/failing")

    assert status == seen.status
    assert said in seen.text
    assert "secret" not in seen.html


# --- files and templates -------------------------------------------------------------------------


def test_a_file_that_is_asked_for_by_its_digest_is_kept_for_ever(browser: Browser) -> None:
    """Its address changes with what is in it; without the digest a browser asks again."""
    assert (
        "public, max-age=31536000, immutable" == browser.look(static("deedbook.css")).headers["cache-control"]
    )
    assert "no-cache" == browser.look("/static/deedbook.css").headers["cache-control"]


@pytest.mark.parametrize(
    "name", ["nothing.css", "..%2fapp.py", "%2e%2e/rendering.py", "../templates/base.html"]
)
def test_no_other_file_can_be_asked_for(browser: Browser, name: str) -> None:
    """A name is one of those in the folder, or nothing."""
    assert 404 == browser.look(f"/static/{name}").status


def test_templates_escape_whatever_their_name_ends_in() -> None:
    """Also those whose suffix says nothing of HTML."""
    assert "&lt;b&gt;" == environment().from_string("{{ name }}").render(name="<b>")


def test_a_template_shows_nothing_that_is_not_there() -> None:
    """A name that nobody gave is an error, not an empty place."""
    with pytest.raises(jinja2.UndefinedError):
        environment().from_string("{{ nobody }}").render()


# --- times and numbers ---------------------------------------------------------------------------


def test_a_time_is_written_in_utc_and_holds_itself_exactly() -> None:
    """To the second for people, to the microsecond for programs."""
    assert (
        '<time datetime="2024-03-01T12:00:00.250000Z" title="2024-03-01T12:00:00.250000Z">2024-03-01 12:00:00 '
        '<abbr title="Coordinated Universal Time">UTC</abbr></time>'
    ) == writing_down.time(NOON)
    assert writing_down.NOTHING == writing_down.time(None)


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (timedelta(seconds=2), "just now"),
        (timedelta(seconds=59), "59 seconds ago"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(hours=26), "1 day ago"),
        (timedelta(days=400), "1 year ago"),
        (timedelta(hours=-3), "in 3 hours"),
    ],
)
def test_how_long_ago_is_said_in_the_unit_that_suits_it(before: timedelta, said: str) -> None:
    """In whole units, never rounded up."""
    assert f">{said}</time>" in writing_down.ago(NOON - before, NOON)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0"),
        (1.5, "1.5"),
        (24_024_227.25, "24,024,227"),
        (1234.5678901, "1,234.57"),
        (0.000123456789, "0.000123457"),
        (1.5e-9, "1.5e\N{MINUS SIGN}09"),
        (-2.5, "\N{MINUS SIGN}2.5"),
        (999999.96, "1,000,000"),
        (1e300, "1e+300"),
        (math.nan, "NaN"),
        (-math.inf, "\N{MINUS SIGN}∞"),
    ],
)
def test_a_number_is_written_to_six_digits(value: float, said: str) -> None:
    """Thousands are apart; only very large and very small ones have an exponent."""
    assert said == writing_down.plain(value)


def test_a_number_that_is_cut_holds_all_its_digits() -> None:
    """A closer look shows them; a whole one has nothing to add."""
    assert '<data value="1234.5678901" title="1234.5678901">1,234.57</data>' == writing_down.number(
        1234.5678901
    )
    assert "56" == writing_down.number(56.0)


def test_differences_have_a_sign() -> None:
    """Also a difference of nothing, which is neither more nor less."""
    assert ["+0.5", "\N{MINUS SIGN}0.5", "±0"] == [writing_down.signed(value) for value in (0.5, -0.5, 0.0)]
    assert "+12.5\N{NO-BREAK SPACE}%" == writing_down.percent(0.125)


def test_sizes_are_in_the_unit_that_suits_them() -> None:
    """In powers of 1,024."""
    assert ["0 bytes", "1023 bytes", "1.0 KiB", "1.5 MiB"] == [
        writing_down.size(value) for value in (0, 1023, 1024, 3 << 19)
    ]


# --- the empty registry --------------------------------------------------------------------------


def test_an_empty_registry_shows_how_to_log_the_first_training(service: Service, browser: Browser) -> None:
    """In Python and in the shell, with the URL of this very registry."""
    seen = browser.look("/")

    assert 200 == seen.status
    assert "No training has been logged yet" in seen.text
    assert f'registry = deedbook.connect("{service.settings.registry}")' in seen.text
    assert f'deedbook --url "{service.settings.registry}" log-training training.json' in seen.text


def test_an_empty_search_leads_there(browser: Browser) -> None:
    """Nothing to find is no reason to search."""
    assert ["/"] == browser.look("/trainings").leads_to("See how to log the first one.")
