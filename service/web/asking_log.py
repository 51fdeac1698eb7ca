"""What pages ask the log itself: answered within seconds, or not at all, however long the log needs to say that.

And what they wait for: an address may come from another replica, which had folded more.
"""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final, TypeVar

from deedbook.events.errors import DeedbookError, LogUnavailable
from deedbook.events.facts import REGISTRY
from deedbook.service.web.records import UNFOLDED
from deedbook.service.web.rendering import service_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from deedbook.events.log import Log

T = TypeVar("T")

_ANSWER_SECONDS: Final = 5.0
_AT_ONCE: Final = 8


class LogAsker:
    """Asks a log on behalf of all pages; those who are not answered leave their thread to it until it answers."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._free = threading.BoundedSemaphore(_AT_ONCE)

    def ask(self, question: Callable[[Log], T], *, timeout_seconds: float = _ANSWER_SECONDS) -> T:
        """Return what the log answers. Raises LogUnavailable where that takes too long, and what the log raises."""
        deadline = time.monotonic() + timeout_seconds
        if self._free.acquire(timeout=timeout_seconds):
            answer: Future[T] = Future()
            # A log that is away answers late: a daemon thread keeps nobody who ends the service waiting for it.
            threading.Thread(
                target=self._answer, args=(question, answer), name="deedbook-asks-log", daemon=True
            ).start()
            with contextlib.suppress(TimeoutError):
                return answer.result(max(0.0, deadline - time.monotonic()))
        raise LogUnavailable(f"the log did not answer within {timeout_seconds:.0f} seconds")

    def _answer(self, question: Callable[[Log], T], answer: Future[T]) -> None:
        try:
            answer.set_result(question(self._log))
        except Exception as error:  # noqa: BLE001 - raised by who waits for it, if anybody still does
            answer.set_exception(error)
        finally:
            self._free.release()


def log_of(request: Request) -> LogAsker:
    """Return the log itself, as all pages ask it."""
    log: LogAsker = request.app.state.log
    return log


def wait_until_folded(request: Request, position: int, *, topic: str = REGISTRY, partition: int = 0) -> None:
    """Wait a moment until a record that an address names is folded here; one that is not on the log is not waited for.

    It ends when the record is folded, or cannot be waited for any longer: the page then shows what is folded.
    """
    live = service_of(request).live
    if topic in UNFOLDED or live.has(topic, partition, position):
        return
    with contextlib.suppress(DeedbookError):
        if position < log_of(request).ask(lambda log: log.end(topic, partition)):
            live.wait_until_reached(topic, partition, position, timeout_seconds=_ANSWER_SECONDS)
