"""The table of a run: our figure, the limit or the peer's beside it, their ratio, the goal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from goals import LABELS, goal_for
from measure import Measure, Unit
from rich.console import Console
from rich.table import Table
from rich.text import Text

OURS = "deedbook"
_SCALES: dict[Unit, tuple[tuple[float, str], ...]] = {
    "seconds": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")),
    "bytes": ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")),
    "rows_per_second": ((1e6, "M rows/s"), (1e3, "k rows/s"), (1.0, "rows/s")),
}


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A benchmark that gave no figures, and why."""

    name: str
    reason: str


def in_words(value: float, unit: Unit) -> str:
    """The value with three digits and the unit that fits it."""
    for scale, name in _SCALES[unit]:
        if abs(value) >= scale:
            return f"{value / scale:.3g} {name}"
    scale, name = _SCALES[unit][-1]
    return f"{value / scale:.3g} {name}"


def figure(measure: Measure) -> str:
    """The median, and the spread it was found in."""
    words = in_words(measure.median, measure.unit)
    if measure.repeats == 1:
        return words
    return f"{words} ({in_words(measure.low, measure.unit)}-{in_words(measure.high, measure.unit)})"


def ratio(ours: Measure, theirs: Measure) -> str:
    """How much better or worse ours is."""
    if ours.median <= 0 or theirs.median <= 0:
        return ""
    better, worse = ("smaller", "larger") if ours.unit == "bytes" else ("faster", "slower")
    times = theirs.median / ours.median
    if ours.unit == "rows_per_second":
        times = 1 / times
    return f"{times:.3g}x {better}" if times >= 1 else f"{1 / times:.3g}x {worse}"


def best_of(measures: Sequence[Measure]) -> list[Measure]:
    """The best route of each subject, thing and size, in the order of first appearance."""
    best: dict[tuple[str, str, int], Measure] = {}
    for measure in measures:
        key = (measure.subject, measure.what, measure.n)
        sign = -1 if measure.unit == "rows_per_second" else 1
        if key not in best or sign * measure.median < sign * best[key].median:
            best[key] = measure
    return list(best.values())


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: our figure, or none, beside one of theirs, or none."""

    what: str
    ours: Measure | None
    theirs: Measure | None


def rows(measures: Sequence[Measure]) -> Iterator[Row]:
    """Every comparison: each figure of ours with each other subject's at the size nearest to it."""
    best = best_of(measures)
    known = [*LABELS, *dict.fromkeys(measure.what for measure in best if measure.what not in LABELS)]
    for what in known:
        ours = [measure for measure in best if measure.what == what and measure.subject == OURS]
        others = [measure for measure in best if measure.what == what and measure.subject != OURS]
        if not ours:
            yield from (Row(what, None, other) for other in others)
        for mine in ours:
            subjects = dict.fromkeys(other.subject for other in others)
            if not subjects:
                yield Row(what, mine, None)
            yield from (Row(what, mine, _nearest(others, subject, mine.n)) for subject in subjects)


def _nearest(others: Sequence[Measure], subject: str, n: int) -> Measure:
    return min((other for other in others if other.subject == subject), key=lambda other: abs(other.n - n))


def _goal(row: Row, measures: Sequence[Measure]) -> Text:
    if row.ours is None or (goal := goal_for(row.ours)) is None:
        return Text()
    others = {other.subject: other for other in best_of(measures) if other.what == row.what}
    met = goal.met(row.ours, others)
    return Text(f"{goal.text} {'met' if met else 'MISSED'}", style="green" if met else "bold red")


def render(console: Console, measures: Sequence[Measure], unavailable: Sequence[Unavailable]) -> None:
    """Print the table, then what gave no figures and why."""
    table = Table(title="deedbook beside its limits and its peers: medians (lowest-highest)")
    for heading in ("what", "deedbook", "limit or peer", "theirs", "ratio", "goal"):
        table.add_column(heading, overflow="fold")
    for row in rows(measures):
        size = next(measure.n for measure in (row.ours, row.theirs) if measure is not None)
        label = LABELS.get(row.what, row.what) + (f", {size:,}" if size else "")
        mine = Text(figure(row.ours)) if row.ours else Text("")
        if row.theirs is None:
            table.add_row(Text(label), mine, "", "", "", _goal(row, measures))
            continue
        other_size = f" at {row.theirs.n:,}" if row.theirs.n != size else ""
        route = f": {row.theirs.route}" if row.theirs.route else ""
        compared = ratio(row.ours, row.theirs) if row.ours else ""
        name = Text(f"{row.theirs.subject}{other_size}{route}")
        table.add_row(Text(label), mine, name, Text(figure(row.theirs)), compared, _goal(row, measures))
    for missing in unavailable:
        table.add_row(Text(missing.name), "", Text(f"not to be had here: {missing.reason}", style="yellow"))
    console.print(table)
