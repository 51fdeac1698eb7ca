"""The projector: reads the log in batches, folds each event, writes rows and position together."""

from __future__ import annotations

import gc
import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deedbook.events import facts
from deedbook.events.errors import LogReplaced, UnknownRules
from deedbook.projector.bulk import Decoded, decode_batch
from deedbook.projector.decision import Accepted, Halted, Ignored
from deedbook.projector.fold import decide
from deedbook.projector.rows import SchemaRow
from deedbook.projector.schemas import learn_schema
from deedbook.projector.store import FOLDED_TOPICS, Batch, Progress
from deedbook.projector.view import View

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from deedbook.events.codec import Codec
    from deedbook.events.log import Log
    from deedbook.projector.decision import Decision, Event
    from deedbook.projector.rules import Rule
    from deedbook.projector.store import Store

_SETTLED_SECONDS = 3.0
# These look at values that a batch holds only as columns until it is committed.
_AFTER_A_COMMIT = frozenset({"TrainingAmended"})


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one batch may hold; two are in memory: one being folded, and the next being decoded."""

    max_records: int = 4_000
    max_bytes: int = 8 << 20


class Projector:
    """Folds one log into one store; any number may fold the same log, each into its own."""

    def __init__(
        self,
        log: Log,
        store: Store,
        codec: Codec,
        *,
        bounds: Bounds | None = None,
        rules: Mapping[int, Mapping[str, Rule]] | None = None,
    ) -> None:
        self._log = log
        self._store = store
        self._codec = codec
        self._bounds = bounds or Bounds()
        self._rules = rules
        # Where the log ended when that was last looked at.
        self.ends: dict[tuple[str, int], int] = {}
        self._progress: dict[tuple[str, int], Progress] = {}
        self._rules_version = store.rules_version()
        self._view: View | None = None
        self._learn_schemas()

    def _learn_schemas(self) -> None:
        rows = self._store.connection.execute("select schema, version from base.schema_published").fetchall()
        for text, version in rows:
            learn_schema(self._codec, text, version)

    def catch_up(
        self, *, deadline: float | None = None, on_progress: Callable[[int, int], None] | None = None
    ) -> bool:
        """Fold up to the ends the log has now; return whether there was anything to fold.

        ``deadline`` is on ``time.monotonic()``'s clock: past it, what is committed stays and the rest
        waits. ``on_progress`` is told how many records of how many are folded. Raises LogReplaced,
        LogDamaged, UnknownSchema, UnknownRules, ProjectionFenced, StorageFull.
        """
        goals = self._goals()
        starts = {where: self._progress_of(*where) for where in goals}
        total = sum(end - starts[where].next_position for where, end in goals.items())
        done = 0
        for where, end in goals.items():
            progress = starts[where]
            with closing(self._batches(*where, progress.next_position, end)) as batches:
                while progress.next_position < end and (deadline is None or time.monotonic() < deadline):
                    before = progress.next_position
                    progress = self._fold_batch(where, progress, next(batches))
                    done += progress.next_position - before
                    if on_progress is not None:
                        on_progress(done, total)
        return done > 0

    def _goals(self) -> dict[tuple[str, int], int]:
        """Return where the log ends now; raises LogReplaced where that is before what is folded.

        A cluster that has just lost a leader may tell an earlier end for a moment: that is asked for again.
        """
        deadline = time.monotonic() + _SETTLED_SECONDS
        while True:
            goals = self.ends = self._log.ends(FOLDED_TOPICS)
            folded = {where: self._progress_of(*where).next_position for where in goals}
            lost = [where for where, end in goals.items() if end < folded[where]]
            if not lost:
                return goals
            if time.monotonic() >= deadline:
                topic, partition = where = lost[0]
                raise LogReplaced(
                    f"{topic}:{partition} ends at {goals[where]}, but was folded up to {folded[where]}: "
                    "the log lost records or was recreated"
                )
            time.sleep(_SETTLED_SECONDS / 10)

    def fold_upto(self, topic: str, partition: int, end: int) -> None:
        """Fold one partition up to a position that it is known to reach. Raises as ``catch_up`` does."""
        progress = self._progress_of(topic, partition)
        with closing(self._batches(topic, partition, progress.next_position, end)) as batches:
            while progress.next_position < end:
                progress = self._fold_batch((topic, partition), progress, next(batches))

    def position(self, topic: str = facts.REGISTRY, partition: int = 0) -> int:
        """Return up to where a partition is folded."""
        return self._progress_of(topic, partition).next_position

    def _progress_of(self, topic: str, partition: int) -> Progress:
        """Return how far a partition is folded; read once, for only this projector moves it."""
        if (topic, partition) not in self._progress:
            self._progress[topic, partition] = self._store.progress(topic, partition)
        return self._progress[topic, partition]

    def _batches(self, topic: str, partition: int, start: int, end: int) -> Generator[Decoded]:
        """Yield all up to a position, batch by batch; a thread decodes the next while one is folded."""
        decoded = self._decoded(topic, partition, start, end)
        self._store.use_processors(all_of_them=decoded.upto < end)
        if decoded.upto >= end:
            yield decoded
            return
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="deedbook-decoder") as decoder:
            while (start := decoded.upto) < end:
                following = decoder.submit(self._decoded, topic, partition, start, end)
                yield decoded
                decoded = following.result()
                if decoded.upto == start:
                    # Of an unknown schema, which what was folded meanwhile may have brought.
                    decoded = self._decoded(topic, partition, start, end)
            yield decoded

    def _decoded(self, topic: str, partition: int, start: int, end: int) -> Decoded:
        """Read and decode one batch; it stops before the first record this release cannot read."""
        records = self._log.read(
            topic,
            partition,
            start,
            max_records=min(self._bounds.max_records, end - start),
            max_bytes=self._bounds.max_bytes,
        )
        # No records: positions that hold none of ours, such as a broker's transaction markers.
        return decode_batch(records, self._codec) if records else Decoded(upto=end)

    def _fold_batch(self, where: tuple[str, int], progress: Progress, decoded: Decoded) -> Progress:
        """Fold one batch; raises UnknownSchema where it has not even one record this release can read."""
        if decoded.unknown is not None and decoded.upto == progress.next_position:
            raise decoded.unknown
        runs = _runs(decoded.events)
        with _no_search_for_cycles():
            for index, events in enumerate(runs):
                upto = decoded.upto if index + 1 == len(runs) else runs[index + 1][0].position
                progress = self._fold(where, progress, events, decoded, upto)
        return progress

    def _fold(
        self, where: tuple[str, int], before: Progress, events: Sequence[Event], decoded: Decoded, upto: int
    ) -> Progress:
        """Decide a run of events and commit it; a halt commits what came before, then raises."""
        view = self._view or View(self._store.source, rules_version=self._rules_version)
        self._view = None  # until what it takes in is committed
        self._store.source.prefetch(view, events)
        decided: list[tuple[Event, Decision]] = []
        after = before
        halted = None
        for event in events:
            decision = decide(view, event, self._rules)
            if isinstance(decision, Halted):
                halted, upto = decision, event.position
                break
            after = _moved(after, event, decision)
            # Where order decides, the log's time never goes back, whatever its clock did. Elsewhere it stays what it
            # is: the state must not depend on which records share a partition.
            behind = event.topic == facts.REGISTRY and event.recorded_at < after.last_recorded_at
            decided.append(
                (replace(event, recorded_at=after.last_recorded_at) if behind else event, decision)
            )
            view.take_in(event, decision)
        after = replace(after, next_position=upto)
        quarantined = [q for q in decoded.quarantined if before.next_position <= q[0].position < upto]
        if upto > before.next_position:
            self._store.commit(Batch(*where, before, after, decided, quarantined, decoded.columns))
            self._progress[where] = after
            self._rules_version = view.rules_version
            # Only this projector changes what it shows: event by event it need not be asked for again.
            self._view = view if len(view.events) < self._bounds.max_records else None
            self._learn(decided)
        if halted is not None:
            raise UnknownRules(
                f"{where[0]}:{where[1]}:{upto}: {halted.reason}; install the release that has them"
            )
        return after

    def _learn(self, decided: Sequence[tuple[Event, Decision]]) -> None:
        """Read later records with the schemas that were just accepted."""
        for _, decision in decided:
            for row in decision.rows if isinstance(decision, Accepted) else ():
                if isinstance(row, SchemaRow):
                    learn_schema(self._codec, row.schema, row.version)


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """Pause the garbage collector for a batch, which makes very many objects, and no cycles of them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _runs(events: list[Event]) -> list[list[Event]]:
    """Split a batch where an event must find everything before it in the tables."""
    starts = [0, *(index for index, event in enumerate(events) if index and event.type in _AFTER_A_COMMIT)]
    return [events[start:end] for start, end in zip(starts, [*starts[1:], len(events)], strict=True)]


def _moved(before: Progress, event: Event, decision: Decision) -> Progress:
    """Return the progress past an event: time never goes back, and the hash chains what was decided."""
    running = before.running_hash
    if event.topic == facts.REGISTRY and not isinstance(decision, Ignored):
        verb = "accepted" if isinstance(decision, Accepted) else "rejected"
        chained = f"{running} {event.position} {event.body_hash} {verb}"
        running = hashlib.sha256(chained.encode()).hexdigest()
    return Progress(event.position + 1, max(before.last_recorded_at, event.recorded_at), running)
