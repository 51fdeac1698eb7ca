"""What happened, as subscribers are told of it: heads from the projection, facts from the log, messages of both.

All here waits for files: it runs in the streams' own threads, never in the loop.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from deedbook.api.messages import to_message
from deedbook.api.v1 import registry_pb2 as pb
from deedbook.events import facts
from deedbook.events.errors import DeedbookError, NotFound, Undecodable
from deedbook.projector.queries.deployments import deployment_with_id
from deedbook.projector.queries.heads import Head, Stretch, heads
from deedbook.service.rpc.limits import MAX_ANSWER_BYTES
from deedbook.service.rpc.wanted import About, about

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb

    from deedbook.events.facts import Fact
    from deedbook.events.log import Record
    from deedbook.service.context import Service
    from deedbook.service.rpc.wanted import Wanted

_LOG = logging.getLogger(__name__)
# Records that lie so close are read in one go.
_NEAR = 16
_MAX_BYTES = 4 << 20
_DECISIONS = {"accepted": pb.DECISION_ACCEPTED, "rejected": pb.DECISION_REJECTED}
# The fields of an event's fact, by the type that belongs there.
_PLACES = {
    field.message_type.name: field.name
    for field in pb.SubscribedEvent.DESCRIPTOR.oneofs_by_name["fact"].fields
    if field.message_type is not None
}


@dataclass(frozen=True, slots=True)
class Happening:
    """An event as it is streamed; the same messages serve all subscribers."""

    partition: int
    position: int
    type: str
    decision: str
    about: About
    message: pb.SubscribeResponse
    without_fact: pb.SubscribeResponse
    size_bytes: int


def happened(service: Service, wanted: Sequence[Wanted], stretch: Stretch) -> tuple[list[Happening], int]:
    """Return the events of a stretch that any of these may want, and up to where they reach.

    They are of one topic. What is more than so many at once, or than some megabytes, is asked for next. Raises
    LogUnavailable, ProjectionBusy, DeadlineExceeded.
    """
    if stretch.topic == facts.DEPLOYMENTS:
        return _announced(service, stretch)
    with service.live.reading() as connection:
        maybe, upto = _heads(connection, wanted, stretch)
    found: list[Happening] = []
    size_bytes = 0
    by_position = {head.position: head for head in maybe}
    for record in _records(service, stretch, list(by_position)):
        happening = _happening(service, record, by_position[record.position])
        found.append(happening)
        size_bytes += happening.size_bytes
        if size_bytes >= _MAX_BYTES:
            return found, record.position + 1
    return found, upto


def _heads(
    connection: duckdb.DuckDBPyConnection, wanted: Sequence[Wanted], stretch: Stretch
) -> tuple[list[Head], int]:
    """Return the heads that any of these may want, and up to where they reach."""
    every = any(not each.types for each in wanted)
    found, upto = heads(
        connection,
        stretch,
        decisions={decision for each in wanted for decision in each.decisions},
        types=() if every else {type_ for each in wanted for type_ in each.types},
        with_models=any(each.models for each in wanted),
    )
    maybe = [h for h in found if any(each.may_want(h.type, h.decision, h.model) for each in wanted)]
    return maybe, upto


def _records(service: Service, stretch: Stretch, positions: Sequence[int]) -> Iterator[Record]:
    """Read the records at these positions, which ascend, together where they lie close."""
    wanted = set(positions)
    gaps = [(before, after) for before, after in pairwise(positions) if after - before > _NEAR]
    starts = [*positions[:1], *(after for _, after in gaps)]
    ends = [*(before for before, _ in gaps), *positions[-1:]]
    for start, last in zip(starts, ends, strict=True):
        position = start
        while position <= last:
            records = service.log.read(
                stretch.topic,
                stretch.partition,
                position,
                max_records=last + 1 - position,
                max_bytes=_MAX_BYTES,
            )
            if not records:
                raise DeedbookError(
                    f"{stretch.topic}:{stretch.partition}:{position} was folded, but the log doesn't hold it"
                )
            yield from (record for record in records if record.position in wanted)
            position = records[-1].position + 1


def _announced(service: Service, stretch: Stretch) -> tuple[list[Happening], int]:
    """Return the announcements that say what the fold decided; anybody may have written the others."""
    records = service.log.read(
        facts.DEPLOYMENTS,
        stretch.partition,
        stretch.start,
        max_records=min(stretch.most, stretch.end - stretch.start),
        max_bytes=_MAX_BYTES,
    )
    if not records:
        return [], stretch.end
    found: list[Happening] = []
    folded, registry_end = service.live.position, service.log.end(facts.REGISTRY)
    for record in records:
        try:
            fact = service.codec.decode(record)
        except Undecodable:
            continue
        if not isinstance(fact, facts.DeploymentCreated | facts.DeploymentRejected):
            continue
        if folded <= fact.requested_at_position < registry_end:
            return found, record.position  # decided, but not yet here
        with service.live.reading() as connection:
            true = _is_true(connection, fact)
        if not true:
            continue
        head = Head(
            position=record.position,
            event_id=fact.event_id,
            type=type(fact).__name__,
            subject=fact.deployment_id,
            actor=fact.actor,
            recorded_at=record.recorded_at,
            decision="",
            reason="",
        )
        found.append(_told(head, stretch.partition, fact))
    return found, records[-1].position + 1


def _is_true(
    connection: duckdb.DuckDBPyConnection, said: facts.DeploymentCreated | facts.DeploymentRejected
) -> bool:
    """Tell whether an announcement says what the fold decided, of these models with these files."""
    try:
        decided = deployment_with_id(connection, said.deployment_id)
    except NotFound:
        return False
    names = (decided.service, decided.environment, decided.release)
    if names != (said.service, said.environment, said.release):
        return False
    if isinstance(said, facts.DeploymentRejected):
        return decided.decision == "rejected" and decided.position == said.requested_at_position
    if not _became_current(connection, said.deployment_id, said.requested_at_position):
        return False
    bound = {(m.model, m.training_id, m.version, m.artifact_sha256) for m in decided.models}
    told = {(m.model, m.training_id, m.version, m.artifact.sha256) for m in said.models}
    return decided.decision == "accepted" and bound == told


def _became_current(connection: duckdb.DuckDBPyConnection, deployment_id: str, position: int) -> bool:
    """Tell whether a deployment's release became the current one at a position: when it was bound, or by a rollback."""
    row = connection.execute(
        "select 1 from main.releases_live where deployment_id = ? and from_position = ?",
        [deployment_id, position],
    ).fetchone()
    return row is not None


