"""How the story is shown: with colours and moving bars to a person, in plain lines to a program."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from time import monotonic
from typing import TypeAlias

from deedbook.cli.plain_text import plain
from deedbook.cli.tables import console, on_terminal, say

Advance: TypeAlias = Callable[[str], None]

_SECONDS_BETWEEN_LINES = 5.0


def chapter(title: str) -> None:
    """Open a chapter."""
    say()
    say(title, style="bold cyan")
    sys.stdout.flush()


def tell(sentence: str, *, style: str = "", indent: int = 2) -> None:
    """Say one sentence of the story: on a terminal folded under its own beginning, else on one line."""
    if on_terminal():
        from rich.padding import Padding
        from rich.text import Text

        out = console()
        with out.capture() as captured:
            out.print(Padding(Text(plain(sentence), style=style), (0, 0, 0, indent)))
        # Rich fills each line with spaces.
        for line in captured.get().splitlines():
            sys.stdout.write(line.rstrip() + "\n")
    else:
        say(f"{' ' * indent}{sentence}")
    sys.stdout.flush()


def to_copy(line: str) -> None:
    """Print a line as it is: a terminal may fold it, but what is copied from there is one line."""
    sys.stdout.write(f"    {plain(line)}\n")


@contextmanager
def progress(what: str, total: int) -> Iterator[Advance]:
    """Show how far a long piece of work is; call what is yielded after each step, with where it is now.

    Threads may share what is yielded. Without a terminal: a plain line every few seconds, and one at the end.
    """
    if on_terminal():
        with _bar(what, total) as advance:
            yield advance
        return
    done, last_line, turn = 0, monotonic(), Lock()

    def advance_plainly(where: str) -> None:
        nonlocal done, last_line
        with turn:
            done += 1
            if done == total or monotonic() - last_line >= _SECONDS_BETWEEN_LINES:
                last_line = monotonic()
                tell(f"{what}: {done} of {total} ({where})")

    yield advance_plainly


@contextmanager
def _bar(what: str, total: int) -> Iterator[Advance]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("  {task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[where]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console()) as bars:
        task = bars.add_task(what, total=total, where="")
        yield lambda where: bars.update(task, advance=1, where=where)
