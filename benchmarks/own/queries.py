"""The chart and the search over 30,000 trainings, through deedbook's own questions and as SQL on its views."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import duckdb
import measure
import workload
from measure import Measure

import deedbook
from deedbook.projector import queries
from deedbook.projector.queries import MetricFilter, MetricName
from own import DEEDBOOK
from own.registries import filled_log, projected

TRAININGS: Final = 30_000
REPEATS: Final = 7
CHART_SQL: Final = """
    SELECT created_at, parameters['city'], value
    FROM metric_history WHERE model = ? AND name = 'mse' ORDER BY created_at
"""
SEARCH_SQL: Final = """
    SELECT training_id, value
    FROM metric_history
    WHERE model = ? AND name = 'mse' AND parameters['city'] = ? AND value < ? ORDER BY value LIMIT ?
"""
SEARCHED: Final = f"mse < {workload.search_below()!r}"
Call = Callable[[], list[Any]]


def points(series: queries.MetricSeries) -> list[Any]:
    """The series as rows of Python objects, as the peers answer."""
    columns = [series.table.column(name).to_pylist() for name in ("created_at", "series", "value")]
    return list(zip(*columns, strict=True))


def chart_by_query(connection: duckdb.DuckDBPyConnection) -> list[Any]:
    """The chart's points through deedbook's query."""
    return points(queries.metric_series(connection, workload.MODEL, MetricName("mse"), by="city"))


def chart_by_sql(connection: duckdb.DuckDBPyConnection) -> list[Any]:
    """The chart's points through one line of SQL on a view."""
    return connection.execute(CHART_SQL, [workload.MODEL]).fetchall()


def search_by_query(connection: duckdb.DuckDBPyConnection) -> list[Any]:
    """The search through deedbook's query."""
    found = queries.search(
        connection,
        model=workload.MODEL,
        parameters={"city": workload.SEARCH_CITY},
        metrics=[MetricFilter.parse(SEARCHED)],
        order_by=MetricName("mse"),
        limit=workload.SEARCH_LIMIT,
    )
    return [training.metrics["mse"] for training in found]


def search_by_sql(connection: duckdb.DuckDBPyConnection) -> list[Any]:
    """The search through SQL on a view."""
    arguments = [workload.MODEL, workload.SEARCH_CITY, workload.search_below(), workload.SEARCH_LIMIT]
    return [row[1] for row in connection.execute(SEARCH_SQL, arguments).fetchall()]


def chart_by_client(registry: deedbook.Registry) -> list[Any]:
    """The chart's points as a program gets them."""
    return points(registry.metric_series(workload.MODEL, "mse", by="city"))


def search_by_client(registry: deedbook.Registry) -> list[Any]:
    """The search as a program asks for it."""
    found = registry.search(
        workload.MODEL,
        parameters={"city": workload.SEARCH_CITY},
        metrics=[SEARCHED],
        order_by="mse",
        limit=workload.SEARCH_LIMIT,
    )
    return [training.metrics["mse"] for training in found]


def timed(what: str, n: int, route: str, call: Call, check: Callable[[list[Any], int], None]) -> Measure:
    """The measure of a call whose answer is the right one."""
    check(call(), n)
    return measure.of_samples(DEEDBOOK, what, n, measure.timed(call, REPEATS), route=route)


def asked(folder: Path, *, quick: bool) -> Iterator[Measure]:
    """The chart and the search over 30,000 trainings (quick: 3,000)."""
    n = TRAININGS // 10 if quick else TRAININGS
    with filled_log(folder, n) as log, projected(log, folder / "projection.duckdb") as (store, projector):
        projector.catch_up()
        store.checkpoint()
        charts = {"metric_series": chart_by_query, "SQL on metric_history": chart_by_sql}
        for route, chart in charts.items():
            yield timed("chart", n, route, partial(chart, store.connection), workload.check_chart)
        searches = {"search": search_by_query, "SQL on metric_history": search_by_sql}
        for route, search in searches.items():
            yield timed("search", n, route, partial(search, store.connection), workload.check_search)
    with deedbook.connect(f"sqlite:///{folder}") as registry:
        route = "Registry.metric_series"
        yield timed("chart_by_client", n, route, partial(chart_by_client, registry), workload.check_chart)
        route = "Registry.search"
        yield timed("search_by_client", n, route, partial(search_by_client, registry), workload.check_search)
