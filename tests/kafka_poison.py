"""What strangers may put on a topic: records as no client of deedbook's writes them, sent by another client."""

from __future__ import annotations

import hashlib
import os
import random
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from confluent_kafka import Producer

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka import KafkaError, Message

    from deedbook.events.kafka.settings import KafkaSettings
    from deedbook.events.log import NewRecord

# A key, a body and headers, any of which may be missing.
Raw = tuple[bytes | None, bytes | None, list[tuple[str, str | bytes | None]] | None]
MAX_SENT_BYTES = 2_000_000


def raw(record: NewRecord) -> Raw:
    """A good record, as another client would send it."""
    return record.key or None, record.value, list(record.headers)


def _with(record: NewRecord, **changed: bytes | None) -> Raw:
    """A good record with some headers changed; ``_`` stands for ``-``."""
    names = {
        name.replace("_", "-") if name == "content_type" else name: value for name, value in changed.items()
    }
    return record.key, record.value, [(name, names.get(name, value)) for name, value in record.headers]


def _body(record: NewRecord, value: bytes) -> Raw:
    """A good record with another body, and the digest of that."""
    key, _, headers = _with(record, ce_valuesha256=hashlib.sha256(value).hexdigest().encode())
    return key, value, headers


def _flipped(record: NewRecord, chance: random.Random) -> Raw:
    value = bytearray(record.value)
    value[chance.randrange(len(value))] ^= 1 << chance.randrange(8)
    return record.key, bytes(value), list(record.headers)


# Each makes something of a good record that is no event.
POISONS: tuple[Callable[[NewRecord, random.Random], Raw], ...] = (
    lambda _, chance: (os.urandom(8), chance.randbytes(chance.randrange(1, 500)), None),
    lambda record, chance: (record.key, chance.randbytes(300), list(record.headers)),
    _flipped,
    lambda record, chance: (
        record.key,
        record.value[: chance.randrange(len(record.value))],
        list(record.headers),
    ),
    lambda record, chance: _body(record, record.value[: chance.randrange(1, len(record.value) - 1)]),
    lambda record, _: _body(record, record.value + b"\x00"),
    lambda record, chance: _body(record, chance.randbytes(400)),
    lambda record, _: _with(record, ce_valuesha256=b"0" * 64),
    lambda record, _: _with(record, ce_valuesha256=None),
    lambda record, _: _with(record, content_type=b"application/json"),
    lambda record, _: _with(record, ce_dataschema=b"urn:sha256:\xff\xfe"),
    lambda record, _: _with(record, ce_dataschema=None),
    lambda record, _: (
        record.key,
        record.value,
        [("", b""), ("ce_id", None), ("\u00e4\U0001f4a9", b"\xff" * 900)],
    ),
    lambda _, __: (b"order-7", b'{"order": 7, "total": 12.5}', [("content-type", b"application/json")]),
    lambda record, _: (record.key, None, list(record.headers)),  # a tombstone
    lambda _, __: (None, None, None),
    lambda _, __: (b"", b"", []),
    lambda _, chance: (b"k" * 60_000, chance.randbytes(1_800_000), None),
    lambda record, chance: _body(record, chance.randbytes((1 << 20) + 1)),
    lambda record, _: (record.key, record.value, [("x", b"y" * 50_000)]),
)


class Stranger:
    """Another client's producer: it appends anything to `registry`, in order, and knows where it ended up."""

    def __init__(self, settings: KafkaSettings, **options: Any) -> None:  # noqa: ANN401 - any option of the library
        self._topic = settings.topic
        self.producer = Producer(
            {
                "bootstrap.servers": settings.servers,
                "enable.idempotence": True,
                "log_level": 0,
                "error_cb": lambda _error: None,
                "message.max.bytes": MAX_SENT_BYTES,
                "partitioner": "murmur2_random",
                **options,
            }
        )
        self.places: list[tuple[str, int, int]] = []

    def send(self, topic: str, record: Raw, *, noted: bool = False) -> None:
        """Queue a record; with ``noted`` its place is kept."""
        key, value, headers = record

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            assert error is None, error
            if noted:
                self.places.append((topic, message.partition() or 0, message.offset() or 0))

        while True:
            try:
                self.producer.produce(
                    self._topic(topic), value, key, headers=headers, on_delivery=on_delivery
                )
                break
            except BufferError:
                self.producer.poll(0.1)
        self.producer.poll(0)

    def flush(self) -> None:
        """Wait until all is on the log."""
        assert 0 == self.producer.flush(60)


def transactional(settings: KafkaSettings, **options: Any) -> Stranger:  # noqa: ANN401 - any option of the library
    """A stranger who appends in transactions."""
    stranger = Stranger(settings, **{"transactional.id": uuid4().hex}, **options)
    stranger.producer.init_transactions(30)
    return stranger
