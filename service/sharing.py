"""How the threads of the service share a processor: who answers somebody goes before who computes."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

# How long a thread may keep the interpreter while others wait: the loop answers between two steps of the fold.
_SWITCH_SECONDS: Final = 0.000_5


@contextlib.contextmanager
def short_turns() -> Iterator[None]:
    """Have the threads take short turns in the interpreter."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def let_others_first() -> None:
    """Have the threads that answer somebody run before this one, which keeps its share of the time all the same."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # not everywhere is that allowed
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
