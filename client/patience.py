"""Patience: an answer is waited for so long, and then whoever asked goes on without it."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, TypeVar

from deedbook.events.errors import LogUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def within(seconds: float, ask: Callable[[], T], whom: str) -> T:
    """Return the answer, or raise what asking raises.

    Raises LogUnavailable where there is none after `seconds`; the question is left to end by itself, in a thread
    that keeps no program from ending.
    """
    answers: queue.SimpleQueue[T | Exception] = queue.SimpleQueue()

    def answer() -> None:
        try:
            answers.put(ask())
        except Exception as error:  # noqa: BLE001 (raised where the answer is waited for)
            answers.put(error)

    threading.Thread(target=answer, name="deedbook asking", daemon=True).start()
    try:
        found = answers.get(timeout=seconds)
    except queue.Empty:
        raise LogUnavailable(f"{whom} did not answer within {seconds:g} seconds") from None
    if isinstance(found, Exception):
        raise found
    return found
