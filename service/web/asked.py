"""What an address or a form asks for: texts, choices, positions and times, each checked where it comes in."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

from deedbook.events.errors import InvalidInput
from deedbook.events.names import normalise

if TYPE_CHECKING:
    from collections.abc import Mapping

Chosen = TypeVar("Chosen", bound=StrEnum)

_SHOWN: Final = 60
_MAX_POSITION: Final = 2**62


def name(query: Mapping[str, str], key: str) -> str | None:
    """Return a name as the registry writes it, None where nothing is given."""
    text = query.get(key, "")
    return normalise(text) if text.strip() else None


def choice(query: Mapping[str, str], key: str, choices: type[Chosen]) -> Chosen | None:
    """Return one of a few words, None where nothing is given. Raises InvalidInput, which names them."""
    text = query.get(key, "").strip()
    if not text:
        return None
    try:
        return choices(text)
    except ValueError:
        known = ", ".join(choices)
        raise InvalidInput(f"{key} {_shown(text)} is none of {known}") from None


def whole(query: Mapping[str, str], key: str, *, least: int = 0, most: int = _MAX_POSITION) -> int | None:
    """Return a whole number, None where nothing is given. Raises InvalidInput."""
    text = query.get(key, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most):
        bounds = f" from {least} to {most:,}" if most < _MAX_POSITION else ""
        raise InvalidInput(f"{key} {_shown(text)} is not a whole number{bounds}")
    return int(text)


def moment(query: Mapping[str, str], key: str) -> datetime | None:
    """Return a time in UTC, None where nothing is given. Raises InvalidInput, which says how to write one."""
    text = query.get(key, "").strip()
    if not text:
        return None
    try:
        # A plus sign in an address that was typed by hand comes in as a space.
        written = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        return written.replace(tzinfo=UTC) if written.tzinfo is None else written.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidInput(
            f"{key} {_shown(text)} is not a time: write it as 2026-01-31T14:05:00 (UTC, or with an offset such as "
            "+02:00), or as 2026-01-31"
        ) from None


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
