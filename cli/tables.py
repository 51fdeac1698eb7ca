"""Tables on standard output: readable at 80 columns of a terminal, whole when piped."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

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
    """A column's heading; `whole` is never folded into two lines; numbers stand to the right."""

    heading: str
    whole: bool = False
    align: Literal["left", "right"] = "left"


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


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[object]], *, title: str = "") -> None:
    """Print rows under their headings."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for column in columns:
        table.add_column(
            column.heading, justify=column.align, no_wrap=column.whole, overflow="fold", min_width=None
        )
    for row in rows:
        table.add_row(*(cell(value) for value in row))
    if title:
        say(title, style="bold")
    _print(table)


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
