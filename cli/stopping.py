"""How a long-running command is asked to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopping(*, others_wait: bool = False) -> Iterator[threading.Event]:
    """Hand out what the first SIGINT or SIGTERM sets; the second one ends the program at once.

    `others_wait`: threads would keep an interrupted program from ending; then the second SIGINT kills it.
    """
    stop = threading.Event()

    def ask_to_stop(number: int, _frame: FrameType | None) -> None:
        stop.set()
        gently = number == signal.SIGINT and not others_wait
        signal.signal(number, signal.default_int_handler if gently else signal.SIG_DFL)

    before = {number: signal.signal(number, ask_to_stop) for number in _STOP_SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
