"""The pages in a real browser, on the demo's data: each of them and of their forms, light and dark, wide and narrow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import duckdb
import pytest
from playwright.sync_api import Browser, Download, Page, expect

from deedbook.events.kafka.settings import kafka_settings
from deedbook.events.kafka.topics import create_topics
from deedbook.service.web.pages import collected
from tests.servers.browsing import NARROW, WIDE, Site, Visit, browser, served, visiting, window
from tests.servers.demo_data import DemoTold

__all__ = ["browser"]

MODEL = "home-price"
# What answers programs, or is no page of its own.
NO_PAGES = re.compile(
    r"^/(static|healthz|readyz|metrics|sign-out|log/stream|model/training)|\.(json|csv|parquet)$"
)


@dataclass(frozen=True)
class Place:
    """The demo's registry as it is served, and the ids of what is looked at there."""

    told: DemoTold
    site: Site
    failed: str
    passed: str
    deployment: str

    def examples(self) -> dict[str, str]:
        """For each page's path, an address at which there is something to see, and not the same row fifty times."""
        pair = urlencode([("training", self.failed), ("training", self.passed)])
        query = "select created_at, value from metric_history where name = 'mse' order by all"
        return {
            "/": "/",
            "/compare": f"/compare?{pair}",
            "/deployments": "/deployments",
            "/deployments/{deployment_id}": f"/deployments/{self.deployment}",
            "/failures": "/failures",
            "/fleet": "/fleet",
            "/health": "/health",
            "/live": "/live",
            "/log": "/log?type=DeploymentRequested",
            "/log/{topic}/{partition:int}/{position:int}": "/log/registry/0/30",
            "/model": f"/model?name={MODEL}&after=2015-05-01",
            "/model/series": f"/model/series?name={MODEL}&metric=mse&by=city",
            "/sign-in": "/sign-in",
            "/sql": f"/sql?{urlencode({'query': query})}",
            "/trainings": "/trainings?after=2015-05-01",
            "/trainings/{training_id}": f"/trainings/{self.failed}",
            "/trainings/{training_id}/override": f"/trainings/{self.failed}/override",
            "/trainings/{training_id}/revalidate": f"/trainings/{self.failed}/revalidate",
        }


@pytest.fixture(scope="module", params=["embedded", pytest.param("kafka", marks=pytest.mark.soak)])
def story(request: pytest.FixtureRequest) -> DemoTold:
    """The demo as it was told in a folder, or on a real Kafka and a real S3 server. Not to be written to."""
    name = {"embedded": "demo_told", "kafka": "demo_told_on_kafka"}[request.param]
    told = request.getfixturevalue(name)
    assert isinstance(told, DemoTold)
    return told


@contextmanager
def copied(story: DemoTold, folder: Path) -> Iterator[DemoTold]:
    """A copy of the story that may be written to."""
    told = story.copied_to(folder / "demo")
    yield told
    told.remove()


def serving(told: DemoTold, *arguments: str) -> AbstractContextManager[Site]:
    """The registry of a story, served."""
    return served(told.registry, *arguments, url=told.address, **told.settings)


