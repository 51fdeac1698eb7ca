"""Two or more trainings side by side."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from deedbook.events.errors import InvalidInput
from deedbook.projector.queries.comparison import MAX_TRAININGS, compare
from deedbook.projector.queries.detail import training_id_of
from deedbook.service.access.roles import Permission
from deedbook.service.web.comparing import side_by_side
from deedbook.service.web.distributions import drawing
from deedbook.service.web.pages import Page
from deedbook.service.web.rendering import link, page, service_of


def comparison(request: Request) -> Response:
    """Return the trainings that the address names, the first of them the baseline; with fewer than two, how to."""
    named = [text.strip() for text in request.query_params.getlist("training") if text.strip()]
    if len(named) > MAX_TRAININGS:
        raise InvalidInput(f"at most {MAX_TRAININGS} trainings can be compared at once")
    with service_of(request).live.reading() as connection:
        ids = list(dict.fromkeys(training_id_of(connection, text) for text in named))
        found = compare(connection, ids, history=False) if len(ids) > 1 else None
    if found is None:
        return page(request, "compare_which.html", named=ids)
    only = request.query_params.get("only") == "differences"
    return page(
        request,
        "compare.html",
        it=side_by_side(found, only_differences=only),
        only=only,
        only_address=link("/compare", training=ids, only=None if only else "differences"),
        led_by={
            one: link(
                "/compare",
                training=[one, *(other for other in ids if other != one)],
                only="differences" if only else None,
            )
            for one in ids
        },
        without={one: link("/compare", training=[other for other in ids if other != one]) for one in ids},
        drawing=drawing,
    )


PAGES: Final = (Page(path="/compare", endpoint=comparison, permission=Permission.READ),)
