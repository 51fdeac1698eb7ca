"""Two histograms over the same bins, as the shapes that a page draws and the figures that stand beside them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deedbook.events.facts import Distribution

WIDTH: Final = 520
HEIGHT: Final = 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 8, 30
_TICKS: Final = 4
_GAP: Final = 0.5
# How high the axis goes, in shares: the first that holds all.
_LEVELS: Final = (0.02, 0.04, 0.1, 0.2, 0.24, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle of the candidate's histogram, in the drawing's own units."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: where, in the drawing's own units, and what is written there."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Bin:
    """One bin: from where to where, and how many of each fall into it."""

    low: float
    high: float
    candidate: int
    baseline: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A candidate's histogram as bars, its baseline's as a line of steps around none of them.

    Heights are shares of all values of each. ``outline`` is the path of the steps. ``summary`` says in sentences
    what is to be seen. ``even``: the bins are drawn equally wide, since their edges don't let themselves be drawn.
    """

    name: str
    bars: tuple[Bar, ...]
    outline: str
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    bins: tuple[Bin, ...]
    candidate_total: int
    baseline_total: int
    even: bool
    summary: str


def drawing(distribution: Distribution) -> Drawing | None:
    """Return what is drawn of a distribution; None where it has no bins, or not as many as its edges say."""
    counts = (distribution.candidate_counts, distribution.baseline_counts)
    if not counts[0] or not len(counts[0]) == len(counts[1]) == len(distribution.edges) - 1:
        return None
    bins = tuple(
        Bin(low, high, candidate, baseline)
        for (low, high), candidate, baseline in zip(pairwise(distribution.edges), *counts, strict=True)
    )
    places, even = _places(distribution.edges)
    shares = [_shares(each) for each in counts]
    highest = max(max(each) for each in shares)
    top = next(level for level in _LEVELS if highest <= level)
    levels = [[_level(share, top) for share in each] for each in shares]
    floor = float(HEIGHT - _BOTTOM)
    return Drawing(
        name=distribution.name,
        bars=tuple(
            Bar(
                round(left + _GAP / 2, 2),
                level,
                round(max(right - left - _GAP, 0.2), 2),
                round(floor - level, 2),
            )
            for (left, right), level in zip(pairwise(places), levels[0], strict=True)
            if level < floor
        ),
        outline=_outline(places, levels[1], floor),
        across=tuple(_across(distribution.edges, places)),
        up=tuple(Tick(_level(top * n / 2, top), f"{top * n / 2:.0%}") for n in range(3)),
        bins=bins,
        candidate_total=sum(counts[0]),
        baseline_total=sum(counts[1]),
        even=even,
        summary=_summary(bins),
    )


def _places(edges: Sequence[float]) -> tuple[list[float], bool]:
    """Return where the edges are drawn, and whether they are drawn evenly instead of to scale."""
    span = edges[-1] - edges[0]
    room = WIDTH - _LEFT - _RIGHT
    to_scale = (
        math.isfinite(span)
        and all(math.isfinite(edge) for edge in edges)
        and all(low < high for low, high in pairwise(edges))
    )
    last = len(edges) - 1
    shares = ((edge - edges[0]) / span for edge in edges) if to_scale else (n / last for n in range(last + 1))
    return [round(_LEFT + share * room, 2) for share in shares], not to_scale


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts)
    return [count / total if total else 0.0 for count in counts]


def _level(share: float, top: float) -> float:
    return round(HEIGHT - _BOTTOM - share / top * (HEIGHT - _BOTTOM - _TOP), 2)


def _outline(places: Sequence[float], levels: Sequence[float], floor: float) -> str:
    steps = "".join(f"V{level}H{right}" for level, right in zip(levels, places[1:], strict=True))
    return f"M{places[0]} {floor}{steps}V{floor}"


def _across(edges: Sequence[float], places: Sequence[float]) -> list[Tick]:
    """Return marks at edges that lie about as far apart as the room allows."""
    step = (places[-1] - places[0]) / _TICKS
    chosen = {
        min((abs(place - places[0] - n * step), at) for at, place in enumerate(places))[1]
        for n in range(_TICKS + 1)
    }
    return [Tick(places[place], _short(edges[place])) for place in sorted(chosen)]


def _short(value: float) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "\N{MINUS SIGN}∞"
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size * 10:
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"


def _summary(bins: Sequence[Bin]) -> str:
    candidate = _middle(bins, [one.candidate for one in bins])
    baseline = _middle(bins, [one.baseline for one in bins])
    return f"The candidate's median lies {candidate}; the baseline's {baseline}."


def _middle(bins: Sequence[Bin], counts: Sequence[int]) -> str:
    """Return between which edges the median lies."""
    half, passed = sum(counts) / 2, 0
    for one, count in zip(bins, counts, strict=True):
        passed += count
        if count and passed >= half:
            return f"between {_short(one.low)} and {_short(one.high)}"
    return "nowhere, for it has no values"
