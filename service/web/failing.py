"""What is shown when something fails: a page that says what happened and what to do, or the same as JSON."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from deedbook.events import errors
from deedbook.service.web.rendering import page

logger = logging.getLogger(__name__)

# The first that fits counts: what is special stands before what it is a kind of.
_KINDS: Final[tuple[tuple[type[Exception], HTTPStatus, str, str], ...]] = (
    (
        errors.NotFound,
        HTTPStatus.NOT_FOUND,
        "Not in this registry",
        "Look for it by search; a link from elsewhere may lead to another registry.",
    ),
    (
        errors.InvalidInput,
        HTTPStatus.BAD_REQUEST,
        "That can't be asked",
        "Go back, change what the sentence names, and try again.",
    ),
    (
        errors.RequestRejected,
        HTTPStatus.CONFLICT,
        "Rejected",
        "The request is on the log with this reason. Nothing was changed by it.",
    ),
    (
        errors.NotAuthenticated,
        HTTPStatus.UNAUTHORIZED,
        "Who is asking?",
        "Sign in with a token.",
    ),
    (
        errors.PermissionRefused,
        HTTPStatus.FORBIDDEN,
        "Not allowed",
        "Sign in with a token that has the role the sentence names, or ask whoever gives them out.",
    ),
    (
        errors.AccessDenied,
        HTTPStatus.FORBIDDEN,
        "Not allowed",
        "The service itself was refused: tell whoever runs this registry.",
    ),
    (
        errors.StorageFull,
        HTTPStatus.INSUFFICIENT_STORAGE,
        "No room left",
        "Tell whoever runs this registry: its disk is full.",
    ),
    (
        errors.DeedbookError,
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Not now",
        "Try again in a moment. The page Health says how the registry is.",
    ),
)
_ADVICE: Final[Mapping[int, tuple[str, str]]] = {
    400: ("That can't be asked", "Go back, change what the sentence names, and try again."),
    401: ("Who is asking?", "Sign in with a token."),
    403: ("Not allowed", "Sign in with a token that has the role the sentence names."),
    404: ("There is no such page", "Start from the models, or search for a training."),
    405: ("Not this way", "This address is there, but doesn't take this kind of request."),
    413: ("Too much at once", "Send less."),
    429: ("Too many at once", "Try again in a moment."),
    503: ("Not now", "Try again in a moment. The page Health says how the registry is."),
}


def error_page(
    request: Request,
    status_code: int,
    sentence: str,
    *,
    title: str = "",
    advice: str = "",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the answer to a request that failed: what happened, in a sentence, and what to do about it."""
    known_title, known_advice = _ADVICE.get(status_code, (HTTPStatus(status_code).phrase, ""))
    if wants_json(request):
        return JSONResponse({"error": sentence}, status_code, headers)
    return page(
        request,
        "error.html",
        status_code=status_code,
        headers=headers,
        title=title or known_title,
        sentence=sentence,
        advice=advice or known_advice,
    )


def wants_json(request: Request) -> bool:
    """Tell whether an answer is read by a program: by what it accepts, or by the name it asks for."""
    accepted = request.headers.get("accept", "")
    return request.url.path.endswith(".json") or ("application/json" in accepted and "html" not in accepted)


def _refused(request: Request, error: Exception) -> Response:
    """Return the page for one of deedbook's own errors."""
    _, status, title, advice = next(kind for kind in _KINDS if isinstance(error, kind[0]))
    return error_page(request, status, _sentence(error), title=title, advice=advice)


def _http(request: Request, error: Exception) -> Response:
    """Return the page for an error of the protocol: no such address, no such method."""
    assert isinstance(error, HTTPException)  # noqa: S101 - what it is registered for
    plain = HTTPStatus(error.status_code)
    sentence = error.detail
    if error.detail == plain.phrase:
        sentence = plain.description or plain.phrase
    if error.status_code == 404:
        sentence = f"There is nothing at {request.url.path}"
    return error_page(request, error.status_code, _capital(sentence), headers=error.headers)


def _unforeseen(request: Request, error: Exception) -> Response:
    """Return the page for a fault of ours; what it was is for the log alone."""
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_page(
        request,
        500,
        "Something went wrong here, and nothing was changed.",
        title="Our fault",
        advice="The service's log says what it was. Try again; if it stays so, tell whoever runs this registry.",
    )


def _sentence(error: Exception) -> str:
    return _capital(str(error)) or "That did not work."


def _capital(text: str) -> str:
    ended = text if text.endswith((".", "!", "?")) else f"{text}."
    return ended[:1].upper() + ended[1:] if text else ""


HANDLERS: Final[Mapping[Any, Callable[[Request, Exception], Response]]] = {
    errors.DeedbookError: _refused,
    HTTPException: _http,
    Exception: _unforeseen,
}
