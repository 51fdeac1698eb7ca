"""Who judges the demo's trainings: on the embedded log this process, on Kafka the processes that do so in earnest.

On Kafka `deedbook project` folds the log and announces what is to be judged, and `deedbook validate`, a Faust worker,
judges it. There is one worker, for the orders of one model are all in one partition.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, Protocol
from uuid import UUID

from deedbook.cli.demo.attended import Attended
from deedbook.cli.demo.place import environment_of
from deedbook.cli.wiring import Registry, judging
from deedbook.events.errors import DeedbookError, Undecodable, UnknownSchema
from deedbook.events.facts import REGISTRY, VerdictIssued

if TYPE_CHECKING:
    from pathlib import Path

    from deedbook.cli.settings import Settings
    from deedbook.consumers.validation import Validator
    from deedbook.events.facts import ValidationRequested
    from deedbook.events.log import Record

Heard = Callable[[VerdictIssued], None]

_WAIT_SECONDS: Final = 0.2
_VERDICT_SECONDS: Final = 120.0


class Judges(Protocol):
    """Those who judge."""

    def judge(self, training_ids: Iterable[str], heard: Heard) -> None:
        """Return when these trainings, just logged, have their verdicts; `heard` is told of each."""


@contextmanager
def judges(settings: Settings, registry: Registry, logs: Path) -> Iterator[Judges]:
    """Call in those who judge what is logged to a registry; they leave at the end. Raises MissingExtra."""
    if registry.place.kafka is None:
        with judging(registry.recorder) as (first, _), judging(registry.recorder) as (second, _):
            yield _Here(registry, (first, second))
        return
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DEEDBOOK_")}
    environment |= environment_of(settings)
    with ExitStack() as ending:
        processes = []
        for command in ("project", "validate"):
            to_registry = ("--url", settings.url, "--actor", settings.actor)
            process = Attended(
                *to_registry, command, environment=environment, log_path=logs / f"{command}.log"
            )
            ending.callback(process.stop)
            processes.append(process)
        yield _Elsewhere(registry, processes)


class _Here:
    """Two validators in this process, which share the orders."""

    def __init__(self, registry: Registry, validators: tuple[Validator, ...]) -> None:
        self._registry = registry
        self._validators = validators
        self._next_order = 0

    def judge(self, training_ids: Iterable[str], heard: Heard) -> None:
        """Judge what the announcer orders; the next reading folds the verdicts."""
        with self._registry.reading():
            pass  # what was logged is folded, and the announcer orders its validation
        mine = set(training_ids)
        count = len(self._validators)
        with ThreadPoolExecutor(max_workers=count) as workers:
            working = [workers.submit(self._work, number, mine, heard) for number in range(count)]
        self._next_order = max(done.result() for done in working)

    def _work(self, number: int, training_ids: set[str], heard: Heard) -> int:
        """Judge one worker's share of the orders, and return where the next ones begin."""
        from deedbook.consumers.worker import work

        def is_mine(order: ValidationRequested) -> bool:
            training_id = order.training.training_id
            return training_id in training_ids and UUID(training_id).int % len(self._validators) == number

        return work(
            self._registry.log,
            self._registry.recorder.codec,
            self._validators[number],
            start=self._next_order,
            is_pending=is_mine,
            until_idle=True,
            heard=heard,
        )


class _Elsewhere:
    """Processes of their own, whose verdicts are read from the log."""

    def __init__(self, registry: Registry, processes: Iterable[Attended]) -> None:
        self._log = registry.log
        self._codec = registry.recorder.codec
        self._processes = tuple(processes)
        self._next = 0

    def judge(self, training_ids: Iterable[str], heard: Heard) -> None:
        """Read the log until the verdicts are there; DeedbookError where they do not come."""
        waiting = set(training_ids)
        deadline = time.monotonic() + _VERDICT_SECONDS
        while waiting:
            for record in self._log.read(REGISTRY, 0, self._next, timeout_seconds=_WAIT_SECONDS):
                self._next = record.position + 1
                verdict = self._verdict(record)
                if verdict is not None and verdict.training_id in waiting:
                    waiting.remove(verdict.training_id)
                    heard(verdict)
                    deadline = time.monotonic() + _VERDICT_SECONDS
            for process in self._processes:
                process.check()
            if time.monotonic() >= deadline:
                raise DeedbookError(f"no verdict came within {_VERDICT_SECONDS:.0f} seconds")

    def _verdict(self, record: Record) -> VerdictIssued | None:
        try:
            fact = self._codec.decode(record)
        except (Undecodable, UnknownSchema):
            return None
        return fact if isinstance(fact, VerdictIssued) else None
