"""`deedbook validate`: the worker that judges trainings."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from deedbook.cli.options import settings_of
from deedbook.cli.stopping import stopping
from deedbook.cli.tables import note, say
from deedbook.cli.wiring import Registry, judging, missing, opened

if TYPE_CHECKING:
    from deedbook.cli.settings import Settings
    from deedbook.consumers.sandbox import Sandbox
    from deedbook.consumers.validation import Validator
    from deedbook.events.facts import ValidationRequested, VerdictIssued
    from deedbook.events.kafka.settings import KafkaSettings

_POLL_SECONDS = 1.0
# The announcer asks again about what is overdue: it has to be given the occasion.
_QUIET_SECONDS = 60.0
# An order is recorded after its request; on Kafka maybe by another broker's clock.
_CLOCKS_DIFFER_MICROSECONDS = 60_000_000
_BEGUN = "Judging trainings as they come; Ctrl-C ends it."
_ENDED = "Ended between two validations; what is pending waits for the next worker."


def validate(
    ctx: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Judge what is pending, and end.")] = False,
) -> None:
    """Judge trainings as they come, until Ctrl-C or SIGTERM."""
    settings = settings_of(ctx)
    kafka = settings.place().kafka
    if kafka is not None and not once:
        _share_out(settings, kafka)
        return
    with opened(settings) as registry, stopping() as stop, judging(registry.recorder) as (validator, sandbox):
        _warn(sandbox)
        worker = Worker(registry, validator, stop)
        if once:
            judged = worker.judge_pending()
            rest = "ended before all that is pending was judged" if stop.is_set() else "nothing is pending"
            note(f"{judged} validation{'' if judged == 1 else 's'} done; {rest}.")
            return
        note(_BEGUN)
        worker.follow()
        note(_ENDED)


def _share_out(settings: Settings, kafka: KafkaSettings) -> None:
    """Judge this worker's share of the orders; nothing is folded here, for an order holds all there is to know."""
    from deedbook.client.recording import Recorder
    from deedbook.events.names import normalise

    try:
        from deedbook.consumers.faust.app import faust_settings
        from deedbook.consumers.faust.worker import follow
    except ModuleNotFoundError as error:
        raise missing(error, "worker") from error

    faust_settings(kafka)  # what Faust can't honour is refused before anything is opened
    recorder = Recorder(settings.place(), actor=normalise(settings.actor))
    try:
        log = recorder.log()
        with stopping(others_wait=True) as stop, judging(recorder) as (validator, sandbox):
            _warn(sandbox)
            note(_BEGUN)
            follow(
                kafka,
                log,
                recorder.codec,
                validator,
                stop=stop.is_set,
                heard=lambda order, verdict: _say_verdict(verdict, order.training.model),
                start_seconds=settings.timeout_seconds,
            )
            note(_ENDED)
    finally:
        recorder.close()


@dataclass(frozen=True, slots=True)
class _Pending:
    """The validations a worker may still answer: what each is called, and where their orders begin."""

    names: dict[tuple[str, int], str]
    starts: list[int]


class Worker:
    """Judges what is pending, in turns: catch up, judge without holding up anybody, catch up again."""

    def __init__(self, registry: Registry, validator: Validator, stop: threading.Event) -> None:
        self._registry = registry
        self._validator = validator
        self._stop = stop

    def judge_pending(self) -> int:
        """Judge until nothing is pending or the end is asked for; return how many verdicts there were."""
        judged = 0
        while not self._stop.is_set():
            pending = self._pending()
            done = self._judge(pending) if pending.names else 0
            judged += done
            if not done:
                break
        return judged

    def follow(self) -> None:
        """Judge what comes until the end is asked for."""
        from deedbook.events.facts import REGISTRY

        log = self._registry.log
        while not self._stop.is_set():
            seen = log.end(REGISTRY)
            if self.judge_pending():
                continue
            quiet_until = time.monotonic() + _QUIET_SECONDS
            while not self._stop.is_set() and time.monotonic() < quiet_until:
                if log.read(REGISTRY, 0, seen, max_records=1, timeout_seconds=_POLL_SECONDS):
                    break

    def _pending(self) -> _Pending:
        from deedbook.consumers.announced import first_position_since
        from deedbook.events.facts import VALIDATIONS
        from deedbook.projector.orders import unanswered

        with self._registry.reading() as connection:
            requests = unanswered(connection)
            names = connection.execute(
                "select training_id, model || '@' || version from main.trainings "
                "where training_id in (select unnest(?::varchar[]))",
                [[training_id for training_id, _ in requests]],
            ).fetchall()
        known = dict(names)
        oldest = min(requests.values(), default=0)
        log = self._registry.log
        starts = [
            first_position_since(log, VALIDATIONS, oldest - _CLOCKS_DIFFER_MICROSECONDS, partition)
            for partition in (range(log.partitions(VALIDATIONS)) if requests else ())
        ]
        return _Pending({request: known.get(request[0], request[0]) for request in requests}, starts)

    def _judge(self, pending: _Pending) -> int:
        """Judge these validations and return how many verdicts there were."""
        from deedbook.consumers.worker import work_through

        verdicts: list[VerdictIssued] = []

        def heard(verdict: VerdictIssued) -> None:
            verdicts.append(verdict)
            _say_verdict(verdict, pending.names[verdict.training_id, verdict.requested_at_position])

        def is_pending(order: ValidationRequested) -> bool:
            return (order.training.training_id, order.requested_at_position) in pending.names

        work_through(
            self._registry.log,
            self._registry.recorder.codec,
            self._validator,
            starts=pending.starts,
            is_pending=is_pending,
            stop=self._stop.is_set,
            heard=heard,
        )
        return len(verdicts)


def _say_verdict(verdict: VerdictIssued, name: str) -> None:
    from deedbook.events.facts import Outcome

    reasons = "; ".join(check.reason for check in verdict.checks if check.outcome is not Outcome.PASSED)
    say(f"{name} ({verdict.training_id}) {verdict.outcome}{': ' if reasons else ''}{reasons}")
    sys.stdout.flush()


def _warn(sandbox: Sandbox) -> None:
    """Say plainly what this system can't keep a model from."""
    for promise in sandbox.isolation():
        if not promise.isolated:
            note(f"Not isolated here: {promise.what} ({promise.how}).")