@pytest.fixture(scope="module")
def place(story: DemoTold, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The demo's registry, served for this file alone."""
    with copied(story, tmp_path_factory.mktemp("served")) as told:
        with told.connected() as registry:
            (failed,) = registry.search(outcome="failed")
            passed = registry.search(outcome="passed", parameters={"city": "Houston"})[0]
            live = registry.live("pricing-houston")
        with serving(told) as site:
            yield Place(told, site, failed.training_id, passed.training_id, live.deployment_id)


@pytest.fixture(scope="module")
def scripted(browser: Browser) -> Iterator[Page]:
    """A window for one visit after another."""
    with window(browser) as page:
        yield page


@pytest.fixture(scope="module")
def scriptless(browser: Browser) -> Iterator[Page]:
    """A window in which no script runs."""
    with window(browser, script=False) as page:
        yield page


@pytest.fixture
def visit(scripted: Page, place: Place) -> Iterator[Visit]:
    """A visit to the site."""
    with visiting(scripted, place.site.web) as visit:
        yield visit


@pytest.fixture
def visit_without_script(scriptless: Page, place: Place) -> Iterator[Visit]:
    """A visit to the site, without scripts."""
    with visiting(scriptless, place.site.web) as visit:
        yield visit


PATHS = sorted(
    {page.path for page in collected() if "GET" in page.methods and not NO_PAGES.search(page.path)}
)


WIDTH = "document.documentElement.scrollWidth"
# Where points may be on a canvas: a cross of one strong colour.
POINTS = """canvas => {
    const { width, height } = canvas, scale = width / canvas.getBoundingClientRect().width;
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    const at = (x, y) => data.slice(4 * (y * width + x), 4 * (y * width + x) + 4).join();
    const found = [];
    for (let y = 4; y < height - 4; y += 1) for (let x = 60; x < width - 20; x += 1) {
        const [red, green, blue, alpha] = at(x, y).split(",").map(Number);
        if (alpha < 120 || Math.max(red, green, blue) - Math.min(red, green, blue) < 60) continue;
        const one = at(x, y);
        if ([[-2, 0], [2, 0], [0, -2], [0, 2]].every(([dx, dy]) => at(x + dx, y + dy) === one))
            found.push({ x: x / scale, y: y / scale });
    }
    return found.slice(0, 40);
}"""


# --- every page ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_a_page_is_whole_and_bars_nobody(visit: Visit, place: Place, path: str) -> None:
    """It answers, its console is silent, nothing sticks out on a phone, and no rule of accessibility is broken.

    In light colours on a wide screen, and in dark ones on a narrow screen.
    """
    page = visit.open(place.examples()[path])
    page.wait_for_load_state("networkidle")

    expect(page.locator("h1")).to_have_count(1)
    assert page.evaluate(WIDTH) <= WIDE[0]
    assert [] == visit.problems()
    visit.look(dark=True, size=NARROW)
    expect(page.locator("h1")).to_have_count(1)
    assert page.evaluate(WIDTH) <= NARROW[0]
    assert [] == visit.problems()


@pytest.mark.parametrize(
    "path", ["/", "/model", "/failures", "/trainings/{training_id}", "/deployments", "/log"]
)
def test_a_page_needs_no_script(visit_without_script: Visit, place: Place, path: str) -> None:
    """All but the chart and the following of the log is there without one."""
    page = visit_without_script.open(place.examples()[path])

    expect(page.locator("main")).to_contain_text(MODEL)


def test_a_keyboard_is_enough(visit: Visit) -> None:
    """The first thing to come to leads past the navigation; then every link can be come to, and is seen to be."""
    page = visit.open("/")
    page.keyboard.press("Tab")
    expect(page.locator("a.skip")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")

    focused = page.locator("main a:focus")
    expect(focused).to_have_text(MODEL)
    assert "none" != focused.evaluate("element => getComputedStyle(element).outlineStyle")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text(MODEL)


# --- a model and its chart ---------------------------------------------------------------------------


def test_the_chart_shows_the_metric_by_city_and_a_point_opens_its_training(visit: Visit) -> None:
    """MSE by city is what a model's page begins with; whatever point is under the pointer opens on a click."""
    page = visit.open(f"/model?name={MODEL}")
    expect(page.locator("#over-time")).to_have_text("mse over time, by city")
    expect(page.locator("#chart [role=status]")).to_have_text("56 points.")
    expect(page.locator("#chart .legend button")).to_have_count(8)
    tip = page.locator("#chart .tip")
    canvas = page.locator("#chart canvas")
    while not (points := canvas.evaluate(POINTS)):
        page.wait_for_timeout(
            50
        )  # the browser's own time-out for the canvas has passed by then: it is being drawn
    for point in points:
        canvas.hover(position=point)
        if tip.is_visible():
            break
    expect(tip).to_contain_text("version")
    version = re.search(r"version \d+", tip.inner_text())
    page.mouse.down()
    page.mouse.up()
    page.wait_for_url("**/trainings/*")

    assert version is not None
    expect(page.locator("h1")).to_contain_text(version[0])


def test_the_chart_s_form_is_in_the_address(visit: Visit) -> None:
    """Another metric, some values, a range of dates: chosen in the form, kept in the link, and drawn."""
    page = visit.open(f"/model?name={MODEL}")
    page.get_by_label("Metric", exact=True).first.select_option("mae")
    page.get_by_label("Created from").fill("2015-03-01")
    page.get_by_text("all 8 values").click()
    page.get_by_label("Austin").check()
    page.get_by_label("Houston").check()
    page.get_by_role("button", name="Show").click()

    expect(page.locator("#over-time")).to_have_text("mae over time, by city")
    expect(page.locator("#chart [role=status]")).to_have_text("8 points.")
    for part in ("metric=mae", "after=2015-03-01", "value=Austin", "value=Houston"):
        assert part in page.url


# --- searching and comparing ---------------------------------------------------------------------------


def test_a_search_is_made_with_the_form_and_two_of_what_it_finds_are_compared(visit: Visit) -> None:
    """A metric below a number and a city: few are left, and two of them stand side by side."""
    page = visit.open("/trainings")
    page.locator("[name='pick.metric']").fill("mse")
    page.locator("[name='pick.value']").fill("1e9")
    page.locator("[name='pick.parameter']").fill("city")
    page.locator("[name='pick.parameter.value']").fill("Houston")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.locator("p[role=status]")).to_have_text("7 trainings")
    page.get_by_role("link", name="mse").first.click()
    boxes = page.locator("tbody input[type=checkbox]")
    boxes.nth(0).check()
    boxes.nth(1).check()
    page.get_by_role("button", name="Compare the chosen ones").click()

    expect(page.locator("h1")).to_contain_text("Compar")
    expect(page.locator("main")).to_contain_text("mse")
    expect(page.locator("main")).to_contain_text("listings")


def saved(page: Page, name: str, folder: Path) -> Path:
    """The file that a link leads to."""
    with page.expect_download() as waiting:
        page.get_by_role("link", name=name, exact=True).click()
    download: Download = waiting.value
    path = folder / download.suggested_filename
    download.save_as(path)
    return path


def test_what_a_search_finds_is_taken_along_as_csv_and_parquet(visit: Visit, tmp_path: Path) -> None:
    """Both files hold all that was found, numbers as numbers."""
    page = visit.open("/trainings?outcome=passed")
    for name, reader in (("CSV", "read_csv"), ("Parquet", "read_parquet")):
        path = saved(page, name, tmp_path)

        found = duckdb.sql(f"select count(*) from {reader}('{path}')").fetchone()  # noqa: S608 - our own path

        assert (55,) == found


# --- failures and overrides ------------------------------------------------------------------------------


def test_a_failure_shows_its_reasons_and_is_overridden_by_name_and_with_a_reason(
    visit: Visit, place: Place
) -> None:
    """From the list to the confirmation; without a reason the form is not sent; afterwards all see who and why."""
    page = visit.open("/failures")
    expect(page.locator("main")).to_contain_text("coefficient similarity")
    expect(page.locator("main")).to_contain_text("the Kolmogorov-Smirnov distance is")
    page.get_by_text("Make it deployable").first.click()
    expect(page.locator("h1")).to_contain_text("verride")
    expect(page.locator("main")).to_contain_text("7 of 8 coefficients moved")
    page.get_by_label("Deployable: it may be deployed").check()
    page.get_by_label("Your name").fill("Ana Reviewer")
    page.get_by_role("button", name="Record the override").click()
    expect(page.locator("h1")).to_contain_text("verride")
    page.get_by_label("Reason").fill("the feed's unit was mended & <b>checked</b>")
    page.get_by_role("button", name="Record the override").click()

    expect(page.locator("main")).to_contain_text("Recorded at position")
    page.goto(f"{place.site.web}/trainings/{place.failed}")
    expect(page.locator("main")).to_contain_text("Ana Reviewer")
    expect(page.locator("main")).to_contain_text("the feed's unit was mended & <b>checked</b>")
    page.goto(f"{place.site.web}/failures")
    expect(page.locator("main")).to_contain_text("Ana Reviewer")


def test_a_new_verdict_is_asked_for(visit: Visit, place: Place) -> None:
    """The form leads back to the training, where the question stands; the server judges it by itself."""
    page = visit.open(f"/trainings/{place.passed}/revalidate")
    page.get_by_label("Reason").fill("the replayed requests have changed")
    if page.get_by_label("Your name").count():
        page.get_by_label("Your name").fill("Ana Reviewer")
    page.locator("main form button").last.click()

    expect(page.locator("main")).to_contain_text("a new verdict is asked for")


# --- deployments -----------------------------------------------------------------------------------------


def test_what_was_live_is_asked_for_a_time(visit: Visit) -> None:
    """Before the first release nothing was; now something is, and why it was allowed stands beside it."""
    page = visit.open("/live")
    expect(page.locator("main")).to_contain_text("pricing-houston")
    page.get_by_label("At (UTC)").fill("2001-01-01T12:00")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("main")).to_contain_text("Nothing was live")
    page.get_by_role("link", name="Now").click()
    page.get_by_label("Service", exact=True).select_option("pricing-houston")
    page.get_by_role("button", name="Show").click()

    expect(page.locator("section.live")).to_have_count(1)
    expect(page.locator("section.live")).to_contain_text("assed")
    assert "service=pricing-houston" in page.url


