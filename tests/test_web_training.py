"""A training's page: all that was logged, why it stands as it does, and where it is used."""

import math
from collections.abc import Iterator

import pytest

from deedbook.events import facts
from deedbook.events.facts import Distribution
from deedbook.service.web.distributions import drawing
from deedbook.service.web.writing_down import NOTHING
from tests.serving.in_process import live_registry
from tests.serving.telling import Told, id_of, tell_the_story
from tests.serving.visiting import Browser, Seen

HOSTILE = """<script>alert("1")</script> & 'x'/../?a=b#c"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """A service that was told the story, an amendment, a run, and things with names that mean harm."""
    with live_registry(tmp_path_factory.mktemp("training") / "registry") as service:
        told = tell_the_story(service)
        told.tell(told.pen.amended("third", mse=1.25), called="amendment")
        told.tell(told.pen.steps("third", values=(0.9, 0.8, 0.7)))
        told.tell(told.pen.started("run"), told.pen.failed("run"))
        metric = facts.Metric(name=HOSTILE, value=math.nan, slice=HOSTILE, unit=HOSTILE)
        parameter = facts.Parameter(name=HOSTILE, text=HOSTILE)
        told.tell(
            told.pen.logged(
                "hostile",
                model=HOSTILE,
                metrics=(metric,),
                parameters=(parameter,),
                tags=(facts.Tag(name=HOSTILE, text=HOSTILE),),
                features=(facts.Feature(name=HOSTILE, dtype=HOSTILE),),
            )
        )
        yield told


@pytest.fixture(scope="module")
def second(told: Told) -> Seen:
    """The page of the training that failed."""
    return Browser(told.service).look(f"/trainings/{id_of('second')}")


def test_everything_that_was_logged_is_there(second: Seen) -> None:
    """Parameters, metrics with direction and slice, features, coefficients, tags, artifact, code and data."""
    assert ["city", "Austin"] == second.row("city", "Austin")
    assert ["mse", "all", "1.5", NOTHING, "lower"] == second.row("mse", "all")
    assert ["mse", "new homes", "3", NOTHING, "lower"] == second.row("mse", "new homes")
    assert ["1", "rooms", "float64"] == second.row("rooms", "float64")
    assert ["rooms", "2.5"] == second.row("rooms", "2.5")
    assert ["team", "homes"] == second.row("team", "homes")
    for said in (
        id_of("second"),
        "a" * 64,
        "skops",
        "7 bytes",
        "c0ffee0",
        "as of May",
        "2014-03-01 00:00:00",
    ):
        assert said in second.text


def test_each_check_of_the_verdict_has_its_figures_its_baseline_and_its_sentence(second: Seen) -> None:
    """What was observed stands beside the threshold, and what it was compared with is a link."""
    assert [
        "metric threshold mse",
        "✕ failed",
        "0.75",
        "0.25",
        "home-price version 1",
        "metric_threshold: 3 times <b>too</b> far",
    ] == second.row("metric threshold", "0.75")
    assert f"/trainings/{id_of('first')}" in second.leads_to("home-price version 1")


def test_replayed_predictions_are_drawn_and_told_as_a_table(second: Seen) -> None:
    """The drawing has a title, a bar for each bin of the candidate that holds anything, and its figures beside it."""
    assert 3 + 1 == second.html.count('class="candidate"')
    assert "prediction: the candidate's distribution and the baseline's" in second.text
    assert ["20", "30", "1", "3"] in second.rows
    assert "The candidate's median lies between 10 and 20; the baseline's between 20 and 30." in second.text


def test_its_events_lead_to_their_positions_in_the_log(told: Told, second: Seen) -> None:
    """What the log holds about it can be opened there."""
    position = told.positions["verdict on second"]

    assert [str(position), "VerdictIssued", "✓ accepted"] == [
        second.row("VerdictIssued")[place] for place in (0, 2, 4)
    ]
    assert f"/log/registry/0/{position}" in second.leads_to(str(position))


def test_it_can_be_compared_with_its_baseline_and_with_the_one_before(told: Told) -> None:
    """Both lead to the comparison; where they are the same, there is one link."""
    browser = Browser(told.service)
    second, third = (browser.look(f"/trainings/{id_of(name)}") for name in ("second", "third"))
    pair = f"/compare?training={id_of('third')}&training="

    assert [pair + id_of("first")] == third.leads_to("Compare with its baseline")
    assert [pair + id_of("second")] == third.leads_to("Compare with the one before")
    assert [] == second.leads_to("Compare with the one before")


def test_amended_values_stand_beside_what_they_replaced(told: Told) -> None:
    """Before, after, why and by whom."""
    third = Browser(told.service).look(f"/trainings/{id_of('third')}")

    assert ["metric mse", "1.5", "1.25", "a typing error", "ada", str(told.positions["amendment"])] == (
        third.row("metric mse")
    )
    assert ["loss", "all", "3", "2", "0.7"] == third.row("loss")


def test_a_pending_verdict_says_what_it_waits_for(told: Told) -> None:
    """An amended training is judged anew, and until then is not deployable."""
    third = Browser(told.service).look(f"/trainings/{id_of('third')}")

    assert (
        f"A verdict is asked for since position {told.positions['amendment']}, by policy version 1"
        in third.text
    )
    assert "Not deployable since" in third.text


def test_where_it_is_and_was_live_is_told_with_rollbacks_and_hosts(told: Told) -> None:
    """The first was live, gave way, and came back; one host says that it runs it."""
    first = Browser(told.service).look(f"/trainings/{id_of('first')}")
    back, before = (row for row in first.rows if row[0] == "pricing-api in production" and len(row) == 7)

    assert ("now", "slow answers") == (back[3], back[6])
    assert back[4].startswith("! rollback")
    assert before[4].startswith("deployment")
    assert ["host-1", "pricing-api in production", "r1"] == first.row("host-1")[:3]


def test_a_refused_deployment_of_it_is_told_with_the_reason(second: Seen) -> None:
    """A training that was never live says who wanted it to be."""
    assert "It never was." in second.text
    assert "is not deployable: failed at position" in second.row("pricing-api in production")[4]


def test_the_beginning_of_an_id_leads_to_the_training(told: Told) -> None:
    """The address that one ends at is the permanent one."""
    seen = Browser(told.service).look(f"/trainings/{id_of('second')[:8]}")

    assert (200, True) == (seen.status, seen.address.endswith(f"/trainings/{id_of('second')}"))


def test_an_id_that_nothing_has_is_a_page_that_says_what_to_do(told: Told) -> None:
    """Neither an empty page nor a traceback."""
    seen = Browser(told.service).look("/trainings/nothing-of-ours")

    assert 404 == seen.status
    assert "There is no training or deployment nothing-of-ours in this registry." in seen.text
    assert ["/trainings"] == seen.leads_to("Search")[-1:]


def test_a_run_that_made_no_training_has_a_page(told: Told) -> None:
    """Its id may stand in somebody's log."""
    seen = Browser(told.service).look(f"/trainings/{id_of('run')}")

    assert (200, True) == (seen.status, "failed: out of memory" in seen.text)


