"""The clock deedbook reads where none is handed in."""

from __future__ import annotations

import time


def now_micros() -> int:
    """Return the time by this machine's clock: whole microseconds since 1970-01-01T00:00:00Z."""
    return time.time_ns() // 1000
