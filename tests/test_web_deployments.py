"""What serves what: timelines, requests and what was decided on them, and what was live at a time."""

from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from urllib.parse import quote_plus

import pytest

from deedbook.projector import queries
from deedbook.service.web.strips import WIDTH, segments
from tests.serving.in_process import live_registry
from tests.serving.telling import SERVICE, Told, id_of, tell_the_story
from tests.serving.visiting import Browser

HOSTILE = """<img src=x onerror=alert(1)>/../?a=b&c=d#"é"""
HERE = f"service={SERVICE}&environment=production"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """A service that was told the story; then the third was withdrawn, and a service with a name that means harm."""
    with live_registry(tmp_path_factory.mktemp("deployments") / "registry") as service:
        told = tell_the_story(service)
        told.tell(told.pen.overridden("third", deployable=False, reason="it drifts"), called="withdrawal")
        told.tell(told.pen.deploy(HOSTILE, "first", service=HOSTILE, environment="test", reason=HOSTILE))
        told.tell(told.pen.deploy("nothing", "unknown", deployment="of nothing"))
        yield told


@pytest.fixture(scope="module")
def browser(told: Told) -> Browser:
    """Somebody who looks."""
    return Browser(told.service)


def recorded_at(told: Told, name: str) -> datetime:
    """When something was recorded."""
    with told.service.live.reading() as connection:
        (event,) = queries.events(connection, after=told.positions[name] - 1, limit=1)
    return event.recorded_at


def address_at(moment: datetime, query: str = HERE) -> str:
    """Where it is told what was live at a time."""
    return f"/live?{query}&at={quote_plus(moment.isoformat())}"


# --- timelines ---------------------------------------------------------------------------------


def test_a_services_timeline_tells_what_was_live_from_when_until_when(told: Told, browser: Browser) -> None:
    """Newest first; a rollback is marked, in words and not by colour alone."""
    seen = browser.look(f"/deployments?{HERE}")
    periods = [row for row in seen.rows if len(row) == 6 and "what was live then" in row[3]]

    assert [("r1 ● current", "now"), ("r3", "r"), ("r1", "r")] == [
        (row[0], row[2] if row[2] == "now" else "r") for row in periods
    ]
    assert [True, False, False] == [row[3].startswith("! rollback") for row in periods]
    assert f"position {told.positions['rollback']}" in periods[0][1]
    assert periods[0][1] == periods[1][2]


def test_all_services_are_there_with_what_is_current(browser: Browser) -> None:
    """Each leads to its own timeline, whatever it is called."""
    seen = browser.look("/deployments")
    (link,) = {href for href in seen.leads_to(HOSTILE) if href.startswith("/deployments?service=")}

    assert ["pricing-api in production", "r1 ! rollback"] == seen.row(
        "pricing-api in production", "rollback"
    )[:2]
    assert f"{HOSTILE} in test" in browser.look(link).text
    assert False is ("<img" in seen.html)


def test_a_strip_is_as_wide_as_its_periods_took() -> None:
    """The newest ends now; the shortest can still be seen."""
    start = datetime.fromisoformat("2026-01-01T00:00:00Z")
    moments = [start.replace(hour=hour) for hour in (0, 1, 1, 4)]
    periods = [
        queries.LivePeriod(
            service="s",
            environment="e",
            release="r",
            deployment_id="d",
            actor="a",
            reason=None,
            live_from=begin,
            live_until=end if place < 2 else None,
            from_position=place,
            to_position=None,
            rollback=False,
        )
        for place, (begin, end) in enumerate(pairwise(moments))
    ]
    first, second, third = segments(periods, moments[-1])

    assert (0.0, 8.0) == (first.x, second.width)
    assert third.x + third.width == pytest.approx(WIDTH)
    assert third.width - 8 == pytest.approx((first.width - 8) * 3, rel=0.01)


