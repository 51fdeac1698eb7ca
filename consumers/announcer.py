"""The announcer: turns what the fold accepted into work orders and news of deployments.

At least once: ids are derived from what they announce, so saying a thing twice is harmless. It keeps
nothing of its own: where it was is written in the last records of the topics it writes.
"""

from __future__ import annotations

import contextlib
import operator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from deedbook.consumers.announced import AnnouncedOrders
from deedbook.events import facts
from deedbook.events.errors import InvalidInput
from deedbook.events.ids import derived_id
from deedbook.projector.orders import NO_VALIDATOR, due_requests, orders_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import duckdb

    from deedbook.events.codec import Codec
    from deedbook.events.log import Log, NewRecord, Record
    from deedbook.projector.orders import Order, Request

# The highest registry position announced so far, in each record of an output topic.
SOURCE_POSITION = "ce_sourceposition"
ACTOR = "deedbook announcer"
_BATCH = 200
# How many records at once are looked at for the last one that says what is announced.
_LOOKED_BACK = 100
_DIGITS = 20
_TOO_LARGE = "the training and its baseline together are too large for a work order"

_DECIDED_COLUMNS = (
    "requested_at_position",
    "event_id",
    "decision",
    "reason",
    "deployment_id",
    "service",
    "environment",
    "release",
    "git_sha",
    "previous",
    "models",
)
_DEPLOYMENT_REQUESTED = """
select
    e.position, e.event_id, e.decision, e.reason, d.deployment_id, d.service, d.environment, d.release,
    d.git_sha, d.previous, d.models
from base.event e join base.deployment d on d.position = e.position
where e.topic = 'registry' and e.type = 'DeploymentRequested' and e.decision <> 'ignored' and e.position > ?
"""
# An activation is news of the deployment it makes current again, after the release that was.
_RELEASE_ACTIVATED = """
select
    e.position, e.event_id, e.decision, e.reason, d.deployment_id, d.service, d.environment, d.release,
    d.git_sha, coalesce(p.release, d.previous), d.models
from base.event e
join base.current_release c on c.from_position = e.position
join base.deployment d on d.position = c.deployment_position
left join base.current_release p
  on p.service = c.service and p.environment = c.environment and p.to_position = c.from_position
where e.topic = 'registry' and e.type = 'ReleaseActivated' and e.decision = 'accepted' and e.position > ?
"""
_DECIDED = (_DEPLOYMENT_REQUESTED, _RELEASE_ACTIVATED)
# Cheap, and mostly all that is asked: up to where the timeline goes, and after which positions of it hosts are told.
_LAST_DECIDED = """
select
    max(position),
    max(position) filter (where type = 'DeploymentRequested'), max(position) filter (where type = 'ReleaseActivated')
from base.event where topic = 'registry' and position > ?
"""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a work order may go unanswered, and how often it is announced before a verdict says so."""

    seconds: float = 3600.0
    attempts: int = 3


class Announcer:
    """Announces validations that are due and deployments that were decided."""

    def __init__(
        self, log: Log, codec: Codec, *, clock: Callable[[], int], patience: Patience | None = None
    ) -> None:
        self._log = log
        self._codec = codec
        self._clock = clock
        self._patience = patience or Patience()
        self._ends: dict[tuple[str, int], int] = {}
        self._announced: dict[str, int] = {}
        # What was announced of those that nobody answered, and after which of them the next ones are looked at.
        self._attempts = AnnouncedOrders(log)
        self._reminded = -1
        # Up to here in the timeline, nothing is left that hosts are to be told of.
        self._seen = -1
        # The topics that nobody else wrote to between this announcer's last appends.
        self._own: set[str] = set()

    def announce(self, connection: duckdb.DuckDBPyConnection) -> bool:
        """Append what is not announced yet, as of the state in ``connection``; say whether that was all.

        It is all deployments, for somebody waits for them, and as many work orders as are made at once.
        """
        self._deployments(connection)
        return self._new_orders(connection)

    def remind(self, connection: duckdb.DuckDBPyConnection) -> int:
        """Announce again some of what nobody answered in time; after the last attempt, say so in a verdict.

        To be called again and again; each time it is a bounded part, for whoever calls has the log to fold. Returns how
        many were announced, or given up.
        """
        late = self._clock() - int(self._patience.seconds * 1_000_000)
        overdue = due_requests(connection, after_position=self._reminded, recorded_before=late, limit=_BATCH)
        if not overdue:
            if self._reminded < 0:
                self._attempts.forget()
            self._reminded = -1
            return 0
        if not self._attempts.read_on(since=overdue[0].recorded_at):
            return 0
        # Those after these are next; after the last ones it begins anew.
        self._reminded = overdue[-1].requested_at_position if len(overdue) == _BATCH else -1
        late_orders = [
            (order, self._last(order.request)[0])
            for order in orders_of(connection, [r for r in overdue if self._last(r)[1] < late])
        ]
        most = self._patience.attempts
        again, too_large = self._written(
            [(order, attempts + 1) for order, attempts in late_orders if attempts < most],
            upto=self._tail(facts.VALIDATIONS, connection),
        )
        unanswered = [
            self._no_verdict(order, f"no validator answered {attempts} requests for a verdict")
            for order, attempts in late_orders
            if attempts >= most
        ]
        self._append(facts.VALIDATIONS, again)
        self._give_up(too_large + unanswered)
        return len(late_orders)

    def _new_orders(self, connection: duckdb.DuckDBPyConnection) -> bool:
        """Announce the next work orders; say whether these were all."""
        announced = self._announced.get(facts.VALIDATIONS, -1)
        requests = due_requests(connection, after_position=announced, limit=_BATCH)
        if not requests:
            return True
        tail = self._tail(facts.VALIDATIONS, connection)
        if tail > announced:  # somebody else announces, too
            announced = tail
            requests = due_requests(connection, after_position=announced, limit=_BATCH)
        orders = [(order, 1) for order in orders_of(connection, requests)]
        records, too_large = self._written(orders, upto=announced)
        self._give_up(too_large)
        # A batch may be divided among partitions, of which some may get theirs and others not: that all is announced
        # is said by the last record, once the others are there.
        upto = requests[-1].requested_at_position if requests else announced
        self._append(facts.VALIDATIONS, records[:-1])
        self._append(facts.VALIDATIONS, [_with_source(record, upto) for record in records[-1:]])
        self._announced[facts.VALIDATIONS] = upto
        return len(requests) < _BATCH

    def _last(self, request: Request) -> tuple[int, int]:
        """Return how often a request was announced, and when last."""
        for attempt in range(self._patience.attempts, 0, -1):
            if (recorded_at := self._attempts.recorded_at(_order_id(request, attempt))) is not None:
                return attempt, recorded_at
        return 0, -1

    def _written(
        self, orders: Sequence[tuple[Order, int]], *, upto: int
    ) -> tuple[list[NewRecord], list[NewRecord]]:
        """Return the records of work orders, each with its attempt, and verdicts on those that are too large."""
        records: list[NewRecord] = []
        too_large: list[NewRecord] = []
        for order, attempt in orders:
            record = self._order(order, attempt)
            if record is not None:
                records.append(_with_source(record, upto))
            else:
                too_large.append(self._no_verdict(order, _TOO_LARGE))
        return records, too_large

    def _order(self, order: Order, attempt: int) -> NewRecord | None:
        """Return the record of a work order; one too large for the log is cut to the baseline it needs.

        None where it is too large even so.
        """
        request = order.request
        fact = facts.ValidationRequested(
            event_id=_order_id(request, attempt),
            occurred_at=self._clock(),
            actor=ACTOR,
            training=order.training,
            requested_at_position=request.requested_at_position,
            policy=order.policy,
            baselines=order.baselines,
            requests=order.requests,
            attempt=attempt,
        )
        needed = tuple(b for b in order.baselines if b.training.training_id == order.baseline_training_id)[:1]
        for candidate in (fact, replace(fact, baselines=needed)):
            with contextlib.suppress(InvalidInput):
                return self._codec.encode(candidate)
        return None

    def _no_verdict(self, order: Order, reason: str) -> NewRecord:
        """Return a verdict that says why there is none."""
        request = order.request
        verdict_id = derived_id("unanswered", request.training_id, str(request.requested_at_position))
        fact = facts.VerdictIssued(
            event_id=derived_id("event", verdict_id),
            # The request's own time: whoever says this says it in the same bytes.
            occurred_at=request.recorded_at,
            actor=ACTOR,
            verdict_id=verdict_id,
            training_id=request.training_id,
            requested_at_position=request.requested_at_position,
            policy_version=order.policy.version,
            outcome=facts.Outcome.ERROR,
            validator_version=NO_VALIDATOR,
            baseline_training_id=order.baseline_training_id,
            checks=tuple(
                facts.CheckResult(check=spec.check, outcome=facts.Outcome.ERROR, reason=reason)
                for spec in order.policy.checks
            ),
        )
        return self._codec.encode(fact)

    def _give_up(self, verdicts: Sequence[NewRecord]) -> None:
        if verdicts:
            self._log.append(facts.REGISTRY, verdicts)

    def _deployments(self, connection: duckdb.DuckDBPyConnection) -> None:
        upto, *last = connection.execute(_LAST_DECIDED, [self._seen]).fetchone() or (None, None, None)
        if upto is None:
            return
        announced = -1 if last == [None, None] else self._tail(facts.DEPLOYMENTS, connection)
        rows = [
            row
            for sql, position in zip(_DECIDED, last, strict=True)
            if position is not None and position > announced
            for row in connection.execute(sql, [announced]).fetchall()
        ]
        for row in sorted(rows, key=operator.itemgetter(0)):
            fact = self._news(connection, dict(zip(_DECIDED_COLUMNS, row, strict=True)))
            self._append(facts.DEPLOYMENTS, [_with_source(self._codec.encode(fact), row[0])])
            self._announced[facts.DEPLOYMENTS] = row[0]
        self._seen = upto

    def _append(self, topic: str, records: list[NewRecord]) -> None:
        """Append records; where they end up shows whether others announce here, too."""
        if not records:
            return
        self._own.add(topic)
        for partition, position in self._log.append(topic, records):
            if self._ends.get((topic, partition)) == position:
                self._ends[topic, partition] = position + 1
            else:
                self._own.discard(topic)

    def _news(self, connection: duckdb.DuckDBPyConnection, row: dict[str, Any]) -> facts.Fact:
        """Return what the hosts of a service are told; an activated release is told like a new one."""
        models = row.pop("models")
        told = {
            **row,
            "event_id": derived_id("news", row["event_id"]),
            "occurred_at": self._clock(),
            "actor": ACTOR,
        }
        decision, reason = told.pop("decision"), told.pop("reason")
        git_sha, previous = told.pop("git_sha"), told.pop("previous")
        if decision == "rejected":
            return facts.DeploymentRejected(**told, reason=reason)
        deployed = tuple(_deployed(connection, model["model"], model["training_id"]) for model in models)
        return facts.DeploymentCreated(**told, git_sha=git_sha, previous=previous, models=deployed)

    def _tail(self, topic: str, connection: duckdb.DuckDBPyConnection) -> int:
        """Return the highest registry position announced on a topic, or -1; looks where something is new.

        An announcer that is alone knows it. When others begin, both say a few things, which is harmless.
        """
        if topic in self._own:
            return self._announced[topic]
        (folded,) = connection.execute(
            "select coalesce(max(next_position), 0) from base.progress where topic = 'registry'"
        ).fetchone() or (0,)
        found = self._announced.get(topic, -1)
        for where, end in self._log.ends([topic]).items():
            if end != self._ends.get(where):
                found = max(found, self._last_source(*where, end, below=folded))
                self._ends[where] = end
        self._announced[topic] = found
        return found

    def _last_source(self, topic: str, partition: int, end: int, *, below: int) -> int:
        """Return what the last record of the announcer's kind says is announced, or -1.

        Anything may be on an open log: what tells no position, or one that is still to come, is passed over.
        """
        known = self._ends.get((topic, partition), 0)
        step = 1
        while end > known:
            position = start = max(known, end - step)
            found = -1
            while position < end and (
                records := self._log.read(topic, partition, position, max_records=end - position)
            ):
                position = records[-1].position + 1
                found = max(
                    [found, *(source for record in records if (source := _source_of(record)) < below)]
                )
            if found >= 0:
                return found
            end, step = start, _LOOKED_BACK
        return -1


def _order_id(request: Request, attempt: int) -> str:
    return derived_id("order", request.training_id, str(request.requested_at_position), str(attempt))


def _deployed(connection: duckdb.DuckDBPyConnection, model: str, training_id: str) -> facts.DeployedModel:
    row = connection.execute(
        "select version, artifact_uri, artifact_sha256, artifact_size_bytes, artifact_format "
        "from base.training where training_id = ?",
        [training_id],
    ).fetchone()
    if row is None:
        return facts.DeployedModel(model=model, training_id=training_id)
    artifact = facts.Artifact(uri=row[1], sha256=row[2], size_bytes=row[3], format=row[4])
    return facts.DeployedModel(model=model, training_id=training_id, version=row[0], artifact=artifact)


def _with_source(record: NewRecord, position: int) -> NewRecord:
    others = [header for header in record.headers if header[0] != SOURCE_POSITION]
    return replace(record, headers=(*others, (SOURCE_POSITION, str(position).encode())))


def _source_of(record: Record) -> int:
    """Return the registry position that a record says is announced, or -1."""
    source = dict(record.headers).get(SOURCE_POSITION, b"")
    return int(source) if source.isdigit() and len(source) < _DIGITS else -1
