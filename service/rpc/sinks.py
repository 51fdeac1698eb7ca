"""Where a stream of answers goes: to a caller who may take them slowly, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc

from deedbook.events.errors import InvalidInput, ServiceEnding
from deedbook.service.rpc.limits import MAX_ANSWER_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.message import Message


@dataclass(eq=False)
class Ended(Exception):
    """A stream that the service ends, and why."""

    code: grpc.StatusCode
    sentence: str


@dataclass(eq=False, slots=True)
class Sink:
    """One caller's stream. It holds one message at a time, and is ended where that is not taken for too long.

    ``stalled_seconds``: how long is too long. ``on_end`` is called when the stream is to end, by whoever ends it.
    """

    context: Any
    stalled_seconds: float
    ended: Ended | ServiceEnding | None = None
    on_end: Callable[[], None] | None = None
    _sending: asyncio.Timeout | None = field(default=None, repr=False)

    async def send(self, message: Message) -> None:
        """Hand a message over; returns once there is room for the next. Raises Ended, ServiceEnding, InvalidInput."""
        self.go_on()
        check_size(message)
        try:
            async with asyncio.timeout(self.stalled_seconds) as self._sending:
                await self.context.write(message)
        except TimeoutError:
            self.go_on()
            raise Ended(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"the stream was ended: nothing was taken from it for {self.stalled_seconds:g} s",
            ) from None
        finally:
            self._sending = None

    def go_on(self) -> None:
        """Raise what ends the stream, once it is to end."""
        if self.ended is not None:
            raise self.ended

    def end(self, why: Ended | ServiceEnding) -> None:
        """End the stream, at the next message or while one is being sent; the first reason is told."""
        self.ended = self.ended or why
        if self.on_end is not None:
            self.on_end()
        if self._sending is not None:
            self._sending.reschedule(asyncio.get_running_loop().time())


class Sinks:
    """The streams that are open, bounded in number, and ended together when the service stops."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: set[Sink] = set()
        self._stopping = False

    @contextlib.contextmanager
    def opened(self, sink: Sink) -> Iterator[None]:
        """Count a stream while it is open. Raises Ended where there are too many, ServiceEnding."""
        if self._stopping:
            raise _stopped()
        if len(self._open) >= self._most:
            raise Ended(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"{self._most:,} streams are open, as many as this service allows: try again later",
            )
        self._open.add(sink)
        try:
            yield
        finally:
            self._open.discard(sink)

    def stop(self) -> None:
        """End all streams, and open no more."""
        self._stopping = True
        for sink in list(self._open):
            sink.end(_stopped())


def _stopped() -> ServiceEnding:
    return ServiceEnding("the server is stopping")


def check_size(message: Message) -> None:
    """Refuse an answer that a gRPC client would not take unless told to. Raises InvalidInput."""
    if (size_bytes := message.ByteSize()) > MAX_ANSWER_BYTES:
        raise InvalidInput(
            f"the answer has {size_bytes:,} bytes, over the limit of {MAX_ANSWER_BYTES:,}: ask for less at once"
        )