def test_a_refused_deployment_stands_with_its_reason(visit: Visit) -> None:
    """What was rejected is found by the filter, and says which model is not deployable."""
    page = visit.open("/deployments")
    page.get_by_label("Decision").select_option("rejected")
    page.get_by_role("button", name="Show").click()

    expect(page.locator("main")).to_contain_text("not deployable")


# --- the log, SQL ------------------------------------------------------------------------------------------


def test_the_log_follows_what_happens(visit: Visit, place: Place) -> None:
    """A training that somebody logs appears by itself, and its place leads to all that the event says."""
    page = visit.open("/log")
    expect(page.locator("#follow [role=status]")).not_to_be_empty()
    with place.told.connected() as registry:
        registry.log_training("walk-in", metrics={"loss": 3.0})
    row = page.locator("#records tr", has_text="TrainingLogged").first
    expect(row).to_contain_text("registry")
    expect(page.locator("#records tr").first).to_contain_text(
        re.compile("TrainingLogged|ValidationRequested")
    )
    row.locator("th a").click()

    expect(page.locator("main")).to_contain_text("walk-in")
    expect(page.locator("main")).to_contain_text("accepted")


def test_the_log_is_filtered(visit: Visit) -> None:
    """Only what was rejected is left, with the reason."""
    page = visit.open("/log")
    page.get_by_label("Decision").select_option("rejected")
    page.get_by_role("button", name="Filter").click()

    expect(page.locator("#records tr").first).to_contain_text("DeploymentRequested")


