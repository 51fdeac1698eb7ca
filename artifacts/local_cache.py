"""Local copies of artifacts that are kept elsewhere: as many as fit into a bound, the longest unused going first."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 4 << 30
# Whoever asked for a copy's path opens it soon after: what was asked for lately stays, whatever the bound.
IN_USE_SECONDS = 3600.0


def used(copy: Path) -> None:
    """Note that a copy is wanted now."""
    with contextlib.suppress(OSError):
        os.utime(copy)


def make_room(folder: Path, *, max_bytes: int = MAX_BYTES, in_use_seconds: float = IN_USE_SECONDS) -> None:
    """Remove the copies that were not asked for longest, until the rest fits; harmless if others do so, too."""
    found = []
    for copy in (folder / "sha256").glob("*/*"):
        with contextlib.suppress(OSError):
            status = copy.stat()
            found.append((status.st_mtime, status.st_size, copy))
    total = sum(size for _, size, _ in found)
    for last_used, size, copy in sorted(found):
        if total <= max_bytes or last_used > time.time() - in_use_seconds:
            return
        with contextlib.suppress(OSError):
            copy.unlink()
        total -= size
