"""The embedded log: one SQLite file in a folder, for any number of processes on one machine.

Appends are transactions that take the write lock first, so positions are dense and in commit order,
and are synced to disk before they return. Each row carries a digest over all it holds. The folder has
to be on a local disk: processes share the file's index through memory.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import struct
import threading
import time
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from deedbook.events.clock import now_micros
from deedbook.events.errors import InvalidInput, LogDamaged, LogReplaced, LogUnavailable
from deedbook.events.facts import TOPICS
from deedbook.events.header_packing import pack_headers, unpack_headers
from deedbook.events.log import MAX_BODY_BYTES, MAX_HEAD_BYTES, NewRecord, Record
from deedbook.events.sqlite_file import (
    FILE_NAME,
    connect,
    create_file,
    read_identity,
    translated,
    translating,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_COLUMNS = "position, recorded_at, key, shape, varying, value, digest"
# What a row's digest covers before its texts: topic, position, time, where each text ends, the body's SHA-256.
_HEAD = struct.Struct("<16sqqHHH32s")
_DIGEST_BYTES = 16
_WAL_BYTES = 16 << 20
# Rows of one read that SQLite itself cannot get at before the file, rather than a row, counts as damaged.
_MAX_UNREADABLE = 100
_SHORTEST_PAUSE_SECONDS = 0.001
_LONGEST_PAUSE_SECONDS = 0.005
# Connections inherited through a fork: using or closing them here would harm those of the parent.
_INHERITED: list[object] = []


@dataclass(slots=True)
class _Handle:
    """One connection, opened when first needed, used by one thread at a time."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    connection: sqlite3.Connection | None = None


@dataclass(slots=True)
class _Handles:
    """The connections of one process: one to append and one to read, so that neither waits for the other."""

    pid: int
    writer: _Handle = field(default_factory=_Handle)
    reader: _Handle = field(default_factory=_Handle)


