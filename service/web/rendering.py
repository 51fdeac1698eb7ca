"""HTML from templates: everything escaped, nothing undefined, and one way to write times, numbers and links."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from deedbook.service.access.visits import TEMPLATE_GLOBALS
from deedbook.service.web import writing_down

if TYPE_CHECKING:
    from deedbook.service.context import Service
    from deedbook.service.web.keeping import Kept

HERE: Final = Path(__file__).parent
STATIC: Final = HERE / "static"

# What the navigation shows: the name, where it leads, and the first parts of the paths that belong to it.
NAVIGATION: Final = (
    ("Models", "/", ("", "model", "start")),
    ("Search", "/trainings", ("trainings", "compare")),
    ("Failures", "/failures", ("failures",)),
    ("Deployments", "/deployments", ("deployments", "live")),
    ("Fleet", "/fleet", ("fleet",)),
    ("Log", "/log", ("log",)),
    ("SQL", "/sql", ("sql",)),
    ("Health", "/health", ("health",)),
)


def service_of(request: Request) -> Service:
    """Return what all pages answer from."""
    service: Service = request.app.state.service
    return service


def kept_of(request: Request) -> Kept:
    """Return the answers that are kept for all pages."""
    kept: Kept = request.app.state.kept
    return kept


def page(
    request: Request,
    template: str,
    /,
    *,
    status_code: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: Any,  # noqa: ANN401 - whatever the template shows
) -> HTMLResponse:
    """Return a template filled with a context; `request`, `caller` and `position` are always there.

    `position`: the registry position that the tables held when the page was made, or a little before.
    """
    known = {
        "request": request,
        "caller": getattr(request.state, "caller", None),
        "position": service_of(request).live.position,
    }
    html = environment().get_template(template).render(known | context)
    return HTMLResponse(html, status_code, headers)


@cache
def environment() -> Environment:
    """Return the templates of this folder, ready to be filled; templates are read once."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        cache_size=-1,
    )
    made.filters |= {
        "time": writing_down.time,
        "ago": writing_down.ago,
        "number": writing_down.number,
        "plain": writing_down.plain,
        "count": writing_down.count,
        "signed": writing_down.signed,
        "percent": writing_down.percent,
        "bytes": writing_down.size,
        "short": writing_down.short,
        "sha": writing_down.sha,
    }
    made.globals |= TEMPLATE_GLOBALS
    made.globals |= {
        "link": link,
        "changed": changed,
        "static": static,
        "navigation": NAVIGATION,
        "now": lambda: datetime.now(UTC),
    }
    return made


def link(path: str, /, **query: object) -> str:
    """Return a path with a query: None and empty texts are left out, a list is the same name several times."""
    pairs = list(_pairs(query))
    return f"{path}?{urlencode(pairs)}" if pairs else path


def changed(request: Request, **query: object) -> str:
    """Return the address of this page with some of its query changed; None takes a name out."""
    kept = [(name, value) for name, value in request.query_params.multi_items() if name not in query]
    pairs = [*kept, *_pairs(query)]
    return f"{request.url.path}?{urlencode(pairs)}" if pairs else request.url.path


def _pairs(query: Mapping[str, object]) -> Iterable[tuple[str, str]]:
    for name, value in query.items():
        several = value if isinstance(value, list | tuple) else (value,)
        for one in several:
            match one:
                case None | "":
                    continue
                case datetime():
                    yield name, one.astimezone(UTC).isoformat().replace("+00:00", "Z")
                case _:
                    yield name, str(one)


@cache
def static(name: str) -> str:
    """Return the address of a file of `static/`, with what is in it, so that browsers may keep it for ever."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"
