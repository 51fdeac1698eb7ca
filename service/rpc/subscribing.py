"""Subscriptions: events as they are decided, from any position on, until their caller ends it.

A subscriber first reads what it lacks, then follows the topic's tail with all others. In between, and whenever more
waits for it than is kept, it reads from the log again: nothing twice, nothing left out.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from deedbook.api.v1 import registry_pb2 as pb
from deedbook.events.errors import InvalidInput, ServiceEnding
from deedbook.service.rpc.fields import given
from deedbook.service.rpc.limits import (
    DEFAULT_HEARTBEAT_SECONDS,
    MAX_FILTERS,
    MAX_HEARTBEAT_SECONDS,
)
from deedbook.service.rpc.sinks import Ended
from deedbook.service.rpc.subscriptions import Subscription
from deedbook.service.rpc.wanted import wanted_by

if TYPE_CHECKING:
    from deedbook.service.rpc.calls import Call
    from deedbook.service.rpc.happenings import Happening
    from deedbook.service.rpc.sinks import Sink
    from deedbook.service.rpc.tails import Tail

_NOT_YET_SECONDS = 0.05


async def subscribe(call: Call, request: pb.SubscribeRequest, sink: Sink) -> None:
    """Stream events of a topic as they are decided."""
    wanted = wanted_by(request)
    heartbeat_seconds = request.heartbeat_seconds or DEFAULT_HEARTBEAT_SECONDS
    if not 1 <= heartbeat_seconds <= MAX_HEARTBEAT_SECONDS:
        raise InvalidInput(f"heartbeats come every 1 to {MAX_HEARTBEAT_SECONDS} seconds")
    nexts = _nexts(request)
    tail = await call.means.tails.tail(wanted.topic)
    if request.only_new:
        nexts = dict(await call.means.tails.ends(wanted.topic))
    stream = _Stream(call, request, sink, Subscription(wanted, nexts), heartbeat_seconds)
    sink.on_end = stream.subscription.wake
    try:
        await stream.follow(tail)
    except Ended as end:
        raise Ended(end.code, f"{end.sentence}; {stream.where_to_resume()}") from None
    except ServiceEnding as end:
        raise ServiceEnding(f"{end}; {stream.where_to_resume()}") from None
    finally:
        tail.leave(stream.subscription)


def _nexts(request: pb.SubscribeRequest) -> dict[int, int]:
    """Return the first position that is wanted of each partition that one is given for. Raises InvalidInput."""
    after = given(request, "after_position")
    if request.only_new and (after is not None or request.after):
        raise InvalidInput("begin after a position, or with what is new: not both")
    if len(request.after) > MAX_FILTERS:
        raise InvalidInput(f"after has {len(request.after):,} entries, over the limit of {MAX_FILTERS}")
    nexts = {} if after is None else {0: after + 1}
    for one in request.after:
        if one.partition < 0 or nexts.setdefault(one.partition, one.position + 1) != one.position + 1:
            raise InvalidInput(f"two positions are given for partition {one.partition}")
    if any(position < 0 for position in nexts.values()):
        raise InvalidInput("positions are counted from 0; -1 is before the first")
    return nexts


class _Stream:
    """One subscriber's stream."""

    def __init__(
        self,
        call: Call,
        request: pb.SubscribeRequest,
        sink: Sink,
        subscription: Subscription,
        heartbeat_seconds: int,
    ) -> None:
        self.subscription = subscription
        self._call = call
        self._sink = sink
        self._with_facts = not request.omit_facts
        self._heartbeat_seconds = heartbeat_seconds
        self._heard_at = float("-inf")

    async def follow(self, tail: Tail) -> None:
        """Send what is lacking, then what comes, with a sign of life where nothing does."""
        while True:
            self._sink.go_on()
            if self.subscription.behind:
                await self._catch_up(tail)
            while (happening := self.subscription.take()) is not None:
                await self._send(happening)
            quiet_seconds = time.monotonic() - self._heard_at
            if quiet_seconds >= self._heartbeat_seconds:
                await self._sink.send(self._heartbeat())
                self._heard_at = time.monotonic()
                quiet_seconds = 0.0
            await self.subscription.something(self._heartbeat_seconds - quiet_seconds)

    async def _catch_up(self, tail: Tail) -> None:
        """Read up to the topic's tail, and follow it from there."""
        while not await tail.join(self.subscription):
            before = dict(self.subscription.nexts)
            for partition, end in list(tail.nexts.items()):
                await self._read(partition, end)
            if self.subscription.nexts == before:  # what comes next was announced, and is not folded here yet
                await asyncio.sleep(_NOT_YET_SECONDS)

    async def _read(self, partition: int, end: int) -> None:
        """Send what a partition has before a position, as far as it is there."""
        nexts = self.subscription.nexts
        while (start := nexts.get(partition, 0)) < end:
            self._sink.go_on()
            for happening in await self._call.means.tails.caught_up(self.subscription, partition, end):
                await self._send(happening)
            if nexts.get(partition, 0) == start:
                return

    async def _send(self, happening: Happening) -> None:
        await self._sink.send(happening.message if self._with_facts else happening.without_fact)
        self.subscription.told(happening.partition, happening.position)
        self._heard_at = time.monotonic()

    def _heartbeat(self) -> pb.SubscribeResponse:
        now = Timestamp()
        now.FromMicroseconds(self._call.service.writer.clock())
        nexts = self.subscription.nexts
        heartbeat = pb.Heartbeat(
            position=nexts.get(0, 0) - 1,
            time=now,
            positions=[
                pb.PartitionPosition(partition=partition, position=position - 1)
                for partition, position in sorted(nexts.items())
                if position > 0
            ],
        )
        return pb.SubscribeResponse(heartbeat=heartbeat)

    def where_to_resume(self) -> str:
        """Return the end of a sentence: from where on a new subscription takes up this one."""
        nexts = self.subscription.nexts
        if set(nexts) <= {0}:
            return f"resume after position {nexts.get(0, 0) - 1}"
        of_each = ", ".join(
            f"{position - 1} of partition {partition}" for partition, position in sorted(nexts.items())
        )
        return f"resume after position {of_each}"
