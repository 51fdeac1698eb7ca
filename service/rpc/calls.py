"""One call of the interface: who calls, until when, and what every answer needs from the service."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from deedbook.events.errors import DeadlineExceeded, InvalidInput, NotFound, RequestRejected
from deedbook.projector.queries.paging import registry_position
from deedbook.service.access.access import NOBODY
from deedbook.service.rpc.fields import id_given

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import duckdb
    from google.protobuf.message import Message

    from deedbook.events.facts import Fact
    from deedbook.service.access.roles import Caller, Permission
    from deedbook.service.context import Service
    from deedbook.service.rpc.means import Means
    from deedbook.service.writing import Answer, Envelope

T = TypeVar("T")
_LARGE_BYTES: Final = 32 << 10
_TO_SAY_SECONDS: Final = 0.1
_TO_SAY_SHARE: Final = 0.2


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was let in. ``deadline`` is on ``time.monotonic()``'s clock: the caller's, or the service's own."""

    service: Service
    caller: Caller
    peer: str
    deadline: float
    means: Means

    def left(self, most_seconds: float = float("inf")) -> float:
        """Return the seconds that are left. Raises DeadlineExceeded where none are."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded("the call's time is up")
        return min(left, most_seconds)

    @property
    def actor(self) -> str:
        """In whose name the call writes: the token's, what is claimed on an open service, else the caller's machine."""
        if self.caller.authenticated or self.caller.name != NOBODY:
            return self.caller.name
        return f"{NOBODY}@{self.peer}"

    def envelope(self, request_id: str) -> Envelope:
        """Return what the fact of this call carries. Raises InvalidInput for an id that is no UUID."""
        return self.service.writer.envelope(self.actor, request_id and id_given(request_id, "request_id"))

    async def ask(
        self,
        question: Callable[[duckdb.DuckDBPyConnection], T],
        *,
        min_position: int | None = None,
        most_seconds: float | None = None,
    ) -> tuple[T, int]:
        """Return what a question answers, and the last registry position that the answer takes into account."""
        await self.reached(min_position)

        def with_position(connection: duckdb.DuckDBPyConnection) -> tuple[T, int]:
            # Asked first: the answer may hold more than it says, and never less.
            position = registry_position(connection) - 1
            return question(connection), position

        limit = self.service.settings.limits.query_seconds if most_seconds is None else most_seconds
        return await self.service.live.ask(with_position, timeout_seconds=self.left(limit))

    async def reached(self, min_position: int | None) -> None:
        """Wait until all up to a registry position is folded. Raises DeadlineExceeded, InvalidInput."""
        if min_position is None:
            return
        if min_position < 0:
            raise InvalidInput(f"min_position is {min_position}: positions are counted from 0")
        if self.service.live.position <= min_position:
            await self.service.live.reached(min_position, timeout_seconds=self.left())

    async def decided(self, fact: Fact) -> Answer:
        """Append a fact and return the fold's answer. Raises RequestRejected, with the position, and as the writer."""
        answer = await self.service.writer.decide(fact, timeout_seconds=self.left())
        if answer.decision == "rejected":
            raise RequestRejected(answer.reason, position=answer.position)
        return answer

    async def made(self, request: Message, make: Callable[[], T]) -> T:
        """Return what is made of a request: of a large one in a thread, so that others are answered meanwhile."""
        return await asyncio.to_thread(make) if request.ByteSize() > _LARGE_BYTES else make()

    def check(self, permission: Permission, models: Collection[str]) -> None:
        """Refuse writing for models that the caller's token does not hold for. Raises PermissionRefused."""
        self.service.access.check(self.caller, permission, models)

    async def check_training(
        self, permission: Permission, training_id: str, *, may_be_unknown: bool = False
    ) -> None:
        """Refuse writing about a training of another model than the token holds for.

        Raises PermissionRefused, and NotFound for a training that is not folded here: whose it is can't be told.
        """
        if not self.caller.models:
            return

        def question(connection: duckdb.DuckDBPyConnection) -> list[str]:
            found = connection.execute(
                "select model from base.training where training_id = $1 union select model from base.run "
                "where training_id = $1",
                [training_id],
            ).fetchall()
            return [str(model) for (model,) in found]

        models, _ = await self.ask(question)
        if not models and not may_be_unknown:
            raise NotFound(f"there is no training {training_id} here, or not yet")
        self.check(permission, models)


def peer_host(peer: str) -> str:
    """Return the machine in gRPC's name of a peer: `ipv4:127.0.0.1:5310` is 127.0.0.1; ports change by the call."""
    kind, _, rest = peer.partition(":")
    if kind not in {"ipv4", "ipv6"}:
        return kind or "unknown"
    return rest.rpartition(":")[0].replace("%5B", "").replace("%5D", "").strip("[]") or "unknown"


def seconds_of(context: Any, most_seconds: float) -> float:  # noqa: ANN401 - grpc's context
    """Return the seconds a call may take: the caller's, less a little for saying that they are up, or the service's."""
    remaining = context.time_remaining()
    if remaining is None:
        return most_seconds
    seconds = max(0.0, float(remaining))
    return min(seconds - min(_TO_SAY_SECONDS, seconds * _TO_SAY_SHARE), most_seconds)
