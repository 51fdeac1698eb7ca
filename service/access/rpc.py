"""The door of the gRPC interface: each call has its permission in one table, and what is not there is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, TypeAlias

import grpc

from deedbook.api.errors import to_status
from deedbook.events.errors import DeedbookError, InvalidInput, NotAuthenticated, PermissionRefused
from deedbook.service.access.access import Access
from deedbook.service.access.calls import OPEN_SERVICES, PERMISSIONS, SUBSCRIBE, permission_of_subscription
from deedbook.service.access.roles import Caller
from deedbook.service.access.streams import OpenStreams
from deedbook.service.logs import with_request_id

AUTHORIZATION: Final = "authorization"
# In whose name somebody writes where no tokens are; gRPC's own way to send more than ASCII is the second.
ACTOR: Final = "deedbook-actor"
ACTOR_BINARY: Final = "deedbook-actor-bin"

# How many streams of health and of reflection are open at once: they need no token, and take the place of others.
MAX_STRANGERS: Final = 200

_TOO_MANY: Final = "too many are watching already: ask once, or later"
_NO_LONGER: Final = NotAuthenticated("the token that this call began with is no longer good")
_CALLER: ContextVar[Caller] = ContextVar("caller")
_REFUSAL: ContextVar[DeedbookError] = ContextVar("refusal")
_Behaviour = Callable[[Any, Any], Any]
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


def caller_of_context(context: object = None) -> Caller:
    """Return who makes the call that is being answered. Raises PermissionRefused outside of any."""
    del context
    try:
        return _CALLER.get()
    except LookupError:
        raise PermissionRefused("this is no call that was let in") from None


class AccessInterceptor(grpc.aio.ServerInterceptor):
    """Lets in who may: by `authorization: Bearer <token>`, on an open server by `deedbook-actor`."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._streams = OpenStreams(access)
        self._strangers = 0
        # What answers, and what refuses, is made once for each method.
        self._letting_in: dict[str, _Handler] = {}
        self._refusing: dict[str, _Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler | None:
        """Return what answers a call: its handler, or a refusal."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None:
            return None
        if method.strip("/").partition("/")[0] in OPEN_SERVICES:
            return self._made(method, handler, self._open_to_all) if handler.response_streaming else handler
        try:
            caller = self._let_in(method, handler_call_details.invocation_metadata)
        except DeedbookError as error:
            _REFUSAL.set(error)
            if method not in self._refusing:
                self._refusing[method] = _refusing(handler)
            return self._refusing[method]
        # Each call has a task of its own, and what is set here ends with it.
        _CALLER.set(caller)
        return self._made(method, handler, partial(self._entered, subscribes=method == SUBSCRIBE))

    def _made(self, method: str, handler: _Handler, make: Callable[[_Handler], _Handler]) -> _Handler:
        made = self._letting_in.get(method)
        if made is None:
            made = self._letting_in[method] = make(handler)
        return made

    def _open_to_all(self, handler: _Handler) -> _Handler:
        """Return a stream's handler that lets in only so many at once: nobody knows whose they are."""
        behaviour: Any = handler.unary_stream or handler.stream_stream

        async def answer_stream(request: object, context: Any) -> AsyncIterator[object]:  # noqa: ANN401 - of any call
            if self._strangers >= MAX_STRANGERS:
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, _TOO_MANY)
            self._strangers += 1
            try:
                answer = behaviour(request, context)
                if isinstance(answer, AsyncIterator):
                    async for message in answer:
                        yield message
                else:  # it writes by itself
                    await answer
            finally:
                self._strangers -= 1

        return _handler(handler, answer_stream, answer_stream)

    def _let_in(self, method: str, metadata: Sequence[tuple[str, str | bytes]]) -> Caller:
        permission = PERMISSIONS.get(method)
        if permission is None:
            raise PermissionRefused("nobody is allowed to call this")
        caller = self._access.caller_of(_bearer(metadata), claimed=_claimed(metadata))
        self._access.check(caller, permission)
        return caller

    def _entered(self, handler: _Handler, *, subscribes: bool) -> _Handler:
        kinds = (handler.unary_unary, handler.stream_unary, handler.unary_stream, handler.stream_stream)
        behaviour: Any = next(kind for kind in kinds if kind is not None)

        if not handler.request_streaming and not handler.response_streaming:
            return handler

        async def answer(request: object, context: object) -> object:
            with self._looked_after(caller_of_context()) as stream:
                try:
                    return await behaviour(request, context)
                except asyncio.CancelledError:
                    stream.raise_unless_ended()
            await _refuse(context, _NO_LONGER)
            return None

        async def answer_stream(request: object, context: object) -> AsyncIterator[object]:
            caller = caller_of_context()
            if subscribes:
                await self._check_subscription(caller, request, context)
            with self._looked_after(caller) as stream:
                try:
                    async with aclosing(behaviour(request, context)) as messages:
                        async for message in messages:
                            yield message
                    return
                except asyncio.CancelledError:
                    stream.raise_unless_ended()
            await _refuse(context, _NO_LONGER)

        return _handler(handler, answer, answer_stream)

    @contextmanager
    def _looked_after(self, caller: Caller) -> Iterator[_Stream]:
        stream = _Stream(asyncio.current_task())
        with self._streams.entered(caller, stream.end):
            yield stream

    async def _check_subscription(self, caller: Caller, request: object, context: object) -> None:
        try:
            self._access.check(caller, permission_of_subscription(getattr(request, "topic", "")))
        except PermissionRefused as error:
            await _refuse(context, error)


