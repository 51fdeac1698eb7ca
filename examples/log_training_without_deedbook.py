"""Log a training with kafka-python and Apache Avro alone: nothing of deedbook is imported.

    python examples/log_training_without_deedbook.py localhost:9092 [PREFIX]

Needs `pip install kafka-python avro`, and this repository's `events/schemas`. docs/events.md says what
each field and header means.
"""

import hashlib
import io
import json
import os
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import avro.io
import avro.schema
from kafka import KafkaProducer

SCHEMA = Path(__file__).parent.parent / "events/schemas/TrainingLogged.v1.avsc"


def main() -> None:
    """Encode one training, append it to the topic `registry`, and say where it is."""
    servers, prefix = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    topic = f"{prefix}.registry" if prefix else "registry"
    event = training_logged()
    body = encoded(event)
    producer = KafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True)
    try:
        # A time-out means that nobody knows: send the same bytes again, they are the same event.
        sent = producer.send(topic, value=body, headers=headers_of(event, body))
        where = sent.get(timeout=30)
    finally:
        producer.close()
    print(f"logged training {event['training']['training_id']} at position {where.offset}")


def training_logged() -> dict[str, Any]:
    """Return a training as an event: every field of the schema, since Avro's encoding leaves none out."""
    now = datetime.now(UTC)
    training = {
        "training_id": uuid7(),
        "model": "home-price",
        "model_type": "LinearModel",
        "framework": "",
        "artifact": {"uri": "", "sha256": "", "size_bytes": 0, "format": ""},
        "features": [{"name": "rooms", "dtype": "int"}, {"name": "area", "dtype": "double"}],
        "parameters": [
            {"name": "city", "text": "Austin", "number": None},
            {"name": "alpha", "text": "0.1", "number": 0.1},
        ],
        "metrics": [{"name": "mse", "value": 0.25, "slice": "", "direction": "lower", "unit": "k$²"}],
        "coefficients": [{"name": "rooms", "value": 12.5}, {"name": "area", "value": 1.75}],
        "git_sha": "",
        "data_fingerprint": "",
        "created_at": now,
        "started_at": now,
        "finished_at": now,
        "tags": [{"name": "written by", "text": "another client"}],
    }
    return {
        "event_id": uuid7(),
        "type": "TrainingLogged",
        "occurred_at": now,
        "actor": "nightly job",
        "training": training,
    }


def encoded(event: dict[str, Any]) -> bytes:
    """Return the event in Avro's plain binary encoding."""
    schema = avro.schema.parse(SCHEMA.read_text(encoding="utf-8"))
    body = io.BytesIO()
    avro.io.DatumWriter(schema).write(event, avro.io.BinaryEncoder(body))
    return body.getvalue()


def headers_of(event: dict[str, Any], body: bytes) -> list[tuple[str, bytes]]:
    """Return the CloudEvents headers that go with a body."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    canonical = json.dumps(schema, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    headers = {
        "ce_specversion": "1.0",
        "ce_id": event["event_id"],
        "ce_type": "deedbook.TrainingLogged.v1",
        "ce_source": "/nightly-job",
        "ce_time": event["occurred_at"].isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "content-type": "application/avro",
        "ce_dataschema": "urn:sha256:" + hashlib.sha256(canonical.encode()).hexdigest(),
        "ce_valuesha256": hashlib.sha256(body).hexdigest(),
    }
    return [(name, value.encode()) for name, value in headers.items()]


def uuid7() -> str:
    """Return a new UUID of version 7: the time in milliseconds, then chance."""
    bits = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    bits = bits & ~(0xF << 76) | 0x7 << 76
    return str(uuid.UUID(int=bits & ~(0x3 << 62) | 0x2 << 62))


if __name__ == "__main__":
    main()
