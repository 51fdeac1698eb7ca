"""The outermost layer of the gRPC interface: every call has an id, is measured, and leaves a line in the log."""

from __future__ import annotations

import inspect
import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from deedbook.events.errors import PermissionRefused
from deedbook.service.access.rpc import caller_of_context
from deedbook.service.logs import REQUEST_ID, REQUEST_ID_HEADER, request_id_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from deedbook.service.measuring import Measures

_Q = TypeVar("_Q")
_A = TypeVar("_A")
_LOG = logging.getLogger("deedbook.requests")
INTERFACE = "grpc"
_CANCELLED = "CANCELLED"
_OK = "OK"


class ObservedRpc(grpc.aio.ServerInterceptor):
    """Looks what becomes of every call, whatever stands behind it; put before all other interceptors."""

    def __init__(self, measures: Measures) -> None:
        self._measures = measures

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[_Q, _A] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[_Q, _A] | None:
        """Return what handles a call, with this layer around it; None where nothing does."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        metadata = dict(handler_call_details.invocation_metadata or ())
        given = metadata.get(REQUEST_ID_HEADER)
        seen = _Seen(
            self._measures,
            handler_call_details.method.rpartition("/")[2],
            request_id_of(given if isinstance(given, str) else None),
            is_stream=bool(handler.request_streaming or handler.response_streaming),
        )
        return _wrapped(handler, seen)


class _Seen:
    """A call on its way: its name, its id, and how it is told of."""

    def __init__(self, measures: Measures, name: str, request_id: str, *, is_stream: bool) -> None:
        self._measures = measures
        self._name = name
        self._request_id = request_id
        self._is_stream = is_stream

    async def begin(self, context: Any) -> None:  # noqa: ANN401 - grpc has no types
        """Tell the caller the call's id, before anything else."""
        await context.send_initial_metadata(((REQUEST_ID_HEADER, self._request_id),))

    @contextmanager
    def followed(self, context: Any) -> Iterator[None]:  # noqa: ANN401 - grpc has no types
        """Measure and tell of what happens in the context."""
        # Each call has a task of its own, and what is set here ends with it.
        REQUEST_ID.set(self._request_id)
        begun, code = time.monotonic(), _CANCELLED
        if self._is_stream:
            self._measures.streams.labels(INTERFACE, self._name).inc()
        try:
            yield
            code = _code_of(context) or _OK
        except Exception:
            # A call that was refused has its code already; what has none was not foreseen.
            code = _code_of(context) or "UNKNOWN"
            raise
        finally:
            self._end(code, time.monotonic() - begun)

    def _end(self, code: str, seconds: float) -> None:
        if self._is_stream:
            self._measures.streams.labels(INTERFACE, self._name).dec()
        self._measures.request(INTERFACE, self._name, code, None if self._is_stream else seconds)
        _LOG.info(
            "%s %s",
            self._name,
            code,
            extra={
                "interface": INTERFACE,
                "route": self._name,
                "code": code,
                "duration_ms": round(seconds * 1000, 3),
                "caller": _caller(),
            },
        )


def _caller() -> str | None:
    """Return who called, where that is known."""
    try:
        return caller_of_context().name
    except PermissionRefused:
        return None


def _code_of(context: Any) -> str:  # noqa: ANN401 - grpc has no types
    """Return the name of the status that a call was given; empty where it was given none."""
    code = context.code()
    if isinstance(code, grpc.StatusCode):
        return str(code.name)
    return next((status.name for status in grpc.StatusCode if status.value[0] == code and code), "")


def _wrapped(handler: grpc.RpcMethodHandler[_Q, _A], seen: _Seen) -> grpc.RpcMethodHandler[_Q, _A]:
    """Return the same handler with what looks at it around its behaviour."""
    kinds: dict[tuple[bool, bool], tuple[str, Callable[..., Any]]] = {
        (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
        (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
        (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
        (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
    }
    attribute, make = kinds[bool(handler.request_streaming), bool(handler.response_streaming)]
    behaviour = getattr(handler, attribute)
    around = _around_generator if inspect.isasyncgenfunction(behaviour) else _around_coroutine
    made: grpc.RpcMethodHandler[_Q, _A] = make(
        around(behaviour, seen),
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )
    return made


def _around_coroutine(behaviour: Callable[..., Any], seen: _Seen) -> Callable[..., Awaitable[Any]]:
    async def answer(request: Any, context: Any) -> Any:  # noqa: ANN401 - grpc has no types
        with seen.followed(context):
            await seen.begin(context)
            return await behaviour(request, context)

    return answer


def _around_generator(behaviour: Callable[..., Any], seen: _Seen) -> Callable[..., AsyncIterator[Any]]:
    async def answers(request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: ANN401 - grpc has no types
        with seen.followed(context):
            await seen.begin(context)
            async for answer in behaviour(request, context):
                yield answer

    return answers
