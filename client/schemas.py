"""The schemas this release writes with, put on the log, so that the log explains itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deedbook.events.codec import Codec, released_schemas
from deedbook.events.facts import REGISTRY, SchemaPublished
from deedbook.events.ids import derived_id

if TYPE_CHECKING:
    from deedbook.events.log import Log

# The same words from everybody: publishing a schema twice is the same event twice, and ignored.
_ACTOR = "deedbook"
_OCCURRED_AT = 0


def schema_facts() -> list[SchemaPublished]:
    """Return one event for each schema this release ships, the same ones every time."""
    return [
        SchemaPublished(
            event_id=derived_id("SchemaPublished", schema.schema_id),
            occurred_at=_OCCURRED_AT,
            actor=_ACTOR,
            schema_id=schema.schema_id,
            name=schema.name,
            version=schema.version,
            schema=schema.text,
        )
        for versions in released_schemas().values()
        for schema in versions
    ]


def publish_schemas(log: Log, codec: Codec) -> None:
    """Append the schemas of this release; harmless where they are on the log already."""
    log.append(REGISTRY, [codec.encode(fact) for fact in schema_facts()])
