"""Trainings side by side: what differs from the baseline, and whether that is better."""

import math
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from deedbook.service.context import Service
from deedbook.service.web.comparing import figure_row
from tests.facts_by_hand import id_of
from tests.serving.charted import MODEL, tell_of_cities
from tests.serving.in_process import live_registry
from tests.serving.visiting import Browser, Seen

FIRST, LAST = "Austin 0", "Austin 2"
MINUS = "\N{MINUS SIGN}"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with trainings of three cities."""
    with live_registry(tmp_path_factory.mktemp("compare") / "registry") as service:
        yield tell_of_cities(service).service


@pytest.fixture(scope="module")
def browser(service: Service) -> Browser:
    """Somebody who looks at it."""
    return Browser(service)


def compared(browser: Browser, *names: str, **more: str) -> Seen:
    """The comparison of trainings by their short names."""
    pairs = [("training", id_of(name)) for name in names]
    return browser.look(f"/compare?{urlencode([*pairs, *more.items()])}")


def test_a_metric_is_told_with_its_difference_and_whether_that_is_better(browser: Browser) -> None:
    """By the metric's own direction: lower for errors, higher for r2; in its unit and in percent."""
    seen = compared(browser, FIRST, LAST)

    assert ["≠differs: mse USD²", "4", f"2 ✓ best {MINUS}2 ({MINUS}50 %) better"] == seen.row(
        "mse USD²", "50 %", "4"
    )
    assert ["≠differs: r2", "0.6", "0.8 ✓ best +0.2 (+33.3 %) better"] == seen.row("differs: r2")


def test_the_first_is_the_baseline_and_any_other_can_be(browser: Browser) -> None:
    """A link leads the comparison by another one."""
    (other,) = compared(browser, FIRST, LAST).leads_to("Make it the baseline")

    seen = browser.look(other)

    assert ["≠differs: mse USD²", "2 ✓ best", "4 +2 (+100 %) worse"] == seen.row("mse USD²", "100 %", "2 ✓")


def test_parameters_coefficients_features_and_facts_stand_beside_each_other(browser: Browser) -> None:
    """A sign says which of them differ."""
    seen = compared(browser, FIRST, "Dallas 0")

    assert ["≠differs: city", "Austin", "Dallas"] == seen.row("differs: city")
    assert ["depth", "0", "0"] == seen.row("depth")
    assert ["≠differs: rooms", "2", "4 +2 (+100 %)"] == seen.row("differs: rooms")
    assert ["rooms", "1. float64", "1. float64"] == seen.row("1. float64")
    assert ["≠differs: tag team", "homes", "north"] == seen.row("tag team")
    assert ["code sha", "c0ffee0", "c0ffee0"] == seen.row("code sha")


def test_only_what_differs_can_be_seen_alone(browser: Browser) -> None:
    """And everything again."""
    (address,) = compared(browser, FIRST, "Dallas 0").leads_to("Only what differs")

    seen = browser.look(address)

    assert [] == [row for row in seen.rows if row[0] in {"depth", "code sha"}]
    assert "Nothing differs." in seen.text
    assert ["≠differs: city", "Austin", "Dallas"] == seen.row("differs: city")
    assert 1 == len(seen.leads_to("Show everything"))


def test_distributions_are_drawn_where_requests_were_replayed(browser: Browser) -> None:
    """As a picture that is told in words and as a table; without a replay that is said."""
    drawn, none = compared(browser, FIRST, LAST), compared(browser, FIRST, "Waco 0")

    assert 1 == drawn.html.count("<figure")
    assert ["10", "20", "2", "1"] == drawn.row("10", "20", "2", "1")
    assert "No requests were replayed through these trainings" in none.text
    assert [] == drawn.read.styled


def test_a_training_can_be_left_out_of_three(browser: Browser) -> None:
    """Two are the least."""
    seen = compared(browser, FIRST, "Austin 1", LAST)

    assert 3 == len(seen.leads_to("Leave it out"))
    assert [] == compared(browser, FIRST, LAST).leads_to("Leave it out")


def test_trainings_are_named_as_people_do(browser: Browser) -> None:
    """By the model and the version, too; the same one twice is one."""
    seen = browser.look(f"/compare?training={MODEL}@1&training={MODEL}@3&training={id_of(FIRST)}")

    assert "Compare 2 trainings" in seen.text


def test_a_comparison_of_one_shows_how_to_choose_another(browser: Browser) -> None:
    """What was chosen already is kept."""
    seen = compared(browser, FIRST)

    assert 200 == seen.status
    assert f'name="training" type="text" value="{id_of(FIRST)}"' in seen.html
    assert ["/trainings"] == seen.leads_to("the search")


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ("training=nothing", 404, "There is no training nothing in this registry."),
        ("&".join(f"training={n}" for n in range(51)), 400, "At most 50 trainings can be compared at once."),
    ],
)
def test_what_can_not_be_compared_is_told(browser: Browser, asked: str, status: int, said: str) -> None:
    """In a sentence."""
    seen = browser.look(f"/compare?{asked}")

    assert status == seen.status
    assert said in seen.text


def test_figures_that_can_not_be_subtracted_have_no_difference() -> None:
    """Missing, NaN and infinite ones; of nothing, no share can be told."""
    row = figure_row("x", [0.0, None, math.nan, math.inf, 2.0], direction="lower")

    assert [None, None, None, None, 2.0] == [figure.difference for figure in row.figures]
    assert [None, None, None, None, False] == [figure.better for figure in row.figures]
    assert {None} == {figure.share for figure in row.figures}
    assert not figure_row("x", [math.nan, math.nan]).differs
