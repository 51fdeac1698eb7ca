"""Records to events, in bulk: Avro bodies straight to Arrow columns, and heads for the fold.

A body takes the fast road only if encoding what was decoded gives the same bytes back, and if
vectorised checks find nothing that ``problem_of`` could object to. All others are decoded one by
one, so whichever decoder read a body, the decision is the same.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

import fastavro
import pyarrow as pa
import pyarrow.compute as pc
import pyruhvro

from deedbook.events import codec as codecs
from deedbook.events import facts
from deedbook.events.errors import InvalidInput, Undecodable, UnknownSchema
from deedbook.events.shape import problem_of
from deedbook.projector.decision import ChunkHead, Event, TrainingHead
from deedbook.projector.fine import surely_fine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deedbook.events.codec import Codec, Schema
    from deedbook.events.log import Record

_BULK_TOPICS = {"TrainingLogged": facts.REGISTRY, "MetricsLogged": facts.METRICS}
_ENVELOPE_FIELDS = [("event_id", "string"), ("type", "string"), ("occurred_at", "long"), ("actor", "string")]
_ENVELOPE = fastavro.parse_schema(
    {
        "type": "record",
        "name": "Envelope",
        "fields": [{"name": name, "type": kind} for name, kind in _ENVELOPE_FIELDS],
    },
    named_schemas={},
)
_SUBJECT_FIELDS = (
    "deployment_id",
    "training_id",
    "release",
    "schema_id",
)


@dataclass(slots=True)
class Decoded:
    """A batch of records, decoded: events in log order, and the columns of the bulk types.

    ``columns`` holds the well-formed bodies of a bulk type with their ``position``, in log order.
    ``upto`` is the position after the last record looked at; ``unknown`` is set where the batch was
    cut short there, at a record this release cannot read.
    """

    events: list[Event] = field(default_factory=list)
    quarantined: list[tuple[Record, str]] = field(default_factory=list)
    columns: dict[str, pa.RecordBatch] = field(default_factory=dict)
    upto: int = 0
    unknown: UnknownSchema | None = None


def decode_batch(records: Sequence[Record], codec: Codec) -> Decoded:
    """Decode records of one partition, in order, up to the first of an unknown schema."""
    decoded = Decoded(upto=records[-1].position + 1)
    by_schema: dict[str, tuple[Schema, list[Record]]] = {}
    for record in records:
        try:
            schema = codec.schema_of(record)
        except Undecodable as error:
            decoded.quarantined.append((record, str(error)))
        except UnknownSchema as error:
            decoded.unknown = error
            decoded.upto = record.position
            break
        else:
            by_schema.setdefault(schema.schema_id, (schema, []))[1].append(record)
    for schema, group in by_schema.values():
        if _BULK_TOPICS.get(schema.name) == records[0].topic:
            _decode_bulk(decoded, schema, group, codec)
        else:
            for record in group:
                _decode_singly(decoded, schema, record)
    decoded.events.sort(key=lambda event: event.position)
    return decoded


def _decode_bulk(decoded: Decoded, schema: Schema, records: list[Record], codec: Codec) -> None:
    slow = records
    parts = []
    if schema.schema_id == codecs.current_schema(schema.name).schema_id:
        fast, slow = _fast_parts(schema, records)
        for taken, batch in fast:
            decoded.events.extend(_heads(schema, taken, batch))
            parts.append(_with_positions(batch, taken))
    well_formed = [(record, fact) for record in slow if (fact := _decode_singly(decoded, schema, record))]
    if well_formed:
        # The columns hold what was decoded, written anew; the hashes stay those of the body as it came.
        current = codecs.current_schema(schema.name)
        batch = _to_arrow(current, [codec.encode(fact).value for _, fact in well_formed])
        originals = [record for record, _ in well_formed]
        heads = {event.position: event for event in _heads(schema, originals, batch)}
        decoded.events[:] = [heads.get(event.position, event) for event in decoded.events]
        parts.append(_with_positions(batch, originals))
    if schema.name in decoded.columns:
        parts.append(decoded.columns[schema.name])
    if parts:
        whole = pa.concat_batches(parts)
        in_order = whole if len(parts) == 1 else whole.take(pc.sort_indices(whole.column("position")))
        decoded.columns[schema.name] = in_order


def _fast_parts(
    schema: Schema, records: list[Record]
) -> tuple[list[tuple[list[Record], pa.RecordBatch]], list[Record]]:
    """Return the stretches that may take the fast road, with their columns, and the records that must not."""
    batch = _fast_columns(schema, records)
    if batch is not None:
        return [(records, batch)], []
    if len(records) == 1:
        return [], records
    middle = len(records) // 2
    left, right = _fast_parts(schema, records[:middle]), _fast_parts(schema, records[middle:])
    return left[0] + right[0], left[1] + right[1]


def _fast_columns(schema: Schema, records: list[Record]) -> pa.RecordBatch | None:
    """Return the columns of bodies that are canonical and fine, all of them, else None."""
    try:
        values = [record.value for record in records]
        batch = _to_arrow(schema, values)
        # The decoder lets texts through that are not UTF-8.
        batch.validate(full=True)
        again = pyruhvro.serialize_record_batch(batch, schema.text, 1)
        same = pc.equal(pa.chunked_array(again).cast(pa.binary()), pa.array(values, pa.binary()))
        fine = pc.all(same).as_py() and surely_fine(schema.name, batch)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001 - a panic in the decoder is a BaseException
        return None
    return batch if fine else None


def _to_arrow(schema: Schema, values: list[bytes]) -> pa.RecordBatch:
    return pyruhvro.deserialize_array(values, schema.text)


def _with_positions(batch: pa.RecordBatch, records: list[Record]) -> pa.RecordBatch:
    positions = pa.array([record.position for record in records], pa.int64())
    recorded = pa.array([record.recorded_at for record in records], pa.int64())
    return batch.append_column("position", positions).append_column("recorded_at", recorded)


def _decode_singly(decoded: Decoded, schema: Schema, record: Record) -> facts.Fact | None:
    """Decode one record into an event, or into quarantine; return a bulk fact that is well-formed."""
    try:
        fact = codecs.decode_body(schema, record.value)
    except (Undecodable, InvalidInput) as error:
        decoded.quarantined.append((record, str(error)))
        return None
    problem = problem_of(fact)
    if problem is None and fact.topic != record.topic:
        problem = f"a {schema.name} belongs on the topic {fact.topic!r}, not {record.topic!r}"
    decoded.events.append(
        Event(
            topic=record.topic,
            partition=record.partition,
            position=record.position,
            recorded_at=record.recorded_at,
            type=schema.name,
            event_id=fact.event_id,
            occurred_at=fact.occurred_at,
            actor=fact.actor,
            subject=subject_of(fact),
            body_hash=_body_hash(record),
            fact=fact,
            problem=problem,
        )
    )
    return fact if schema.name in _BULK_TOPICS and problem is None else None


def subject_of(fact: facts.Fact) -> str:
    """Return what an event is about: a training, a deployment, a model's policy."""
    match fact:
        case facts.TrainingLogged() | facts.ValidationRequested():
            return fact.training.training_id
        case facts.PolicyPublished():
            return fact.policy.model
        case facts.RequestsPublished():
            return fact.requests.requests_id
        case facts.RulesAdopted():
            return str(fact.rules_version)
        case _:
            return next(str(getattr(fact, name)) for name in _SUBJECT_FIELDS if hasattr(fact, name))


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:32]


