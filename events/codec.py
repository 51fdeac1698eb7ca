"""Facts to bytes and back: Avro bodies, CloudEvents headers, schemas known by their SHA-256.

``ce_dataschema`` names the writer's schema, ``ce_valuesha256`` the body's digest: of random bit
flips most still decode to something, so a body counts only whole and unchanged.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import types
import typing
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from deedbook.events import facts
from deedbook.events.errors import InvalidInput, Undecodable, UnknownSchema
from deedbook.events.facts import Fact
from deedbook.events.log import MAX_BODY_BYTES, NewRecord, Record
from deedbook.events.names import shown
from deedbook.events.strict import check_strictly

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CONTENT_TYPE = b"application/avro"
SCHEMA_URN = "urn:sha256:"
_URN = re.compile(rb"urn:sha256:[0-9a-f]{64}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FACT_CLASSES: Mapping[str, Any] = {cls.__name__: cls for cls in facts.FACTS}
_KEY_FIELDS: Mapping[str, str] = {
    facts.METRICS: "training_id",
    facts.DEPLOYMENTS: "service",
    facts.HOSTS: "service",
}


@dataclass(frozen=True, slots=True)
class Schema:
    """One Avro schema of one event: ``schema_id`` is the SHA-256 of its canonical JSON."""

    schema_id: str
    name: str
    version: int
    text: str
    parsed: Any
    plain: Any


def schema_id_of(text: str) -> str:
    """Return the SHA-256 (hex) of a schema's JSON, whatever its white space and key order."""
    canonical = json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def schema_from_text(text: str, version: int) -> Schema:
    """Return a schema ready to decode with; raises ValueError or fastavro's errors where it is none."""
    plain = _without_logical_types(json.loads(text))
    import fastavro  # costs 50 ms, which a program that only asks for help need not pay

    parsed = fastavro.parse_schema(plain, named_schemas={})
    return Schema(schema_id_of(text), plain["name"], version, text, parsed, plain)


@functools.cache
def released_schemas() -> Mapping[str, tuple[Schema, ...]]:
    """Return every schema this release ships, by event name, oldest version first."""
    found: dict[str, list[Schema]] = {}
    for entry in (Path(__file__).parent / "schemas").glob("*.avsc"):
        name, version, _ = entry.name.split(".")
        text = entry.read_text(encoding="utf-8")
        found.setdefault(name, []).append(schema_from_text(text, int(version.removeprefix("v"))))
    return {name: tuple(sorted(all_, key=lambda s: s.version)) for name, all_ in sorted(found.items())}


def current_schema(name: str) -> Schema:
    """Return the newest schema this release writes an event with."""
    return released_schemas()[name][-1]


class Codec:
    """Encodes facts, and decodes records with the schemas this release and the log know."""

    def __init__(self) -> None:
        self._by_urn: dict[bytes, Schema] = {}
        for versions in released_schemas().values():
            for schema in versions:
                self.learn(schema)

    def learn(self, schema: Schema) -> None:
        """Decode with a schema published on the log from now on."""
        self._by_urn.setdefault(_urn(schema), schema)

    def encode(self, fact: Fact) -> NewRecord:
        """Return the record for a fact; raises InvalidInput where its body is over the limit.

        A fact that `problem_of` finds nothing wrong with can be encoded; of others some can't, and that
        is InvalidInput as well.
        """
        name = type(fact).__name__
        schema = current_schema(name)
        try:
            value = _encoded(schema, _writer(_FACT_CLASSES[name])(fact) | {"type": name})
            headers = _headers(fact, schema, value)
        except (TypeError, ValueError, OverflowError, AttributeError) as error:
            raise InvalidInput(f"this {name} cannot be encoded: {error}") from error
        if len(value) > MAX_BODY_BYTES:
            raise InvalidInput(
                f"this {name} has {len(value):,} bytes, over the limit of {MAX_BODY_BYTES:,}: log step-wise "
                "values with log_metric(step=…), which splits them into chunks, and keep large data in the artifact"
            )
        return NewRecord(value=value, key=_key_of(fact), headers=headers)

    def schema_of(self, record: Record) -> Schema:
        """Return the schema a record was written with, once its body is known to be the one sent.

        Raises Undecodable (damaged, not an event) and UnknownSchema (a newer release wrote it).
        """
        headers = dict(record.headers)
        if not record.intact:
            raise Undecodable("the log's own checksum of this record does not hold")
        if len(record.value) > MAX_BODY_BYTES:
            raise Undecodable(
                f"the body has {len(record.value):,} bytes, over the limit of {MAX_BODY_BYTES:,}"
            )
        if headers.get("content-type") != CONTENT_TYPE:
            raise Undecodable("the record's content-type is not application/avro")
        digest = record.value_sha256 or hashlib.sha256(record.value).digest()
        if headers.get("ce_valuesha256") != digest.hex().encode():
            raise Undecodable("the body does not have the SHA-256 its header ce_valuesha256 states")
        urn = headers.get("ce_dataschema", b"")
        if _URN.fullmatch(urn) is None:
            raise Undecodable("the header ce_dataschema does not name a schema by its SHA-256")
        schema = self._by_urn.get(urn)
        if schema is None or schema.name not in _FACT_CLASSES:
            kind = shown(headers.get("ce_type", b"?").decode("utf-8", "replace"))
            raise UnknownSchema(
                f"{record.topic}:{record.partition}:{record.position} is a {kind} with schema "
                f"{urn[len(SCHEMA_URN) :][:12].decode()}…, unknown to this release: install a newer deedbook"
            )
        return schema

    def decode(self, record: Record) -> Fact:
        """Return the fact a record holds; raises Undecodable and UnknownSchema."""
        schema = self.schema_of(record)
        return decode_body(schema, record.value)


