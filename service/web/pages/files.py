"""The pages' own files: style, scripts, the icon. A name is one of those that were there at the start, or nothing."""

from __future__ import annotations

import mimetypes
from functools import cache
from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from deedbook.service.web.pages import OPEN, Page
from deedbook.service.web.rendering import STATIC

_FOR_EVER: Final = "public, max-age=31536000, immutable"
_ASK_AGAIN: Final = "no-cache"


def file(request: Request) -> Response:
    """Return a file; one that is asked for by its digest may be kept for ever."""
    path = _known().get(request.path_params["name"])
    if path is None:
        raise HTTPException(404)
    kept = _FOR_EVER if "v" in request.query_params else _ASK_AGAIN
    kind = "text/javascript" if path.suffix == ".js" else mimetypes.guess_type(path.name)[0]
    return FileResponse(path, media_type=kind, headers={"cache-control": kept})


@cache
def _known() -> dict[str, Path]:
    return {path.name: path for path in STATIC.iterdir() if path.is_file()}


PAGES: Final = (Page(path="/static/{name}", endpoint=file, permission=OPEN),)
