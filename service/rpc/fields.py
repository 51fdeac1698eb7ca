"""Fields of requests: what is given, in the form that it is kept in, or a sentence that says what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from deedbook.api.moments import datetime_of
from deedbook.events.errors import InvalidInput, NotFound
from deedbook.events.names import id_problem, name_problem, normalise

if TYPE_CHECKING:
    from datetime import datetime

# MODEL@VERSION is longer than a name; nothing that exists is called by more.
_MAX_REFERENCE_CHARACTERS: Final = 250


def given(request: Any, field: str) -> Any:  # noqa: ANN401 - any field of any request
    """Return the value of an optional field, None where it is not set."""
    return getattr(request, field) if request.HasField(field) else None


def moment_given(request: Any, field: str) -> datetime | None:  # noqa: ANN401 - any request
    """Return a time, None where it is not set. Raises InvalidInput for one that can't be."""
    return datetime_of(getattr(request, field), field) if request.HasField(field) else None


def name_in(request: Any, field: str) -> str | None:  # noqa: ANN401 - any request
    """Return the name in an optional field, None where it is not set. Raises InvalidInput for what is none."""
    return name_given(getattr(request, field), field) if request.HasField(field) else None


def id_in(request: Any, field: str) -> str | None:  # noqa: ANN401 - any request
    """Return the id in an optional field, None where it is not set. Raises InvalidInput for what is none."""
    return id_given(getattr(request, field), field) if request.HasField(field) else None


def name_given(value: str, what: str) -> str:
    """Return a name in the form that names are kept in. Raises InvalidInput for what is none."""
    name = normalise(value)
    if (problem := name_problem(name)) is not None:
        raise InvalidInput(f"{what} {problem}")
    return name


def id_given(value: str, what: str) -> str:
    """Return an id. Raises InvalidInput for what is no UUID."""
    if (problem := id_problem(value)) is not None:
        raise InvalidInput(f"{what} {problem}")
    return value


def text_given(value: str, what: str) -> str:
    """Return what names a training or a deployment, in whatever way. Raises InvalidInput, NotFound."""
    text = normalise(value)
    if not text:
        raise InvalidInput(f"{what} is empty")
    if len(text) > _MAX_REFERENCE_CHARACTERS:
        raise NotFound(f"{what} is longer than any name of one that exists")
    return text
