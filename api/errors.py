"""Errors as gRPC says them: a status code, the sentence, and a ``google.rpc.ErrorInfo`` that a program can read.

The reason in the ErrorInfo names the class on both sides, so that a caller of the service decides by the same classes
as a caller of the embedded registry.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from deedbook.events.errors import (
    AccessDenied,
    ArtifactDamaged,
    DeadlineExceeded,
    DeedbookError,
    InvalidInput,
    LogUnavailable,
    NotAuthenticated,
    NotFound,
    PermissionRefused,
    ProjectionBusy,
    RequestRejected,
    ServiceEnding,
    StorageFull,
    StorageUnavailable,
)

DOMAIN: Final = "deedbook"
DETAILS_KEY: Final = "grpc-status-details-bin"
INTERNAL: Final = "INTERNAL"
# A sentence is said twice in HTTP/2 headers, which clients take up to 8 KiB of: as it is, where each byte beyond ASCII
# takes three, and in the details, where three bytes take four.
MAX_HEADER_BYTES: Final = 6_000

# Pairs of key and value, as any kind of channel has them.
Trailers: TypeAlias = "Iterable[Any]"


@dataclass(frozen=True, slots=True)
class Saying:
    """How a class of errors is said: by which code, and for which reason."""

    code: grpc.StatusCode
    reason: str


SAYINGS: Final[dict[type[DeedbookError], Saying]] = {
    InvalidInput: Saying(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT"),
    NotFound: Saying(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"),
    RequestRejected: Saying(grpc.StatusCode.FAILED_PRECONDITION, "REJECTED"),
    NotAuthenticated: Saying(grpc.StatusCode.UNAUTHENTICATED, "NOT_AUTHENTICATED"),
    PermissionRefused: Saying(grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_REFUSED"),
    AccessDenied: Saying(grpc.StatusCode.PERMISSION_DENIED, "ACCESS_DENIED"),
    LogUnavailable: Saying(grpc.StatusCode.UNAVAILABLE, "LOG_UNAVAILABLE"),
    ServiceEnding: Saying(grpc.StatusCode.UNAVAILABLE, "SERVICE_ENDING"),
    StorageUnavailable: Saying(grpc.StatusCode.UNAVAILABLE, "STORAGE_UNAVAILABLE"),
    ProjectionBusy: Saying(grpc.StatusCode.UNAVAILABLE, "PROJECTION_BUSY"),
    StorageFull: Saying(grpc.StatusCode.RESOURCE_EXHAUSTED, "STORAGE_FULL"),
    DeadlineExceeded: Saying(grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
    ArtifactDamaged: Saying(grpc.StatusCode.DATA_LOSS, "ARTIFACT_DAMAGED"),
}
_CLASSES = {saying.reason: cls for cls, saying in SAYINGS.items()}
# What a status without our details means: it came from gRPC itself, from a proxy, or from before the service.
_BARE: Final[dict[grpc.StatusCode, type[DeedbookError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidInput,
    grpc.StatusCode.RESOURCE_EXHAUSTED: InvalidInput,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.UNAUTHENTICATED: NotAuthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionRefused,
    grpc.StatusCode.UNAVAILABLE: LogUnavailable,
    # Nobody here takes a call back: it was ended on its way, and may be made again.
    grpc.StatusCode.CANCELLED: LogUnavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
}


@dataclass(frozen=True, slots=True)
class Aborted:
    """What a servicer ends a call with: ``context.abort(code, sentence, trailers)``."""

    code: grpc.StatusCode
    sentence: str
    trailers: tuple[tuple[str, bytes], ...]


def saying_of(error: BaseException) -> Saying:
    """Return how an error is said; what callers can decide nothing by is INTERNAL."""
    known = (SAYINGS[cls] for cls in type(error).__mro__ if cls in SAYINGS)
    return next(known, Saying(grpc.StatusCode.INTERNAL, INTERNAL))


def to_status(error: BaseException, *, request_id: str = "") -> Aborted:
    """Return what a call ends with that an error ended.

    ``request_id``: what the service's own log knows the call by; of an INTERNAL error it is all that is told.
    """
    saying = saying_of(error)
    sentence = _bounded(str(error))
    metadata: dict[str, str] = {}
    if saying.reason == INTERNAL:
        sentence = f"something is wrong with the service: its log says what, under the request {request_id}"
    if request_id:
        metadata["request_id"] = request_id
    if isinstance(error, RequestRejected):
        metadata["decision"] = "rejected"
        if error.position is not None:
            metadata["position"] = str(error.position)
    detail = AnyMessage()
    detail.Pack(ErrorInfo(reason=saying.reason, domain=DOMAIN, metadata=metadata))
    status = Status(code=saying.code.value[0], message=sentence, details=[detail])
    return Aborted(saying.code, sentence, ((DETAILS_KEY, status.SerializeToString()),))


def from_rpc_error(error: grpc.RpcError) -> DeedbookError:
    """Return what a failed call says, as the class a caller decides by; of a blocking or an aio channel's call."""
    code, sentence, trailers = error.code(), error.details() or "", error.trailing_metadata() or ()
    info = error_info(trailers)
    if info is None:
        cls = _BARE.get(code, DeedbookError)
        return cls(sentence or f"the call ended with {code.name}")
    if info.reason == "REJECTED":
        position = info.metadata.get("position", "")
        return RequestRejected(sentence, position=int(position) if position.isdigit() else None)
    return _CLASSES.get(info.reason, DeedbookError)(sentence)


def error_info(trailers: Trailers) -> ErrorInfo | None:
    """Return our own ErrorInfo in a call's trailing metadata, None where there is none that can be read."""
    for key, value in trailers:
        if key != DETAILS_KEY:
            continue
        try:
            for detail in Status.FromString(value).details:
                info = ErrorInfo()
                if detail.Unpack(info) and info.domain == DOMAIN:
                    return info
        except DecodeError:
            return None
    return None


def _bounded(sentence: str) -> str:
    """Return a sentence that headers can hold: one line, and not too long."""
    plain = " ".join(sentence.encode("utf-8", "replace").decode("utf-8").split())
    taken = 0.0
    for place, letter in enumerate(plain):
        size = len(letter.encode("utf-8"))
        taken += (
            1 if letter.isascii() and letter.isprintable() and letter != "%" else 3 * size
        ) + size * 4 / 3
        if taken > MAX_HEADER_BYTES:
            return plain[:place] + "…"
    return plain