def _body_hash(record: Record) -> str:
    return record.value_sha256.hex()[:32] if record.value_sha256 else _digest(record.value)


def _content_hash(body: bytes) -> str:
    """Return the digest of what follows the envelope."""
    stream = BytesIO(body)
    fastavro.schemaless_reader(stream, _ENVELOPE, None)
    return _digest(body[stream.tell() :])


def _is_enveloped(schema: Schema) -> bool:
    """Tell whether bodies begin with the envelope, as in all that was ever released; published schemas may not."""
    first_fields = schema.plain["fields"][: len(_ENVELOPE_FIELDS)]
    return [(field["name"], field["type"]) for field in first_fields] == _ENVELOPE_FIELDS


def _heads(schema: Schema, records: list[Record], batch: pa.RecordBatch) -> list[Event]:
    found = (
        _training_heads(schema, records, batch) if schema.name == "TrainingLogged" else _chunk_heads(batch)
    )
    heads: list[tuple[TrainingHead | ChunkHead, str]] = [(head, head.training_id) for head in found]
    envelope = zip(
        records,
        batch.column("event_id").to_pylist(),
        batch.column("occurred_at").cast(pa.int64()).to_pylist(),
        batch.column("actor").to_pylist(),
        heads,
        strict=True,
    )
    return [
        Event(
            record.topic,
            record.partition,
            record.position,
            record.recorded_at,
            schema.name,
            event_id,
            occurred_at,
            actor,
            subject,
            _body_hash(record),
            head,
        )
        for record, event_id, occurred_at, actor, (head, subject) in envelope
    ]


def _training_heads(schema: Schema, records: list[Record], batch: pa.RecordBatch) -> list[TrainingHead]:
    training = batch.column("training")
    content_hash = _content_hash if _is_enveloped(schema) else _digest
    parameters = training.field("parameters")
    items = parameters.flatten()
    pairs = list(zip(items.field("name").to_pylist(), items.field("text").to_pylist(), strict=True))
    ends = pc.cumulative_sum(pc.list_value_length(parameters).cast(pa.int64())).to_pylist()
    starts = [0, *ends[:-1]]
    return [
        TrainingHead(training_id, model, tuple(pairs[start:end]), content_hash(record.value))
        for record, training_id, model, start, end in zip(
            records,
            training.field("training_id").to_pylist(),
            training.field("model").to_pylist(),
            starts,
            ends,
            strict=True,
        )
    ]


def _chunk_heads(batch: pa.RecordBatch) -> list[ChunkHead]:
    columns: list[list[Any]] = [
        batch.column(name).to_pylist() for name in ("training_id", "producer", "sequence")
    ]
    return [ChunkHead(*values) for values in zip(*columns, strict=True)]
