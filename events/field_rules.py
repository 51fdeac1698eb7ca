"""The rules of single fields: each yields a sentence where the value at a place breaks it.

``at`` is the field's name in the fact, such as ``training.metrics[3].name``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Final, TypeVar

from deedbook.events.facts import Outcome
from deedbook.events.names import (
    MAX_REASON_CHARACTERS,
    MAX_SOURCE_BYTES,
    id_problem,
    name_problem,
    prose_problem,
    sha256_problem,
    shown,
    text_problem,
)

MAX_COUNT: Final = (1 << 63) - 1
MAX_TIME_MICROS: Final = 253_402_300_799_999_999  # the last microsecond of the year 9999

Problems = Iterator[str]
T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


def said(at: str, problem: str | None) -> Problems:
    """A problem, with its place before it."""
    if problem is not None:
        yield f"{at} {problem}"


def an_id(at: str, value: str) -> Problems:
    """A UUID in canonical text."""
    return said(at, id_problem(value))


def an_id_if_any(at: str, value: str) -> Problems:
    """A UUID, or nothing."""
    return said(at, None if value == "" else id_problem(value))


def a_name(at: str, value: str) -> Problems:
    """1 to 200 printable characters."""
    return said(at, name_problem(value))


def a_label(at: str, value: str) -> Problems:
    """A name, or nothing."""
    return said(at, None if value == "" else name_problem(value))


def a_text(at: str, value: str, max_characters: int) -> Problems:
    """Any characters, so many at most."""
    return said(at, text_problem(value, max_characters))


def prose(at: str, value: str, max_characters: int = MAX_REASON_CHARACTERS) -> Problems:
    """Printable characters and ends of lines, so many at most."""
    return said(at, prose_problem(value, max_characters))


def a_source(at: str, value: str) -> Problems:
    """A file as written: at most 64 KiB of UTF-8."""
    problem = text_problem(value, MAX_SOURCE_BYTES)
    if problem is None and len(value.encode()) > MAX_SOURCE_BYTES:
        problem = f"has {len(value.encode()):,} bytes, over the limit of {MAX_SOURCE_BYTES:,}"
    return said(at, problem)


def a_reason_needed(value: str, what: str) -> Problems:
    """Prose that says something."""
    yield from prose("reason", value)
    if not value.strip():
        yield f"reason is empty: {what} says why"


def a_digest_if_any(at: str, value: str) -> Problems:
    """A SHA-256 in hexadecimal, or nothing."""
    return said(at, None if value == "" else sha256_problem(value))


def a_count(at: str, value: object, least: int = 0, most: int = MAX_COUNT) -> Problems:
    """A whole number within bounds."""
    if not isinstance(value, int) or isinstance(value, bool):
        yield f"{at} is {shown(value)}, not a whole number"
    elif not least <= value <= most:
        yield f"{at} is {shown(value)}, not between {least} and {most}"


def a_time(at: str, value: object) -> Problems:
    """Microseconds since 1970, up to the year 9999."""
    return a_count(at, value, 0, MAX_TIME_MICROS)


def a_number(at: str, value: object) -> Problems:
    """Any double, NaN and the infinities among them."""
    try:
        fits = isinstance(value, int | float) and not isinstance(value, bool) and float(value) is not None
    except OverflowError:
        fits = False
    if not fits:
        yield f"{at} is {shown(value)}, not a number that a double can hold"


def a_number_if_any(at: str, value: object) -> Problems:
    """Any double, or nothing."""
    return a_number(at, 0.0 if value is None else value)


def an_outcome(at: str, value: object) -> Problems:
    """How something ended, rather than that nobody knows."""
    if not isinstance(value, Outcome) or value is Outcome.UNKNOWN:
        yield f"{at} is {shown(str(value))}, which is no outcome"


def each(at: str, items: Sequence[T], rule: Callable[[str, T], Problems], most: int) -> Problems:
    """A bounded number of things, each of which keeps a rule."""
    if len(items) > most:
        yield f"{at} has {len(items):,} entries, over the limit of {most:,}"
    for number, item in enumerate(items):
        yield from rule(f"{at}[{number}]", item)


def none_twice(what: str, keys: Sequence[K], words: Callable[[K], str] = shown) -> Problems:
    """No key more than once; ``words`` puts a key as people read it."""
    if len(set(keys)) == len(keys):
        return
    seen: set[K] = set()
    for key in keys:
        if key in seen:
            yield f"{what} {words(key)} is given twice"
        seen.add(key)
