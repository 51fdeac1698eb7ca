"""The demo: real data, honest models, a policy that tells them from the one that is not, and the whole story."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from deedbook.cli.demo.data import CITIES, History, Month
from deedbook.cli.demo.folder import demo_folder
from deedbook.cli.demo.models import FEATURES, past_requests, request_for_next_month, retrain
from deedbook.events.errors import InvalidInput

JUNE = Month(2015, 6)


@cache
def history() -> History:
    """The real data, read once."""
    return History()


# --- the data and the models ---------------------------------------------------------------------


def test_every_city_has_a_price_for_every_month() -> None:
    """The eight cities are those whose prices are complete, so no price is ever made up."""
    counts = {city: history().delivery(city, JUNE).figures["median"].notna().sum() for city in CITIES}

    assert dict.fromkeys(CITIES, 186) == counts


def test_a_delivery_knows_nothing_of_the_months_after_it() -> None:
    """Walking forward is honest only if a month's model can't have seen the next month."""
    assert Month(2014, 2).number == history().delivery("Houston", Month(2014, 2)).figures.index.max()


def test_no_feature_of_a_month_looks_at_that_month_or_later() -> None:
    """The request for July is the same, whatever July turned out to be."""
    asked = request_for_next_month(history().delivery("Houston", JUNE))
    later = past_requests(history().delivery("Houston", JUNE.later(1)))[-1]

    assert later == asked


def test_a_wrong_unit_changes_prices_and_nothing_else() -> None:
    """The bad delivery is the good one with prices in thousands."""
    good = history().delivery("Houston", JUNE).figures
    bad = history().delivery("Houston", JUNE, prices_in_thousands=True).figures

    assert (good["median"] / 1_000).equals(bad["median"])
    assert good[["sales", "listings", "inventory"]].equals(bad[["sales", "listings", "inventory"]])


def test_a_retrain_says_what_it_was_made_of_and_what_it_is_worth() -> None:
    """Parameters, metrics with direction and unit, and a coefficient for each feature and the intercept."""
    made = retrain(history().delivery("Houston", JUNE))

    assert ("Houston", "2015-06") == (made.parameters["city"], made.parameters["trained_through"])
    assert [
        ("mse", "lower", "USD²"),
        ("mae", "lower", "USD"),
        ("mape", "lower", "share"),
        ("r2", "higher", ""),
    ] == [(metric.name, metric.direction, metric.unit) for metric in made.metrics]
    assert (*FEATURES, "intercept") == tuple(coefficient.name for coefficient in made.coefficients)


def test_the_models_are_better_than_saying_that_nothing_changes() -> None:
    """Over all cities, the error on held-out months is below that of repeating last month's price."""
    better = []
    for city in CITIES:
        delivery = history().delivery(city, JUNE)
        prices = delivery.figures["median"]
        naive = float(((prices - prices.shift(1)) ** 2).iloc[-24:].mean())
        better.append(retrain(delivery).metric("mse") < naive)

    assert [True] * len(CITIES) == better


def test_a_month_with_a_missing_figure_is_left_out() -> None:
    """Dallas has no listings for August 2005: the request that needs them is not made up."""
    through_2005 = len(past_requests(history().delivery("Dallas", Month(2006, 6))))
    complete = len(past_requests(history().delivery("Austin", Month(2006, 6))))

    assert 1 == complete - through_2005


# --- the folder ----------------------------------------------------------------------------------


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """A folder that holds anything else is refused, and keeps what it holds."""
    (tmp_path / "thesis.txt").write_text("years of work")

    with (
        pytest.raises(InvalidInput, match=r"holds something that is not the demo's \(thesis\.txt\)"),
        demo_folder(tmp_path),
    ):
        pass

    assert ["thesis.txt"] == [path.name for path in tmp_path.iterdir()]


def test_the_demo_clears_only_what_is_its_own(tmp_path: Path) -> None:
    """A second run begins with an empty registry, and leaves what else was put beside it."""
    with demo_folder(tmp_path / "demo") as folder:
        folder.registry.mkdir()
        (folder.registry / "log.db").write_text("old")
    (tmp_path / "demo" / "notes.txt").write_text("mine")

    with demo_folder(tmp_path / "demo") as folder:
        assert not folder.registry.exists()

    assert "mine" == (tmp_path / "demo" / "notes.txt").read_text()


def test_a_link_in_place_of_the_registry_is_not_followed(tmp_path: Path) -> None:
    """Of a link, the link is removed, and what it leads to stays."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept.txt").write_text("kept")
    with demo_folder(tmp_path / "demo") as folder:
        folder.registry.symlink_to(tmp_path / "elsewhere")

    with demo_folder(tmp_path / "demo"):
        pass

    assert "kept" == (tmp_path / "elsewhere" / "kept.txt").read_text()


def test_two_demos_in_one_folder_do_not_meet(tmp_path: Path) -> None:
    """The second is refused while the first one runs."""
    with (
        demo_folder(tmp_path / "demo"),
        pytest.raises(InvalidInput, match="another demo is running"),
        demo_folder(tmp_path / "demo"),
    ):
        pass


def test_a_folder_that_can_not_be_is_refused_in_one_sentence(tmp_path: Path) -> None:
    """A file in the way is named, with what to do."""
    (tmp_path / "file").write_text("")

    with (
        pytest.raises(InvalidInput, match=r"cannot use the folder .*: .*; choose another with --folder"),
        demo_folder(tmp_path / "file" / "demo"),
    ):
        pass
