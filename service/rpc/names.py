"""Names in the form that names are kept in: two spellings of one look are one name."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any, Final, TypeVar

from deedbook.events.names import normalise

T = TypeVar("T")
# What people wrote stays as they wrote it.
_AS_WRITTEN: Final = frozenset({"text", "error", "reason", "source", "summary", "uri", "schema"})


def normalised(value: T) -> T:
    """Return a fact, or a part of one, with each name in Unicode's normal form C."""
    changed: dict[str, Any] = {}
    for name in _names_of(type(value)):  # type: ignore[arg-type]  # types are hashable
        before = getattr(value, name)
        after = _normalised(before)
        if after is not before:
            changed[name] = after
    return replace(value, **changed) if changed else value  # type: ignore[type-var]  # only dataclasses have names


def _normalised(value: Any) -> Any:  # noqa: ANN401 - any value of a field
    match value:
        case str():
            return value if value.isascii() else normalise(value)
        case tuple():
            after = tuple([_normalised(item) for item in value])
            return value if all(new is old for new, old in zip(after, value, strict=True)) else after
        case _:
            return normalised(value) if is_dataclass(value) else value


@cache
def _names_of(cls: Hashable) -> tuple[str, ...]:
    """Return the fields of a dataclass that hold names, or parts that do."""
    return (
        tuple(field.name for field in fields(cls) if field.name not in _AS_WRITTEN)
        if is_dataclass(cls)
        else ()
    )
