"""Where a log on Kafka is, and how its cluster is talked to: a URL, and options from a properties file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from deedbook.events.errors import InvalidInput
from deedbook.events.facts import TOPICS
from deedbook.events.kafka.properties import HIDDEN, is_secret, read_properties, redacted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SHAPE = "a log on Kafka is at kafka://host:9092,host2:9092 or kafka://host:9092/prefix"
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
_PREFIX = re.compile(r"[A-Za-z0-9._-]+")
# Kafka's limit for a topic's name is 249 characters.
_MAX_PREFIX = 249 - 1 - max(map(len, TOPICS))
# What deedbook decides, with the only values an option of the name may have: any other could lose events, read what
# was never committed, or pass by a damaged batch.
_OWNED: dict[str, tuple[str, ...]] = {
    "acks": ("all", "-1"),
    "enable.idempotence": ("true",),
    "partitioner": ("murmur2_random",),
    "auto.offset.reset": ("error",),
    "enable.auto.commit": ("false",),
    "enable.auto.offset.store": ("false",),
    "enable.partition.eof": ("true",),
    "isolation.level": ("read_committed",),
    "check.crcs": ("true",),
    "enable.gapless.guarantee": ("false",),
    "allow.auto.create.topics": ("false",),
    "group.instance.id": (),
    "transactional.id": (),
    "bootstrap.servers": (),
}
# librdkafka knows some options by several names.
_ALIASES = {
    "request.required.acks": "acks",
    "metadata.broker.list": "bootstrap.servers",
    "delivery.timeout.ms": "message.timeout.ms",
    "queue.buffering.max.ms": "linger.ms",
    "compression.codec": "compression.type",
    "message.send.max.retries": "retries",
    "max.in.flight": "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes": "fetch.message.max.bytes",
}
_LONGEST_DELIVERY_MS = 3_600_000


@dataclass(frozen=True, slots=True, repr=False)
class KafkaSettings:
    """A log's place: `servers` (host:port, comma-separated), the `prefix` of its topics, librdkafka's `options`."""

    servers: str
    prefix: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    def topic(self, name: str) -> str:
        """Return what a topic of deedbook's is called on the cluster."""
        return f"{self.prefix}.{name}" if self.prefix else name

    def redacted(self, text: str) -> str:
        """Return a text without the secrets among the options."""
        return redacted(text, self.options)

    def __repr__(self) -> str:
        """The settings, with no secret among them."""
        shown = {name: HIDDEN if is_secret(name) else value for name, value in self.options.items()}
        return f"KafkaSettings(servers={self.servers!r}, prefix={self.prefix!r}, options={shown!r})"


def kafka_settings(url: str, config_file: Path | None = None) -> KafkaSettings:
    """Return the settings that a URL and, where there is one, a properties file with librdkafka's names give.

    Nothing is connected to. Raises InvalidInput.
    """
    servers, prefix = _parts(url)
    options = {} if config_file is None else _checked(read_properties(config_file), config_file)
    return KafkaSettings(servers, prefix, MappingProxyType(options))


def _parts(url: str) -> tuple[str, str]:
    scheme, separator, rest = url.partition("://")
    hosts, _, prefix = rest.partition("/")
    if "@" in rest:
        raise InvalidInput(
            "the URL of a log on Kafka holds an @: users and passwords stand in the properties file that "
            "DEEDBOOK_KAFKA_CONFIG names"
        )
    if not separator or scheme.lower() != "kafka":
        raise InvalidInput(f"{url[:200]!r} is no URL of a log on Kafka: {_SHAPE}")
    servers = [_server(host, url) for host in hosts.split(",")]
    prefix = prefix.removesuffix("/")
    if prefix and (not _PREFIX.fullmatch(prefix) or prefix.strip(".") == ""):
        raise InvalidInput(
            f"{prefix[:200]!r} cannot begin topics' names: letters, digits, dots, dashes and underlines can"
        )
    if len(prefix) > _MAX_PREFIX:
        raise InvalidInput(f"a prefix of {len(prefix)} characters is over the limit of {_MAX_PREFIX}")
    return ",".join(servers), prefix


def _server(host: str, url: str) -> str:
    found = _HOST.fullmatch(host)
    if not found or (found[1] and not 0 < int(found[1]) < 1 << 16):
        raise InvalidInput(f"{host[:100]!r} in {url[:200]!r} is no host and port: {_SHAPE}")
    return host if found[1] else f"{host}:9092"


def _checked(given: dict[str, str], path: Path) -> dict[str, str]:
    """Return the options by their main names; raises InvalidInput where one would undo what deedbook promises."""
    options: dict[str, str] = {}
    for written, value in given.items():
        name = _ALIASES.get(written, written)
        if name in options:
            raise InvalidInput(f"{path} sets {written}, which is {name} by another name, a second time")
        if name in _OWNED and value.lower() not in _OWNED[name]:
            raise InvalidInput(f"{path} sets {written}, which {_why_owned(name)}: remove it")
        options[name] = value
    timeout = options.get("message.timeout.ms")
    if timeout is not None and not (timeout.isdecimal() and 0 < int(timeout) <= _LONGEST_DELIVERY_MS):
        raise InvalidInput(
            f"{path} sets message.timeout.ms to {timeout[:20]!r}: it is 1 to {_LONGEST_DELIVERY_MS:,} "
            "milliseconds, so that every append ends"
        )
    return {name: value for name, value in options.items() if name not in _OWNED}


def _why_owned(name: str) -> str:
    match name:
        case "bootstrap.servers":
            return "the URL says"
        case "transactional.id" | "group.instance.id":
            return "deedbook has no use for"
        case _:
            return f"has to be {_OWNED[name][0]} for no event to be lost or misread"
