"""Bindings: what each release is bound to, answered from memory.

Serving hosts ask for little else, and all at once when they start: the answer must not wait for anybody.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from deedbook.api.messages import to_message
from deedbook.api.v1 import registry_pb2 as pb
from deedbook.events.errors import DeadlineExceeded
from deedbook.events.facts import DeploymentRequested, ReleaseActivated
from deedbook.projector.queries import binding

if TYPE_CHECKING:
    import duckdb

    from deedbook.projector.queries import Deployment
    from deedbook.projector.store import Batch
    from deedbook.service.live import Live

Release: TypeAlias = tuple[str, str, str]
"""A service, an environment, a release."""

_MAX_REMEMBERED = 10_000
_CHANGING = frozenset({DeploymentRequested.__name__, ReleaseActivated.__name__})


@dataclass(slots=True)
class _Known:
    """A deployment that is remembered, and the message that says it, once somebody asked for that."""

    deployment: Deployment
    message: pb.Deployment | None = None


class Bindings:
    """The deployments that were asked for since the last one was decided; all are dropped with the next."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._lock = threading.Lock()
        self._known: OrderedDict[Release, _Known] = OrderedDict()
        # Who is being asked for now: hosts start together, and one question answers them all. One that is no longer
        # here was asked before the last decision: its answer must not be remembered after.
        self._asked: dict[Release, asyncio.Task[Deployment]] = {}
        live.heard.append(self._hear)

    def get(self, service: str, environment: str, release: str) -> Deployment | None:
        """Return the deployment of a release if it is remembered; at once, so in an event loop too."""
        known = self._known.get((service, environment, release))
        return None if known is None else known.deployment

    def message(self, service: str, environment: str, release: str) -> tuple[pb.Deployment, int] | None:
        """Return what `get` does as the interface says it, made once, and the position as of which that is so."""
        position = self._live.position
        known = self._known.get((service, environment, release))
        if known is None:
            return None
        if known.message is None:
            known.message = to_message(known.deployment, pb.Deployment)
        return known.message, position

    async def of(
        self, service: str, environment: str, release: str, *, timeout_seconds: float = 10.0
    ) -> tuple[Deployment, int]:
        """Return the deployment of a release, and the position as of which that is so.

        Suspends only where it is not remembered; all who ask for it then wait for one answer. Raises NotFound,
        DeadlineExceeded, ProjectionBusy.
        """
        position = self._live.position
        found = self.get(service, environment, release)
        if found is None:
            asking = self._asking((service, environment, release))
            try:
                async with asyncio.timeout(timeout_seconds):
                    # Who gives up leaves the question to the others.
                    found = await asyncio.shield(asking)
            except TimeoutError:
                raise DeadlineExceeded(
                    f"what release {release!r} is bound to was not found out within {timeout_seconds:.1f} s: ask again"
                ) from None
        return found, position

    def _asking(self, release: Release) -> asyncio.Task[Deployment]:
        """Return who asks for a release now; begun anew once a deployment was decided since."""
        with self._lock:
            asking = self._asked.get(release)
            if asking is None:
                asking = asyncio.create_task(self._ask(release))
                self._asked[release] = asking
                asking.add_done_callback(functools.partial(self._answered, release))
            return asking

    async def _ask(self, release: Release) -> Deployment:
        service, environment, name = release

        def question(connection: duckdb.DuckDBPyConnection) -> Deployment:
            return binding(connection, service, name, environment)

        return await self._live.ask(question)

    def _answered(self, release: Release, asked: asyncio.Task[Deployment]) -> None:
        # Looked at here, for where nobody waits any more, nobody is to be told of an error.
        failed = asked.cancelled() or asked.exception() is not None
        with self._lock:
            if self._asked.get(release) is not asked:
                return
            del self._asked[release]
            if not failed:
                self._known[release] = _Known(asked.result())
                if len(self._known) > _MAX_REMEMBERED:
                    self._known.popitem(last=False)

    def _hear(self, batch: Batch) -> None:
        if any(event.type in _CHANGING for event, _ in batch.decided):
            with self._lock:
                self._known.clear()
                self._asked.clear()
