"""The projection's file: one DuckDB database, one writing owner, rows and position in one transaction."""

from __future__ import annotations

import contextlib
import importlib.resources
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from deedbook.events import facts
from deedbook.events.errors import DeedbookError, LogReplaced, ProjectionBusy, ProjectionFenced, StorageFull
from deedbook.projector.columns import write_steps, write_trainings
from deedbook.projector.decision import Accepted, Rejected
from deedbook.projector.lookups import StoredSource
from deedbook.projector.rows import ChunkRow, TrainingRow
from deedbook.projector.terms import Definitions, Terms
from deedbook.projector.without_pandas import settle_pandas
from deedbook.projector.writer import write_events, write_quarantine, write_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from deedbook.events.log import Record
    from deedbook.projector.decision import Decision, Event

FORMAT_VERSION = "1"
FOLDED_TOPICS = (facts.REGISTRY, facts.METRICS, facts.HOSTS)
_IS_HELD = "IO Error: Could not set lock on file"
_MEMORY_LIMIT = "600MB"
# DuckDB's own choice, 256 KiB, leaves a registry of a few hundred trainings at 8 MB of mostly empty blocks.
_BLOCK_BYTES = 32 << 10


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a partition is folded: the next position, the log's time there, the running hash."""

    next_position: int = 0
    last_recorded_at: int = 0
    running_hash: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction writes: decided events, their bulk columns, and where that leaves the fold."""

    topic: str
    partition: int
    before: Progress
    after: Progress
    decided: Sequence[tuple[Event, Decision]]
    quarantined: Sequence[tuple[Record, str]]
    columns: Mapping[str, pa.RecordBatch]


class Store:
    """The one writing owner of a projection file; made on first use."""

    def __init__(self, path: Path, *, log_identity: str) -> None:
        self.path = path
        self._failed = False
        self._on_all_processors = False
        self.connection = _connect(path)
        try:
            self._prepare(log_identity)
            self.terms = Terms(self.connection)
            self.definitions = Definitions(self.connection)
        except BaseException as error:
            self.connection.close()
            if isinstance(error, duckdb.Error):
                raise _cannot_open(path, error) from error
            raise
        self.source = StoredSource(self.connection)
        # Told of each batch once it is committed, by the thread that committed it.
        self.heard: list[Callable[[Batch], None]] = []

    def _prepare(self, log_identity: str) -> None:
        """Make the tables in a new file; refuse another log's file, or another release's."""
        made = self.connection.execute("select 1 from duckdb_schemas() where schema_name = 'base'").fetchone()
        if made is None:
            self.connection.execute("begin")
            for name in ("tables.sql", "views.sql"):
                sql = (importlib.resources.files("deedbook.projector") / name).read_text(encoding="utf-8")
                self.connection.execute(sql)
            self.connection.execute(
                "insert into base.meta values ('format_version', ?), ('log_identity', ?)",
                [FORMAT_VERSION, log_identity],
            )
            self.connection.execute("commit")
        meta = dict(self.connection.execute("select name, value from base.meta").fetchall())
        if meta["format_version"] != FORMAT_VERSION:
            raise DeedbookError(
                f"{self.path.name} has format {meta['format_version']}, this release reads {FORMAT_VERSION}: "
                "run `deedbook rebuild`, or install the release that wrote it"
            )
        if meta["log_identity"] != log_identity:
            raise LogReplaced(
                f"{self.path.name} was folded from log {meta['log_identity']}, but the log here is {log_identity}: "
                "put the old log back, or run `deedbook rebuild` if the new one is meant"
            )

    def use_processors(self, *, all_of_them: bool) -> None:
        """Have statements run on all processors, or each in the thread that sends it, as they do at first.

        A small statement is done in less time than it takes to wake another thread for a part of it.
        """
        if all_of_them != self._on_all_processors:
            self.connection.execute("reset threads" if all_of_them else "set threads = 1")
            self._on_all_processors = all_of_them

    def progress(self, topic: str, partition: int = 0) -> Progress:
        """Return how far a partition is folded."""
        row = self.connection.execute(
            "select next_position, last_recorded_at, running_hash from base.progress "
            "where topic = ? and partition = ?",
            [topic, partition],
        ).fetchone()
        return Progress() if row is None else Progress(*row)

    def positions(self) -> dict[tuple[str, int], int]:
        """Return the next position of each partition that something was folded of."""
        rows = self.connection.execute("select topic, partition, next_position from base.progress").fetchall()
        return {(topic, partition): position for topic, partition, position in rows}

    def rules_version(self) -> int:
        """Return the rules in force at the next position."""
        row = self.connection.execute("select max(rules_version) from base.rules").fetchone()
        return 1 if row is None or row[0] is None else int(row[0])

    def commit(self, batch: Batch) -> None:
        """Write a batch and its position, wholly or not at all; once that failed, open the file anew.

        Raises ProjectionFenced where another projector moved on meanwhile, StorageFull.
        """
        if self._failed:
            raise DeedbookError(f"{self.path.name} could not be written before: open it anew to go on")
        try:
            self._commit(batch)
        except BaseException as error:
            self._failed = True
            self._roll_back()
            if isinstance(error, duckdb.Error) and _is_full(error):
                raise StorageFull(
                    f"the disk holding {self.path.name} is full; nothing of this batch was written"
                ) from error
            raise
        for hear in self.heard:
            hear(batch)

    def _commit(self, batch: Batch) -> None:
        # 1. One transaction holds all that follows.
        self.connection.execute("begin")
        # 2. Move the position first: whoever lost the file to another projector stops here.
        self._advance(batch)
        # 3. The timeline, and what could not be read.
        write_events(self.connection, batch.decided)
        write_quarantine(self.connection, batch.quarantined)
        # 4. The bulk columns of what was accepted, then the rows that the fold decided.
        rows = [row for _, d in batch.decided if isinstance(d, Accepted | Rejected) for row in d.rows]
        self._write_columns(batch, rows)
        write_rows(self.connection, rows, self.terms, first_position=batch.before.next_position)
        # 5. Now it counts.
        self.connection.execute("commit")

    def _advance(self, batch: Batch) -> None:
        where = [batch.topic, batch.partition]
        values = [batch.after.next_position, batch.after.last_recorded_at, batch.after.running_hash]
        if batch.before == Progress():
            moved = self.connection.execute(
                "insert into base.progress select ?, ?, ?, ?, ? where not exists "
                "(from base.progress where topic = ? and partition = ?) returning 1",
                [*where, *values, *where],
            ).fetchone()
        else:
            moved = self.connection.execute(
                "update base.progress set next_position = ?, last_recorded_at = ?, running_hash = ? "
                "where topic = ? and partition = ? and next_position = ? returning 1",
                [*values, *where, batch.before.next_position],
            ).fetchone()
        if moved is None:
            raise ProjectionFenced(
                f"another projector has folded {batch.topic}:{batch.partition} past position "
                f"{batch.before.next_position}; this one stops"
            )

    def _write_columns(self, batch: Batch, rows: Sequence[object]) -> None:
        trainings = [row for row in rows if isinstance(row, TrainingRow)]
        if trainings:
            columns = batch.columns["TrainingLogged"]
            write_trainings(self.connection, columns, trainings, self.terms, self.definitions)
        chunks = [row.position for row in rows if isinstance(row, ChunkRow)]
        if chunks:
            write_steps(self.connection, batch.columns["MetricsLogged"], chunks, batch.partition, self.terms)

    def _roll_back(self) -> None:
        try:
            self.connection.execute("rollback")
            self.terms.forget()
            self.definitions.forget()
        except duckdb.Error:
            # No transaction was open, or the database is beyond use: the next statement says so.
            return

    def checkpoint(self) -> None:
        """Bring the write-ahead log into the file."""
        self.connection.execute("checkpoint")

    def close(self) -> None:
        """Let go of the file; closing twice is harmless."""
        if not self._failed and _journal_of(self.path).exists():
            with contextlib.suppress(duckdb.Error):  # a full disk, say: the write-ahead log has it all
                self.checkpoint()
        self.connection.close()


def _connect(path: Path) -> duckdb.DuckDBPyConnection:
    settle_pandas()
    was_killed = _journal_of(path).exists()
    try:
        connection = duckdb.connect(
            str(path),
            config={"memory_limit": _MEMORY_LIMIT, "default_block_size": str(_BLOCK_BYTES), "threads": "1"},
        )
        connection.execute("set enable_progress_bar = false")
        # Closing is no checkpoint by itself: after a failed commit what is in memory is not to be trusted.
        connection.execute("pragma disable_checkpoint_on_shutdown")
        if was_killed:
            _make_indexes_anew(connection)
    except duckdb.Error as error:
        raise _cannot_open(path, error) from error
    return connection


def _journal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.wal")


def _make_indexes_anew(connection: duckdb.DuckDBPyConnection) -> None:
    """Make every index again from its table, after DuckDB has replayed what a killed or failed process left.

    DuckDB 1.5.5 replays rows into indexes that it has not loaded yet, and forgets those entries if the
    file is closed before anything else is written: later look-ups would miss rows that are there.
    """
    indexes = connection.execute(
        "select index_name, sql from duckdb_indexes() where schema_name = 'base'"
    ).fetchall()
    for name, made_by in indexes:
        connection.execute(f'drop index base."{name}"')
        connection.execute(made_by)
    connection.execute("checkpoint")


def _cannot_open(path: Path, error: duckdb.Error) -> DeedbookError:
    """Return what DuckDB's error on opening a file means; other errors name the file, whatever it is called."""
    text = str(error)
    if text.startswith(_IS_HELD):
        return ProjectionBusy(f"another process holds {path.name}: {_holder(text)}")
    if _is_full(error):
        return StorageFull(f"the disk holding {path.name} is full")
    return DeedbookError(
        f"{path.name} cannot be opened: {text.splitlines()[0]}; `deedbook rebuild` makes it anew"
    )


def _holder(text: str) -> str:
    return text.split("Conflicting lock is held in ", 1)[-1].split(". See", 1)[0]


def _is_full(error: duckdb.Error) -> bool:
    text = str(error).lower()
    return "no space left" in text or "file too large" in text or "disk quota" in text
