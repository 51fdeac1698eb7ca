"""What the service logs: one line for each thing, with the request it belongs to, and never a secret.

JSON for collectors; plain text where a person's terminal is.
"""

from __future__ import annotations

import contextvars
import logging
import logging.handlers
import queue
import re
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from deedbook.events.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Iterator

# The request that is being answered in this task or thread; empty between requests.
REQUEST_ID: contextvars.ContextVar[str] = contextvars.ContextVar("deedbook_request_id", default="")
REQUEST_ID_HEADER: Final = "x-request-id"
_GIVEN = re.compile(r"[A-Za-z0-9._:-]{1,64}")
# A token as it is written, wherever it turns up: in a header that a library logs, or in an error's text.
_SECRET = re.compile(r"db_([0-9a-f]{1,12})_[0-9A-Za-z]+|(?i:(bearer)\s+)[^\s'\",]+")
# When nobody reads what is logged, lines are lost, not requests.
_MAX_WAITING = 10_000


def request_id_of(given: str | None) -> str:
    """Return the id that a caller gave a request, if it is one that can be logged; else a new one."""
    return given if given and _GIVEN.fullmatch(given) else new_id()


def with_request_id(
    trailers: tuple[tuple[str, bytes], ...],
) -> tuple[tuple[str, str | bytes], ...]:
    """Return what a call's answer ends with, and the call's id behind it: an end that is told replaces what was set."""
    return (*trailers, (REQUEST_ID_HEADER, REQUEST_ID.get()))


def without_secrets(text: str) -> str:
    """Return a text with the secret part of every token left out."""
    return _SECRET.sub(
        lambda found: f"{found[2]} [left out]" if found[2] else f"db_{found[1]}_[left out]", text
    )


@contextmanager
def logging_to_standard_error(level: int = logging.INFO) -> Iterator[None]:
    """Log to standard error until the end, from a thread of its own: no request waits for who reads it."""
    written = logging.StreamHandler(sys.stderr)
    written.setFormatter(_Text() if sys.stderr.isatty() else _json())
    waiting: queue.Queue[logging.LogRecord] = queue.Queue(_MAX_WAITING)
    listener = logging.handlers.QueueListener(waiting, written)
    handler = _Queued(waiting)
    root = logging.getLogger()
    before, before_level = root.handlers[:], root.level
    root.handlers[:] = [handler]
    root.setLevel(level)
    # That it starts and stops is told in our own words.
    logging.getLogger("uvicorn").setLevel(max(level, logging.WARNING))
    listener.start()
    try:
        yield
    finally:
        root.handlers[:], root.level = before, before_level
        listener.stop()


class _Queued(logging.handlers.QueueHandler):
    """Hands lines to the thread that writes them, finished, with the request they belong to."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Return the record as it is to be written."""
        record.request_id = REQUEST_ID.get() or None
        record.msg = without_secrets(record.getMessage())
        record.args = None
        if record.exc_info:
            record.exc_text = without_secrets(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Hand on a record, or drop it where nobody has taken any for long."""
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            return


class _Text(logging.Formatter):
    """A line for a person; nothing in it can steer a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        at = time.strftime("%H:%M:%S", time.gmtime(record.created))
        line = f"{at} {record.levelname.lower()}: {record.getMessage()}"
        if record.exc_text:
            line = f"{line}\n{record.exc_text}"
        return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in line)


def _json() -> logging.Formatter:
    from pythonjsonlogger.json import JsonFormatter

    class Json(JsonFormatter):
        """One JSON object for each line, the fields that are empty left out."""

        converter = staticmethod(time.gmtime)

        def add_fields(
            self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
        ) -> None:
            super().add_fields(log_data, record, message_dict)
            log_data["time"] = f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}Z"
            log_data["level"] = record.levelname.lower()
            log_data.pop("taskName", None)
            for name in [name for name, value in log_data.items() if value is None]:
                del log_data[name]

    return Json("%(name)s %(message)s %(request_id)s", rename_fields={"name": "logger"})
