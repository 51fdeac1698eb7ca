"""A request set: past prediction requests, kept as an artifact and replayed through new models.

One JSON object a line, `{"feature": number | string | null, …}`, flat. A missing value is `null`.
JSON has no NaN: `encode` writes NaN as `null`, and a model sees `null` as NaN in a numeric column.
Infinities are refused both ways, as are booleans (write 0 or 1) and whole numbers beyond ±2**53,
which a float can't hold.
"""

from __future__ import annotations

import json
import math
import numbers
from typing import TYPE_CHECKING, TypeAlias

from deedbook.events.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Value: TypeAlias = float | str | None
Request: TypeAlias = dict[str, Value]

MAX_REQUESTS = 100_000
MAX_FEATURES = 4_096
MAX_TEXT_CHARACTERS = 65_536
MAX_LINE_BYTES = 1 << 20
MAX_SET_BYTES = 64 << 20
_MAX_EXACT_INTEGER = 2**53


def encode(requests: Iterable[Mapping[str, object]]) -> bytes:
    """Return the request set's bytes: the same requests in the same order give the same bytes.

    NumPy numbers are taken as numbers. Raises InvalidInput, naming the request (from 1) and feature.
    """
    lines = []
    for number, request in enumerate(requests, start=1):
        checked = {name: _value(value, number, name) for name, value in request.items()}
        _check_shape(checked, number)
        text = json.dumps(checked, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
        lines.append(_bounded_line(_utf8(text, number), number))
        _check_count(number)
    if not lines:
        message = "a request set needs at least one request"
        raise InvalidInput(message)
    return _bounded_set(b"\n".join(lines) + b"\n")


def decode(data: bytes) -> list[Request]:
    """Return the requests, numbers as floats; InvalidInput names the first line that isn't a request."""
    _bounded_set(data)
    requests = [_parsed(line, number) for number, line in enumerate(data.splitlines(), start=1)]
    if not requests:
        message = "a request set needs at least one request"
        raise InvalidInput(message)
    return requests


def rows_for(requests: Sequence[Mapping[str, Value]], features: Sequence[str]) -> list[list[Value]]:
    """Return one row for each request, one column for each feature, in the model's order.

    What a request holds beyond the features is left out. Raises InvalidInput on a missing feature
    (a missing *value* is `null`), and on no features at all.
    """
    if not features:
        message = "the model names no features, so requests can't be replayed through it"
        raise InvalidInput(message)
    try:
        return [[request[name] for name in features] for request in requests]
    except KeyError:
        number, name = next(
            (number, name)
            for number, request in enumerate(requests, start=1)
            for name in features
            if name not in request
        )
        message = f"request {number} lacks the feature {name[:200]!r}"
        raise InvalidInput(message) from None


def _parsed(line: bytes, number: int) -> Request:
    _check_count(number)
    _bounded_line(line, number)
    try:
        parsed = json.loads(line, object_pairs_hook=_pairs, parse_constant=_no_constant)
    except InvalidInput as error:
        message = f"request {number}: {error}"
        raise InvalidInput(message) from None
    except (ValueError, RecursionError):
        message = f"request {number} is not a JSON object"
        raise InvalidInput(message) from None
    if not isinstance(parsed, dict):
        message = f"request {number} is not a JSON object"
        raise InvalidInput(message)
    request = {name: _value(value, number, name) for name, value in parsed.items()}
    _check_shape(request, number)
    return request


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        message = "a feature is there twice"
        raise InvalidInput(message)
    return unique


def _no_constant(name: str) -> float:
    message = f"{name} is not JSON; write null for a missing value"
    raise InvalidInput(message)


def _value(value: object, number: int, name: object) -> Value:
    """Return a feature's value as a float, a string or None; InvalidInput otherwise."""
    match value:
        case None:
            return None
        case str():
            if len(value) <= MAX_TEXT_CHARACTERS:
                return str(value)
            problem = f"has {len(value)} characters; at most {MAX_TEXT_CHARACTERS} are kept"
        case bool():
            problem = "is a boolean; write 0 or 1"
        case numbers.Integral() if abs(int(value)) > _MAX_EXACT_INTEGER:
            problem = "is a whole number beyond ±2**53; write it as a string"
        case numbers.Real():
            as_float = float(value)
            if math.isnan(as_float):
                return None
            if math.isfinite(as_float):
                return as_float
            problem = "is infinite"
        case _:
            problem = f"is a {type(value).__name__}, not a number, a string or null"
    message = f"request {number}: {str(name)[:200]!r} {problem}"
    raise InvalidInput(message)


def _check_shape(request: Mapping[str, Value], number: int) -> None:
    if not request:
        message = f"request {number} has no features"
        raise InvalidInput(message)
    if len(request) > MAX_FEATURES:
        message = f"request {number} has {len(request)} features; at most {MAX_FEATURES} are kept"
        raise InvalidInput(message)
    if any(not isinstance(name, str) for name in request):
        message = f"request {number} has a feature whose name is not a string"
        raise InvalidInput(message)


def _check_count(number: int) -> None:
    if number > MAX_REQUESTS:
        message = f"a request set holds at most {MAX_REQUESTS} requests"
        raise InvalidInput(message)


def _utf8(text: str, number: int) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        message = f"request {number} holds text that is not valid Unicode"
        raise InvalidInput(message) from None


def _bounded_line(line: bytes, number: int) -> bytes:
    if len(line) > MAX_LINE_BYTES:
        message = f"request {number} has {len(line)} bytes; at most {MAX_LINE_BYTES} are kept"
        raise InvalidInput(message)
    return line


def _bounded_set(data: bytes) -> bytes:
    if len(data) > MAX_SET_BYTES:
        message = f"the request set has {len(data)} bytes; at most {MAX_SET_BYTES} are kept"
        raise InvalidInput(message)
    return data
