"""How far a long reading of the log is, on standard error, for a person who waits."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Fewer are done before anybody wonders.
_MANY = 20_000


@contextmanager
def waiting_for(what: str) -> Iterator[Callable[[int, int], None]]:
    """Hand out what long work tells its progress to: done, of how many; drawn only on a terminal, and if long."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    task = progress.add_task(what, visible=False)

    def tell(done: int, total: int) -> None:
        if total >= _MANY:
            progress.start()
            progress.update(task, completed=done, total=total, visible=True)

    try:
        yield tell
    finally:
        progress.stop()
