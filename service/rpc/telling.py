"""Calls that tell: a story, the events of the log, and how the service is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.timestamp_pb2 import Timestamp

import deedbook
from deedbook.api.messages import to_message
from deedbook.api.v1 import registry_pb2 as pb
from deedbook.events.errors import InvalidInput
from deedbook.events.facts import REGISTRY
from deedbook.events.names import shown
from deedbook.projector import queries
from deedbook.projector.queries.listing import EventQuery, event_page
from deedbook.projector.store import FOLDED_TOPICS
from deedbook.service.rpc.decisions import WORDS
from deedbook.service.rpc.fields import given, name_in, text_given
from deedbook.service.rpc.pages import Listing, page_of
from deedbook.service.rpc.wanted import types_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from deedbook.service.rpc.calls import Call
    from deedbook.service.rpc.page_tokens import Mark


async def explain(call: Call, request: pb.ExplainRequest) -> pb.ExplainResponse:
    """Tell the whole story of a training, a run or a deployment."""
    text = text_given(request.subject, "subject")

    def question(connection: duckdb.DuckDBPyConnection) -> pb.Story:
        return to_message(queries.explain(connection, text), pb.Story)

    story, position = await call.ask(question, min_position=given(request, "min_position"))
    return pb.ExplainResponse(position=position, story=story)


async def list_events(call: Call, request: pb.ListEventsRequest) -> pb.ListEventsResponse:
    """List events of the log, in order or the newest first."""
    query = _events_wanted(request)

    def rows(connection: duckdb.DuckDBPyConnection, after: Mark | None, most: int) -> Sequence[queries.Event]:
        past = None if after is None else (int(after[0]), int(after[1]))
        return event_page(connection, query, past=past, limit=most)

    listing = Listing(
        rows=rows, mark=lambda event: (event.position, event.partition), like=(0, 0), entry=pb.Event
    )
    page = await page_of(call, request, listing)
    return pb.ListEventsResponse(
        position=page.position, events=page.entries, next_page_token=page.next_page_token
    )


def _events_wanted(request: pb.ListEventsRequest) -> EventQuery:
    topic = request.topic or REGISTRY
    if topic not in FOLDED_TOPICS:
        raise InvalidInput(f"the topic is {shown(topic)}, not one of {', '.join(FOLDED_TOPICS)}")
    if request.decision and request.decision not in WORDS:
        raise InvalidInput(f"no event is decided like {request.decision}")
    after = given(request, "after_position")
    return EventQuery(
        topic=topic,
        after=-1 if after is None else max(-1, after),
        types=sorted(types_of(request.types)),
        subject=name_in(request, "subject"),
        actor=name_in(request, "actor"),
        decision=WORDS.get(request.decision),
        newest_first=request.newest_first,
    )


async def get_status(call: Call, request: pb.GetStatusRequest) -> pb.GetStatusResponse:
    """Answer how the service is; at once, whatever else it does."""
    del request
    service = call.service
    health = service.live.health()
    partitions = [
        pb.PartitionStatus(
            topic=topic, partition=partition, end=end, folded=health.folded.get((topic, partition), 0)
        )
        for (topic, partition), end in sorted(health.ends.items())
    ]
    return pb.GetStatusResponse(
        position=service.live.position - 1,
        version=deedbook.__version__,
        rules_version=health.rules_version,
        log_reachable=health.log_reachable,
        partitions=partitions,
        quarantined=health.quarantined,
        pending_validations=health.pending,
        started_at=_timestamp(call.means.began_at),
        time=_timestamp(service.writer.clock()),
    )


def _timestamp(micros: int) -> Any:  # noqa: ANN401 - a message, whose types are of two minds
    moment = Timestamp()
    moment.FromMicroseconds(micros)
    return moment
