"""One query put to a child: what it sends is read with a deadline and bounds, and made an answer or a reason."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

from deedbook.consumers.sandbox.outcome import printable
from deedbook.events.errors import DeadlineExceeded, InvalidInput
from deedbook.service.sql import frames
from deedbook.service.sql.answer import Answer, Column
from deedbook.service.sql.keeper import Child, KeeperGone

_MAX_SENTENCE_CHARACTERS = 1_000
# What Arrow's format adds to the values themselves: schema, padding, metadata of batches.
_OVERHEAD_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Order:
    """A query and how much of its answer is wanted; `deadline` is monotonic, in seconds."""

    query: str
    max_rows: int
    max_bytes: int
    timeout_seconds: float
    deadline: float


@dataclass(slots=True)
class _Received:
    """What came so far."""

    columns: tuple[Column, ...] | None = None
    pieces: list[bytes] = field(default_factory=list)
    size_bytes: int = 0
    end: dict[str, Any] | None = None


def ask(child: Child, order: Order, memory_bytes: int) -> Answer:
    """Put the query to a child and wait for its answer.

    Raises InvalidInput with DuckDB's words or what the query used too much of, DeadlineExceeded, and KeeperGone
    where the child was not there before it got the query: then another one may be asked.
    """
    try:
        position = _ready(child, order)
        began = time.monotonic()
        wanted = {"query": order.query, "max_rows": order.max_rows, "max_bytes": order.max_bytes}
        frames.send(child.channel, frames.QUERY, json.dumps(wanted).encode())
    except (frames.Gone, OSError) as error:
        raise KeeperGone(f"the process for the query did not start ({child.ended_by()})") from error
    except frames.Late:
        raise _late(order) from None
    try:
        received = _received(child, order, memory_bytes)
    except frames.Late:
        raise _late(order) from None
    except frames.Gone:
        raise InvalidInput(_gone(child, memory_bytes)) from None
    end = received.end or {}
    return Answer(
        columns=received.columns or (),
        arrow=b"".join(received.pieces),
        rows=int(end["rows"]),
        truncated=bool(end["truncated"]),
        position=position,
        seconds=time.monotonic() - began,
    )


def _ready(child: Child, order: Order) -> int:
    kind, payload = frames.receive(child.channel, order.deadline)
    if kind != frames.READY:
        raise KeeperGone(f"the process for the query did not start: {_text(payload)}")
    return int(json.loads(payload)["position"])


def _received(child: Child, order: Order, memory_bytes: int) -> _Received:
    """Read frames up to the end's; raises as they say."""
    received = _Received()
    while received.end is None:
        kind, payload = frames.receive(child.channel, order.deadline)
        match kind:
            case frames.COLUMNS if received.columns is None:
                received.columns = tuple(
                    Column(str(one["name"]), str(one["type"])) for one in json.loads(payload)
                )
            case frames.ARROW if received.columns is not None:
                received.pieces.append(payload)
                received.size_bytes += len(payload)
                if received.size_bytes > 2 * order.max_bytes + _OVERHEAD_BYTES:
                    raise InvalidInput("the query's process sent more than an answer can have")
            case frames.END if received.columns is not None:
                received.end = json.loads(payload)
            case frames.REFUSED:
                raise InvalidInput(_text(payload))
            case frames.MEMORY:
                raise InvalidInput(_memory(memory_bytes))
            case _:
                raise InvalidInput(f"the query could not be answered: {_text(payload)}")
    return received


def _gone(child: Child, memory_bytes: int) -> str:
    match child.ended_by():
        case "SIGXCPU":
            return "the query used more processor time than a query may, and was ended"
        case "SIGABRT" | "SIGKILL" | "SIGSEGV" | "SIGBUS":
            return _memory(memory_bytes)
        case how:
            return f"the query's process ended before it had answered ({how or 'nobody knows why'})"


def _memory(memory_bytes: int) -> str:
    return (
        f"the query needs more memory than a query may use ({memory_bytes >> 20} MiB): ask for less at a time"
    )


def _late(order: Order) -> DeadlineExceeded:
    return DeadlineExceeded(f"the query was not answered within {order.timeout_seconds:g} s, and was ended")


def _text(payload: bytes) -> str:
    return printable(payload.decode("utf-8", "backslashreplace"), _MAX_SENTENCE_CHARACTERS)