def test_a_deployments_id_leads_to_the_deployment(told: Told) -> None:
    """People paste ids without looking what they are of."""
    seen = Browser(told.service).look(f"/trainings/{id_of('one')}")

    assert seen.address.endswith(f"/deployments/{id_of('one')}")


def test_names_are_text_wherever_they_stand(told: Told) -> None:
    """A name that is markup is shown as it is written, and an address holds it as a query."""
    seen = Browser(told.service).look(f"/trainings/{id_of('hostile')}")

    assert (200, False) == (seen.status, "<script>alert" in seen.html)
    assert [HOSTILE, HOSTILE, "NaN", HOSTILE, NOTHING] == seen.row("NaN")
    assert [HOSTILE] == [
        link.text
        for link in seen.read.links
        if link.href.startswith("/model?name=%3Cscript%3E") and "metric=" not in link.href
    ]


@pytest.mark.parametrize("address", ["second", "second/override", "second/revalidate", "hostile"])
def test_no_page_holds_a_style_or_a_script_of_its_own(told: Told, address: str) -> None:
    """The content security policy would not let them act."""
    name, _, rest = address.partition("/")
    seen = Browser(told.service).look(f"/trainings/{id_of(name)}/{rest}".rstrip("/"))

    assert (200, [], False) == (seen.status, seen.read.styled, "script" in seen.read.tags)


# --- drawing -----------------------------------------------------------------------------------


def test_a_distribution_without_bins_is_not_drawn() -> None:
    """There is nothing to see."""
    assert drawing(Distribution(name="prediction")) is None


def test_edges_that_have_no_scale_are_drawn_evenly() -> None:
    """Infinite edges, and ones out of order, still have counts to show."""
    edges = (-math.inf, 0.0, math.inf)
    drawn = drawing(Distribution(name="p", edges=edges, candidate_counts=(1, 3), baseline_counts=(2, 2)))

    assert drawn is not None
    assert (True, 2) == (drawn.even, len(drawn.bars))
    assert drawn.bars[0].width == pytest.approx(drawn.bars[1].width)
    assert "between 0 and ∞" in drawn.summary


def test_a_side_without_values_has_no_bars() -> None:
    """Dividing by nothing is nothing."""
    drawn = drawing(Distribution(name="p", edges=(0.0, 1.0), candidate_counts=(0,), baseline_counts=(4,)))

    assert drawn is not None
    assert ((), 0, 4) == (drawn.bars, drawn.candidate_total, drawn.baseline_total)


def test_bars_are_as_wide_as_their_bins_and_as_high_as_their_shares() -> None:
    """A bin three times as wide is drawn so; half of the values are half of all."""
    drawn = drawing(
        Distribution(name="p", edges=(0.0, 1.0, 4.0), candidate_counts=(1, 2), baseline_counts=(3, 0))
    )

    assert drawn is not None
    assert drawn.bars[1].width == pytest.approx(drawn.bars[0].width * 3, rel=0.02)
    assert drawn.bars[1].height == pytest.approx(drawn.bars[0].height * 2, rel=0.02)