class SqliteLog:
    """The `Log` kept in `folder`/log.db, one partition per topic.

    ``clock`` tells the time in microseconds since 1970. Raises NotFound (no log there, unless
    ``create``), InvalidInput (not a log, a newer format, no permission), LogDamaged, LogUnavailable.
    """

    def __init__(self, folder: Path, *, create: bool = False, clock: Callable[[], int] = now_micros) -> None:
        self._path = folder.absolute() / FILE_NAME
        self._journal = self._path.with_name(f"{FILE_NAME}-wal")
        self._clock = clock
        self._closed = False
        self._handles = _Handles(os.getpid())
        self._wal_limit = _WAL_BYTES
        if create:
            create_file(self._path.parent)
        self._handles.reader.connection = self._connect()
        self._file = _file_of(self._path)
        self._identity = read_identity(self._handles.reader.connection, self._path)

    @classmethod
    def create(cls, folder: Path, *, clock: Callable[[], int] = now_micros) -> SqliteLog:
        """Make a log in a folder, unless it has one, and open it."""
        return cls(folder, create=True, clock=clock)

    def append(
        self, topic: str, records: Sequence[NewRecord], *, timeout_seconds: float = 30.0
    ) -> list[tuple[int, int]]:
        """Append all records or none, in order, and return each one's (partition, position).

        Raises LogUnavailable, StorageFull, LogReplaced, LogDamaged, InvalidInput.
        """
        _check_topic(topic)
        deadline = time.monotonic() + timeout_seconds
        rows = [_packed(record) for record in records]
        if not rows:
            return []
        with self._using(self._current_handles().writer, deadline) as connection, translating(self._path):
            self._begin(connection, deadline)
            try:
                first, recorded_at = self._next(connection, topic)
                connection.executemany(
                    f'INSERT INTO "{topic}" VALUES (?, ?, ?, ?, ?, ?, ?)',  # noqa: S608 - a known topic
                    _rows(topic, first, recorded_at, rows),
                )
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # a full disk has already rolled back
                    connection.execute("ROLLBACK")
                raise
            self._keep_journal_small(connection)
        return [(0, position) for position in range(first, first + len(rows))]

    def read(
        self,
        topic: str,
        partition: int,
        start: int,
        *,
        max_records: int = 10_000,
        max_bytes: int = 32 << 20,
        timeout_seconds: float = 0.0,
    ) -> list[Record]:
        """Return the records from ``start`` on, in order; waits for the first until the time-out.

        A record whose row was changed is returned as not intact. Raises LogDamaged, LogUnavailable.
        """
        if start < 0 or max_records < 1 or max_bytes < 1:
            raise InvalidInput(
                "a read starts at position 0 or later, and asks for at least one record and byte"
            )
        deadline = time.monotonic() + timeout_seconds
        pause = _SHORTEST_PAUSE_SECONDS
        while (end := self.end(topic, partition)) <= start:
            left = deadline - time.monotonic()
            if left <= 0:
                return []
            time.sleep(min(pause, left))
            pause = min(pause * 1.2, _LONGEST_PAUSE_SECONDS)
        with self._using(self._current_handles().reader, None) as connection, translating(self._path):
            return _read(connection, topic, range(start, min(end, start + max_records)), max_bytes)

    def partitions(self, topic: str) -> int:
        """Return 1: the embedded log does not divide its topics."""
        _check_topic(topic)
        return 1

    def end(self, topic: str, partition: int = 0) -> int:
        """Return the position the next record will get."""
        _check_topic(topic)
        if partition != 0:
            raise InvalidInput(
                f"the embedded log has no partition {partition} of {topic!r}: each topic has one, 0"
            )
        with self._using(self._current_handles().reader, None) as connection, translating(self._path):
            return _end(connection, topic)

    def ends(self, topics: Sequence[str]) -> dict[tuple[str, int], int]:
        """Return the position the next record will get, for each (topic, 0) of these topics."""
        return {(topic, 0): self.end(topic) for topic in topics}

    def identity(self) -> str:
        """Return the UUID this log was given when it was made."""
        return self._identity

    def close(self) -> None:
        """Close the file; the last to do so empties its journal. Closing twice is harmless."""
        self._closed = True
        if self._handles.pid != os.getpid():
            _INHERITED.append(self._handles)
            return
        for handle in (self._handles.writer, self._handles.reader):
            with handle.lock:
                if handle.connection is not None:
                    handle.connection.close()
                    handle.connection = None

    def _connect(self) -> sqlite3.Connection:
        return connect(self._path)

    def _current_handles(self) -> _Handles:
        if self._handles.pid != os.getpid():
            _INHERITED.append(self._handles)
            self._handles = _Handles(os.getpid())
        return self._handles

    @contextlib.contextmanager
    def _using(self, handle: _Handle, deadline: float | None) -> Iterator[sqlite3.Connection]:
        timeout = -1 if deadline is None else max(0.0, deadline - time.monotonic())
        if not handle.lock.acquire(timeout=timeout):
            raise LogUnavailable("other threads kept appending until the time given was up: try again")
        try:
            if self._closed:
                raise InvalidInput(f"{self._path} was closed by this program")
            if handle.connection is None:
                handle.connection = self._connect()
            self._check_file()
            yield handle.connection
        finally:
            handle.lock.release()

    def _begin(self, connection: sqlite3.Connection, deadline: float) -> None:
        """Take the write lock: short random pauses share it more evenly than SQLite's own, longer ones."""
        if connection.in_transaction:  # an interrupt came between taking the lock and using it
            connection.execute("ROLLBACK")
        connection.execute("PRAGMA busy_timeout = 0")
        ceiling = 0.000_5
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
                left = deadline - time.monotonic()
                if left <= 0:
                    raise translated(error, self._path) from error
            time.sleep(min(left, random.uniform(0, ceiling)))  # noqa: S311 - no secret
            ceiling = min(ceiling * 1.5, 0.01)

    def _next(self, connection: sqlite3.Connection, topic: str) -> tuple[int, int]:
        """Return the next record's position and time: never earlier than the record before it."""
        first = _end(connection, topic)
        now = self._clock()
        if first:
            (last,) = _read(connection, topic, range(first - 1, first), 1)
            if last.intact:  # a damaged row's time may be any
                now = max(now, last.recorded_at)
        return first, now

    def _check_file(self) -> None:
        """See that the file in use is still the one that others open by its name."""
        try:
            found = _file_of(self._path)
        except OSError:
            found = None
        if found != self._file:
            raise LogReplaced(
                f"{self._path} was removed or replaced while this program used it: start it again"
            )

    def _keep_journal_small(self, connection: sqlite3.Connection) -> None:
        """Copy the journal into the file once it is large; a reader in the way only puts that off."""
        try:
            size = self._journal.stat().st_size
            if size < self._wal_limit:
                if size < _WAL_BYTES:
                    self._wal_limit = _WAL_BYTES
                return
            connection.execute("PRAGMA busy_timeout = 250")
            (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._wal_limit = size + _WAL_BYTES if busy else _WAL_BYTES
        except (OSError, sqlite3.Error):
            self._wal_limit += _WAL_BYTES  # the records are safe in the journal as they are


def _check_topic(topic: str) -> None:
    if topic not in TOPICS:
        raise InvalidInput(f"there is no topic {topic[:60]!r}: the topics are {', '.join(TOPICS)}")


def _packed(record: NewRecord) -> tuple[bytes, bytes, bytes, bytes]:
    """Return a record's key, header shape, varying header values and body."""
    if len(record.value) > MAX_BODY_BYTES:
        raise InvalidInput(f"a body of {len(record.value):,} bytes is over the limit of {MAX_BODY_BYTES:,}")
    shape, varying = pack_headers(record.headers)
    if len(record.key) + len(shape) + len(varying) > MAX_HEAD_BYTES:
        raise InvalidInput(f"key and headers are over the limit of {MAX_HEAD_BYTES:,} bytes")
    return record.key, shape, varying, record.value


def _rows(
    topic: str, first: int, recorded_at: int, packed: list[tuple[bytes, bytes, bytes, bytes]]
) -> Iterator[tuple[int, int, bytes, bytes, bytes, bytes, bytes]]:
    for position, parts in enumerate(packed, first):
        yield digested_row(topic, position, recorded_at, parts)


def digested_row(
    topic: str, position: int, recorded_at: int, packed: tuple[bytes, bytes, bytes, bytes]
) -> tuple[int, int, bytes, bytes, bytes, bytes, bytes]:
    """Return the row of a record's key, header shape, varying header values and body, with its digest."""
    key, shape, varying, value = packed
    lengths = (len(key), len(shape), len(varying))
    head = _HEAD.pack(topic.encode(), position, recorded_at, *lengths, sha256(value).digest())
    return position, recorded_at, key, shape, varying, value, _digest(head, key, shape, varying)


def _digest(head: bytes, key: bytes, shape: bytes, varying: bytes) -> bytes:
    """Return what a row is checked against: SHA-256, which processors compute by themselves, cut to 128 bits."""
    return sha256(b"".join((head, key, shape, varying))).digest()[:_DIGEST_BYTES]


def _end(connection: sqlite3.Connection, topic: str) -> int:
    (last,) = connection.execute(f'SELECT max(position) FROM "{topic}"').fetchone()  # noqa: S608 - a known topic
    return 0 if last is None else last + 1


def _read(connection: sqlite3.Connection, topic: str, wanted: range, max_bytes: int) -> list[Record]:
    """Return the wanted records, at least one, as far as they fit into ``max_bytes`` of bodies."""
    select = f'SELECT {_COLUMNS} FROM "{topic}" WHERE position >= ? AND position < ? ORDER BY position'  # noqa: S608
    named = topic.encode()
    records: list[Record] = []
    size = 0
    try:
        for expected, row in zip(
            wanted, connection.execute(select, (wanted.start, wanted.stop)), strict=True
        ):
            if row[0] != expected:
                break
            record = _record(topic, named, row)
            size += len(record.value)
            if size > max_bytes and records:
                return records
            records.append(record)
        else:
            return records
    except ValueError:
        pass  # fewer rows than positions
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CORRUPT:
            raise
    return _read_singly(connection, topic, wanted, max_bytes)


def _read_singly(connection: sqlite3.Connection, topic: str, wanted: range, max_bytes: int) -> list[Record]:
    """Return what `_read` would, where it could not: a row that SQLite cannot get at is not intact."""
    select = f'SELECT {_COLUMNS} FROM "{topic}" WHERE position = ?'  # noqa: S608 - a known topic
    named = topic.encode()
    records: list[Record] = []
    missing: list[int] = []
    unreadable = size = 0
    for position in wanted:
        try:
            row = connection.execute(select, (position,)).fetchone()
        except sqlite3.DatabaseError as error:
            unreadable += 1
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CORRUPT or unreadable > _MAX_UNREADABLE:
                raise
            row = (position, None, None, None, None, None, None)
        if row is None:
            missing.append(position)
            continue
        record = _record(topic, named, row)
        size += len(record.value)
        if size > max_bytes and records:
            break
        records.append(record)
    if missing:
        raise LogDamaged(
            f"{topic} has lost {len(missing):,} of its records, the first at position {missing[0]}, the last at "
            f"position {missing[-1]}: restore the log from a copy"
        )
    return records


def _record(topic: str, named: bytes, row: tuple[Any, ...]) -> Record:
    """Return the record in a row of any content: intact where it holds what was appended."""
    position, recorded_at, key, shape, varying, value, digest = row
    try:
        value_sha256 = sha256(value).digest()
        lengths = (len(key), len(shape), len(varying))
        head = _HEAD.pack(named, position, recorded_at, *lengths, value_sha256)
        if digest == _digest(head, key, shape, varying):
            headers = unpack_headers(shape, varying)
            return Record(topic, 0, position, recorded_at, key, value, headers, value_sha256=value_sha256)
    except Exception:  # noqa: BLE001, S110 - whatever a damaged row's columns lead to
        pass
    return Record(
        topic=topic,
        partition=0,
        position=position,
        recorded_at=recorded_at if isinstance(recorded_at, int) else 0,
        key=key if isinstance(key, bytes) else b"",
        value=value if isinstance(value, bytes) else b"",
        headers=_headers_if_any(shape, varying),
        intact=False,
    )


def _headers_if_any(shape: Any, varying: Any) -> tuple[tuple[str, bytes], ...]:  # noqa: ANN401 - a damaged row's
    try:
        return unpack_headers(shape, varying)
    except Exception:  # noqa: BLE001 - whatever a damaged row's columns lead to
        return ()


def _file_of(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino
