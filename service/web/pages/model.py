"""One model: its metric over time as a chart and as a table, and its trainings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from deedbook.events.errors import InvalidInput, NotFound
from deedbook.events.names import normalise
from deedbook.projector.queries.charted import (
    Charted,
    ChartMetric,
    ChartParameter,
    charted,
)
from deedbook.projector.queries.detail import training_id_of
from deedbook.projector.queries.filters import MetricName
from deedbook.projector.queries.glance import glances
from deedbook.projector.queries.paging import registry_position
from deedbook.service.access.roles import Permission
from deedbook.service.web import asked
from deedbook.service.web.asking_log import wait_until_folded
from deedbook.service.web.charting import series_json, spec
from deedbook.service.web.exporting import CSV, download
from deedbook.service.web.keeping import Kept
from deedbook.service.web.listing import listing
from deedbook.service.web.pages import Page
from deedbook.service.web.rendering import kept_of, link, page, service_of
from deedbook.service.web.searching import folded, searched
from deedbook.service.web.summing_up import points_of, summaries_of

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

FAILURES_DAYS: Final = 7
ROWS: Final = 200
MAX_VALUES: Final = 200
# Of a parameter with more values, the most frequent ones are offered.
PICKABLE_VALUES: Final = 300
# So many lines are summed up on a page.
SUMMED_UP: Final = 500
# More lines than this are no chart that anybody asked for.
MAX_LINES: Final = 50
# The names in the address that say what the chart shows.
CHART: Final = ("name", "metric", "slice", "by", "value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a chart is asked to show."""

    model: str
    metric: MetricName
    by: str | None
    values: tuple[str, ...]
    after: datetime | None
    before: datetime | None

    def charted(self, connection: duckdb.DuckDBPyConnection) -> Charted:
        """Return its points."""
        return charted(
            connection,
            self.model,
            self.metric,
            by=self.by,
            values=self.values,
            created_after=self.after,
            created_before=self.before,
        )

    def address(self, path: str) -> str:
        """Return an address of the same chart."""
        return link(
            path,
            name=self.model,
            metric=self.metric,
            by=self.by,
            value=self.values,
            after=self.after,
            before=self.before,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the chart's form offers; ``values`` are those of the parameter chosen, with how many trainings have each."""

    metrics: tuple[ChartMetric, ...]
    parameters: tuple[ChartParameter, ...]
    values: tuple[tuple[str, int], ...]


def _wanted(params: QueryParams) -> Wanted:
    """Return the chart that an address names whole, as its data does. Raises InvalidInput."""
    model, metric = asked.name(params, "name"), asked.name(params, "metric")
    if model is None or metric is None:
        raise InvalidInput("a chart needs the name of a model and a metric")
    named, slice_ = MetricName.parse(metric), asked.name(params, "slice")
    values = tuple(dict.fromkeys(normalise(value) for value in params.getlist("value") if value))
    if len(values) > MAX_VALUES:
        raise InvalidInput(f"a chart shows at most {MAX_VALUES} chosen values: leave them away for all")
    return Wanted(
        model=model,
        metric=named if slice_ is None else MetricName(named.name, slice_),
        by=asked.name(params, "by"),
        values=values,
        after=asked.moment(params, "after"),
        before=asked.moment(params, "before"),
    )


def _chosen(
    params: QueryParams, connection: duckdb.DuckDBPyConnection, kept: Kept, model: str
) -> tuple[Wanted | None, Choices]:
    """Return the chart an address asks for, with what suits the model best in place of what it leaves open.

    None where the model's trainings have no metric.
    """
    metrics, parameters = kept.metrics(connection, model), kept.parameters(connection, model)
    metric = asked.name(params, "metric") or (str(metrics[0].metric) if metrics else None)
    if metric is None:
        return None, Choices(metrics=metrics, parameters=parameters, values=())
    usual = next((one.name for one in parameters if one.grouping or 2 <= one.values <= MAX_LINES), None)
    by = asked.name(params, "by") if "by" in params else usual
    values = kept.values(connection, model, by, PICKABLE_VALUES) if by else ()
    known = {value for value, _ in values}
    all_known = len(values) < PICKABLE_VALUES
    pairs = [pair for pair in params.multi_items() if pair[0] not in {"metric", "by", "value"}]
    pairs += [("metric", metric), ("by", by or "")]
    # Values of another parameter than this one stay behind when somebody changes it.
    pairs += [
        ("value", value) for value in params.getlist("value") if normalise(value) in known or not all_known
    ]
    return _wanted(QueryParams(pairs)), Choices(metrics=metrics, parameters=parameters, values=values)


def model(request: Request) -> Response:
    """Return a model's page."""
    name = asked.name(request.query_params, "name")
    if name is None:
        return RedirectResponse("/", 303)
    address = folded(request)
    if address is not None:
        return RedirectResponse(address, 303)
    search = searched(request, model=name, keep=CHART)
    if search.mark is not None:
        wait_until_folded(request, search.mark.as_of - 1)
    since = datetime.now(UTC) - timedelta(days=FAILURES_DAYS)
    kept = kept_of(request)
    with service_of(request).live.reading() as connection:
        found = glances(connection, failures_since=since, model=name)
        if not found:
            raise NotFound(f"there is no model {name[:200]} in this registry")
        wanted, choices = _chosen(request.query_params, connection, kept, name)
        trainings = listing(connection, search, kept)
    metric = next((one for one in choices.metrics if wanted and one.metric == wanted.metric), None)
    return page(
        request,
        "model.html",
        it=found[0],
        failures_days=FAILURES_DAYS,
        wanted=wanted,
        metric=metric,
        choices=choices,
        listing=trainings,
        spec=spec(),
    )


def series(request: Request) -> Response:
    """Return the chart's points, all of them, as JSON."""
    wanted = _wanted(request.query_params)
    with service_of(request).live.reading() as connection:
        found, position = wanted.charted(connection), registry_position(connection)
    return Response(series_json(found, position), media_type="application/json")


def table(request: Request) -> Response:
    """Return the chart's points as a table, with what each line comes to."""
    wanted = _wanted(request.query_params)
    with service_of(request).live.reading() as connection:
        found = wanted.charted(connection)
    summaries = summaries_of(found.table)
    total = found.table.num_rows
    last_page = max(1, -(-total // ROWS))
    number = min(asked.whole(request.query_params, "page", least=1) or 1, last_page)
    return page(
        request,
        "series.html",
        wanted=wanted,
        found=found,
        total=total,
        summaries=summaries[:SUMMED_UP],
        lines=len(summaries),
        points=points_of(found.table, (number - 1) * ROWS, ROWS),
        number=number,
        last_page=last_page,
    )


def as_csv(request: Request) -> Response:
    """Return the chart's points as CSV."""
    wanted = _wanted(request.query_params)
    with service_of(request).live.reading() as connection:
        found = wanted.charted(connection)
    return download(_piece(found), "metric-over-time", CSV)


def _piece(found: Charted) -> Iterator[pa.Table]:
    import pyarrow as pa
    import pyarrow.compute as pc

    times = pc.cast(found.table.column("created_at"), pa.timestamp("us"))
    place = found.table.column_names.index("created_at")
    yield found.table.set_column(place, "created_at", times)


def training(request: Request) -> Response:
    """Lead to the page of a training that is named by its model and version, as the points of a chart are."""
    name = asked.name(request.query_params, "name")
    version = asked.whole(request.query_params, "version")
    if name is None or version is None:
        raise InvalidInput("a training is named by its model's name and its version")
    with service_of(request).live.reading() as connection:
        training_id = training_id_of(connection, f"{name}@{version}")
    return RedirectResponse(f"/trainings/{training_id}", 303)


PAGES: Final = (
    Page(path="/model", endpoint=model, permission=Permission.READ),
    Page(path="/model/series", endpoint=table, permission=Permission.READ),
    Page(path="/model/series.json", endpoint=series, permission=Permission.READ),
    Page(path="/model/series.csv", endpoint=as_csv, permission=Permission.READ),
    Page(path="/model/training", endpoint=training, permission=Permission.READ),
)
