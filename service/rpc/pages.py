"""Lists page by page: a page is as long as was asked for, or as one message holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from deedbook.api.messages import to_message
from deedbook.events.errors import InvalidInput
from deedbook.projector.queries.paging import registry_position
from deedbook.service.rpc.limits import DEFAULT_PAGE_SIZE, FULL_PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import duckdb
    from google.protobuf.message import Message

    from deedbook.service.rpc.calls import Call
    from deedbook.service.rpc.page_tokens import Mark

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page:
    """Entries as messages, the token of the next page, and the last registry position they take into account."""

    entries: list[Any]
    next_page_token: str
    position: int


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A list, in an order that what is written meanwhile doesn't change.

    ``rows`` returns the entries after a mark, None for the first ones, up to a number. ``mark`` is an entry's
    place in the order; ``like`` is one of the same types. ``entry`` is the message of one.
    """

    rows: Callable[[duckdb.DuckDBPyConnection, Mark | None, int], Sequence[T]]
    mark: Callable[[T], Mark]
    like: Mark
    entry: type[Message]


def page_size_of(call: Call, request: Any) -> int:  # noqa: ANN401 - any request of a list
    """Return how many entries a page is to have. Raises InvalidInput."""
    most = call.service.settings.limits.page_size
    if not 0 <= request.page_size <= most:
        raise InvalidInput(f"page_size is {request.page_size:,}: a page has 1 to {most:,} entries, 0 is 50")
    return min(request.page_size or DEFAULT_PAGE_SIZE, most)


async def page_of(call: Call, request: Any, listing: Listing[T]) -> Page:  # noqa: ANN401 - any request of a list
    """Return the page that a request asks for. Raises InvalidInput, for a token of another list among others."""
    size = page_size_of(call, request)
    tokens = call.means.tokens
    after: Mark | None = None
    as_of = -1
    if request.page_token:
        mark = tokens.mark(request, request.page_token, like=(0, *listing.like))
        as_of, after = int(mark[0]), mark[1:]
    least = least_position(request, as_of - 1)

    def question(connection: duckdb.DuckDBPyConnection) -> tuple[list[Any], str]:
        state = as_of if as_of >= 0 else registry_position(connection)
        found = listing.rows(connection, after, size + 1)
        entries = fitting([to_message(row, listing.entry) for row in found[:size]])
        if len(entries) == len(found):
            return entries, ""
        return entries, tokens.token(request, (state, *listing.mark(found[len(entries) - 1])))

    (entries, token), position = await call.ask(question, min_position=least)
    return Page(entries, token, position)


def least_position(request: Any, seen: int) -> int | None:  # noqa: ANN401 - any request of a list
    """Return the position that a page's state must hold: also what a page before saw, of another replica maybe."""
    least = max(seen, request.min_position) if request.HasField("min_position") else seen
    return least if least >= 0 or request.HasField("min_position") else None


def fitting(entries: list[Any]) -> list[Any]:
    """Return as many of the first entries as one message holds; at least one, if there is any."""
    size_bytes = 0
    for number, entry in enumerate(entries):
        size_bytes += entry.ByteSize()
        if number and size_bytes > FULL_PAGE_BYTES:
            return entries[:number]
    return entries


def after_in(rows: Sequence[T], mark: Callable[[T], Mark], after: Mark | None, most: int) -> Sequence[T]:
    """Return the first rows past a mark, of rows that ascend by their marks."""
    return [row for row in rows if after is None or mark(row) > after][:most]
