"""A row of numbers as a row of bars."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import inf, isfinite

_BARS = "▁▂▃▄▅▆▇█"
_MIDDLE = _BARS[3]


def sparkline(values: Sequence[float], width: int) -> str:
    """Return at most `width` bars for the values in their order.

    Where there are more values than bars, a bar is the mean of its share of them. NaN is a gap; an
    infinity is the highest or lowest bar, and doesn't squeeze the others.
    """
    shares = _shares(values, width)
    finite = [value for value in shares if isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    return "".join(_bar(value, low, high) for value in shares)


def _shares(values: Sequence[float], width: int) -> list[float]:
    if len(values) <= width:
        return list(values)
    edges = [len(values) * index // width for index in range(width + 1)]
    return [_mean(values[start:end]) for start, end in pairwise(edges)]


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if value == value]  # noqa: PLR0124 - NaN is what differs from itself
    # Divided first: the sum of large numbers may be beyond what a float holds.
    return sum(value / len(known) for value in known) if known else float("nan")


def _bar(value: float, low: float, high: float) -> str:
    if value != value:  # noqa: PLR0124 - NaN is what differs from itself
        return " "
    if value in {inf, -inf}:
        return _BARS[-1] if value > 0 else _BARS[0]
    # Halved first: the distance between the largest and the smallest float is beyond what a float holds.
    distance = high / 2 - low / 2
    if not distance:
        return _MIDDLE
    height = (value / 2 - low / 2) / distance
    return _BARS[min(int(height * len(_BARS)), len(_BARS) - 1)]