def test_many_services_are_told_page_by_page(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """What changed last first; each page leads on, and back."""
    monkeypatch.setattr("deedbook.service.web.pages.deployments._SERVICES_ON_A_PAGE", 1)
    first = browser.look("/deployments")
    (onward,) = (href for href in first.leads_to("Next →") if "skip" in href)
    second = browser.look(onward)
    services = [
        [row[0] for row in seen.rows if len(row) == 5 and " in " in row[0]] for seen in (first, second)
    ]

    assert [[f"{HOSTILE} in test"], ["pricing-api in production"]] == services
    assert ["/deployments"] == second.leads_to("← Previous")


# --- requests ----------------------------------------------------------------------------------


def test_a_rejected_request_is_listed_with_its_reason(browser: Browser) -> None:
    """Chosen by the decision, the accepted ones are left out."""
    seen = browser.look(f"/deployments?{HERE}&decision=rejected")

    assert "is not deployable: failed at position" in seen.row("r2")[5]
    assert False is any(row[0] == "r3" and len(row) == 6 and "accepted" in row[2] for row in seen.rows)


@pytest.mark.parametrize("query", ["service=nothing", "environment=moon", "model=rent", "before=2"])
def test_where_no_request_fits_the_way_back_is_shown(browser: Browser, query: str) -> None:
    """A filter that leaves nothing is no error."""
    seen = browser.look(f"/deployments?{query}")

    assert (200, ["/deployments"]) == (seen.status, seen.leads_to("Show all"))


def test_a_long_list_of_requests_goes_on_on_the_next_page(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page by page, each request once, newest first."""
    monkeypatch.setattr("deedbook.service.web.pages.deployments._ON_A_PAGE", 2)
    address, found = f"/deployments?{HERE}", list[str]()
    while address:
        seen = browser.look(address)
        found += [row[0] for row in seen.rows if len(row) == 6 and "position" in row[2] and row[2][0] in "✓✕"]
        (address,) = seen.leads_to("Next →") or [""]

    assert ["nothing", "r3", "r2", "r1"] == found


# --- one deployment ----------------------------------------------------------------------------


def test_an_accepted_deployment_shows_its_evidence_its_tests_and_its_hosts(
    told: Told, browser: Browser
) -> None:
    """How its training stood at that position, and that it was withdrawn since."""
    seen = browser.look(f"/deployments/{id_of('three')}")
    judged = told.positions["verdict on third"]
    model, then, why, verdict, now = seen.row("home-price version 3", "deployable")

    assert ("home-price version 3", "Passed: every check passed") == (model, why)
    assert f"✓ deployable since position {judged}" == then
    assert f"/trainings/{id_of('third')}#verdict-{judged}" in seen.leads_to(verdict)
    assert f"! withdrawn since position {told.positions['withdrawal']}" == now
    for said in ("✓ passed", "1,200", "all within 2 %", "s3://r"):
        assert said in seen.text
    assert [f"/deployments/{id_of('one')}"] == seen.leads_to("r1")[:1]
    assert ["host-2", "host-3"] == [row[0] for row in seen.rows if row[0].startswith("host-")]


def test_a_rejected_deployment_shows_why_its_training_was_refused(told: Told, browser: Browser) -> None:
    """The verdict that stood against it is one click away."""
    seen = browser.look(f"/deployments/{id_of('two')}")
    judged = told.positions["verdict on second"]

    assert f"Rejected at position {told.positions['two']}:" in seen.text
    assert (
        f"✕ not deployable since position {judged}" == seen.row("home-price version 2", "not deployable")[1]
    )
    assert "No report came with the request." in seen.text


def test_a_deployment_of_what_was_never_logged_says_so(browser: Browser) -> None:
    """A misspelt id is an answer, too."""
    seen = browser.look(f"/deployments/{id_of('of nothing')}")

    assert "✕ no such training" == seen.row("no such training")[1]


def test_an_unknown_deployment_is_a_page_that_says_so(browser: Browser) -> None:
    """Neither an empty page nor a traceback."""
    seen = browser.look("/deployments/nothing-of-ours")

    assert (404, True) == (seen.status, "There is no deployment nothing-of-ours" in seen.text)


def test_the_beginning_of_an_id_leads_to_the_deployment(browser: Browser) -> None:
    """The address that one ends at is the permanent one."""
    seen = browser.look(f"/deployments/{id_of('one')[:8]}")

    assert seen.address.endswith(f"/deployments/{id_of('one')}")


# --- what was live at a time -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "release"), [("one", "r1"), ("two", "r1"), ("three", "r3"), ("rollback", "r1")]
)
def test_what_was_live_at_a_time_is_told_with_why_it_was_allowed(
    told: Told, browser: Browser, after: str, release: str
) -> None:
    """At the very moment at which something was recorded it counts."""
    seen = browser.look(address_at(recorded_at(told, after)))
    model = {"r1": "home-price version 1", "r3": "home-price version 3"}[release]

    assert f"Release {release} from" in seen.text
    assert "Passed: every check passed (position" in seen.row(model)[2]
    assert "✓ deployable" == seen.row(model)[3]
    assert f"It had come to position {told.positions[after]}." in seen.text


def test_without_a_service_all_are_told(browser: Browser) -> None:
    """And without a time, what is live now."""
    seen = browser.look("/live")

    assert ["What is live", True, True] == [
        seen.text[: len("What is live")],
        "pricing-api in production" in seen.text,
        f"{HOSTILE} in test" in seen.text,
    ]


def test_before_the_first_event_nothing_was_live(browser: Browser) -> None:
    """The page says when the log begins."""
    seen = browser.look("/live?at=1999-12-31T23:59:59-05:00")

    assert (200, True) == (seen.status, "Nothing was live" in seen.text)
    assert "It was empty then: it begins at 20" in seen.text
    assert "What was live at 2000-01-01 04:59:59 UTC" in seen.text


def test_a_time_to_come_is_told_as_what_is_live_now(browser: Browser) -> None:
    """And that it is one."""
    seen = browser.look("/live?at=9999-12-31T23:59:59.999999")

    assert (200, True) == (seen.status, "That time is still to come" in seen.text)


@pytest.mark.parametrize(
    "written", ["yesterday", "2026-02-30", "14:05", "0001-01-01T00:00:00+23:00", "x" * 5_000]
)
def test_what_is_no_time_is_refused_with_how_to_write_one(browser: Browser, written: str) -> None:
    """In a sentence of a sensible length."""
    seen = browser.look(f"/live?at={quote_plus(written)}")

    assert (400, True) == (seen.status, "write it as 2026-01-31T14:05:00 (UTC" in seen.text)
    assert len(seen.text) < 1_000
