"""Numbers, days and lists of names as a reviewer reads them: short, and exact enough to tell apart."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from deedbook.events.names import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MAX_DIGITS = 12


def spelled(value: float) -> str:
    """Return a number with its thousands set apart, in at most six digits: `1,204.5`."""
    return _with_digits(value, 6)


def spelled_apart(*values: float) -> tuple[str, ...]:
    """Return each number as briefly as still shows that unequal ones are unequal."""
    return _apart(values, (6, 8, 10, _MAX_DIGITS), _with_digits)


def percentages(*fractions: float) -> tuple[str, ...]:
    """Return signed percentages, as brief as still shows that unequal ones are unequal: `+20%`, `-8.7%`."""
    return _apart([fraction * 100 for fraction in fractions], (2, 3, 4, 6, 8, 10, _MAX_DIGITS), _signed)


def listed(names: list[str], most: int = 5) -> str:
    """Return the first few names, quoted, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(shown(name) for name in names[:most]) + more


def day(at: int) -> str:
    """Return the day (UTC) of a time in microseconds since 1970, empty where it is unknown or no date."""
    try:
        return (
            (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)).date().isoformat() if at else ""
        )
    except OverflowError:
        return ""


def _apart(
    values: Sequence[float], precisions: Sequence[int], spell: Callable[[float, int], str]
) -> tuple[str, ...]:
    """Spell the numbers with the first precision that tells apart what the last one does."""
    texts: tuple[str, ...] = ()
    distinct = len({spell(value, precisions[-1]) for value in values})
    for digits in precisions:
        texts = tuple(spell(value, digits) for value in values)
        if len(set(texts)) == distinct:
            break
    return texts


def _with_digits(value: float, digits: int) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "infinity" if value > 0 else "-infinity"
    value += 0.0  # minus zero reads like a mistake
    if value and not 1e-4 <= abs(value) < 1e15:
        return f"{value:.{digits}g}"
    whole = len(str(int(abs(value))))
    text = f"{value:,.{max(0, digits - whole)}f}" if abs(value) >= 1 else f"{value:.{digits}g}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _signed(percent: float, digits: int) -> str:
    if not math.isfinite(percent):
        return _with_digits(percent, digits) + "%" if percent < 0 or math.isnan(percent) else "+infinity%"
    text = _with_digits(percent, digits) if abs(percent) < 1e6 else f"{percent:.{digits}g}"
    return f"{'+' if percent > 0 else ''}{text}%"
