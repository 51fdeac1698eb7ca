"""Anybody's question in SQL: a page, a chart, CSV and Parquet; the query is in the address."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import pyarrow as pa
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from deedbook.events.errors import DeadlineExceeded, InvalidInput, PermissionRefused
from deedbook.service.access.roles import Permission
from deedbook.service.sql.documented import documented
from deedbook.service.web.cells import Shown, shown
from deedbook.service.web.examples import examples
from deedbook.service.web.exporting import CSV, PARQUET, download
from deedbook.service.web.pages import Page
from deedbook.service.web.quick_chart import Chartable, chart_json, chartable
from deedbook.service.web.rendering import page, service_of

if TYPE_CHECKING:
    from deedbook.service.sql import Answer

SHOWN_ROWS: Final = 1_000
CHARTED_ROWS: Final = 10_000
EXPORTED_ROWS: Final = 1_000_000
EXPORTED_BYTES: Final = 64 << 20
_PATIENCE_SECONDS: Final = 30.0
# The address is the permalink, and an address has its bounds.
MAX_QUERY_CHARACTERS: Final = 8_000


async def sql(request: Request) -> Response:
    """Return the page, with the answer where a query is asked."""
    query = request.query_params.get("query", "").replace("\r\n", "\n").strip()
    runner = service_of(request).sql
    if not runner.off and runner.promises is None and not query:
        runner.begin()
    answer, problem, status = None, "", 200
    if query and not runner.off:
        try:
            answer = await _answered(request, query, CHARTED_ROWS)
        except InvalidInput as error:
            problem, status = str(error), 400
        except DeadlineExceeded as error:
            problem, status = str(error), 504
        except PermissionRefused:  # the promises were tried just now, and one does not hold
            status = 403
    return await run_in_threadpool(_page, request, query, answer, problem, status)


def _page(request: Request, query: str, answer: Answer | None, problem: str, status: int) -> Response:
    runner = service_of(request).sql
    with service_of(request).live.reading() as connection:
        questions = examples(connection)
    table: Shown | None = None
    chart: Chartable | None = None
    if answer is not None:
        whole = answer.table()
        table = shown(whole, answer.columns, SHOWN_ROWS)
        chart = chartable(whole, *(_place(request, name) for name in ("x", "y", "series")))
    return page(
        request,
        "sql.html",
        status_code=status,
        query=query,
        answer=answer,
        table=table,
        chart=chart,
        named=_named,
        problem=problem,
        off=runner.off,
        promises=runner.promises,
        reference=documented(),
        questions=questions,
        patience_seconds=round(_PATIENCE_SECONDS),
        shown_rows=SHOWN_ROWS,
        charted_rows=CHARTED_ROWS,
        max_characters=MAX_QUERY_CHARACTERS,
    )


def _named(answer: Answer, places: Iterable[int]) -> list[tuple[str, str]]:
    """Return columns to choose from, by their places."""
    return [(str(place), answer.columns[place].name) for place in places]


async def chart(request: Request) -> Response:
    """Return the chart of an answer, as JSON."""
    answer = await _answered(request, _query(request), CHARTED_ROWS)
    body = await run_in_threadpool(_charted, request, answer)
    return Response(body, media_type="application/json", headers={"cache-control": "no-store"})


def _charted(request: Request, answer: Answer) -> bytes:
    table = answer.table()
    found = chartable(table, *(_place(request, name) for name in ("x", "y", "series")))
    if found is None:
        raise InvalidInput("the answer has no number over a time or another number, and so no chart")
    return chart_json(table, answer.columns, found.axes)


async def as_csv(request: Request) -> Response:
    """Return the answer as CSV."""
    return await _exported(request, CSV)


async def as_parquet(request: Request) -> Response:
    """Return the answer as Parquet."""
    return await _exported(request, PARQUET)


async def _exported(request: Request, kind: str) -> Response:
    answer = await _answered(request, _query(request), EXPORTED_ROWS, EXPORTED_BYTES)
    if answer.truncated:
        raise InvalidInput(
            f"the answer has more than {EXPORTED_ROWS:,} rows or {EXPORTED_BYTES >> 20} MiB: ask for less, or take the "
            "registry's snapshot"
        )
    return await run_in_threadpool(_download, answer, kind)


def _download(answer: Answer, kind: str) -> Response:
    try:
        response = download([_told_apart(answer.table())], "answer", kind)
    except pa.ArrowException as error:
        raise InvalidInput(f"the answer can't be written as a file: {error}") from None
    response.headers["deedbook-position"] = str(answer.position)
    return response


def _told_apart(table: pa.Table) -> pa.Table:
    """Return the table with a name of its own for each column: a file has no two of the same."""
    names: list[str] = []
    for name in table.column_names:
        number, own = 1, name
        while own in names:
            number += 1
            own = f"{name}_{number}"
        names.append(own)
    return table.rename_columns(names)


async def _answered(request: Request, query: str, max_rows: int, max_bytes: int = 16 << 20) -> Answer:
    if len(query) > MAX_QUERY_CHARACTERS:
        raise InvalidInput(f"a query in an address has at most {MAX_QUERY_CHARACTERS:,} characters")
    caller = request.state.caller
    return await service_of(request).sql.run(
        query,
        caller=caller.name if caller else "",
        max_rows=max_rows,
        max_bytes=max_bytes,
        timeout_seconds=_PATIENCE_SECONDS,
    )


def _query(request: Request) -> str:
    query = request.query_params.get("query", "").replace("\r\n", "\n").strip()
    if not query:
        raise InvalidInput("there is no query in the address: add ?query=…")
    return query


def _place(request: Request, name: str) -> int | None:
    text = request.query_params.get(name, "")
    if text == "none":
        return -1
    return int(text) if text.isascii() and text.isdigit() and len(text) < 5 else None


PAGES: Final = (
    Page(path="/sql", endpoint=sql, permission=Permission.SQL),
    Page(path="/sql/chart.json", endpoint=chart, permission=Permission.SQL),
    Page(path="/sql.csv", endpoint=as_csv, permission=Permission.SQL),
    Page(path="/sql.parquet", endpoint=as_parquet, permission=Permission.SQL),
)
