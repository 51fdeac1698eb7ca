"""How a table's columns share the width there is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from deedbook.cli.tables import Column

_GAP = 2
_INDENT = 4
# A word this long is not folded for the sake of other columns; a longer one may be.
_WORD = 20
# In less a sentence is read more easily below its row.
_SENTENCE = 40


@dataclass(frozen=True, slots=True)
class Layout:
    """A table that knows its widths: one for each column; without any, rows are told line by line.

    `below`: for each row, what is told under it.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Text]]
    widths: Sequence[int]
    below: Sequence[Sequence[Text]]

    def lines(self, console: Console) -> Iterator[Text]:
        """Yield the lines, headings first, each as wide as the table."""
        if not self.widths:
            yield from self._records(console)
            return
        yield from self._line(console, _headings(self.columns))
        for row, below in zip(self.rows, self.below, strict=True):
            yield from self._line(console, row)
            for text in below:
                for part in (
                    text.wrap(console, max(console.width - _INDENT, 1), overflow="fold") if text else ()
                ):
                    part.pad_left(_INDENT)
                    yield part

    def _line(self, console: Console, row: Sequence[Text]) -> Iterator[Text]:
        from rich.text import Text

        folded = [
            [_stripped(part) for part in text.wrap(console, width, overflow="fold")] if text else []
            for text, width in zip(row, self.widths, strict=True)
        ]
        for n in range(max(map(len, folded), default=0)):
            line = Text()
            for column, parts, width in zip(self.columns, folded, self.widths, strict=True):
                part = parts[n] if n < len(parts) else Text()
                part.align("right" if column.align == "right" else "left", width)
                line.append_text(part).append(" " * _GAP)
            yield line

    def _records(self, console: Console) -> Iterator[Text]:
        """Yield each row as lines of heading and value."""
        from rich.text import Text

        heading_width = max(len(heading) for heading in _headings(self.columns))
        width = max(console.width - heading_width - _GAP, _WORD)
        for number, row in enumerate(self.rows):
            if number:
                yield Text()
            for heading, text in zip(_headings(self.columns), row, strict=True):
                for n, part in enumerate(text.wrap(console, width, overflow="fold") if text else ()):
                    line = heading.copy() if n == 0 else Text()
                    line.align("left", heading_width)
                    yield line.append(" " * _GAP).append_text(part)


def laid_out(columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int) -> Layout:
    """Return the best layout for a width: all columns, else fewer, else some below, else line by line."""
    every = list(range(len(columns)))
    dropped = [n for n in every if columns[n].narrow == "drop"]
    below = [n for n in every if columns[n].narrow == "below"]
    for drop, under in _choices(dropped, below):
        shown = [n for n in every if n not in drop and n not in under]
        grid = [[row[n] for n in shown] for row in rows]
        widths = _widths([columns[n] for n in shown], grid, width)
        if widths is not None:
            return Layout(
                [columns[n] for n in shown], grid, widths, [[row[n] for n in under] for row in rows]
            )
    return Layout(columns, rows, (), [() for _ in rows])


def _choices(dropped: Sequence[int], below: Sequence[int]) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
    """Yield what to drop and what to tell below, from the least to the most."""
    for count in range(len(dropped) + 1):
        yield dropped[len(dropped) - count :], ()
    for count in range(len(dropped) + 1):
        yield dropped[len(dropped) - count :], below


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int) -> list[int] | None:
    """Return the columns' widths, None where they don't fit: the widest gives way first."""
    available = width - _GAP * (len(columns) - 1)
    cells = [list(parts) for parts in zip(_headings(columns), *rows, strict=True)]
    widths = [max(text.cell_len for text in parts) for parts in cells]
    floors = [
        min(natural, _floor(column, parts))
        for column, parts, natural in zip(columns, cells, widths, strict=True)
    ]
    if sum(floors) > available:
        return None
    while sum(widths) > available:
        widest = max(
            (n for n in range(len(widths)) if widths[n] > floors[n]),
            key=lambda n: (widths[n], widths[n] - floors[n]),
        )
        widths[widest] -= 1
    return widths


def _stripped(part: Text) -> Text:
    """Return a line of a folded text without the spaces it was folded at."""
    part.rstrip()
    return part[len(part.plain) - len(part.plain.lstrip()) :] if part else part


def _longest_word(parts: Sequence[Text]) -> int:
    from rich.cells import cell_len

    return max(map(cell_len, chain.from_iterable(text.plain.split() for text in parts)), default=1)


def _floor(column: Column, parts: Sequence[Text]) -> int:
    """Return how narrow a column may get, unless all it holds is narrower."""
    if column.whole:
        return max(text.cell_len for text in parts)
    if column.narrow == "below":
        return _SENTENCE
    return max(min(_longest_word(parts), _WORD), _longest_word(parts[:1]))


def _headings(columns: Sequence[Column]) -> list[Text]:
    from rich.text import Text

    from deedbook.cli.plain_text import plain

    return [Text(plain(column.heading), style="bold") for column in columns]
