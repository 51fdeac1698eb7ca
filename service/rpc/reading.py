"""Requests whose bytes are no message: refused as any other that can't be, and not as a fault of the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf.message import DecodeError

from deedbook.events.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.protobuf.descriptor import ServiceDescriptor


class _Unreadable:
    """Stands for bytes that are no message."""


UNREADABLE: Final = _Unreadable()


def readable(request: Any) -> Any:  # noqa: ANN401 - any request
    """Return a request that could be read. Raises InvalidInput."""
    if request is UNREADABLE:
        raise InvalidInput("the bytes of the request are no message of this call")
    return request


class Reading(grpc.aio.ServerInterceptor):
    """Reads the requests of one service; the innermost layer, for it changes nothing but that."""

    def __init__(self, service: ServiceDescriptor) -> None:
        self._prefix = f"/{service.full_name}/"
        self._made: dict[str, Any] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:  # noqa: ANN401 - a handler of any kind, or None
        """Return a call's handler, which takes any bytes; made once for each method."""
        method = handler_call_details.method
        if (made := self._made.get(method)) is not None:
            return made
        handler: Any = await continuation(handler_call_details)
        if handler is None or not method.startswith(self._prefix):
            return handler
        made = self._made[method] = handler._replace(request_deserializer=_reading(handler))
        return made


def _reading(handler: Any) -> Callable[[bytes], Any]:  # noqa: ANN401 - a handler of any kind
    """Return what reads a request as a handler does, or tells that it can't be read."""
    read = handler.request_deserializer

    def read_or_not(data: bytes) -> Any:  # noqa: ANN401 - any request
        try:
            return read(data)
        except DecodeError:
            return UNREADABLE

    return read_or_not
