"""Numbers as people read them."""

from __future__ import annotations

from math import isfinite

from deedbook.cli.documents import number_text


def short_number(value: float | None) -> str:
    """Return a number in about four digits, without an exponent where it can be read so; empty for none."""
    if value is None:
        return ""
    if not isfinite(value):
        return number_text(value)
    if 10_000 <= abs(value) < 1e9:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def size(size_bytes: int) -> str:
    """Return a number of bytes in the unit that suits it."""
    amount = float(size_bytes)
    for unit in ("bytes", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
