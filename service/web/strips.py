"""What was live when, as a strip: a rectangle for each release that was the current one, as wide as its time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deedbook.projector.queries import LivePeriod

WIDTH: Final = 600
_LEAST: Final = 8.0
_LETTER: Final = 8.0


@dataclass(frozen=True, slots=True)
class Segment:
    """A period as it is drawn, in the strip's own units.

    ``shade``: 0 or 1, another than its neighbours'. ``text``: as much of the release's name as fits.
    """

    x: float
    width: float
    shade: int
    text: str
    period: LivePeriod


def segments(periods: Sequence[LivePeriod], until: datetime) -> tuple[Segment, ...]:
    """Return the periods, oldest first, as drawn up to a time.

    Widths go by time, but none is so narrow that it can't be seen: so they are no exact measure.
    """
    ends = [period.live_until or until for period in periods]
    seconds = [
        max(0.0, (end - one.live_from).total_seconds()) for one, end in zip(periods, ends, strict=True)
    ]
    least = min(_LEAST, WIDTH / len(periods)) if periods else 0.0
    room = WIDTH - least * len(periods)
    total = sum(seconds) or 1.0
    drawn = []
    x = 0.0
    for place, (period, length) in enumerate(zip(periods, seconds, strict=True)):
        width = least + room * length / total
        mark = "↩ " if period.rollback else ""
        letters = int((width - 8) / _LETTER)
        text = f"{mark}{period.release}"[:letters] if letters > len(mark) + 2 else mark.strip()[:letters]
        drawn.append(Segment(round(x, 2), round(width, 2), place % 2, text, period))
        x += width
    return tuple(drawn)
