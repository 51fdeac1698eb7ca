"""Judging within the service: on the embedded log nobody else needs to run for a training to get its verdict.

One thread looks for orders when something pends. What judging needs is loaded with the first order, and the sandbox's
processes end when none came for a while: a registry at rest costs nothing of this.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from deedbook.consumers.announced import first_position_since
from deedbook.consumers.worker import request_of, work_through
from deedbook.events.errors import DeedbookError
from deedbook.events.facts import VALIDATIONS
from deedbook.projector.orders import unanswered

if TYPE_CHECKING:
    from collections.abc import Callable

    from deedbook.artifacts.store import ArtifactStore
    from deedbook.consumers.sandbox import Sandbox
    from deedbook.consumers.validation import Validator
    from deedbook.events.codec import Codec
    from deedbook.events.facts import ValidationRequested, VerdictIssued
    from deedbook.events.log import Log
    from deedbook.service.live import Live

_LOG = logging.getLogger(__name__)
ACTOR = "deedbook serve"
# Between two looks at what pends.
_PAUSE_SECONDS = 0.1
_AGAIN_SECONDS = 5.0
# An order is recorded after its request; on Kafka maybe by another broker's clock.
_CLOCKS_DIFFER_MICROSECONDS = 60_000_000
_COLD_AFTER_SECONDS = 60.0
_ENDING_SECONDS = 10.0


class Judging:
    """A thread that judges what pends in the live state, one training after the other, until it is closed."""

    def __init__(
        self,
        live: Live,
        log: Log,
        codec: Codec,
        artifacts: ArtifactStore,
        *,
        clock: Callable[[], int],
    ) -> None:
        self._live = live
        self._log = log
        self._codec = codec
        self._artifacts = artifacts
        self._clock = clock
        self._stop = threading.Event()
        self._sandbox: Sandbox | None = None
        self._validator: Validator | None = None
        self._thread = threading.Thread(target=self._run, name="deedbook-judge", daemon=True)

    def start(self) -> None:
        """Begin to judge."""
        self._thread.start()

    def close(self) -> None:
        """End after the training that is being judged; one that takes long is left to the next start."""
        self._stop.set()
        self._live.arrivals.tell()
        if self._thread.is_alive():
            self._thread.join(_ENDING_SECONDS)

    def _run(self) -> None:
        seen = -1
        warm_until = 0.0
        while not self._stop.is_set():
            position = self._live.announced
            try:
                if position > seen and self._judge():
                    warm_until = time.monotonic() + _COLD_AFTER_SECONDS
                seen = position
            except DeedbookError as error:
                _LOG.warning("judging waits: %s", error)
                self._stop.wait(_AGAIN_SECONDS)
            except Exception:  # noqa: BLE001 - one training must not end the judging of all others
                _LOG.exception("judging failed, and goes on")
                self._stop.wait(_AGAIN_SECONDS)
            if self._sandbox is not None and time.monotonic() > warm_until:
                self._sandbox.close()
            self._wait(seen)
        if self._sandbox is not None:
            self._sandbox.close()

    def _wait(self, seen: int) -> None:
        """Wait until there is more to look at; where much comes, not for each event."""
        self._stop.wait(_PAUSE_SECONDS)
        self._live.arrivals.wait(
            lambda: self._live.announced > seen or self._stop.is_set(), timeout_seconds=_COLD_AFTER_SECONDS
        )

    def _judge(self) -> int:
        """Judge what pends now, and return how many verdicts there were."""
        with self._live.reading() as connection:
            pending = unanswered(connection)
        if not pending:
            return 0
        verdicts: list[VerdictIssued] = []

        def is_pending(order: ValidationRequested) -> bool:
            return request_of(order) in pending

        def heard(verdict: VerdictIssued) -> None:
            verdicts.append(verdict)
            self._live.wake()
            _LOG.info("judged training %s: %s", verdict.training_id, verdict.outcome)

        work_through(
            self._log,
            self._codec,
            self._warm(),
            starts=self._starts(min(pending.values()) - _CLOCKS_DIFFER_MICROSECONDS),
            is_pending=is_pending,
            stop=self._stop.is_set,
            heard=heard,
        )
        return len(verdicts)

    def _starts(self, recorded_at: int) -> list[int]:
        """Return where the orders begin, partition by partition, that were recorded since a time (microseconds)."""
        partitions = range(self._log.partitions(VALIDATIONS))
        return [first_position_since(self._log, VALIDATIONS, recorded_at, each) for each in partitions]

    def _warm(self) -> Validator:
        """Return the validator, with a sandbox that is warming up."""
        if self._validator is None:
            from deedbook.consumers.sandbox import Sandbox
            from deedbook.consumers.validation import Validator

            self._sandbox = Sandbox()
            self._validator = Validator(self._artifacts, self._sandbox, ACTOR, self._clock)
        return self._validator
