"""The models at a glance; one of them, its metric over time as a chart, as a table and as CSV, and its trainings."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from deedbook.events import facts
from deedbook.projector.queries.charted import chart_metrics, chart_parameters
from deedbook.service.context import Service
from deedbook.service.web.charting import STATES, spec
from deedbook.service.web.keeping import Kept
from tests.facts_by_hand import Pen, id_of
from tests.folded import Registry
from tests.serving.charted import ERRORS, HOSTILE, MODEL, tell_of_cities
from tests.serving.in_process import live_registry
from tests.serving.visiting import Browser, Seen

CHART = f"/model/series.json?name={MODEL}&metric=mse&by=city"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with trainings of three cities."""
    with live_registry(tmp_path_factory.mktemp("models") / "registry") as service:
        yield tell_of_cities(service).service


@pytest.fixture(scope="module")
def browser(service: Service) -> Browser:
    """Somebody who looks at it."""
    return Browser(service)


def series(browser: Browser, **query: object) -> dict[str, Any]:
    """The chart's data, asked for as the page's script does."""
    asked = {"name": MODEL, "metric": "mse", "by": "city"} | query
    seen = browser.look(f"/model/series.json?{urlencode(asked, doseq=True)}")
    assert (200, "application/json") == (seen.status, seen.headers["content-type"])
    whole: dict[str, Any] = json.loads(seen.html)
    return whole


# --- all models ----------------------------------------------------------------------------------


def test_each_model_says_what_is_new_what_may_be_deployed_what_is_live_and_what_failed(
    browser: Browser,
) -> None:
    """One row for each, by name."""
    seen = browser.look("/")

    model, newest, deployable, live, failures, trainings = seen.row(MODEL)
    assert (MODEL, "2 failed", "6") == (model, failures.removeprefix("✕ "), trainings)
    assert newest.startswith("version 6 … pending 2014-03-01 00:00:00 UTC")
    # Dallas' first was overridden, and is the newest one that somebody may deploy.
    assert deployable.startswith("version 4 2014-03-01")
    assert live.startswith("● pricing-api production: version 1 went live")
    assert "nowhere" in seen.row(HOSTILE)


def test_a_model_leads_to_its_own_page_whatever_it_is_called(browser: Browser) -> None:
    """The name is in the query, where anything may stand."""
    (address,) = browser.look("/").leads_to(HOSTILE)

    seen = browser.look(address)

    assert 200 == seen.status
    assert HOSTILE in seen.text
    assert [] == seen.read.styled


# --- the chart -----------------------------------------------------------------------------------


def test_a_chart_that_is_asked_for_nothing_shows_what_suits_the_model_best(browser: Browser) -> None:
    """The metric that most trainings have, by the parameter that the policy groups by."""
    seen = browser.look(f"/model?name={MODEL}")

    assert "mse over time, by city" in seen.text
    assert f'data-series="/model/series.json?name={MODEL}&amp;metric=mse&amp;by=city"' in seen.html


def test_what_trainings_are_told_apart_by_comes_first(service: Service) -> None:
    """A parameter of the policy's groups; then those with several values, texts before numbers."""
    with service.live.reading() as connection:
        parameters = chart_parameters(connection, MODEL)
        metrics = chart_metrics(connection, MODEL)

    assert [("city", 3, True, False), ("depth", 3, False, True)] == [
        (one.name, one.values, one.grouping, one.numeric) for one in parameters
    ]
    assert [("mse", 6, "lower", "USD²"), ("r2", 6, "higher", ""), ("mse[new homes]", 6, "lower", "USD²")] == [
        (str(one.metric), one.trainings, one.direction, one.unit) for one in metrics
    ]


def test_every_training_is_a_point(browser: Browser) -> None:
    """Unsampled and exact, in the order of their lines and times."""
    found = series(browser)

    assert ["Austin", "Dallas", "Waco"] == found["series"]
    assert [value for values in ERRORS.values() for value in values] == found["points"]["value"]
    assert [0, 0, 0, 1, 1, 2] == found["points"]["series"]
    assert [1, 2, 3, 4, 5, 6] == found["points"]["version"]
    assert [1_393_632_000_000 + 86_400_000 * day for day in (0, 1, 2, 0, 1, 0)] == found["points"][
        "created_at"
    ]
    assert ("lower", "USD²") == (found["direction"], found["unit"])


def test_verdicts_overrides_and_deployments_are_marked(browser: Browser) -> None:
    """An override says more than the verdict that it overrides."""
    points = series(browser)["points"]

    assert ["passed", "failed", "passed", "overridden", "pending", "pending"] == [
        STATES[state] for state in points["state"]
    ]
    assert [1, 0, 0, 0, 0, 0] == points["deployed"]


def test_values_dates_and_slices_narrow_a_chart(browser: Browser) -> None:
    """The first day is included, the last one is not."""
    assert [4.0, 3.0, 2.0, 5.5] == series(browser, value=["Austin", "Waco"])["points"]["value"]
    assert [3.0, 9.0] == series(browser, after="2014-03-02", before="2014-03-03")["points"]["value"]
    assert [8.0, 6.0, 4.0] == series(browser, slice="new homes", value="Austin")["points"]["value"]
    assert [8.0, 6.0, 4.0] == series(browser, metric="mse[new homes]", value="Austin")["points"]["value"]