def _happening(service: Service, record: Record, head: Head) -> Happening:
    try:
        fact = service.codec.decode(record)
    except (
        DeedbookError
    ):  # folded by a release that could read it, or changed since: its head is what is known
        _LOG.warning("%s:%s:%s can't be read", record.topic, record.partition, record.position)
        return _told(head, record.partition, None, topic=record.topic)
    return _told(head, record.partition, fact)


def _told(head: Head, partition: int, fact: Fact | None, topic: str = "") -> Happening:
    """Return an event with its messages."""
    event = pb.SubscribedEvent(
        topic=fact.topic if fact is not None else topic,
        partition=partition,
        position=head.position,
        event_id=head.event_id,
        type=head.type,
        subject=head.subject,
        actor=head.actor,
        decision=_DECISIONS.get(head.decision, pb.DECISION_UNSPECIFIED),
    )
    event.recorded_at.FromMicroseconds(head.recorded_at)
    if head.reason:
        event.reason = head.reason
    without_fact = pb.SubscribeResponse(event=event)
    message = pb.SubscribeResponse(event=event)
    if fact is None or not _put_in(message.event, fact) or message.ByteSize() > MAX_ANSWER_BYTES:
        message = without_fact
    subject = About() if fact is None else about(fact, head.model)
    return Happening(
        partition=partition,
        position=head.position,
        type=head.type,
        decision=head.decision,
        about=subject,
        message=message,
        without_fact=without_fact,
        size_bytes=message.ByteSize(),
    )


def _put_in(event: pb.SubscribedEvent, fact: Fact) -> bool:
    """Put what happened where its type has its place; return False where the interface has no words for it."""
    name = _PLACES.get(type(fact).__name__)
    if name is None:
        return False
    place = getattr(event, name)
    try:
        place.CopyFrom(to_message(fact, type(place)))
    except DeedbookError:
        # What was rejected for its form may hold times that no message can.
        return False
    return True
