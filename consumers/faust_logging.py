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
# What they say, what we say, and how loudly. What matches nothing is passed on as it is.
_WORDS: tuple[tuple[str, str, int], ...] = (
    (r"because it is rebalancing|due to group error|already rebalanced", _REGROUPING, logging.INFO),
    (
        r"^Unable to connect|^Unable connect to|^Unable to (request|update) metadata|^Topic .* not found",
        AWAY,
        30,
    ),
    (r"^Failed fetch|^Connect attempt to|Request failed: .*(NodeNotReady|Connection)", AWAY, logging.WARNING),
    (r"^Error sending|marking coordinator dead|^Marking the coordinator dead", AWAY, logging.WARNING),
    (r"^Heartbeat send request failed|is either not started or not valid|CoordinatorNotAvail", AWAY, 30),
    (r"^LeaveGroup request failed|^Failed to commit on finali", AWAY, logging.WARNING),
    (
        r"member_id was not recognized|generation id is not|session expired|exceeded max_poll_interval",
        _LOST,
        30,
    ),
    # Said of every partition for as long as it has no orders, or a check takes its time: by no fault.
    (
        r"^(\[\^.*\]: )?(Aiokafka (has not|stopped)|Stream (has not|stopped)|Highwater not|Has not committed)",
        "",
        0,
    ),
    (r"Timer .* (woke up|is overlapping)|^(\[\^.*\]: )?No active partitions", "", 0),
    # What a member that Kafka lost leaves behind at its end.
    (r"^Task was destroyed|^Unclosed AIOKafka|^thread Thread-.* ended: CancelledError", "", 0),
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

    def emit(self, record: logging.LogRecord) -> None:
        """Say it, unless it was said within the minute."""
        try:
            words, level = translated(record)
        except Exception:  # noqa: BLE001 (a record whose arguments don't fit is no reason to stop)
            return
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
    for pattern, words, level in _COMPILED:
        if pattern.search(text):
            return words, level
    if record.levelno < logging.WARNING:
        return printable(text, _MAX_CHARACTERS), logging.DEBUG
    return printable(f"Kafka's client says: {_PLACE.sub('', text)}", _MAX_CHARACTERS), logging.WARNING


@contextmanager
def in_our_words() -> Iterator[None]:
    """Have all that Faust, its libraries and their threads say come out of our own logger, meanwhile."""
    handler = Translated()
    loggers = [logging.getLogger(name) for name in _THEIRS]
    before = [(logger.handlers, logger.propagate, logger.level) for logger in loggers]
    excepthook = threading.excepthook
    for logger in loggers:
        logger.handlers, logger.propagate = [handler], False
        # Below WARNING their chatter costs more than it tells, unless somebody listens.
        logger.setLevel(logging.INFO if _LOG.isEnabledFor(logging.INFO) else logging.WARNING)
    threading.excepthook = lambda ended: _say_ended(handler, ended)
    try:
        yield
    finally:
        # What Faust left pending when Kafka was away is complained about by the garbage collector: here, then.
        gc.collect()
        threading.excepthook = excepthook
        for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)


def _say_ended(handler: Translated, ended: threading.ExceptHookArgs) -> None:
    """Say why a thread of theirs ended; without a broker its last words are a traceback."""
    name = ended.thread.name if ended.thread is not None else "?"
    text = f"thread {name} ended: {ended.exc_type.__name__}"
    handler.emit(logging.LogRecord("faust", logging.WARNING, "", 0, "%s", (text,), None))