@pytest.mark.soak
@pytest.mark.parametrize("story", ["kafka"], indirect=True)
def test_a_topic_of_several_partitions_is_looked_at_one_by_one(visit: Visit) -> None:
    """All orders of one model are in one of them, down to the first, whose place is a permalink; another is empty."""
    page = visit.open("/log?topic=validations")
    expect(page.locator("main")).to_contain_text("The newest of all partitions.")
    places = [text.partition(" ")[0] for text in page.locator("#records th").all_inner_texts()]
    partition = int(places[-1].partition(":")[2] or 0)
    empty = next(one for one in range(1, 6) if f"validations:{one}" not in places)
    page.get_by_role("link", name=f"Partition {empty}", exact=True).click()
    expect(page.locator("main")).to_contain_text("This partition has no records.")
    page.get_by_role("link", name=f"Partition {partition}", exact=True).click()
    expect(page.locator("#records tr")).to_have_count(places.count(places[-1]))
    page.locator("#records th a").last.click()

    expect(page.locator("h1")).to_contain_text("ValidationRequested")
    assert page.url.endswith(f"/log/validations/{partition}/0")
    expect(page.locator("nav[aria-label='Records beside it'] a")).to_have_text(["1 →"])


@pytest.mark.soak
@pytest.mark.parametrize("story", ["kafka"], indirect=True)
def test_the_log_follows_every_partition(visit: Visit, place: Place) -> None:
    """Step-wise values of several trainings are in several partitions; all of them appear, and lead to themselves."""
    page = visit.open("/log?topic=metrics")
    expect(page.locator("main")).to_contain_text("Nothing is here yet")
    page = visit.open("/log")
    expect(page.locator("#follow [role=status]")).to_contain_text("Following")
    with place.told.connected() as registry:
        for number in range(6):
            with registry.training(f"stepped-{number}") as training:
                training.log_metric("loss", 1.0, step=0)
    rows = page.locator("#records tr.new, #records tr", has_text="MetricsLogged")
    expect(rows).to_have_count(6)
    partitions = {text.partition(" ")[0] for text in rows.locator("th").all_inner_texts()}
    rows.last.locator("th a").click()

    assert len(partitions) > 1
    expect(page.locator("h1")).to_contain_text("MetricsLogged")
    expect(page.locator("main")).to_contain_text("accepted")


