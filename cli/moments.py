"""Times as people write and read them; inside they are microseconds since 1970, UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from deedbook.cli.plain_text import plain
from deedbook.events.clock import now_micros
from deedbook.events.errors import InvalidInput

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(text: str, option: str) -> datetime:
    """Return the time that was written: ISO-8601, without an offset in UTC, or `now`. Raises InvalidInput."""
    if text.strip().lower() == "now":
        return datetime_of(now_micros())
    try:
        written = datetime.fromisoformat(text.strip())
        return written.replace(tzinfo=UTC) if written.tzinfo is None else written.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidInput(
            f"{option} {plain(text, 60)!r} is not a time: write it as 2026-01-31T14:05:00 (UTC, or with an "
            "offset such as +02:00), as 2026-01-31, or as now"
        ) from None


def micros_of(time: datetime) -> int:
    """Return a time as microseconds since 1970; a time without an offset is UTC."""
    aware = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


def datetime_of(micros: int) -> datetime:
    """Return microseconds since 1970 as a time."""
    return _EPOCH + timedelta(microseconds=micros)


def iso(time: datetime) -> str:
    """Return a time as programs read it: `2026-01-31T14:05:00.000000Z`; without an offset it is UTC."""
    aware = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    return aware.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def shown(time: datetime | None) -> str:
    """Return a time as people read it: `2026-01-31 14:05:00`, UTC; empty for none."""
    return "" if time is None else iso(time)[:19].replace("T", " ")
