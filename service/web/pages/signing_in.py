"""Signing in with a token, and out again."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from deedbook.events.errors import NotAuthenticated
from deedbook.service.access.visits import own_path, visit_of
from deedbook.service.web.pages import OPEN, Page
from deedbook.service.web.rendering import page, service_of

logger = logging.getLogger(__name__)


async def sign_in(request: Request) -> Response:
    """Return the form, or, with a token that is good, to the page that somebody wanted to see."""
    if request.method != "POST" or not service_of(request).access.required:
        return _form(request, request.query_params.get("next", "/"))
    return await _signed_in(request)


async def _signed_in(request: Request) -> Response:
    form, visit = request.state.form, visit_of(request)
    wanted = str(form.get("next", "/"))
    try:
        caller, session = service_of(request).access.new_session(str(form.get("token", "")).strip())
    except NotAuthenticated as error:
        logger.warning("a sign-in was refused: %s", error)
        delay_seconds = visit.attempts.failed()
        if delay_seconds is None:
            return _form(request, wanted, 429, "Too many attempts failed lately: try again in a minute.")
        await asyncio.sleep(delay_seconds)
        return _form(request, wanted, 401, f"{str(error)[:1].upper()}{str(error)[1:]}.")
    visit.sign_in(session)
    logger.info("%s signed in, by token %s", caller.name, caller.token_id)
    return RedirectResponse(own_path(wanted), 303)


def sign_out(request: Request) -> Response:
    """Have the browser forget who was signed in."""
    visit_of(request).sign_out()
    return RedirectResponse("/sign-in", 303)


def _form(request: Request, wanted: str, status_code: int = 200, sentence: str = "") -> Response:
    return page(
        request,
        "sign_in.html",
        status_code=status_code,
        required=service_of(request).access.required,
        wanted=own_path(wanted),
        sentence=sentence,
    )


PAGES: Final = (
    Page(path="/sign-in", endpoint=sign_in, permission=OPEN, methods=("GET", "POST")),
    Page(path="/sign-out", endpoint=sign_out, permission=OPEN, methods=("POST",)),
)
