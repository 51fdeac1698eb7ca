"""What Faust and its Kafka client say, in our words: one line each, nothing twice a minute, no tables.

Faust tells a rebalance in twenty lines and a lost broker in a hundred, with tracebacks, and its own set-up
of logging takes over a program's. None of that happens here: whatever its loggers are given ends in ours.
"""

from __future__ import annotations

import gc
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from deedbook.consumers.sandbox.outcome import printable

_LOG = logging.getLogger(__name__)
_THEIRS = ("faust", "mode", "aiokafka", "asyncio")
_MAX_CHARACTERS = 300
_QUIET_SECONDS = 60.0

AWAY = "Kafka does not answer: nothing new is judged until it is back"
_REGROUPING = "the workers' group is being put together anew: partitions may change hands"
_LOST = "this worker counted as gone and joins its group again: an order in hand may be judged twice"
# What Kafka answers to somebody who may not, or whom it doesn't know: waiting mends none of it.
_REFUSAL = re.compile(r"Authorization|Authentication|Sasl|SASL|not authorized|[Cc]ertificate|SSL")
# What they say, what we say, and how loudly. What matches nothing is passed on as it is.
_WORDS: tuple[tuple[str, str, int], ...] = (
    # Said of a group's first member while the group is made, of partitions without orders, and of long checks.
    (
        r"Request failed: .*CoordinatorNotAvailable|^No active partitions|Timer .* (woke up|is overlapping)",
        "",
        0,
    ),
    (r"^Aiokafka (has not|stopped)|^Stream (has not|stopped)|^Highwater not|^Has not committed", "", 0),
    # The worker itself says that it was lost, and why.
    (r"^Crashed reason=|^Drain messages raised|^Error while stopping child", "", 0),
    (r"^Task was destroyed|^(Task|Future) exception was never retrieved|^Unclosed AIOKafka", "", 0),
    (r"because it is rebalancing|due to group error|already rebalanced", _REGROUPING, logging.INFO),
    (r"^Unable to connect|^Unable connect to|^Unable to (request|update) metadata", AWAY, logging.WARNING),
    (r"^Failed fetch|^Connect attempt to|Request failed: .*(NodeNotReady|Connection)", AWAY, logging.WARNING),
    (r"^Error sending|marking coordinator dead|^Marking the coordinator dead", AWAY, logging.WARNING),
    (r"^Heartbeat send request failed|is either not started or not valid", AWAY, logging.WARNING),
    (r"^LeaveGroup request failed|^Failed to commit on finali", AWAY, logging.WARNING),
    (
        r"member_id was not recognized|generation id is not|session expired|exceeded max_poll_interval",
        _LOST,
        30,
    ),
)
_COMPILED = tuple((re.compile(pattern), words, level) for pattern, words, level in _WORDS)
# `[^--Consumer]: `, where in its tree of services something was said.
_PLACE = re.compile(r"^\[\^[^\]]*\]: ")


class Translated(logging.Handler):
    """A handler that says in our words what another library logs; `clock`: seconds that only grow."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.DEBUG)
        self._clock = clock
        self._said: dict[str, float] = {}
        # The last word of a Kafka that would not let us in; empty where it never said so.
        self.refusal = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Say it, unless it was said within the minute."""
        try:
            words, level = translated(record)
        except Exception:  # noqa: BLE001 (a record whose arguments don't fit is no reason to stop)
            return
        if level >= logging.WARNING and _REFUSAL.search(words):
            self.refusal = words
        now = self._clock()
        if not words or now - self._said.get(words, -_QUIET_SECONDS) < _QUIET_SECONDS:
            return
        self._said = {said: at for said, at in self._said.items() if now - at < _QUIET_SECONDS}
        self._said[words] = now
        _LOG.log(level, "%s", words)


def translated(record: logging.LogRecord) -> tuple[str, int]:
    """Return what to say of a record of theirs, and how loudly; nothing where it means nothing."""
    lines = record.getMessage().strip().splitlines()
    text = lines[0] if lines else ""
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and str(error) not in text:
        text = f"{text}: {type(error).__name__}: {error}"
    text = _PLACE.sub("", text)
    if record.levelno < logging.WARNING:
        return printable(text, _MAX_CHARACTERS), logging.DEBUG
    if not _REFUSAL.search(text):
        for pattern, words, level in _COMPILED:
            if pattern.search(text):
                return words, level
    return printable(f"Kafka's client says: {text}", _MAX_CHARACTERS), logging.WARNING


@contextmanager
def in_our_words() -> Iterator[Translated]:
    """Have all that Faust, its libraries and their threads say come out of our own logger, meanwhile."""
    from mode.threads import ServiceThread

    handler = Translated()
    loggers = [logging.getLogger(name) for name in _THEIRS]
    before = [(logger.handlers, logger.propagate, logger.level) for logger in loggers]
    excepthook, on_crash = threading.excepthook, ServiceThread.on_crash
    for logger in loggers:
        logger.handlers, logger.propagate = [handler], False
        # Below WARNING their chatter costs more than it tells, unless somebody listens.
        logger.setLevel(logging.INFO if _LOG.isEnabledFor(logging.INFO) else logging.WARNING)
    # Two ways past all logging, both with a traceback: the reason reaches the worker in any case.
    threading.excepthook = lambda ended: _LOG.debug("a thread ended: %s", ended.exc_type.__name__)
    ServiceThread.on_crash = _unheard  # type: ignore[method-assign]
    try:
        yield handler
    finally:
        # What Faust left pending when Kafka was away is complained about by the garbage collector: here, then.
        gc.collect()
        threading.excepthook = excepthook
        ServiceThread.on_crash = on_crash  # type: ignore[method-assign]
        for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)


def _unheard(*_: object, **__: object) -> None:
    return
