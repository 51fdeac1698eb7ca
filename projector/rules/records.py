"""Rules version 1 for what is recorded and decides nothing, and for what the log says of itself."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from deedbook.events import facts
from deedbook.projector.decision import Accepted, ChunkHead, Decision, Event, Ignored, Rejected, fact_of
from deedbook.projector.rows import ChunkRow, ModelLoadRow, RulesRow, SchemaRow

if TYPE_CHECKING:
    from deedbook.projector.view import View

_MAX_DEPTH = 64
_MAX_DIGITS = 40
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")


def metrics_logged(view: View, event: Event) -> Decision:
    """Record a chunk of step-wise metrics once, whichever way it was sent again.

    Once in its partition: partitions are read in any order, and what is decided must not depend on which.
    """
    head = fact_of(event, ChunkHead)
    first = view.chunk_position(event.partition, head.training_id, head.producer, head.sequence)
    if first is not None:
        return Ignored(f"chunk {head.sequence} of producer {head.producer} was recorded at position {first}")
    row = ChunkRow(event.partition, event.position, head.training_id, head.producer, head.sequence)
    return Accepted((row,))


def model_loaded(_view: View, event: Event) -> Decision:
    """Record a host's word on what it runs."""
    fact = fact_of(event, facts.ModelLoaded)
    row = ModelLoadRow(
        partition=event.partition,
        position=event.position,
        service=fact.service,
        environment=fact.environment,
        release=fact.release,
        instance=fact.instance,
        model=fact.model,
        training_id=fact.training_id,
        artifact_sha256=fact.artifact_sha256,
        source=fact.source,
        loaded_at=fact.loaded_at or fact.occurred_at,
    )
    return Accepted((row,))


def schema_published(_view: View, event: Event) -> Decision:
    """Keep a schema if it is the one its id says."""
    fact = fact_of(event, facts.SchemaPublished)
    try:
        digest = _digest(fact.schema)
    except (ValueError, RecursionError):
        return Rejected("the schema is not JSON that deedbook reads")
    if digest != fact.schema_id:
        return Rejected("the schema does not have the SHA-256 it was published under")
    return Accepted((SchemaRow(event.position, fact.schema_id, fact.name, fact.version, fact.schema),))


def _digest(schema: str) -> str:
    """Return the SHA-256 of a schema's canonical JSON; raises ValueError, on every machine for the same texts.

    How deep json goes, and how many digits it takes, depends on the Python and its settings.
    """
    depth = 0
    for bracket in _BRACKET.findall(_TEXT.sub("", schema)):
        depth += 1 if bracket in "[{" else -1
        if depth > _MAX_DEPTH:
            raise ValueError("too deep")
    plain = json.loads(schema, parse_int=_short_integer)
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _short_integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError("too many digits")
    return int(digits)


def rules_adopted(view: View, event: Event) -> Decision:
    """Decide by other rules from the next position on; versions only go up."""
    fact = fact_of(event, facts.RulesAdopted)
    if fact.rules_version <= view.rules_version:
        return Rejected(f"rules version {view.rules_version} are in force; they cannot go back")
    return Accepted((RulesRow(event.position, fact.rules_version, fact.actor, fact.reason),))
