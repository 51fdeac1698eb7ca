"""The log: every record of every topic, one by one and as it grows."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Final

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response

from deedbook.events import facts
from deedbook.events.errors import InvalidInput, NotFound
from deedbook.projector.queries.journal import (
    QUARANTINED,
    Entries,
    Place,
    actors_and_types,
    entry,
    folded_ends,
    journal,
    neighbours,
)
from deedbook.projector.queries.timeline import Event
from deedbook.service.access.roles import Permission
from deedbook.service.web import asked
from deedbook.service.web.asking_log import log_of, wait_until_folded
from deedbook.service.web.followers import Followers, followers_of, read, written
from deedbook.service.web.pages import Page
from deedbook.service.web.records import UNFOLDED, event_of, plain, subject_href, told
from deedbook.service.web.rendering import environment, page, service_of

if TYPE_CHECKING:
    from deedbook.events.codec import Codec
    from deedbook.events.log import Log, Record

PAGE_SIZE: Final = 100
_KNOWN_ACTORS: Final = 200
_DECISIONS: Final = ("accepted", "rejected", "ignored", QUARANTINED)
_TYPES: Final = tuple(sorted(kind.__name__ for kind in facts.Fact.__subclasses__()))
_READ_SECONDS: Final = 5.0
_HEARTBEAT_SECONDS: Final = 10.0
_SEND_SECONDS: Final = 15.0
_COME_AGAIN_MILLISECONDS: Final = 2_000
_ANYWHERE: Final = {"before": None, "after": None}


def log(request: Request) -> Response:
    """Return a page of the log, newest first."""
    entries = _entries(request)
    before, after = (_place(request.query_params.get(name, ""), name) for name in ("before", "after"))
    service = service_of(request)
    if (place := before or after) is not None:
        wait_until_folded(request, place.position, topic=place.topic, partition=place.partition)
    with service.live.reading() as connection:
        actors, _ = actors_and_types(connection, most=_KNOWN_ACTORS)
        ends = folded_ends(connection)
        found = journal(connection, entries, before=before, after=after, limit=PAGE_SIZE)
    folded = entries.topic not in UNFOLDED
    partitions = 1 if folded else log_of(request).ask(lambda log: log.partitions(entries.topic))
    partition = 0 if partitions == 1 else asked.whole(request.query_params, "partition", most=partitions - 1)
    older = _place_of(found[-1]) if found and _goes_on(found, before, after) else None
    if not folded:
        # Of all partitions there is one page.
        within = {"before": before, "after": after} if partition is not None else _ANYWHERE
        found, older = log_of(request).ask(
            lambda log: _unfolded(log, service.codec, entries, partition, **within)
        )
    return page(
        request,
        "log.html",
        entries=entries,
        events=found,
        newer=_place_of(found[0]) if found else after,
        older=older,
        partitions=partitions,
        partition=partition,
        at_end=before is None and after is None,
        after=after,
        follow=folded,
        ends=written(ends),
        actors=actors,
        topics=facts.TOPICS,
        types=_TYPES,
        decisions=_DECISIONS,
        subject_href=subject_href,
        page_size=PAGE_SIZE,
    )


def _goes_on(found: tuple[Event, ...], before: Place | None, after: Place | None) -> bool:
    return len(found) >= PAGE_SIZE or (before is None and after is not None)


def _entries(request: Request) -> Entries:
    query = request.query_params
    return Entries(
        topic=_one_of(query.get("topic", ""), "topic", facts.TOPICS),
        type=_one_of(query.get("type", ""), "type", _TYPES),
        subject=asked.name(query, "subject") or "",
        actor=asked.name(query, "actor") or "",
        decision=_one_of(query.get("decision", ""), "decision", _DECISIONS),
        since=asked.moment(query, "since"),
        until=asked.moment(query, "until"),
    )


def _one_of(text: str, name: str, known: tuple[str, ...]) -> str:
    if text and text not in known:
        raise InvalidInput(f"the {name} {text[:60]!r} is none of {', '.join(known)}")
    return text


def _place(text: str, name: str) -> Place | None:
    """Return a place on the log, None where none is given. Raises InvalidInput."""
    if not text:
        return None
    topic, _, rest = text.partition(":")
    partition, _, position = rest.partition(":")
    numbers = all(
        part.isascii() and part.isdigit() and len(part) < limit
        for part, limit in ((partition, 10), (position, 19))
    )
    if topic not in facts.TOPICS or not numbers:
        raise InvalidInput(f"{name} {text[:60]!r} is no place on the log: write it as registry:0:219")
    return Place(topic, int(partition), int(position))


def _place_of(event: Event) -> Place:
    return Place(event.topic, event.partition, event.position)


# --- what is never folded ------------------------------------------------------------------------


def _unfolded(
    log: Log,
    codec: Codec,
    entries: Entries,
    partition: int | None,
    *,
    before: Place | None,
    after: Place | None,
) -> tuple[tuple[Event, ...], Place | None]:
    """Return records of a topic that others follow, from the log itself, newest first, and before what older ones are.

    Within a partition positions page, so a filter may leave few; of all partitions there are only the newest.
    """
    found: list[Event] = []
    older: Place | None = None
    for (_, one), end in log.ends([entries.topic]).items():
        if partition not in {None, one}:
            continue
        upto = min(end, before.position) if before is not None else end
        start = after.position + 1 if after is not None else max(0, upto - PAGE_SIZE)
        older = Place(entries.topic, one, start) if partition is not None and start else None
        found += [event_of(record, codec) for record in _read(log, entries.topic, one, start, upto)]
    kept = sorted(
        filter(entries.hold, found), key=lambda event: (event.recorded_at, event.partition, event.position)
    )
    return tuple(reversed(kept[-PAGE_SIZE:])), older


def _read(log: Log, topic: str, partition: int, start: int, end: int) -> list[Record]:
    found: list[Record] = []
    while start < end and len(found) < PAGE_SIZE:
        records = log.read(topic, partition, start, max_records=PAGE_SIZE, timeout_seconds=_READ_SECONDS)
        found += [record for record in records if record.position < end]
        if not records:
            break
        start = records[-1].position + 1
    return found


# --- one record ----------------------------------------------------------------------------------


def record(request: Request) -> Response:
    """Return one record: what it says, what was decided on it, and its bytes."""
    place = _place_in_path(request)
    service = service_of(request)
    found, end = log_of(request).ask(lambda log: _record(log, place))
    with service.live.reading() as connection:
        event = entry(connection, place)
        earlier, later = neighbours(connection, place)
    whole = told(found, service.codec)
    if place.topic in UNFOLDED:
        earlier = place.position - 1 if place.position else None
        later = place.position + 1 if place.position + 1 < end else None
    return page(
        request,
        "record.html",
        place=place,
        told=whole,
        event=event or event_of(found, service.codec),
        folded=event is not None,
        foldable=place.topic not in UNFOLDED,
        earlier=earlier,
        later=later,
        claimed=not service.access.required,
        subject_href=subject_href,
    )


def record_json(request: Request) -> Response:
    """Return one record's decoded body as JSON."""
    service = service_of(request)
    place = _place_in_path(request)
    found, _ = log_of(request).ask(lambda log: _record(log, place))
    fact = service.codec.decode(found)
    body = json.dumps(plain(fact), ensure_ascii=False, allow_nan=False)
    return Response(body, media_type="application/json", headers={"cache-control": "no-store"})


