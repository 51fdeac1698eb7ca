"""What a later release would put on a log: schemas that this one doesn't have, and records written with them."""

from __future__ import annotations

import hashlib
import json
from io import BytesIO
from typing import Any

import fastavro

from deedbook.events.codec import Codec, current_schema, schema_id_of
from deedbook.events.facts import Fact
from deedbook.events.log import NewRecord


def recorded(schema_text: str, body: bytes, name: str = "TrainingLogged") -> NewRecord:
    """A body written by somebody with a schema of their own."""
    return NewRecord(
        body,
        b"",
        (
            ("ce_type", f"deedbook.{name}.v2".encode()),
            ("content-type", b"application/avro"),
            ("ce_dataschema", b"urn:sha256:" + schema_id_of(schema_text).encode()),
            ("ce_valuesha256", hashlib.sha256(body).hexdigest().encode()),
        ),
    )


def newer(name: str = "TrainingLogged", **field: Any) -> str:  # noqa: ANN401 - a field of a schema
    """The schema of a later release: one more field."""
    plain = json.loads(current_schema(name).text)
    plain["fields"].append({"name": "weather", "type": "string", "default": "", **field})
    return json.dumps(plain)


def by_schema(text: str, fact: Fact, **more: Any) -> NewRecord:  # noqa: ANN401 - any value
    """A fact written with another schema."""
    schema = current_schema(type(fact).__name__)
    plain = fastavro.schemaless_reader(BytesIO(Codec().encode(fact).value), schema.parsed, None)
    assert isinstance(plain, dict)
    body = BytesIO()
    parsed = fastavro.parse_schema(json.loads(text), named_schemas={})
    fastavro.schemaless_writer(body, parsed, {**plain, **more})
    return recorded(text, body.getvalue(), schema.name)
