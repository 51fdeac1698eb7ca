"""Frames between the worker, the fork server and the child: one kind byte, four of length, the payload.

Numbers go as IEEE doubles, everything else as JSON or UTF-8. Nothing is ever unpickled.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# What a child may say, in this order: any number of attempts, then one of the others, then nothing.
ATTEMPT, PREDICTIONS, EXCEPTION, FORMAT, MISMATCH, MEMORY, PROBES = b"A", b"P", b"E", b"F", b"W", b"M", b"S"
KINDS = frozenset({ATTEMPT, PREDICTIONS, EXCEPTION, FORMAT, MISMATCH, MEMORY, PROBES})

# Room for a child's frames beyond the predictions themselves.
MAX_OVERHEAD_BYTES = 16_384
_MAX_CONTROL_BYTES = 65_536
_HEAD = struct.Struct("!cI")


class Malformed(Exception):
    """The bytes are not a sequence of frames."""


def pack(kind: bytes, payload: bytes = b"") -> bytes:
    """Return one frame's bytes."""
    return _HEAD.pack(kind, len(payload)) + payload


def unpack(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (kind, payload) of each frame; Malformed on anything else, after what came before it."""
    start = 0
    while start < len(data):
        if len(data) - start < _HEAD.size:
            message = "a frame is cut short"
            raise Malformed(message)
        kind, length = _HEAD.unpack_from(data, start)
        start += _HEAD.size
        if kind not in KINDS:
            message = "a frame is of no known kind"
            raise Malformed(message)
        if len(data) - start < length:
            message = "a frame is cut short"
            raise Malformed(message)
        yield kind, data[start : start + length]
        start += length


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte to a pipe."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def doubles(values: Sequence[float]) -> bytes:
    """Return the numbers as doubles in this machine's byte order: both ends are on it."""
    return array.array("d", values).tobytes()


def from_doubles(data: bytes) -> tuple[float, ...]:
    """Return the numbers again; Malformed if the bytes are no whole number of doubles."""
    numbers = array.array("d")
    try:
        numbers.frombytes(data)
    except ValueError:
        message = "the predictions are cut short"
        raise Malformed(message) from None
    return tuple(numbers)


def send_message(channel: socket.socket, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Send a JSON object, with open files, between the worker and the fork server (never a child)."""
    data = json.dumps(message).encode()
    head = struct.pack("!I", len(data))
    if descriptors:
        socket.send_fds(channel, [head], descriptors)
    else:
        channel.sendall(head)
    channel.sendall(data)


def receive_message(channel: socket.socket, max_descriptors: int = 0) -> tuple[dict[str, Any], list[int]]:
    """Receive what `send_message` sent; EOFError when the other end is gone."""
    head, descriptors, _, _ = socket.recv_fds(channel, 4, max_descriptors)
    while 0 < len(head) < 4:
        head += _received(channel, 4 - len(head))
    if not head:
        raise EOFError
    (length,) = struct.unpack("!I", head)
    if length > _MAX_CONTROL_BYTES:
        message = f"a control message of {length} bytes"
        raise Malformed(message)
    data = b""
    while len(data) < length:
        data += _received(channel, length - len(data))
    parsed: dict[str, Any] = json.loads(data)
    return parsed, list(descriptors)


def _received(channel: socket.socket, count: int) -> bytes:
    data = channel.recv(count)
    if not data:
        raise EOFError
    return data
