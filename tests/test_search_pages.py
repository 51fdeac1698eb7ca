"""A search page by page, while trainings are being logged, amended and judged between the pages."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import pytest

from deedbook.events import facts
from deedbook.events.errors import InvalidInput
from deedbook.projector.loop import Projector
from deedbook.projector.queries.conditions import TrainingQuery
from deedbook.projector.queries.filters import MetricFilter, MetricName
from deedbook.projector.queries.paging import Mark, search_page
from deedbook.projector.queries.search import TrainingSummary, search
from tests.facts_by_hand import MARCH_2014, Pen, id_of
from tests.folded import Registry

MSE = MetricName("mse")


def twelve(folder: Path) -> Registry:
    """Twelve trainings: some at the same time, some with the same value, one with NaN, two without the metric."""
    registry = Registry(folder)
    pen = Pen("first")
    for number in range(12):
        values = (0.5, 0.25, 0.5, math.nan, math.inf, 0.125)
        other = (facts.Metric(name="auc", value=0.5),)
        more = {"metrics": other} if number in {4, 9} else {"mse": values[number % 6]}
        created_at = MARCH_2014 + number // 2 + (5 if number % 3 == 0 else 0)
        registry.append(pen.logged(f"t{number}", created_at=created_at, **more))
    registry.fold()
    return registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """Twelve trainings that nothing happens to."""
    return twelve(tmp_path_factory.mktemp("pages"))


def ids(trainings: Sequence[TrainingSummary]) -> list[str]:
    """Which trainings these are."""
    return [training.training_id for training in trainings]


def pages(connection: duckdb.DuckDBPyConnection, query: TrainingQuery, size: int) -> Iterator[list[str]]:
    """The ids of each page, read when they are asked for."""
    mark: Mark | None = None
    while True:
        page = search_page(connection, query, size=size, after=mark)
        yield ids(page.trainings)
        mark = page.next
        if mark is None:
            return


QUERIES = [
    TrainingQuery(),
    TrainingQuery(descending=False),
    TrainingQuery(order_by=MSE),
    TrainingQuery(order_by=MSE, descending=True),
    TrainingQuery(order_by=MetricName("none yet")),
    TrainingQuery(metrics=[MetricFilter.parse("mse > 0.2")], order_by=MSE),
    TrainingQuery(parameters={"city": "Austin"}, tags={"team": "homes"}, order_by=MSE),
    TrainingQuery(outcome="pending", deployable=False),
]


@pytest.mark.parametrize("query", QUERIES)
def test_pages_of_any_size_add_up_to_the_same(registry: Registry, query: TrainingQuery) -> None:
    """The last page says that it is the last."""
    with registry.store() as store:
        (whole,) = pages(store.connection, query, 1_000)
        bitten = [list(pages(store.connection, query, size)) for size in (1, 5, 6, 12)]

    assert [whole] * 4 == [[found for page in each for found in page] for each in bitten]


def test_pages_hold_what_was_there_when_the_first_was_read(tmp_path: Path) -> None:
    """Nothing twice and nothing left out, though trainings come, move in the order, and stand otherwise."""
    pen = Pen("second")
    happening = [
        pen.logged("late", mse=0.01, created_at=MARCH_2014 + 99),
        pen.logged("early", mse=9.0, created_at=MARCH_2014 - 99),
        pen.amended("t11", mse=0.001),
        pen.amended("t11", mse=0.3),
        pen.amended("t0", mse=7.0),
        pen.amended("t10", city="Dallas"),
        pen.amended("t8", team="rents"),
        pen.overridden("t1", deployable=True),
        pen.logged("none", metrics=(facts.Metric(name="none yet", value=1.0),)),
    ]
    registry = twelve(tmp_path)
    with registry.store() as store:
        projector = Projector(registry.log, store, registry.codec)
        projector.catch_up()
        expected = [next(pages(store.connection, query, 1_000)) for query in QUERIES]
        reading = [pages(store.connection, query, 1) for query in QUERIES]
        found = [next(rest) for rest in reading]
        for fact in happening:
            registry.append(fact)
            projector.catch_up()
            for so_far, rest in zip(found, reading, strict=True):
                so_far.extend(next(rest, []))
        for so_far, rest in zip(found, reading, strict=True):
            so_far.extend(training_id for page in rest for training_id in page)
        changed = [next(pages(store.connection, query, 1_000)) for query in QUERIES]

    assert expected == found
    assert all(then != now for then, now in zip(expected, changed, strict=True))


def test_a_search_finds_a_commit_by_its_beginning_and_a_tag_by_its_text(tmp_path: Path) -> None:
    """Both are compared letter by letter."""
    registry, pen = Registry(tmp_path), Pen()
    registry.append(
        pen.logged("a", git_sha="0f3c1d", tags=(facts.Tag(name="team", text="homes"),)),
        pen.logged("b", git_sha="0f3d1d", tags=(facts.Tag(name="team", text="rents"),)),
        pen.logged("c", git_sha="", tags=()),
    )
    registry.fold()
    with registry.store() as store:
        by_commit = search(store.connection, git_sha="0f3c")
        by_tag = search(store.connection, tags={"team": "rents"})

    assert [[id_of("a")], [id_of("b")]] == [ids(by_commit), ids(by_tag)]


@pytest.mark.parametrize("size", [0, 1_001])
def test_a_page_is_bounded(registry: Registry, size: int) -> None:
    """Nobody gets everything at once."""
    with registry.store() as store, pytest.raises(InvalidInput, match="1 to 1,000"):
        search_page(store.connection, TrainingQuery(), size=size)
