"""How every call is answered: within its time, and with a status that says what went wrong."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import grpc

from deedbook.api.errors import Aborted, saying_of, to_status
from deedbook.events.errors import DeadlineExceeded, DeedbookError
from deedbook.events.ids import new_id
from deedbook.service.access.rpc import caller_of_context
from deedbook.service.logs import REQUEST_ID, with_request_id
from deedbook.service.rpc.calls import Call, peer_host, seconds_of
from deedbook.service.rpc.limits import MAX_TRANSFER_SECONDS
from deedbook.service.rpc.reading import readable
from deedbook.service.rpc.sinks import Ended, Sink, check_size

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from deedbook.service.context import Service
    from deedbook.service.rpc.means import Means

Unary: TypeAlias = "Callable[[Call, Any], Awaitable[Message]]"
Remembered: TypeAlias = "Callable[[Service, Any], Message | None]"
Receiving: TypeAlias = "Callable[[Call, AsyncIterator[Any]], Awaitable[Message]]"
Streaming: TypeAlias = "Callable[[Call, Any, Sink], Awaitable[None]]"

_LOG = logging.getLogger(__name__)
_ABORTING_SECONDS: Final = 5.0
_NOTHING: Final[tuple[Any, ...]] = ()


class Answering:
    """Makes what gRPC calls from what answers a request."""

    def __init__(self, service: Service, means: Means) -> None:
        self._service = service
        self._means = means

    def unary(
        self, answer: Unary, remembered: Remembered = lambda *_: None
    ) -> Callable[[Any, Any], Awaitable[Any]]:
        """Return the method that answers one request with one message: with the one that is remembered, if any."""

        async def method(request: Any, context: Any) -> Any:  # noqa: ANN401 - as gRPC calls it
            if (known := remembered(self._service, request)) is not None:
                return known
            most_seconds = self._service.settings.limits.request_seconds
            return await self._answered(context, most_seconds, lambda call: answer(call, readable(request)))

        return method

    def receiving(self, answer: Receiving) -> Callable[[Any, Any], Awaitable[Any]]:
        """Return the method that answers a stream of requests with one message."""

        async def method(requests: Any, context: Any) -> Any:  # noqa: ANN401 - as gRPC calls it
            return await self._answered(context, MAX_TRANSFER_SECONDS, lambda call: answer(call, requests))

        return method

    def streaming(
        self, answer: Streaming, *, endless: bool = False
    ) -> Callable[[Any, Any], AsyncIterator[Any]]:
        """Return the method that answers a request with a stream; ``endless``: its time is the caller's affair."""

        async def method(request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: ANN401 - as gRPC calls it
            async def streamed(call: Call) -> None:
                sink = Sink(context, self._service.settings.limits.stalled_seconds)
                with self._means.sinks.opened(sink):
                    await answer(call, readable(request), sink)

            await self._answered(context, None if endless else MAX_TRANSFER_SECONDS, streamed)
            # A generator all the same: the sink writes by itself, to know how long that takes.
            for message in _NOTHING:
                yield message

        return method

    def _call(self, context: Any, most_seconds: float | None) -> Call:  # noqa: ANN401 - grpc's context
        """Return the call that is being answered. Raises PermissionRefused where nobody let it in."""
        seconds = float("inf") if most_seconds is None else seconds_of(context, most_seconds)
        return Call(
            service=self._service,
            caller=caller_of_context(context),
            peer=peer_host(context.peer()),
            deadline=time.monotonic() + seconds,
            means=self._means,
        )

    async def _answered(
        self,
        context: Any,  # noqa: ANN401 - grpc's context
        most_seconds: float | None,
        answer: Callable[[Call], Awaitable[Any]],
    ) -> Any:  # noqa: ANN401 - any message
        """Return an answer, or end the call with what kept it from coming."""
        try:
            call = self._call(context, most_seconds)
            async with asyncio.timeout(None if most_seconds is None else call.left()):
                message = await answer(call)
            if message is not None:
                check_size(message)
        except TimeoutError:
            ending = to_status(DeadlineExceeded("there was no answer within the call's time"))
        except Ended as end:
            ending = Aborted(end.code, end.sentence, ())
        except Exception as error:  # noqa: BLE001 - whatever it is, its caller gets a status
            ending = _status_of(error, context)
        else:
            return message
        return await _abort(context, ending)


async def _abort(context: Any, ending: Aborted) -> None:  # noqa: ANN401 - grpc's context
    """End a call with a status; who takes nothing is waited for only so long."""
    try:
        async with asyncio.timeout(_ABORTING_SECONDS):
            await context.abort(ending.code, ending.sentence, with_request_id(ending.trailers))
    except TimeoutError:
        raise asyncio.CancelledError from None


def _status_of(error: Exception, context: Any) -> Aborted:  # noqa: ANN401 - grpc's context
    """Return what a call ends with; what nobody foresaw goes into the log, and only there."""
    request_id = REQUEST_ID.get() or new_id()
    if saying_of(error).code is grpc.StatusCode.INTERNAL and not context.cancelled():
        if isinstance(error, DeedbookError):
            _LOG.error("request %s: %s", request_id, error)
        else:
            _LOG.error("request %s failed", request_id, exc_info=error)
    return to_status(error, request_id=request_id)