def test_a_question_in_sql_is_answered_as_table_chart_and_file(visit: Visit, tmp_path: Path) -> None:
    """What is typed is run, drawn and taken along; the address is the question's permalink."""
    page = visit.open("/sql")
    question = (
        "select created_at, parameters['city'], value from metric_history where name = 'mse' order by all"
    )
    page.get_by_label("One query").fill(question)
    page.get_by_role("button", name="Run").click()
    expect(page.locator("#answer")).to_be_visible()
    expect(page.locator("main")).to_contain_text("Austin")
    expect(page.locator("main canvas, main svg.marks").first).to_be_visible()
    path = saved(page, "Parquet", tmp_path)

    assert (56,) == duckdb.sql(f"select count(*) from read_parquet('{path}')").fetchone()  # noqa: S608
    assert "query=" in page.url


@pytest.mark.parametrize(
    ("question", "answer"),
    [("select nothing", "nothing"), ("copy (select 1) to 'x.csv'", "can be asked, not changed"), ("", "")],
    ids=["a mistake", "a write", "nothing"],
)
def test_a_question_that_is_refused_stays_to_be_mended(
    visit_without_script: Visit, question: str, answer: str
) -> None:
    """The page says why in a sentence, and keeps what was typed."""
    visit = visit_without_script
    page = visit.open(f"/sql?{urlencode({'query': question})}")
    visit.complaints[:] = [said for said in visit.complaints if "status of 4" not in said]

    expect(page.get_by_label("One query")).to_have_value(question)
    expect(page.locator("main")).to_contain_text(answer)


# --- signing in ----------------------------------------------------------------------------------------------


def test_a_reviewer_signs_in_and_is_who_overrode(scripted: Page, story: DemoTold, tmp_path: Path) -> None:
    """With tokens nobody gets in without one; who signs in is the one on record, and signing out ends it."""
    with copied(story, tmp_path) as told:
        with told.connected() as registry:
            (failed,) = registry.search(outcome="failed")
        token = created_token(told, "ana", "reviewer")
        with serving(told, "--no-validation") as site, visiting(scripted, site.web) as visit:
            sign_in_and_override(visit, failed.training_id, token)

        assert token not in (told.registry / "serve.log").read_text()


def sign_in_and_override(visit: Visit, training_id: str, token: str) -> None:
    """Be let in, decide, be on record, and be out again."""
    page = visit.open("/failures")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("h1")).to_have_text("Failed validations")
    expect(page.locator("header")).to_contain_text("ana (reviewer)")
    page.goto(f"{visit.base}/trainings/{training_id}/override")
    page.get_by_label("Deployable: it may be deployed").check()
    page.get_by_label("Reason").fill("looked at")
    page.get_by_role("button", name="Record the override").click()
    expect(page.locator("main")).to_contain_text("by ana")
    page.get_by_role("button", name="Sign out").click()
    page.goto(f"{visit.base}/failures")

    expect(page.get_by_label("Token")).to_be_visible()


def created_token(told: DemoTold, name: str, role: str) -> str:
    """A new token, as the command prints it."""
    done = told.run("--url", told.url, "token", "create", name, "--role", role)
    found = re.search(r"db_\w+", done.stdout)
    assert found is not None
    return found[0]


# --- an empty registry ---------------------------------------------------------------------------------------


def test_an_empty_registry_says_how_to_log_the_first_training(scripted: Page, tmp_path: Path) -> None:
    """The first page shows the lines of Python and the command, with this registry's URL in them."""
    with served(tmp_path) as site, visiting(scripted, site.web) as visit:
        says_how_to_begin(visit, str(tmp_path))


@pytest.mark.soak
def test_an_empty_registry_on_kafka_says_so_too(scripted: Page, kafka_url: str, tmp_path: Path) -> None:
    """With its URL."""
    create_topics(kafka_settings(kafka_url), partitions=2)
    artifacts = str(tmp_path / "artifacts")
    with (
        served(tmp_path / "registry", url=kafka_url, DEEDBOOK_ARTIFACTS=artifacts) as site,
        visiting(scripted, site.web) as visit,
    ):
        says_how_to_begin(visit, kafka_url)


def says_how_to_begin(visit: Visit, url: str) -> None:
    """See that the page has both ways, and bars nobody."""
    page = visit.open("/")

    expect(page.locator("main")).to_contain_text("deedbook.connect(")
    expect(page.locator("main")).to_contain_text(url)
    assert [] == visit.problems()
