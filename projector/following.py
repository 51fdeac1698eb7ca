"""Following: one process keeps a projection at the log's end for as long as it is wanted."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deedbook.events.facts import REGISTRY
from deedbook.projector.readers import Readers
from deedbook.projector.snapshot import Snapshots, remove_left_overs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deedbook.events.log import Log, Record
    from deedbook.projector.loop import Projector
    from deedbook.projector.projection import Projection
    from deedbook.projector.store import Batch, Store

# The other topics are looked at this often while nothing happens on `registry`, which is waited for.
_OTHERS_EVERY_SECONDS = 0.2
_WAIT_SECONDS = 0.05
_AT_ONCE = 1_000
# Folding much, it looks up this often: whoever asks for the projection, or for an end, waits no longer.
_STRETCH_SECONDS = 0.5
_REACTION_SECONDS = 5.0
# Who asks for the projection says so; one that can't is noticed this late.
_LOOK_UP_SECONDS = 1.0
# A log that can't be waited for is looked at: often while something happens, seldom when nothing has for long.
# (Nothing has happened for so many seconds, the pause between two looks.)
_PAUSES_SECONDS = ((0.5, 0.005), (5.0, 0.01), (float("inf"), 0.05))
# However little a look says, the ends themselves are asked for this often.
_LOOK_SECONDS = 1.0


def _nothing(_: object) -> None:
    return


class Following:
    """A projection that is kept at the log's end; others in the same folder get their turns between.

    ``remind`` is called every ``remind_seconds`` with the projection: some things are due by time alone.
    ``told`` is called when all is folded that was there, with the position after the last registry event;
    ``heard`` of each batch, as soon as it is committed. ``readers`` may read the projection while it is open.
    ``look``: returns something else once there is more on the log, and is called again and again; what this process
    appends is told by `wake`. Without it the log itself waits for what comes.
    """

    def __init__(
        self,
        projection: Projection,
        log: Log,
        *,
        remind: Callable[[Store], None] = _nothing,
        told: Callable[[int], None] = _nothing,
        heard: Callable[[Batch], None] = _nothing,
        remind_seconds: float = 5.0,
        look: Callable[[], object] | None = None,
    ) -> None:
        self.projection = projection
        projection.is_owned = True
        self.readers = Readers()
        self.snapshots = Snapshots(projection.snapshot_path, wake=self.wake)
        # Up to where each partition is folded, and where the log ended when that was last looked at.
        self.folded: Mapping[tuple[str, int], int] = {}
        self.ends: Mapping[tuple[str, int], int] = {}
        self._log = log
        self._remind = remind
        self._told = told
        self._heard = heard
        self._look = look
        self._nudged = threading.Event()
        self._times = _Times(remind_seconds)
        self._owed = True
        self._wanted = False

    def wake(self) -> None:
        """Have a look at the log now; for any thread."""
        self._nudged.set()

    def lend(self) -> None:
        """Let somebody else have a turn at the projection as soon as that may be; for any thread."""
        self._wanted = True
        self.wake()

    def run(self, stop: Callable[[], bool]) -> None:
        """Follow until ``stop`` says so, asked several times a second.

        Raises ProjectionBusy, LogUnavailable (to be run again: nothing is lost), and what folding raises.
        """
        remove_left_overs(self.projection.path.parent)
        while not stop():
            with self.projection.opened() as (store, projector):
                store.heard.append(self._take_in)
                self.folded = store.positions()
                with self.readers.admitted(store.connection):
                    # Who had a turn meanwhile may have folded what nobody has announced yet.
                    self._owed, self._wanted = True, False
                    while not stop() and not self._is_wanted():
                        self._step(store, projector)
                    self._attend_to_snapshots(store, last=True)

    def _take_in(self, batch: Batch) -> None:
        self.folded = {**self.folded, (batch.topic, batch.partition): batch.after.next_position}
        self._owed = True
        self._times.moved()
        self._heard(batch)

    def _step(self, store: Store, projector: Projector) -> None:
        """Fold what there is, see to what follows from it, and wait for more."""
        deadline = time.monotonic() + _STRETCH_SECONDS
        self._nudged.clear()
        seen = self._look() if self._look is not None else None
        folded = projector.catch_up(deadline=deadline)
        self.ends = projector.ends
        if all(self.folded.get(where, 0) >= end for where, end in self.ends.items()):
            self._react(store, projector)
        elif self._times.due("reaction", _REACTION_SECONDS):
            # Folding much, what follows waits until it can be seen to at once; but not for ever.
            self.projection.react_in_part(store)
        self.readers.interrupt_overdue()
        if self._times.due("reminder", self._times.remind_seconds):
            self._remind(store)
        self._attend_to_snapshots(store)
        # What is left to see to, is seen to after another look at the log.
        if time.monotonic() < deadline and not self._owed:
            if self._look is None:
                self._wait(store, projector)
            elif not folded:
                self._rest(self._look, seen)

    def _rest(self, look: Callable[[], object], seen: object) -> None:
        """Pause until something was appended, or until it is time to look after other things."""
        due = self.snapshots.due_in_seconds(self.folded, self._times.quiet_seconds())
        until = time.monotonic() + min(_LOOK_SECONDS, due)
        while time.monotonic() < until and not self._nudged.wait(self._times.pause_seconds()):
            if look() != seen or self._is_wanted():
                return

    def _attend_to_snapshots(self, store: Store, *, last: bool = False) -> None:
        quiet = self._times.quiet_seconds()
        self.snapshots.attend(store, self.folded, self.readers, quiet_seconds=quiet, last=last)

    def _is_wanted(self) -> bool:
        """Say whether anybody asks for the projection; noted, for it is asked only so often."""
        self._wanted = self._wanted or (
            self._times.due("asked for", _LOOK_UP_SECONDS) and self.projection.is_asked_for()
        )
        return self._wanted

    def _wait(self, store: Store, projector: Projector) -> None:
        """Fold what comes on `registry` at once; the other topics have their turn when this is over."""
        until = time.monotonic() + _OTHERS_EVERY_SECONDS
        while time.monotonic() < until and not self._nudged.is_set() and not self._owed:
            records = self._awaited(projector)
            if records:
                projector.fold_upto(REGISTRY, 0, records[-1].position + 1)
                self._react(store, projector)
            self._attend_to_snapshots(store)

    def _awaited(self, projector: Projector) -> list[Record]:
        start = projector.position()
        return self._log.read(REGISTRY, 0, start, max_records=_AT_ONCE, timeout_seconds=_WAIT_SECONDS)

    def _react(self, store: Store, projector: Projector) -> None:
        if self._owed and self.projection.react_in_part(store):
            self._owed = False
            self._told(projector.position())


@dataclass(slots=True)
class _Times:
    """When what was done last."""

    remind_seconds: float
    _done: dict[str, float] = field(default_factory=dict)
    _moved: float = field(default_factory=time.monotonic)

    def due(self, what: str, every_seconds: float) -> bool:
        """Say whether it is time for something, and take it as done then."""
        now = time.monotonic()
        if now - self._done.get(what, -every_seconds) < every_seconds:
            return False
        self._done[what] = now
        return True

    def moved(self) -> None:
        """Note that something happened."""
        self._moved = time.monotonic()

    def quiet_seconds(self) -> float:
        """Return for how long nothing has happened."""
        return time.monotonic() - self._moved

    def pause_seconds(self) -> float:
        """Return how long to wait before the log is looked at again."""
        quiet = self.quiet_seconds()
        return next(pause for until, pause in _PAUSES_SECONDS if quiet < until)
