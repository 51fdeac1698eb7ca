"""Search over all trainings, and its whole answer as a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from deedbook.projector.queries.asking import ask
from deedbook.projector.queries.whole import columns_of, found_keys, wide_table
from deedbook.service.access.roles import Permission
from deedbook.service.web.asking_log import wait_until_folded
from deedbook.service.web.exporting import CSV, PARQUET, download
from deedbook.service.web.listing import listing
from deedbook.service.web.pages import Page
from deedbook.service.web.rendering import kept_of, page, service_of
from deedbook.service.web.searching import folded, searched

if TYPE_CHECKING:
    import pyarrow as pa

    from deedbook.projector.queries.conditions import TrainingQuery
    from deedbook.service.live import Live

_AT_ONCE: Final = 2_000
_PATIENCE_SECONDS: Final = 30.0


def trainings(request: Request) -> Response:
    """Return the trainings that an address asks for."""
    address = folded(request)
    if address is not None:
        return RedirectResponse(address, 303)
    search = searched(request)
    if search.mark is not None:
        wait_until_folded(request, search.mark.as_of - 1)
    with service_of(request).live.reading() as connection:
        found = listing(connection, search, kept_of(request))
        models = [row["model"] for row in ask(connection, "select model from base.model order by model")]
    return page(request, "trainings.html", listing=found, models=models)


def as_csv(request: Request) -> Response:
    """Return all that was found as CSV."""
    return _exported(request, CSV)


def as_parquet(request: Request) -> Response:
    """Return all that was found as Parquet."""
    return _exported(request, PARQUET)


def _exported(request: Request, kind: str) -> Response:
    search = searched(request)
    return download(_pieces(service_of(request).live, search.query), "trainings", kind)


def _pieces(live: Live, query: TrainingQuery) -> Iterator[pa.Table]:
    """Yield all trainings that meet a query, some thousands at once; between pieces nobody is held up.

    Which ones they are is settled at the start; how each stands is as of when its piece is read.
    """
    with live.reading(timeout_seconds=_PATIENCE_SECONDS) as connection:
        keys = found_keys(connection, query)
        columns = columns_of(connection, keys)
        first = wide_table(connection, keys[:_AT_ONCE], columns)
    yield first
    for start in range(_AT_ONCE, len(keys), _AT_ONCE):
        with live.reading(timeout_seconds=_PATIENCE_SECONDS) as connection:
            piece = wide_table(connection, keys[start : start + _AT_ONCE], columns)
        yield piece


PAGES: Final = (
    Page(path="/trainings", endpoint=trainings, permission=Permission.READ),
    Page(path="/trainings.csv", endpoint=as_csv, permission=Permission.READ),
    Page(path="/trainings.parquet", endpoint=as_parquet, permission=Permission.READ),
)
