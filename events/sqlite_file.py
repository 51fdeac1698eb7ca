"""The embedded log's file: how it is made, opened and recognised, and what its errors mean.

A file is made aside and linked to its name once it is whole, so nobody ever opens half of one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import time
from typing import TYPE_CHECKING

from deedbook import __version__
from deedbook.events.errors import (
    DeedbookError,
    InvalidInput,
    LogDamaged,
    LogUnavailable,
    NotFound,
    StorageFull,
)
from deedbook.events.facts import TOPICS
from deedbook.events.names import id_problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE_NAME = "log.db"
FORMAT = 1
_APPLICATION_ID = 0x44454544  # "DEED"
# "DEEC": what is being copied here is not whole yet. No release takes it for a log.
_UNFINISHED_ID = 0x44454543
# Five or six typical trainings (about 2.7 kB) share a page of this size; in 8 kB there is room for two.
_PAGE_BYTES = 16384
# How long to wait for what others hold for moments only: the first opening after a crash, the last closing.
_MOMENT_SECONDS = 10.0
_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE)
_ROWS = """(
    position INTEGER PRIMARY KEY,
    recorded_at INTEGER NOT NULL,
    key BLOB NOT NULL,
    shape BLOB NOT NULL,
    varying BLOB NOT NULL,
    value BLOB NOT NULL,
    digest BLOB NOT NULL
)"""


def create_file(folder: Path, *, unfinished: bool = False) -> None:
    """Make an empty log in a folder, and the folder; a log that is already there stays as it is.

    ``unfinished``: one that a copy is to fill, and that nobody else can open until it is whole.
    """
    import uuid  # costs 8 ms, once in a log's life

    path = folder / FILE_NAME
    identity = str(uuid.uuid4())
    draft = folder / f".{FILE_NAME}.{identity}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists():
            return
        try:
            _write_draft(draft, identity, _UNFINISHED_ID if unfinished else _APPLICATION_ID)
            with contextlib.suppress(FileExistsError):  # another process was first: its log is the log
                os.link(draft, path)
            _sync_folder(folder)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(f"no log can be made in {folder}: the disk is full") from error
        raise InvalidInput(f"no log can be made in {folder}: {error.strerror or error}") from error
    except sqlite3.Error as error:
        raise translated(error, path) from error


def connect(path: Path, *, unfinished: bool = False) -> sqlite3.Connection:
    """Open the log's file, an unfinished copy only where that is asked for.

    Raises NotFound, InvalidInput, LogDamaged or LogUnavailable.
    """
    try:
        is_there = path.exists()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be looked at: {error.strerror or error}") from error
    if not is_there:
        raise NotFound(f"there is no log in {path.parent}: make one with `deedbook init`")
    connection: sqlite3.Connection | None = None
    try:
        connection = _connection(path, "rw")
        _recognise(connection, path, unfinished=unfinished)
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, sqlite3.Error):
            raise translated(error, path) from error
        raise
    return connection


def read_identity(connection: sqlite3.Connection, path: Path) -> str:
    """Return the UUID a log was given when it was made."""
    try:
        row = connection.execute("SELECT value FROM meta WHERE name = 'identity'").fetchone()
    except sqlite3.Error as error:
        raise translated(error, path) from error
    identity = row[0].decode("ascii", "replace") if row and isinstance(row[0], bytes) else ""
    if id_problem(identity) is not None:
        raise LogDamaged(f"{path} has lost its identity: restore it from a copy")
    return identity


def mark(connection: sqlite3.Connection, *, unfinished: bool) -> None:
    """Say in a log's file whether it is an unfinished copy; durable on return."""
    connection.execute(f"PRAGMA application_id = {_UNFINISHED_ID if unfinished else _APPLICATION_ID}")


def is_unfinished(connection: sqlite3.Connection) -> bool:
    """Tell whether the file is a copy that is not whole yet."""
    return bool(connection.execute("PRAGMA application_id").fetchone() == (_UNFINISHED_ID,))


@contextlib.contextmanager
def translating(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into deedbook's."""
    try:
        yield
    except sqlite3.Error as error:
        raise translated(error, path) from error


def translated(error: sqlite3.Error, path: Path) -> DeedbookError:
    """Return the error that says in one sentence what SQLite's means for whoever uses this log."""
    extended = getattr(error, "sqlite_errorcode", 0)
    if extended in _FULL:
        return StorageFull(f"{path} could not be written ({error}): free some disk space or raise the quota")
    match extended & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return LogUnavailable(f"{path} is held by another process ({error}): try again")
        case sqlite3.SQLITE_CORRUPT:
            return LogDamaged(f"{path} is damaged ({error}): restore it from a copy")
        case sqlite3.SQLITE_NOTADB:
            return InvalidInput(f"{path} is not a deedbook log: it is no SQLite database")
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return InvalidInput(
                f"{path} cannot be opened for reading and writing ({error}): check the permissions of it "
                "and of its folder"
            )
        case _:
            return LogUnavailable(f"{path} did not do what was asked of it ({error})")


def _connection(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=_MOMENT_SECONDS,
        isolation_level=None,
        check_same_thread=False,  # the log hands each connection to one thread at a time
    )
    connection.text_factory = bytes  # a damaged row may claim any type: bytes never fail to decode
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA synchronous = FULL")
    # Checkpoints are the log's own doing, under the write lock: before 3.51.3 SQLite could damage
    # a file when a commit met another process's checkpoint (sqlite.org/wal.html#walresetbug).
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    return connection


def _write_draft(path: Path, identity: str, application_id: int) -> None:
    with contextlib.closing(_connection(path, "rwc")) as connection:
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA application_id = {application_id}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        # `release` stays here in every later format: it is what an older release names as the cure.
        connection.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
        connection.executemany(
            "INSERT INTO meta VALUES (?, ?)",
            [
                ("identity", identity),
                ("release", __version__),
                ("created_at", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())),
            ],
        )
        for topic in TOPICS:
            connection.execute(f'CREATE TABLE "{topic}" {_ROWS}')
        connection.execute("COMMIT")


def _recognise(connection: sqlite3.Connection, path: Path, *, unfinished: bool) -> None:
    (kind,) = connection.execute("PRAGMA application_id").fetchone()
    if kind == _UNFINISHED_ID and not unfinished:
        raise InvalidInput(
            f"{path} is an unfinished copy: give the same `deedbook copy` again to finish it, or remove its folder"
        )
    if kind not in (_APPLICATION_ID, _UNFINISHED_ID):
        raise InvalidInput(f"{path} is an SQLite database, but not a deedbook log")
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > FORMAT:
        row = connection.execute("SELECT value FROM meta WHERE name = 'release'").fetchone()
        cure = f"deedbook {row[0].decode()} or later" if row else "a newer deedbook"
        raise InvalidInput(
            f"{path} has format {found}, and deedbook {__version__} reads formats up to {FORMAT}: install {cure}"
        )
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    missing = [topic for topic in TOPICS if topic.encode() not in tables]
    if missing:
        raise LogDamaged(f"{path} has lost the topic {missing[0]!r}: restore it from a copy")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
