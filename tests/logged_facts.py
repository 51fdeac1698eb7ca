"""What a registry's log holds, read back as facts."""

from typing import Any

from deedbook.client.registry import Registry
from deedbook.events.codec import Codec
from deedbook.events.facts import REGISTRY
from deedbook.events.sqlite_log import SqliteLog
from tests.reached import log_folder


def facts_on(registry: Registry, topic: str = REGISTRY) -> list[Any]:
    """Every fact of a topic but the schemas, as it is on the log."""
    log = SqliteLog(log_folder(registry))
    records = log.read(topic, 0, 0)
    log.close()
    decoded = [Codec().decode(record) for record in records]
    return [fact for fact in decoded if type(fact).__name__ != "SchemaPublished"]
