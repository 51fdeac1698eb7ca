"""Schemas that come from the log: bounded and understood before anything is decoded with them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from deedbook.events.codec import released_schemas, schema_from_text

if TYPE_CHECKING:
    from deedbook.events.codec import Codec

_MAX_SCHEMA_BYTES = 256 << 10
_MAX_DEPTH = 24
_KNOWN_TYPES = frozenset({"null", "boolean", "int", "long", "float", "double", "string", "bytes"})


def learn_schema(codec: Codec, text: str, version: int) -> bool:
    """Teach the codec a published schema if it is safe to decode with; otherwise records in it stop the fold."""
    if len(text.encode()) > _MAX_SCHEMA_BYTES:
        return False
    try:
        plain = json.loads(text)
        safe = (
            isinstance(plain, dict) and plain.get("name") in released_schemas() and _is_safe(plain, set(), 0)
        )
        if safe:
            codec.learn(schema_from_text(text, version))
    except Exception:  # noqa: BLE001 - a schema that cannot be parsed is one that cannot be used
        return False
    return safe


def _is_safe(schema: Any, open_names: set[str], depth: int) -> bool:  # noqa: ANN401 - a JSON schema
    """Tell whether a schema has no recursion, no fixed, map or decimal, and no list of nothing."""
    if depth > _MAX_DEPTH:
        return False
    match schema:
        case str(name):
            return name in _KNOWN_TYPES or name.rsplit(".", 1)[-1] not in open_names
        case list(branches):
            return all(_is_safe(branch, open_names, depth + 1) for branch in branches)
        case {"type": "record", "name": str(name), "fields": list(fields)}:
            inside = open_names | {name}
            return bool(fields) and all(_is_safe(f.get("type"), inside, depth + 1) for f in fields)
        case {"type": "enum", "symbols": list(symbols)}:
            return bool(symbols)
        case {"type": "array", "items": items}:
            return items not in ("null", {"type": "null"}) and _is_safe(items, open_names, depth + 1)
        case {"type": str(name), "logicalType": "timestamp-micros"}:
            return name == "long"
        case {"type": str(name)}:
            return name in _KNOWN_TYPES
        case _:
            return False