class _Stream:
    """A call that stays open, in a task of its own."""

    def __init__(self, task: asyncio.Task[Any] | None) -> None:
        self._task = task
        self._ended = False

    def end(self) -> None:
        """End it, whatever it waits for."""
        self._ended = True
        if self._task is not None:
            self._task.cancel()

    def raise_unless_ended(self) -> None:
        """Go on being cancelled, unless that was our doing: then there is something to say."""
        if not self._ended or self._task is None:
            raise asyncio.CancelledError
        self._task.uncancel()


def _refusing(handler: _Handler) -> _Handler:
    """Return a handler of the same kind that refuses, and reads nothing of what is sent."""

    async def refuse(request: object, context: object) -> None:
        del request
        await _refuse(context, _REFUSAL.get())

    async def refuse_stream(request: object, context: object) -> AsyncIterator[object]:
        await refuse(request, context)
        yield None  # never reached: it makes this a generator

    return _handler(handler, refuse, refuse_stream, reads=False)


def _bearer(metadata: Sequence[tuple[str, str | bytes]]) -> str | None:
    """Return the token that a call came with. Raises NotAuthenticated for what is none, and for several."""
    values = [value for name, value in metadata if name == AUTHORIZATION]
    if not values:
        return None
    scheme, _, token = str(values[0]).partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer":
        raise NotAuthenticated("this needs one token, as authorization: Bearer <token>")
    return token.strip()


def _claimed(metadata: Sequence[tuple[str, str | bytes]]) -> str:
    """Return in whose name a call says that it is made. Raises InvalidInput for what is no text."""
    given = dict(metadata)
    found = given.get(ACTOR_BINARY) or given.get(ACTOR) or ""
    try:
        return found.decode("utf-8") if isinstance(found, bytes) else found
    except UnicodeDecodeError:
        raise InvalidInput("the actor's name is not UTF-8") from None


def _handler(
    like: _Handler,
    answer: _Behaviour,
    answer_stream: _Behaviour,
    *,
    reads: bool = True,
) -> _Handler:
    """Return a handler of the same kind as another; unless it `reads`, requests stay bytes."""
    match like.request_streaming, like.response_streaming:
        case False, False:
            make, behaviour = grpc.unary_unary_rpc_method_handler, answer
        case True, False:
            make, behaviour = grpc.stream_unary_rpc_method_handler, answer
        case False, True:
            make, behaviour = grpc.unary_stream_rpc_method_handler, answer_stream
        case _:
            make, behaviour = grpc.stream_stream_rpc_method_handler, answer_stream
    made: _Handler = make(behaviour, like.request_deserializer if reads else None, like.response_serializer)
    return made


async def _refuse(context: Any, error: DeedbookError) -> None:  # noqa: ANN401 - a context of any call
    """End a call, so that its client can tell why."""
    ended = to_status(error)
    await context.abort(ended.code, ended.sentence, with_request_id(ended.trailers))
