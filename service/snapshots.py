"""Snapshots as the service's callers get them: whole, as of now, and theirs for as long as they need them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from deedbook.projector.snapshot import held

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deedbook.service.live import Live


class HeldSnapshots:
    """Hands out snapshots of the live state."""

    def __init__(self, live: Live) -> None:
        self._live = live

    @contextlib.contextmanager
    def held(self, *, min_position: int = 0, timeout_seconds: float = 60.0) -> Iterator[Path]:
        """A snapshot of all that is folded now, in a file that stays as it is until the end; never in an event loop.

        Raises ProjectionBusy, DeadlineExceeded, StorageFull.
        """
        snapshot = self._live.snapshot(min_position=min_position, timeout_seconds=timeout_seconds)
        with held(snapshot) as path:
            yield path