def test_a_chart_of_one_line_and_one_of_nothing_are_charts_too(browser: Browser) -> None:
    """Trainings without the parameter are on a line of their own; no such metric is no error."""
    one, none = series(browser, by=""), series(browser, metric="nothing")

    assert ([], [None] * 6) == (one["series"], one["points"]["series"])
    assert [] == none["points"]["value"]


def test_a_value_that_is_not_finite_is_a_gap(browser: Browser) -> None:
    """JSON has no such number; the table shows it."""
    metric = f"{HOSTILE}[{HOSTILE}]"
    asked = urlencode({"name": HOSTILE, "metric": HOSTILE, "slice": HOSTILE, "by": HOSTILE})

    assert [None] == json.loads(browser.look(f"/model/series.json?{asked}").html)["points"]["value"]
    assert "NaN" in browser.look(f"/model/series?{asked}").row("version 1")
    assert metric in browser.look(f"/model?{urlencode({'name': HOSTILE})}").text


def test_users_names_are_never_fields_of_the_chart() -> None:
    """The spec is the same for every model, and speaks of its own fields alone."""
    fields = {
        encoding["field"]
        for layer in spec()["layer"]
        for encoding in layer["encoding"].values()
        if "field" in encoding
    }

    assert {"created_at", "value", "series", "colour", "dash", "size", "ink", "mark"} == fields
    assert "alert" not in json.dumps(spec())


def test_a_point_leads_to_its_training(browser: Browser) -> None:
    """By the model's name and the version, which the chart has."""
    seen = browser.look(f"/model/training?name={MODEL}&version=4")

    assert f"/trainings/{id_of('Dallas 0')}" in seen.address
    assert 404 == browser.look(f"/model/training?name={MODEL}&version=99").status


def test_a_chart_can_be_read_without_seeing_it(browser: Browser) -> None:
    """What each line comes to, then each point; and all of it as CSV."""
    (address,) = browser.look(f"/model?name={MODEL}").leads_to("as a table")

    seen = browser.look(address)

    assert ["Austin", "3", "4", "2", "\N{MINUS SIGN}50 %", "2", "4", "1"] == seen.row("Austin", "50")
    assert ["Waco", "version 6", "2014-03-01 00:00:00 UTC", "5.5", "… pending", "no"] == seen.row("version 6")
    (file,) = seen.leads_to("All as CSV")
    lines = browser.look(file).html.splitlines()
    assert 7 == len(lines)
    assert lines[1].startswith('"Austin","2014-03-01T00:00:00.000000Z",4,1,"passed",true,false,true,')


def test_a_choice_that_no_longer_fits_is_left_behind(browser: Browser) -> None:
    """Whoever changes the parameter doesn't have to take the other one's values away first."""
    seen = browser.look(f"/model?name={MODEL}&by=depth&value=Austin&value=1")

    assert "by=depth&amp;value=1&quot;" in seen.html or 'by=depth&amp;value=1"' in seen.html


def test_values_that_are_too_many_to_offer_can_be_asked_for(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The most frequent ones are offered; others are taken at their word. Of many lines, the first are summed up."""
    monkeypatch.setattr("deedbook.service.web.pages.model.PICKABLE_VALUES", 1)
    monkeypatch.setattr("deedbook.service.web.pages.model.SUMMED_UP", 1)

    seen = browser.look(f"/model?name={MODEL}&by=city&value=Waco")

    assert 'by=city&amp;value=Waco"' in seen.html
    assert "The first 1 of 3 lines" in browser.look(f"/model/series?name={MODEL}&metric=mse&by=city").text


def test_what_forms_offer_is_asked_once_for_each_state(tmp_path: Path) -> None:
    """As long as nothing new is folded the answer is kept; then it is another one."""
    registry, pen, kept = Registry(tmp_path), Pen(), Kept()
    offered = []
    for day in range(2):
        registry.append(pen.logged(f"of day {day}", metrics=(facts.Metric(name=f"of day {day}", value=1.0),)))
        registry.fold()
        with registry.store() as store:
            first, again = (kept.metrics(store.connection, MODEL) for _ in range(2))
            assert first is again
            offered.append([str(one.metric) for one in first])

    assert [["of day 0"], ["of day 0", "of day 1"]] == offered


# --- its trainings -------------------------------------------------------------------------------


def rows_of(seen: Seen) -> list[str]:
    """The trainings in a list, in order."""
    return [cell for row in seen.rows for cell in row if cell.startswith("version")]


def test_a_models_trainings_are_listed_newest_first(browser: Browser) -> None:
    """And no other's."""
    assert [3, 5, 2, 6, 4, 1] == [
        int(cell.removeprefix("version ")) for cell in rows_of(browser.look(f"/model?name={MODEL}"))
    ]


def test_they_are_searched_and_sorted_beside_the_chart(browser: Browser) -> None:
    """What the chart shows stays as it is."""
    seen = browser.look(f"/model?name={MODEL}&metric=r2&by=depth&where=mse+%3C+5&order_by=mse")

    assert ["version 3", "version 2", "version 1"] == rows_of(seen)
    assert "r2 over time, by depth" in seen.text
    (down,) = seen.leads_to("mse ▲")
    assert ["version 1", "version 2", "version 3"] == rows_of(browser.look(down))
    assert "r2 over time, by depth" in browser.look(down).text


def test_a_model_that_is_none_is_told(browser: Browser) -> None:
    """With a page that leads on."""
    seen = browser.look("/model?name=nothing")

    assert 404 == seen.status
    assert "There is no model nothing in this registry." in seen.text
