"""A search as it stands in an address: read from it, written back to it, and put in words for its form.

In the address: ``model``; ``where``, any number of times, such as ``mse < 0.2``; ``parameter.NAME=VALUE`` and
``tag.NAME=VALUE``; ``outcome``; ``deployable``, yes or no; ``sha``; ``after`` and ``before``; ``order_by``, a metric;
``descending``, yes or no; ``show``, metrics as columns; ``page``. What the form's pickers send, ``pick.…``, is folded
into these.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from deedbook.events.errors import InvalidInput
from deedbook.events.names import normalise
from deedbook.projector.queries.conditions import TrainingQuery
from deedbook.projector.queries.filters import Comparison, MetricFilter, MetricName
from deedbook.projector.queries.paging import Mark
from deedbook.service.web import asked

if TYPE_CHECKING:
    from starlette.requests import Request

PAGE_SIZE: Final = 50
MAX_CONDITIONS: Final = 30
_MAX_CHARACTERS: Final = 1_000
_PARAMETER: Final = "parameter."
_TAG: Final = "tag."
_PICK: Final = "pick."
# What a list's own form and links change; everything else in the address is another's, and is kept.
_OWN: Final = frozenset(
    {
        "model",
        "where",
        "outcome",
        "deployable",
        "sha",
        "after",
        "before",
        "order_by",
        "descending",
        "show",
        "page",
    }
)


class Outcome(StrEnum):
    """What a verdict says, or that there is none yet."""

    PENDING = "pending"
    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"


class Answer(StrEnum):
    """Yes or no."""

    YES = "yes"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Searched:
    """A search and the address it stands in; ``mark`` is where its page begins, None for the first."""

    path: str
    params: QueryParams
    query: TrainingQuery
    mark: Mark | None

    def address(self, path: str = "", /, **changes: object) -> str:
        """Return the search's address with some names changed, on its first page unless a page is given; None: without.

        A name's underscore stands for itself; conditions are taken away by `without`.
        """
        pairs = [
            (name, value)
            for name, value in self.params.multi_items()
            if name not in changes and name != "page" and value
        ]
        for name, value in changes.items():
            several = value if isinstance(value, list | tuple) else (value,)
            pairs += [(name, str(one)) for one in several if one is not None and one != ""]
        return f"{path or self.path}?{urlencode(pairs)}" if pairs else path or self.path

    def without(self, name: str, value: str) -> str:
        """Return the address without one condition."""
        pairs = [pair for pair in self.params.multi_items() if pair != (name, value) and pair[0] != "page"]
        return f"{self.path}?{urlencode(pairs)}" if pairs else self.path

    def conditions(self) -> Iterator[tuple[str, str]]:
        """Yield each condition that was added one by one: in words, and the address without it."""
        for name, value in self.params.multi_items():
            if name == "where":
                yield value, self.without(name, value)
            elif name.startswith(_PARAMETER):
                yield f"{name.removeprefix(_PARAMETER)} = {value}", self.without(name, value)
            elif name.startswith(_TAG):
                yield f"tag {name.removeprefix(_TAG)} = {value}", self.without(name, value)
            elif name == "show":
                yield f"column {value}", self.without(name, value)

    def hidden(self, *shown: str) -> Iterator[tuple[str, str]]:
        """Yield what a form must send along that it doesn't show: all in the address but these names and the page."""
        for name, value in self.params.multi_items():
            if name not in shown and name != "page" and value:
                yield name, value

    def next_page(self, mark: Mark) -> str:
        """Return the address of the page after a mark."""
        return self.address(page=token_of(mark))