def decode_body(schema: Schema, body: bytes) -> Fact:
    """Return the fact in a body, by the letter of its schema; raises Undecodable."""
    reader = current_schema(schema.name)
    try:
        plain = _decoded(schema, body, None)
        if _encoded(schema, plain) != body:  # which is rare, and need not be wrong
            check_strictly(schema.plain, body)
        if reader.schema_id != schema.schema_id:
            plain = _decoded(schema, body, reader)
        stated = plain.pop("type")
        fact: Fact = _reader(_FACT_CLASSES[schema.name])(plain)
    except Undecodable:
        raise
    except Exception as error:  # fastavro raises whatever its bytes lead it to
        raise Undecodable(f"the body is no {schema.name}: {type(error).__name__}") from error
    if stated != schema.name:
        raise Undecodable(f"the body says it is a {shown(stated)}, its schema that it is a {schema.name}")
    return fact


def _encoded(schema: Schema, plain: dict[str, Any]) -> bytes:
    import fastavro

    body = BytesIO()
    fastavro.schemaless_writer(body, schema.parsed, plain)
    return body.getvalue()


def _decoded(schema: Schema, body: bytes, reader: Schema | None) -> dict[str, Any]:
    import fastavro

    plain = fastavro.schemaless_reader(BytesIO(body), schema.parsed, reader.parsed if reader else None)
    return cast("dict[str, Any]", plain)


def _key_of(fact: Fact) -> bytes:
    if isinstance(fact, facts.ValidationRequested):
        return fact.training.model.encode()
    name = _KEY_FIELDS.get(fact.topic)
    return str(getattr(fact, name)).encode() if name else b""


def _headers(fact: Fact, schema: Schema, value: bytes) -> tuple[tuple[str, bytes], ...]:
    time = (_EPOCH + timedelta(microseconds=fact.occurred_at)).isoformat().replace("+00:00", "Z")
    return (
        ("ce_specversion", b"1.0"),
        ("ce_id", fact.event_id.encode()),
        ("ce_type", f"deedbook.{schema.name}.v{schema.version}".encode()),
        ("ce_source", b"/deedbook"),
        ("ce_time", time.encode()),
        ("content-type", CONTENT_TYPE),
        ("ce_dataschema", _urn(schema)),
        ("ce_valuesha256", hashlib.sha256(value).hexdigest().encode()),
    )


def _urn(schema: Schema) -> bytes:
    return (SCHEMA_URN + schema.schema_id).encode()


def _without_logical_types(schema: Any) -> Any:  # noqa: ANN401 - a JSON schema
    """Return the schema with plain longs for times: facts hold microseconds, at any distance."""
    match schema:
        case {"logicalType": _, "type": inner}:
            return inner
        case dict():
            return {key: _without_logical_types(value) for key, value in schema.items()}
        case list():
            return [_without_logical_types(item) for item in schema]
        case _:
            return schema


@functools.cache
def _writer(cls: type) -> Callable[[Any], dict[str, Any]]:
    """Return the function from a dataclass of this type to what fastavro writes."""
    hints = typing.get_type_hints(cls)
    plan = [(f.name, _value_writer(hints[f.name])) for f in fields(cls)]

    def write(value: Any) -> dict[str, Any]:  # noqa: ANN401 - any of the facts' types
        return {
            name: getattr(value, name) if convert is None else convert(getattr(value, name))
            for name, convert in plan
        }

    return write


def _value_writer(hint: Any) -> Callable[[Any], Any] | None:  # noqa: ANN401 - a type hint
    if typing.get_origin(hint) is tuple:
        convert = _value_writer(typing.get_args(hint)[0])
        return _for_each(convert, list)
    if typing.get_origin(hint) is types.UnionType:
        convert = _value_writer(_present(hint))
        return _optionally(convert)
    return _writer(hint) if is_dataclass(hint) and isinstance(hint, type) else None


@functools.cache
def _reader(cls: type) -> Callable[[dict[str, Any]], Any]:
    """Return the function from what fastavro read to a dataclass of this type."""
    hints = typing.get_type_hints(cls)
    plan = [(f.name, _value_reader(hints[f.name])) for f in fields(cls)]

    def read(plain: dict[str, Any]) -> Any:  # noqa: ANN401 - any of the facts' types
        return cls(
            **{name: plain[name] if convert is None else convert(plain[name]) for name, convert in plan}
        )

    return read


def _value_reader(hint: Any) -> Callable[[Any], Any] | None:  # noqa: ANN401 - a type hint
    if typing.get_origin(hint) is tuple:
        convert = _value_reader(typing.get_args(hint)[0])
        return _for_each(convert, tuple)
    if typing.get_origin(hint) is types.UnionType:
        convert = _value_reader(_present(hint))
        return _optionally(convert)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint
    return _reader(hint) if is_dataclass(hint) and isinstance(hint, type) else None


def _present(hint: Any) -> Any:  # noqa: ANN401 - a type hint
    return next(arg for arg in typing.get_args(hint) if arg is not type(None))


def _for_each(convert: Callable[[Any], Any] | None, collect: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return collect if convert is None else lambda items: collect([convert(item) for item in items])


def _optionally(convert: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    return None if convert is None else lambda item: None if item is None else convert(item)
