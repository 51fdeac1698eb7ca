"""The outermost layer of the gRPC interface: every call has an id, is measured, and leaves a line in the log."""

from __future__ import annotations

import inspect
import logging
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc

from deedbook.events.errors import PermissionRefused
from deedbook.service.access.calls import PERMISSIONS
from deedbook.service.access.roles import WRITING
from deedbook.service.access.rpc import caller_of_context
from deedbook.service.logs import REQUEST_ID, REQUEST_ID_HEADER, request_id_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from deedbook.service.measuring import Measures

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_LOG = logging.getLogger("deedbook.requests")
# Whether the caller gave the call an id: then somebody wants to find it again.
_NAMED: ContextVar[bool] = ContextVar("deedbook_named_request", default=False)
_SLOW_SECONDS = 1.0
INTERFACE = "grpc"
_CANCELLED = "CANCELLED"
_OK = "OK"


class ObservedRpc(grpc.aio.ServerInterceptor):
    """Looks what becomes of every call, whatever stands behind it; put before all other interceptors."""

    def __init__(self, measures: Measures) -> None:
        self._measures = measures
        # What handles a call is made once, not for each: by the handler that it goes around, of which there are few.
        self._wrapped: dict[int, tuple[_Handler, _Handler]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler | None:
        """Return what handles a call, with this layer around it; None where nothing does."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        given = next(
            (value for name, value in handler_call_details.invocation_metadata if name == REQUEST_ID_HEADER),
            None,
        )
        # Each call has a task of its own, and what is set here ends with it.
        REQUEST_ID.set(request_id_of(given if isinstance(given, str) else None))
        _NAMED.set(given is not None)
        kept = self._wrapped.get(id(handler))
        if kept is None:
            seen = _Seen(self._measures, handler_call_details.method, handler)
            # Kept with its own, so that no other can have the same number.
            kept = self._wrapped[id(handler)] = (handler, _wrapped(handler, seen))
        return kept[1]


class _Seen:
    """The calls of one method: their name, and how they are told of."""

    def __init__(self, measures: Measures, method: str, handler: _Handler) -> None:
        self._measures = measures
        self._name = method.rpartition("/")[2]
        self._is_stream = bool(handler.request_streaming or handler.response_streaming)
        # Quick reads and probes are most of all calls, and nothing to tell.
        self._tells_all = self._is_stream or PERMISSIONS.get(method) in WRITING

    async def begin(self, context: Any) -> None:  # noqa: ANN401 - grpc has no types
        """Tell the caller the call's id: of a stream before anything else, else with the answer.

        An answer's own metadata goes out with it; metadata sent before it is a message and a wait more for each call.
        """
        metadata = ((REQUEST_ID_HEADER, REQUEST_ID.get()),)
        context.set_trailing_metadata(metadata)
        if self._is_stream:
            await context.send_initial_metadata(metadata)

    @contextmanager
    def followed(self, context: Any) -> Iterator[None]:  # noqa: ANN401 - grpc has no types
        """Measure and tell of what happens in the context."""
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
        is_told = self._tells_all or code != _OK or seconds > _SLOW_SECONDS or _NAMED.get()
        level = logging.INFO if is_told else logging.DEBUG
        if not _LOG.isEnabledFor(level):
            return
        _LOG.log(
            level,
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
    if not code:
        return ""
    if isinstance(code, grpc.StatusCode):
        return str(code.name)
    return next((status.name for status in grpc.StatusCode if status.value[0] == code), "")


def _wrapped(handler: _Handler, seen: _Seen) -> _Handler:
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
    made: _Handler = make(
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
