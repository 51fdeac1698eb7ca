"""A strict walk over an Avro body: it holds exactly one value of its schema, by the letter, or is refused.

Decoders differ on bodies that nobody's encoder writes: enum and union indexes out of range,
over-long integers, invalid UTF-8. This walk reads no values; it only says no to those.
"""

from __future__ import annotations

from typing import Any

from deedbook.events.errors import Undecodable

_MAX_DEPTH = 24
_FIXED_BYTES = {"float": 4, "double": 8, "null": 0}


def check_strictly(schema: Any, body: bytes) -> None:  # noqa: ANN401 - a JSON schema
    """Raise Undecodable unless ``body`` is one whole value of ``schema`` and nothing more."""
    end = _Walk(body, _names(schema)).value(schema, 0, 0)
    if end != len(body):
        raise Undecodable(f"{len(body) - end} bytes follow the event")


def _names(schema: Any) -> dict[str, Any]:  # noqa: ANN401 - a JSON schema
    found: dict[str, Any] = {}
    stack = [schema]
    while stack:
        match stack.pop():
            case {"type": "record" | "enum", "name": str(name)} as named:
                found[f"{named['namespace']}.{name}" if "namespace" in named else name] = named
                stack.extend(field["type"] for field in named.get("fields", ()))
            case {"type": "array", "items": items}:
                stack.append(items)
            case {"type": inner}:
                stack.append(inner)
            case list(branches):
                stack.extend(branches)
    return found


class _Walk:
    def __init__(self, body: bytes, names: dict[str, Any]) -> None:
        self.body = body
        self.names = names

    def value(self, schema: Any, at: int, depth: int) -> int:  # noqa: ANN401 - one case per Avro type
        if depth > _MAX_DEPTH:
            raise Undecodable("the event is nested too deeply")
        match schema:
            case {"type": "record", "fields": fields}:
                for field in fields:
                    at = self.value(field["type"], at, depth + 1)
                return at
            case {"type": "array", "items": items}:
                return self._blocks(items, at, depth + 1)
            case {"type": "enum", "symbols": symbols}:
                return self._index(len(symbols), at)[1]
            case list(branches):
                branch, at = self._index(len(branches), at)
                return self.value(branches[branch], at, depth + 1)
            case {"type": inner}:
                return self.value(inner, at, depth + 1)
            case "string" | "bytes":
                return self._text(at, is_text=schema == "string")
            case "long" | "int":
                return self._long(at)[1]
            case "boolean":
                return self._boolean(at)
            case str(name) if name in _FIXED_BYTES:
                return self._bytes(at, _FIXED_BYTES[name])
            case str(name) if name in self.names:
                return self.value(self.names[name], at, depth + 1)
            case _:
                raise Undecodable("the schema uses a type deedbook's events do not have")

    def _blocks(self, items: Any, at: int, depth: int) -> int:  # noqa: ANN401 - a JSON schema
        while True:
            count, at = self._long(at)
            if count == 0:
                return at
            stated = None
            if count < 0:
                size, at = self._long(at)
                count, stated = -count, at + size
            if count > len(self.body) - at:
                raise Undecodable("an array claims more items than the event has bytes")
            for _ in range(count):
                at = self.value(items, at, depth)
            if stated not in (None, at):
                raise Undecodable("an array's block is not as long as it says")

    def _text(self, at: int, *, is_text: bool) -> int:
        length, at = self._long(at)
        end = self._bytes(at, length)
        if is_text:
            try:
                self.body[at:end].decode("utf-8", "strict")
            except UnicodeDecodeError:
                raise Undecodable("a text in the event is not UTF-8") from None
        return end

    def _boolean(self, at: int) -> int:
        end = self._bytes(at, 1)
        if self.body[at] > 1:
            raise Undecodable("a boolean in the event is neither true nor false")
        return end

    def _index(self, count: int, at: int) -> tuple[int, int]:
        index, at = self._long(at)
        if not 0 <= index < count:
            raise Undecodable("the event names a choice its schema does not have")
        return index, at

    def _bytes(self, at: int, length: int) -> int:
        if length < 0 or at + length > len(self.body):
            raise Undecodable("the event ends too early")
        return at + length

    def _long(self, at: int) -> tuple[int, int]:
        raw = shift = 0
        while True:
            self._bytes(at, 1)
            byte = self.body[at]
            at += 1
            raw |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 63:  # a longer one is not read to its end, however far that is
                raise Undecodable("an integer in the event is longer than it needs to be")
        if raw >> 64 or (byte == 0 and shift):
            raise Undecodable("an integer in the event is longer than it needs to be")
        return (raw >> 1) ^ -(raw & 1), at
