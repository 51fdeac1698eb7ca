"""The check-up: the log read end to end, and the projection held against a fold of it from zero.

It changes nothing: the log is only read, the fresh fold goes to a file of its own that is removed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from deedbook.events import facts
from deedbook.events.codec import Codec, schema_id_of
from deedbook.events.earlier_log import EarlierLog
from deedbook.events.errors import DeedbookError, LogDamaged
from deedbook.projector.bulk import decode_batch
from deedbook.projector.loop import Projector
from deedbook.projector.rebuild import differing_tables
from deedbook.projector.schemas import learn_schema
from deedbook.projector.state_hash import state_hash
from deedbook.projector.store import FOLDED_TOPICS, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import duckdb

    from deedbook.events.log import Log, Record
    from deedbook.projector.bulk import Decoded
    from deedbook.projector.projection import Projection

_BATCH_RECORDS = 10_000
_MAX_LISTED = 100


class Severity(StrEnum):
    """How bad a finding is: an error is a promise broken, a warning wants a look, a note is for the record."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


_BADNESS = list(Severity)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a check-up saw: ``where`` is topic:partition:position, or the name of a file."""

    severity: Severity
    where: str
    sentence: str


def check(
    log: Log, projection: Projection, *, on_progress: Callable[[int, int], None] | None = None
) -> list[Finding]:
    """Return all that is to be said of a log and its projection, worst first; no error means all is well.

    ``on_progress`` is told how many records of how many were read; a fresh fold reads them once more.
    Raises ProjectionBusy and LogUnavailable: what cannot be looked at is neither well nor ill.
    """
    of_log = check_log(log, on_progress=on_progress)
    told = {finding.where for finding in of_log}
    of_projection = [
        finding
        for finding in check_projection(log, projection)
        # What is in quarantine is, as a rule, what the log's own check-up just told of.
        if finding.severity is not Severity.WARNING or finding.where not in told
    ]
    return sorted([*of_log, *of_projection], key=lambda finding: -_BADNESS.index(finding.severity))


# --- the log -------------------------------------------------------------------------------------


def check_log(log: Log, *, on_progress: Callable[[int, int], None] | None = None) -> list[Finding]:
    """Read every record of every topic: rows whole, bodies those that were sent, schemas known, ids as stated."""
    ends = log.ends(facts.TOPICS)
    reading = _Reading(log, Codec(), sum(ends.values()), on_progress)
    for (topic, partition), end in ends.items():
        reading.read(topic, partition, end)
    return reading.findings()


@dataclass(slots=True)
class _Reading:
    """A walk over the log, and what it found on the way."""

    log: Log
    codec: Codec
    total: int
    on_progress: Callable[[int, int], None] | None
    done: int = 0
    found: list[Finding] = field(default_factory=list)
    per_topic: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, list[Severity]] = field(default_factory=dict)

    def read(self, topic: str, partition: int, end: int) -> None:
        """Read one partition up to an end."""
        start, many, last_time = 0, _BATCH_RECORDS, 0
        while start < end:
            try:
                records = self.log.read(topic, partition, start, max_records=min(many, end - start))
            except LogDamaged as error:
                # The loss is somewhere in what was asked for: ask for less, until it is one record.
                if many == 1:
                    self.add(topic, partition, start, str(error))
                    start += 1
                many = max(1, many // 2)
                continue
            if not records:
                break  # positions that hold no record of ours, such as a broker's transaction markers
            many = min(_BATCH_RECORDS, many * 2)
            last_time = self._times(records, last_time)
            self._bodies(records)
            start = records[-1].position + 1
            self.done += len(records)
            if self.on_progress is not None:
                self.on_progress(self.done, self.total)

    def add(
        self, topic: str, partition: int, position: int, sentence: str, severity: Severity = Severity.ERROR
    ) -> None:
        """Note a finding; of very many in one topic only the first are kept, and the rest counted."""
        self.per_topic[topic] = self.per_topic.get(topic, 0) + 1
        if self.per_topic[topic] > _MAX_LISTED:
            self.left_out.setdefault(topic, []).append(severity)
        else:
            self.found.append(Finding(severity, f"{topic}:{partition}:{position}", sentence))

    def findings(self) -> list[Finding]:
        """Return what was found."""
        more = [
            # As bad as the worst among them: what others wrote amiss is no fault of the log's, however often.
            Finding(
                max(all_, key=_BADNESS.index), topic, f"there are {len(all_):,} more findings in this topic"
            )
            for topic, all_ in self.left_out.items()
        ]
        return [*self.found, *more]

    def _times(self, records: Sequence[Record], last: int) -> int:
        for record in records:
            if record.intact and record.recorded_at < last:
                sentence = "the log's time goes back here"
                if record.topic == facts.REGISTRY:
                    sentence += "; the fold counts it as the time before"
                self.add(record.topic, record.partition, record.position, sentence, Severity.WARNING)
            if record.intact:
                last = max(last, record.recorded_at)
        return last

    def _bodies(self, records: Sequence[Record]) -> None:
        """Decode records as the projector does; one that it would stop at is passed over here."""
        if records[0].topic == facts.QUARANTINE:  # holds what cannot be decoded
            for record in records:
                if not record.intact:
                    self._add(record, "the log's own checksum of this record does not hold")
            return
        rest = list(records)
        while rest:
            decoded = decode_batch(rest, self.codec)
            self._examine(rest, decoded)
            # Not by counting: between two records there may be positions that hold none of ours.
            rest = [record for record in rest if record.position >= decoded.upto] if decoded.unknown else []
            if rest and not self._learned(decoded):
                self._add(rest[0], str(decoded.unknown))
                rest = rest[1:]

    def _examine(self, records: Sequence[Record], decoded: Decoded) -> None:
        for record, reason in decoded.quarantined:
            # A row that changed is the log's fault; a body that nobody can read is its writer's.
            self._add(record, reason, Severity.WARNING if record.intact else Severity.ERROR)
        headers = {record.position: dict(record.headers) for record in records}
        for event in decoded.events:
            stated = headers[event.position]
            ids = {"ce_id": event.event_id, "ce_type": event.type}
            for name, value in ids.items():
                said = stated.get(name, b"").decode("utf-8", "replace")
                same = said == value if name == "ce_id" else said.split(".")[1:2] == [value]
                if not same:
                    self.add(
                        event.topic,
                        event.partition,
                        event.position,
                        f"its header {name} says {said[:100]!r}, its body {value!r}; the body counts",
                        Severity.WARNING,
                    )

    def _learned(self, decoded: Decoded) -> bool:
        """Learn the schemas among what was just decoded; tell whether there were any."""
        learned = False
        for event in decoded.events:
            fact = event.fact
            if isinstance(fact, facts.SchemaPublished) and event.problem is None:
                learned |= _learn(self.codec, fact)
        return learned

    def _add(self, record: Record, sentence: str, severity: Severity = Severity.ERROR) -> None:
        self.add(record.topic, record.partition, record.position, sentence, severity)


def _learn(codec: Codec, fact: facts.SchemaPublished) -> bool:
    try:
        stated = schema_id_of(fact.schema) == fact.schema_id
    except (ValueError, RecursionError):
        return False
    return stated and learn_schema(codec, fact.schema, fact.version)


# --- the projection ------------------------------------------------------------------------------


def check_projection(log: Log, projection: Projection) -> list[Finding]:
    """Fold the log anew, as far as the projection is, and compare all of the state; list the quarantine."""
    path = projection.path
    with projection.turn():
        if not path.exists():
            return [
                Finding(Severity.NOTE, path.name, "there is no projection yet, so there is none to compare")
            ]
        try:
            store = Store(path, log_identity=log.identity())
        except DeedbookError as error:
            return [Finding(Severity.ERROR, path.name, str(error))]
        fresh_path = path.with_name(f"{path.name}.check")
        try:
            return [*_compared(log, store, fresh_path), *_quarantined(store.connection)]
        finally:
            store.close()
            _remove(fresh_path)


def _compared(log: Log, store: Store, fresh_path: Path) -> list[Finding]:
    now = log.ends(FOLDED_TOPICS)
    ends = {where: store.progress(*where).next_position for where in now}
    name = store.path.name
    _remove(fresh_path)
    for (topic, partition), end in ends.items():
        if end > now[topic, partition]:
            sentence = f"the log ends at {now[topic, partition]}, but {name} was folded up to {end}"
            return [Finding(Severity.ERROR, f"{topic}:{partition}", sentence)]
    fresh = Store(fresh_path, log_identity=log.identity())
    try:
        Projector(EarlierLog(log, ends), fresh, Codec()).catch_up()
        return _differences(store, fresh)
    except DeedbookError as error:
        return [Finding(Severity.ERROR, name, f"the log cannot be folded anew to compare it: {error}")]
    finally:
        fresh.close()


def _differences(store: Store, fresh: Store) -> list[Finding]:
    name = store.path.name
    progress = store.progress(facts.REGISTRY)
    if state_hash(store.connection) == state_hash(fresh.connection):
        return [
            Finding(
                Severity.NOTE,
                name,
                f"the state is that of a fresh fold; the running hash of {facts.REGISTRY} before position "
                f"{progress.next_position} is {progress.running_hash or 'that of nothing'}",
            )
        ]
    tables = ", ".join(differing_tables(store.connection, fresh.connection))
    found = [Finding(Severity.ERROR, name, f"the state is not that of a fresh fold: {tables} differ")]
    if (first := _first_difference(store.connection, fresh.connection)) is not None:
        found.append(first)
    return found


def _first_difference(ours: duckdb.DuckDBPyConnection, fresh: duckdb.DuckDBPyConnection) -> Finding | None:
    """Return the first event, registry first, that is recorded or decided otherwise."""
    sql = (
        "select topic <> 'registry', topic, partition, position, body_hash, decision, reason from base.event "
        "order by all"
    )
    ours.execute(sql)
    fresh.execute(sql)
    while True:
        mine, new = ours.fetchone(), fresh.fetchone()
        if mine is None and new is None:
            return None
        if mine is None or (new is not None and new[:4] < mine[:4]):
            return _at(new, "this event is in a fresh fold, but not in the projection")
        if new is None or mine[:4] < new[:4]:
            return _at(mine, "this event is in the projection, but not in a fresh fold")
        if mine[4] != new[4]:
            return _at(mine, "the log now holds another body here than the one that was folded")
        if mine != new:
            return _at(mine, f"this event is recorded as {_words(mine)}, a fresh fold says {_words(new)}")


def _at(row: tuple[object, ...] | None, sentence: str) -> Finding:
    return Finding(Severity.ERROR, ":".join(str(part) for part in (row or ())[1:4]), sentence)


def _words(row: tuple[object, ...]) -> str:
    decision, reason = str(row[5]), str(row[6])
    return f"{decision} ({reason})" if reason else decision


def _quarantined(connection: duckdb.DuckDBPyConnection) -> list[Finding]:
    rows = connection.execute(
        "select topic, partition, position, reason from base.quarantine order by topic, partition, position"
    ).fetchall()
    return [
        Finding(Severity.WARNING, f"{topic}:{partition}:{position}", f"in quarantine: {reason}")
        for topic, partition, position, reason in rows
    ]


def _remove(path: Path) -> None:
    for name in (path, path.with_name(f"{path.name}.wal")):
        name.unlink(missing_ok=True)
