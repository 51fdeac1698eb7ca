"""How the pages write times, numbers and digests: the same everywhere, exact on a closer look."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final

from markupsafe import Markup

NOTHING: Final = "\N{EN DASH}"
# Numbers within these are written out, others with an exponent.
_SMALL: Final = 1e-4
_LARGE: Final = 1e15
_STEPS: Final = (
    (60, "second", 1),
    (3_600, "minute", 60),
    (86_400, "hour", 3_600),
    (30 * 86_400, "day", 86_400),
    (365 * 86_400, "month", 30 * 86_400),
    (math.inf, "year", 365 * 86_400),
)


def time(moment: datetime | None) -> str:
    """Return a time to the second in UTC, as an element that holds it exactly."""
    if moment is None:
        return NOTHING
    utc = moment.astimezone(UTC)
    return _element(utc, f"{utc:%Y-%m-%d %H:%M:%S}", "UTC")


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """Return how long ago a time was, or how far off it is, as an element that holds it exactly."""
    if moment is None:
        return NOTHING
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    unit, length = next((unit, length) for limit, unit, length in _STEPS if abs(seconds) < limit)
    amount = int(abs(seconds) // length)
    if unit == "second" and amount < 5:
        text = "just now"
    else:
        span = f"{amount} {unit}{'' if amount == 1 else 's'}"
        text = f"{span} ago" if seconds > 0 else f"in {span}"
    return _element(moment.astimezone(UTC), text)


def _element(utc: datetime, text: str, zone: str = "") -> Markup:
    exact = utc.isoformat(timespec="microseconds").replace("+00:00", "Z")
    zone_mark = Markup(' <abbr title="Coordinated Universal Time">{}</abbr>').format(zone) if zone else ""
    return Markup('<time datetime="{}" title="{}">{}{}</time>').format(exact, exact, text, zone_mark)


def number(value: float | None, digits: int = 6) -> str:
    """Return a number to so many significant digits, with all of them in reach where some are left out."""
    if value is None:
        return NOTHING
    text = plain(value, digits)
    exact = repr(value)
    if text.replace(",", "").removeprefix("\N{MINUS SIGN}") == exact.removeprefix("-").removesuffix(".0"):
        return text
    return Markup('<data value="{}" title="{}">{}</data>').format(exact, exact, text)


def signed(value: float | None, digits: int = 4) -> str:
    """Return a difference with its sign."""
    if value is None:
        return NOTHING
    return f"{'+' if value > 0 else '±' if value == 0 else ''}{plain(value, digits)}"


def percent(value: float | None) -> str:
    """Return a share of one as a difference in percent, with its sign."""
    return NOTHING if value is None else f"{signed(value * 100, 3)}\N{NO-BREAK SPACE}%"


def count(value: int) -> str:
    """Return a whole number with its thousands apart."""
    return f"{value:,}"


def plain(value: float, digits: int = 6) -> str:
    """Return a number to so many significant digits, as a text and nothing else."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "\N{MINUS SIGN}∞"
    if value == int(value) and abs(value) < _LARGE:
        text = f"{int(value):,}"
    elif _SMALL <= abs(value) < _LARGE:
        # So many significant digits, but never fewer than stand before the point.
        decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
        text = f"{value:,.{decimals}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        text = f"{value:.{digits}g}"
    return text.replace("-", "\N{MINUS SIGN}")


def size(size_bytes: int | None) -> str:
    """Return a size in the unit that suits it."""
    if size_bytes is None:
        return NOTHING
    amount = float(size_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def short(identifier: str | None) -> str:
    """Return the beginning of an id, enough to tell it from others and to find it by, as code."""
    return NOTHING if not identifier else _code(identifier, identifier[:13])


def sha(digest: str | None) -> str:
    """Return the first twelve characters of a digest or of a commit's, as code."""
    return NOTHING if not digest else _code(digest, digest[:12])


def _code(whole: str, shown: str) -> Markup:
    return Markup('<code title="{}">{}</code>').format(whole, shown)