def _place_in_path(request: Request) -> Place:
    path = request.path_params
    found = _place(f"{path['topic']}:{path['partition']}:{path['position']}", "the address")
    assert found is not None  # noqa: S101 - the path has all three
    return found


def _record(log: Log, place: Place) -> tuple[Record, int]:
    """Return a record, and where its partition ends. Raises NotFound."""
    if place.partition < log.partitions(place.topic):
        end = log.end(place.topic, place.partition)
        if place.position < end:
            records = log.read(
                place.topic, place.partition, place.position, max_records=1, timeout_seconds=_READ_SECONDS
            )
            if records and records[0].position == place.position:
                return records[0], end
    raise NotFound(f"there is no record at {place}")


# --- as it grows ---------------------------------------------------------------------------------


async def stream(request: Request) -> Response:
    """Return what is recorded from a place on, as server-sent events: rows of the log's table.

    The last event's id, or `after`, says where to go on.
    """
    entries = _entries(request)
    after = request.headers.get("last-event-id") or request.query_params.get("after", "")
    since = read(after) if after else None
    return EventSourceResponse(
        _told(followers_of(request), entries, since),
        ping=_HEARTBEAT_SECONDS,
        send_timeout=_SEND_SECONDS,
        headers={"cache-control": "no-store"},
    )


async def _told(
    followers: Followers, entries: Entries, since: dict[tuple[str, int], int] | None
) -> AsyncGenerator[ServerSentEvent, None]:
    yield ServerSentEvent(event="begun", data="", retry=_COME_AGAIN_MILLISECONDS)
    rows = environment().get_template("log_rows.html").module.rows  # type: ignore[attr-defined] # the template's macro
    async for news in followers.follow(since):
        wanted = [event for event in reversed(news.events) if entries.hold(event)]
        data = str(rows(wanted, subject_href)) if wanted else ""
        yield ServerSentEvent(
            event="records", id=written(news.ends), data=json.dumps({"count": len(wanted), "rows": data})
        )


_RECORD: Final = "/log/{topic}/{partition:int}/{position:int}"
PAGES: Final = (
    Page(path="/log", endpoint=log, permission=Permission.READ),
    Page(path="/log/stream", endpoint=stream, permission=Permission.READ),
    Page(path=_RECORD, endpoint=record, permission=Permission.READ),
    Page(path=f"{_RECORD}/body.json", endpoint=record_json, permission=Permission.READ),
)
