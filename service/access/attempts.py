"""How often somebody may try to sign in with what is no token."""

from __future__ import annotations

import time
from collections import deque
from typing import Final

MAX_FAILED: Final = 30
WINDOW_SECONDS: Final = 60.0
DELAY_SECONDS: Final = 1.0


class Attempts:
    """The attempts that failed lately, of everybody together: only failing is slowed down, a good token never is."""

    def __init__(self) -> None:
        self._failed_at: deque[float] = deque()

    def failed(self) -> float | None:
        """Count one that failed; return how many seconds to wait before it is answered, None if there are too many."""
        now = time.monotonic()
        while self._failed_at and self._failed_at[0] < now - WINDOW_SECONDS:
            self._failed_at.popleft()
        if len(self._failed_at) >= MAX_FAILED:
            return None
        self._failed_at.append(now)
        return DELAY_SECONDS
