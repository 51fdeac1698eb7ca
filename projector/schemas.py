"""Schemas that come from the log: bounded and understood before anything is decoded with them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from deedbook.events.codec import current_schema, released_schemas, schema_from_text

if TYPE_CHECKING:
    from deedbook.events.codec import Codec

_MAX_SCHEMA_BYTES = 256 << 10
_MAX_DEPTH = 24
_KNOWN_TYPES = frozenset({"boolean", "int", "long", "float", "double", "string", "bytes"})


def learn_schema(codec: Codec, text: str, version: int) -> bool:
    """Teach the codec a published schema if it is safe to decode with; otherwise records in it stop the fold.

    Only what this release's own schema can take in is learned: a record that half fits must stop an old
    release, or it would decide otherwise than a new one.
    """
    if len(text.encode()) > _MAX_SCHEMA_BYTES:
        return False
    try:
        plain = json.loads(text)
        if not (isinstance(plain, dict) and plain.get("name") in released_schemas()):
            return False
        if any(schema.text == text for schema in released_schemas()[plain["name"]]):
            return True  # this release's own, which its codec has
        if not _is_safe(plain, set(), 0):
            return False
        schema = schema_from_text(text, version)
        fits = _fits(_Named(schema.plain), _Named(current_schema(schema.name).plain))
    except Exception:  # noqa: BLE001 - a schema that cannot be parsed is one that cannot be used
        return False
    if fits:
        codec.learn(schema)
    return fits


def _is_safe(schema: Any, open_names: set[str], depth: int) -> bool:  # noqa: ANN401 - a JSON schema
    """Tell whether a schema has no recursion, no fixed, map or decimal, and nothing that takes no bytes.

    Null is for unions alone, where it takes a byte: a list of nothing could be as long as it says.
    """
    if depth > _MAX_DEPTH:
        return False
    match schema:
        case "null" | {"type": "null"}:
            return False
        case str(name):
            return name in _KNOWN_TYPES or _short(name) not in open_names
        case list(branches):
            return bool(branches) and all(
                branch == "null" or _is_safe(branch, open_names, depth + 1) for branch in branches
            )
        case {"type": "record", "name": str(name), "fields": list(fields)}:
            inside = open_names | {_short(name)}
            return bool(fields) and all(_is_safe(f.get("type"), inside, depth + 1) for f in fields)
        case {"type": "enum", "symbols": list(symbols)}:
            return bool(symbols)
        case {"type": "array", "items": items}:
            return _is_safe(items, open_names, depth + 1)
        case {"type": str(name), "logicalType": "timestamp-micros"}:
            return name == "long"
        case {"type": str(name)}:
            return name in _KNOWN_TYPES
        case _:
            return False


def _short(name: str) -> str:
    return name.rsplit(".", 1)[-1]


class _Named:
    """A schema, or a part of one, with the types that it names."""

    def __init__(self, schema: Any, names: dict[str, Any] | None = None) -> None:  # noqa: ANN401 - a JSON schema
        self.names = {} if names is None else names
        if names is None:
            self._collect(schema)
        self.schema = self.names.get(_short(schema), schema) if isinstance(schema, str) else schema

    def part(self, schema: Any) -> _Named:  # noqa: ANN401 - a JSON schema
        """Return a part of this schema."""
        return _Named(schema, self.names)

    def _collect(self, schema: Any) -> None:  # noqa: ANN401 - a JSON schema
        match schema:
            case list(parts):
                for part in parts:
                    self._collect(part)
            case {"type": "record" | "enum", "name": str(name)}:
                self.names[_short(name)] = schema
                self._collect([field["type"] for field in schema.get("fields", ())])
            case {"type": "array", "items": items}:
                self._collect(items)
            case _:
                pass


def _fits(written: _Named, read: _Named) -> bool:
    """Tell whether whatever is written by one schema can be read by another; all our fields have defaults."""
    match written.schema, read.schema:
        case list(branches), _:
            return all(_fits(written.part(branch), read) for branch in branches)
        case _, list(branches):
            return any(_fits(written, read.part(branch)) for branch in branches)
        case {"type": "record", "fields": fields}, {"type": "record", "fields": own}:
            types = {field["name"]: field["type"] for field in own}
            return all(
                _fits(written.part(field["type"]), read.part(types[field["name"]]))
                for field in fields
                if field["name"] in types
            )
        case {"type": "array", "items": items}, {"type": "array", "items": own}:
            return _fits(written.part(items), read.part(own))
        case {"type": "enum"}, {"type": "enum"}:
            return True
        case {"type": str(name)}, _ if name not in {"record", "array", "enum"}:
            return _fits(written.part(name), read)
        case _, {"type": str(name)} if name not in {"record", "array", "enum"}:
            return _fits(written, read.part(name))
        case str(name), str(own):
            return name == own or (name, own) in {("int", "long"), ("float", "double")}
        case _:
            return False
