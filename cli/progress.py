"""How far long work is, on standard error, for a person who waits."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Fewer are done before anybody wonders.
_MANY_RECORDS = 20_000
_MANY_BYTES = 16 << 20


@contextmanager
def waiting_for(what: str, *, in_bytes: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Hand out what long work tells its progress to: done, of how many; drawn only on a terminal, and if long."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True) if in_bytes else MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    many = _MANY_BYTES if in_bytes else _MANY_RECORDS
    task = progress.add_task(what, visible=False)

    def tell(done: int, total: int) -> None:
        if total >= many:
            progress.start()
            progress.update(task, completed=done, total=total, visible=True)

    try:
        yield tell
    finally:
        progress.stop()