def searched(request: Request, *, model: str | None = None, keep: Iterable[str] = ()) -> Searched:
    """Return the search that an address asks for, of one model or all. Raises InvalidInput.

    ``keep``: further names that belong in the address, though they ask nothing of the list.
    """
    params = QueryParams(
        [
            (name, value)
            for name, value in request.query_params.multi_items()
            if name in _OWN or name in set(keep) or name.startswith((_PARAMETER, _TAG))
        ]
    )
    if any(len(name) + len(value) > _MAX_CHARACTERS for name, value in params.multi_items()):
        raise InvalidInput(f"a condition is longer than {_MAX_CHARACTERS:,} characters")
    if len(params.multi_items()) > 4 * MAX_CONDITIONS:
        raise InvalidInput("there are too many conditions")
    deployable = asked.choice(params, "deployable", Answer)
    descending = asked.choice(params, "descending", Answer)
    order_by = params.get("order_by", "")
    query = TrainingQuery(
        model=model or asked.name(params, "model"),
        parameters=_named(params, _PARAMETER),
        metrics=_comparisons(params.getlist("where")),
        created_after=asked.moment(params, "after"),
        created_before=asked.moment(params, "before"),
        deployable=None if deployable is None else deployable is Answer.YES,
        outcome=asked.choice(params, "outcome", Outcome),
        git_sha=params.get("sha", "").strip().lower() or None,
        tags=_named(params, _TAG),
        order_by=MetricName.parse(normalise(order_by)) if order_by.strip() else None,
        descending=None if descending is None else descending is Answer.YES,
        show=tuple(MetricName.parse(normalise(text)) for text in params.getlist("show") if text.strip())[:20],
    )
    token = params.get("page", "")
    return Searched(request.url.path, params, query, mark_of(token) if token else None)


def _named(params: QueryParams, kind: str) -> dict[str, str]:
    return {
        normalise(name.removeprefix(kind)): normalise(value)
        for name, value in params.multi_items()
        if name.startswith(kind) and name != kind and value
    }


def _comparisons(texts: Iterable[str]) -> tuple[MetricFilter, ...]:
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    if len(lines) > MAX_CONDITIONS:
        raise InvalidInput(f"at most {MAX_CONDITIONS} metrics can be compared at once")
    return tuple(MetricFilter.parse(normalise(line)) for line in lines)


def folded(request: Request) -> str | None:
    """Return the address with what was picked folded into it and nothing empty, None where nothing was picked.

    Raises InvalidInput where half a condition was picked.
    """
    params = request.query_params
    if not any(name.startswith(_PICK) for name in params):
        return None
    pairs = [
        (name, value) for name, value in params.multi_items() if not name.startswith(_PICK) and value.strip()
    ]
    pairs += _picked(params)
    kept = list(dict.fromkeys(pairs))
    return f"{request.url.path}?{urlencode(kept)}" if kept else request.url.path


def _picked(params: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    metric, value = params.get("pick.metric", "").strip(), params.get("pick.value", "").strip()
    if metric and value:
        comparison = asked.choice(params, "pick.is", Comparison) or Comparison.LESS
        written = f"{metric} {comparison} {value}"
        MetricFilter.parse(written)
        yield "where", written
    elif value:
        raise InvalidInput("choose the metric that is to be compared with the number")
    elif metric:
        yield "show", metric
    for kind in ("parameter", "tag"):
        name, text = params.get(f"pick.{kind}", "").strip(), params.get(f"pick.{kind}.value", "").strip()
        if name and text:
            yield f"{kind}.{name}", text
        elif name or text:
            raise InvalidInput(f"give the {kind}'s name and its value")


def token_of(mark: Mark) -> str:
    """Return a mark as a text for an address."""
    plain = json.dumps(astuple(mark), separators=(",", ":"))
    return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


def mark_of(token: str) -> Mark:
    """Return the mark that a text holds. Raises InvalidInput for one that holds none."""
    try:
        plain = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
        as_of, key, created_at, by_metric, rank, value = plain
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise _no_page() from None
    places = (as_of, key, created_at, rank)
    if not all(type(place) is int and abs(place) < 2**62 for place in places) or type(by_metric) is not bool:
        raise _no_page()
    if type(value) is not float or math.isnan(value) or rank not in {0, 1, 2}:
        raise _no_page()
    return Mark(as_of=as_of, key=key, created_at=created_at, by_metric=by_metric, rank=rank, value=value)


def _no_page() -> InvalidInput:
    return InvalidInput("this list has no such page: start again from its first one")
