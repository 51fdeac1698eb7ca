"""Connections that take their time: the server's protocol with the deadlines that uvicorn doesn't have."""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

# To send a whole request line and its headers, from when a connection is there, or from when the last answer ended.
HEAD_TIMEOUT_SECONDS: Final = 20.0
# For any of what was answered to be taken.
TAKING_TIMEOUT_SECONDS: Final = 60.0


class BoundedConnection(H11Protocol):
    """A connection that ends when its client neither asks nor reads.

    A body's deadline is the door's: by then there is somebody to tell. To be handed to uvicorn as `http`.
    """

    _head_timer: asyncio.TimerHandle | None = None
    _taking_timer: asyncio.TimerHandle | None = None
    _left_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Take what came; bytes that make no whole head don't win time."""
        super().data_received(data)
        self._await_head()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request, and for the answer to be taken."""
        super().on_response_complete()
        self._await_head()
        self._await_taking()

    def pause_writing(self) -> None:
        """Write no more for now: the client has enough to take."""
        super().pause_writing()
        self._await_taking()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        super().connection_lost(exc)
        for timer in (self._head_timer, self._taking_timer):
            if timer is not None:
                timer.cancel()

    def _await_head(self) -> None:
        cycle: RequestResponseCycle | None = self.cycle
        answering = cycle is not None and not cycle.response_complete
        if answering and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        elif not answering and self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_SECONDS, self.transport.abort)

    def _await_taking(self) -> None:
        """Look again later whether anything was taken of what waits to be."""
        if self._taking_timer is None and (left := self.transport.get_write_buffer_size()):
            self._left_bytes = left
            self._taking_timer = self.loop.call_later(TAKING_TIMEOUT_SECONDS, self._look)

    def _look(self) -> None:
        self._taking_timer = None
        if self.transport.get_write_buffer_size() >= self._left_bytes > 0:
            self.transport.abort()
        else:
            self._await_taking()
