"""Following: one process keeps a projection at the log's end for as long as it is wanted."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deedbook.events.facts import REGISTRY
from deedbook.projector.snapshot import publish

if TYPE_CHECKING:
    from collections.abc import Callable

    from deedbook.events.log import Log, Record
    from deedbook.projector.loop import Projector
    from deedbook.projector.projection import Projection
    from deedbook.projector.store import Store

# The other topics are looked at this often while nothing happens on `registry`, which is waited for.
_WAIT_SECONDS = 0.2
_AT_ONCE = 1_000
# Folding much, it looks up this often: whoever asks for the projection, or for an end, waits no longer.
_STRETCH_SECONDS = 0.5
# A snapshot takes at most this part of the time: the larger the projection, the rarer.
_SNAPSHOT_SHARE = 0.05
_SNAPSHOT_SECONDS = 1.0
# Best made when nothing happens, for it holds up what does; when something happens all the time, late.
_SNAPSHOT_LATE_SECONDS = 30.0


@dataclass(slots=True)
class Following:
    """A projection that is kept at the log's end; others in the same folder get their turns between.

    ``remind`` is called every ``remind_seconds`` with the projection: some things are due by time alone.
    ``told`` is called when all is folded that was there, with the position after the last registry event.
    """

    projection: Projection
    log: Log
    remind: Callable[[Store], None]
    told: Callable[[int], None]
    remind_seconds: float = 5.0
    _owed: bool = True
    _stale: bool = True
    _remind_at: float = 0.0
    _snapshot_at: float = 0.0

    def run(self, stop: Callable[[], bool]) -> None:
        """Follow until ``stop`` says so, asked several times a second.

        Raises ProjectionBusy, LogUnavailable (to be run again: nothing is lost), and what folding raises.
        """
        while not stop():
            with self.projection.opened() as (store, projector):
                # Who had a turn meanwhile may have folded what nobody has announced yet.
                self._owed = True
                while not stop() and not self.projection.is_asked_for():
                    self._step(store, projector)

    def _step(self, store: Store, projector: Projector) -> None:
        """Fold what there is, see to what follows from it, and wait for more."""
        deadline = time.monotonic() + _STRETCH_SECONDS
        if projector.catch_up(deadline=deadline):
            self._owed = self._stale = True
        self._react(store, projector)
        now = time.monotonic()
        if now >= self._remind_at:
            self.remind(store)
            self._remind_at = now + self.remind_seconds
        if now >= deadline:
            return
        # What comes on `registry` is folded at once; the other topics have their turn when this stretch is over.
        while (records := self._awaited(projector)) and time.monotonic() < deadline:
            projector.fold_upto(REGISTRY, 0, records[-1].position + 1)
            self._owed = self._stale = True
            self._react(store, projector)
        self._publish(store, quiet=not records)

    def _awaited(self, projector: Projector) -> list[Record]:
        start = projector.position()
        return self.log.read(REGISTRY, 0, start, max_records=_AT_ONCE, timeout_seconds=_WAIT_SECONDS)

    def _react(self, store: Store, projector: Projector) -> None:
        if self._owed:
            self.projection.react(store)
            self._owed = False
            self.told(projector.position())

    def _publish(self, store: Store, *, quiet: bool) -> None:
        """Publish a snapshot, if there is anything new and it is time."""
        now = time.monotonic()
        if self._stale and now >= (
            self._snapshot_at if quiet else self._snapshot_at + _SNAPSHOT_LATE_SECONDS
        ):
            publish(store, self.projection.snapshot_path)
            self._stale = False
            taken = time.monotonic() - now
            self._snapshot_at = now + max(_SNAPSHOT_SECONDS, taken / _SNAPSHOT_SHARE)
