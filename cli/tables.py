"""Tables on standard output: readable at 80 columns of a terminal, whole when piped."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from deedbook.cli.layout import laid_out
from deedbook.cli.plain_text import plain

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

# As wide as anything piped may get: nothing is folded or cut there.
_PIPED_WIDTH = 1_000_000
_STYLES = {
    "passed": "green",
    "accepted": "green",
    "failed": "red",
    "error": "red",
    "rejected": "red",
    "pending": "yellow",
    "yes": "green",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column's heading; `whole` is never folded into two lines; numbers stand to the right.

    `narrow`: what happens on a terminal too narrow for all columns, to this one before the others: it is
    dropped, or told below its row.
    """

    heading: str
    whole: bool = False
    align: Literal["left", "right"] = "left"
    narrow: Literal["fold", "drop", "below"] = "fold"


def on_terminal() -> bool:
    """Tell whether standard output is read by a person's eyes."""
    return sys.stdout.isatty()


def console() -> Console:
    """Return the console on standard output; it interprets nothing in what it prints."""
    from rich.console import Console

    width = None if on_terminal() else _PIPED_WIDTH
    return Console(file=sys.stdout, width=width, markup=False, emoji=False, highlight=False, soft_wrap=False)


def cell(value: object) -> Text:
    """Return a value as a cell: escaped, and coloured where it is a word that says good or bad."""
    from rich.text import Text

    text = "" if value is None else plain(value)
    return Text(text, style=_STYLES.get(text, ""), overflow="fold")


def print_table(
    columns: Sequence[Column], rows: Iterable[Sequence[object]], *, keep_empty: bool = False
) -> None:
    """Print rows under their headings; columns without any value are left out, unless `keep_empty`.

    Where a terminal is too narrow even for folded columns, each row is told line by line.
    """
    out = console()
    cells = [[cell(value) for value in row] for row in rows]
    kept = [n for n in range(len(columns)) if keep_empty or any(row[n] for row in cells)]
    if not kept:
        return
    found = laid_out([columns[n] for n in kept], [[row[n] for n in kept] for row in cells], out.width)
    with out.capture() as captured:
        for line in found.lines(out):
            out.print(line, no_wrap=True, overflow="ignore", crop=False)
    # Columns are filled up to their widths with spaces.
    sys.stdout.writelines(line.rstrip() + "\n" for line in captured.get().splitlines())


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one pair a line; a value that is None or empty is left out."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False, show_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields:
        if value not in (None, ""):
            table.add_row(name, cell(value))
    _print(table)


def say(sentence: object = "", *, style: str = "") -> None:
    """Print one line of plain text on standard output."""
    from rich.text import Text

    _print(Text(plain(sentence), style=style, overflow="fold"))


def note(sentence: str) -> None:
    """Write one line on standard error: for the person, not for the program that reads the output."""
    sys.stderr.write(plain(sentence) + "\n")


def _print(renderable: RenderableType) -> None:
    out = console()
    with out.capture() as captured:
        out.print(renderable)
    # Rich fills each line up to its table's width with spaces.
    for line in captured.get().splitlines():
        sys.stdout.write(line.rstrip() + "\n")
