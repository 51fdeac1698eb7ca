"""Putting facts on the log: made ready, appended."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from deedbook.client.preparing import Envelope, Preparer
from deedbook.client.schemas import publish_schemas
from deedbook.events.clock import now_micros
from deedbook.events.facts import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deedbook.artifacts.store import ArtifactStore
    from deedbook.client.place import Place
    from deedbook.events.facts import Fact
    from deedbook.events.log import Log, NewRecord

__all__ = ["Envelope", "Recorder"]


class Recorder:
    """Appends one person's facts to a registry's log, and makes the log at the first where it is in a folder.

    ``clock`` tells the time in microseconds since 1970. Safe to use from several threads.
    """

    def __init__(self, place: Place, *, actor: str, clock: Callable[[], int] = now_micros) -> None:
        self.place = place
        self.actor = actor
        self.clock = clock
        self.preparer = Preparer(actor, clock)
        self.codec = self.preparer.codec
        self._log: Log | None = None
        self._artifacts: ArtifactStore | None = None
        self._begun = False
        self._opening = threading.Lock()

    def envelope(self) -> Envelope:
        """Return what a new fact carries: an id of its own, the time, who says so."""
        return self.preparer.envelope()

    def log(self, *, create: bool = False) -> Log:
        """Return the log; without ``create`` raises NotFound where there is none."""
        with self._opening:
            if self._log is None:
                self._log = self.place.log(create=create, clock=self.clock)
            return self._log

    @property
    def artifacts(self) -> ArtifactStore:
        """The store of the models and request sets; raises InvalidInput where none is named."""
        with self._opening:
            if self._artifacts is None:
                self._artifacts = self.place.artifacts()
            return self._artifacts

    def _log_to_append_to(self) -> Log:
        """Return the log, made where there is none; what comes first on a log is what explains it."""
        log = self.log(create=True)
        if not self._begun:
            if log.end(REGISTRY) == 0:
                publish_schemas(log, self.codec)
            self._begun = True
        return log

    def prepared(self, fact: Fact) -> NewRecord:
        """Return the record of a well-formed fact; raises InvalidInput for any other."""
        return self.preparer.prepared(fact).record

    def append(self, fact: Fact) -> tuple[int, int]:
        """Append a fact to its topic and return its (partition, position) once it is durable.

        Raises InvalidInput before anything is appended, and what ``Log.append`` raises.
        """
        (where,) = self.append_records(fact.topic, [self.prepared(fact)])
        return where

    def append_records(self, topic: str, records: Sequence[NewRecord]) -> list[tuple[int, int]]:
        """Append records to one topic, all or none, and return each one's (partition, position)."""
        return self._log_to_append_to().append(topic, records)

    def close(self) -> None:
        """Let go of the log; closing twice is harmless."""
        with self._opening:
            if self._log is not None:
                self._log.close()
