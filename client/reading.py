"""Reading what the log comes to: the projection, caught up; and the fold's answer to a request."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from deedbook.events.errors import DeedbookError, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import duckdb

    from deedbook.client.recording import Recorder
    from deedbook.projector.projection import Projection

T = TypeVar("T")
_NEEDED = ("duckdb", "pyarrow", "pyruhvro")
# The process that has read first; a fork copies its libraries' locks, and none of the threads that hold them.
_READING: list[int] = []


@dataclass(frozen=True, slots=True)
class Answer:
    """What the fold decided on an event: ``decision`` is accepted or rejected, with its reason."""

    position: int
    decision: str
    reason: str


def check_can_read() -> None:
    """Raise MissingExtra where what reading needs is not installed."""
    for name in _NEEDED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise MissingExtra(f"reading a registry needs {name}: pip install 'deedbook[server]'") from error


class Reader:
    """Answers from the projection beside the log, always with all that the log holds when asked.

    While the log stands still, answers come from one snapshot that stays open: asking again is cheap,
    and holds up nobody. Safe to use from several threads.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._projection: Projection | None = None
        self._lock = threading.RLock()
        self._snapshot: duckdb.DuckDBPyConnection | None = None
        self._snapshot_ends: Mapping[tuple[str, int], int] = {}
        self._read_ends: Mapping[tuple[str, int], int] = {}

    @contextlib.contextmanager
    def connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection to the state at the log's end; not for writing.

        Raises MissingExtra, NotFound (no registry there), ProjectionBusy, and what folding raises.
        """
        check_can_read()
        with self._exclusively():
            ends = self._ends()
            # Asked a second time, a copy is worth its making; after each change, a look at the original.
            if ends in (self._snapshot_ends, self._read_ends):
                yield self._snapshot_at(ends)
                return
            with self._opened_projection().caught_up() as connection:
                yield connection
            self._read_ends = ends

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection to a snapshot of the state at the log's end, which cannot be written to."""
        check_can_read()
        with self._exclusively():
            yield self._snapshot_at(self._ends())

    def answer(
        self, where: tuple[str, int, int], then: Callable[[duckdb.DuckDBPyConnection, Answer], T]
    ) -> T:
        """Return what ``then`` makes of the fold's answer to the event at a (topic, partition, position).

        Of an event that was sent again, the answer is the one it got the first time.
        """
        topic, partition, position = where
        with self._exclusively(), self._opened_projection().caught_up() as connection:
            row = connection.execute(
                "select f.position, f.decision, f.reason from main.events e "
                "join main.events f on f.topic = e.topic and f.partition = e.partition and f.event_id = e.event_id "
                # The same id with another body is no repetition, and has an answer of its own.
                "and (f.position = e.position or e.decision = 'ignored') "
                "where e.topic = ? and e.partition = ? and e.position = ? order by f.position limit 1",
                [topic, partition, position],
            ).fetchone()
            if row is None:
                raise DeedbookError(
                    f"{topic}:{partition}:{position} is on the log, but could not be read back"
                )
            return then(connection, Answer(int(row[0]), str(row[1]), str(row[2] or "")))

    @contextlib.contextmanager
    def _exclusively(self) -> Iterator[None]:
        """One thread at a time, in a process that may read; errors in deedbook's words."""
        import duckdb

        _check_process()
        with self._lock:
            try:
                yield
            except duckdb.Error as error:
                raise DeedbookError(f"the projection could not be read: {str(error).strip()}") from error

    def _opened_projection(self) -> Projection:
        if self._projection is None:
            check_can_read()
            from deedbook.projector.projection import Projection

            self._projection = Projection(
                self._recorder.place.folder, self._recorder.log(), self._recorder.codec
            )
        return self._projection

    def _ends(self) -> Mapping[tuple[str, int], int]:
        """Return where the folded topics end."""
        from deedbook.projector.store import FOLDED_TOPICS

        return self._recorder.log().ends(FOLDED_TOPICS)

    def _snapshot_at(self, ends: Mapping[tuple[str, int], int]) -> duckdb.DuckDBPyConnection:
        """Return the open snapshot, or another one that holds all up to these ends at least."""
        if self._snapshot is not None and ends == self._snapshot_ends:
            return self._snapshot
        self._close_snapshot()
        self._snapshot = _opened(self._opened_projection().snapshot())
        found = self._snapshot.execute("select topic, partition, next_position from base.progress").fetchall()
        progress = {(topic, partition): position for topic, partition, position in found}
        self._snapshot_ends = {where: progress.get(where, 0) for where in ends}
        return self._snapshot

    def _close_snapshot(self) -> None:
        self._snapshot_ends = {}
        if self._snapshot is not None:
            self._snapshot.close()
            self._snapshot = None

    def close(self) -> None:
        """Let go of the snapshot; closing twice is harmless."""
        if self._snapshot is not None and os.getpid() in _READING:
            with self._lock:
                self._close_snapshot()


def _check_process() -> None:
    """Raise DeedbookError in a process forked from one that has read: DuckDB and Arrow would wait for ever."""
    if not _READING:
        _READING.append(os.getpid())
    if os.getpid() not in _READING:
        raise DeedbookError(
            "this process was forked from one that had read a registry, and can only log: start it with the "
            "start method 'spawn' or 'forkserver', or read in the parent alone"
        )


def _opened(snapshot: Path) -> duckdb.DuckDBPyConnection:
    """Open a snapshot under a name of its own.

    Under the same name DuckDB would hand out what this process has open already, though a newer
    snapshot has taken that name since. Once open, the file needs no name.
    """
    import duckdb

    with tempfile.TemporaryDirectory(prefix=".reading-", dir=snapshot.parent) as folder:
        path = Path(folder) / snapshot.name
        try:
            path.hardlink_to(snapshot)
        except OSError:  # a file system without hard links
            shutil.copyfile(snapshot, path)
        return duckdb.connect(str(path), read_only=True)
