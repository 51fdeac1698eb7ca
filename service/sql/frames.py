"""Frames between the service and a query's process: one kind byte, four of length, the payload."""

from __future__ import annotations

import math
import socket
import struct
import time
from typing import Final

QUERY: Final = b"Q"
# What a child may say: it is ready; then columns, Arrow bytes in pieces and the end; or why not.
READY: Final = b"R"
COLUMNS: Final = b"C"
ARROW: Final = b"A"
END: Final = b"Z"
REFUSED: Final = b"X"
MEMORY: Final = b"M"
FAILED: Final = b"F"
PROBES: Final = b"S"

MAX_PIECE_BYTES: Final = 1 << 20
_HEAD = struct.Struct("!cI")


class Malformed(Exception):
    """What came is not a frame."""


class Gone(Exception):
    """The other end is gone."""


class Late(Exception):
    """The deadline passed."""


def send(channel: socket.socket, kind: bytes, payload: bytes = b"") -> None:
    """Send one frame; OSError when the other end is gone."""
    channel.sendall(_HEAD.pack(kind, len(payload)))
    channel.sendall(payload)


def receive(channel: socket.socket, deadline: float, max_bytes: int = MAX_PIECE_BYTES) -> tuple[bytes, bytes]:
    """Receive one frame until a deadline (monotonic, seconds); raises Late, Gone and Malformed."""
    kind, length = _HEAD.unpack(_exactly(channel, _HEAD.size, deadline))
    if length > max_bytes:
        raise Malformed(f"a frame of {length} bytes")
    return kind, _exactly(channel, length, deadline)


def _exactly(channel: socket.socket, count: int, deadline: float) -> bytes:
    data = bytearray()
    while len(data) < count:
        left_seconds = None if deadline == math.inf else deadline - time.monotonic()
        if left_seconds is not None and left_seconds <= 0:
            raise Late
        channel.settimeout(left_seconds)
        try:
            piece = channel.recv(min(count - len(data), 1 << 18))
        except TimeoutError:
            raise Late from None
        except OSError:
            raise Gone from None
        if not piece:
            raise Gone
        data += piece
    return bytes(data)
