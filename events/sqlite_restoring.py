"""The embedded log while a copy fills it: records with the times they had, and nobody else's."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from typing import TYPE_CHECKING

from deedbook.events.errors import InvalidInput, LogUnavailable
from deedbook.events.facts import TOPICS
from deedbook.events.header_packing import pack_headers
from deedbook.events.sqlite_file import (
    FILE_NAME,
    connect,
    create_file,
    is_unfinished,
    mark,
    translating,
)
from deedbook.events.sqlite_log import SqliteLog, digested_row

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from deedbook.events.copying import Restored

# A row's digest covers the lengths of key and headers in 16 bits each.
_MAX_PART_BYTES = 0xFFFF
_TIMEOUT_SECONDS = 30.0


class SqliteTarget:
    """The `CopyTarget` in a folder: a log of its own, marked as unfinished until it is whole.

    Raises InvalidInput, LogDamaged, LogUnavailable, StorageFull.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log: _Restoring | None = None
        if (folder / FILE_NAME).exists():
            self._log = _Restoring(folder)

    def log(self) -> SqliteLog | None:
        """Return what is there, for reading; None where nothing is yet."""
        return self._log

    def begin(self) -> None:
        """Make the log, if there is none, and keep everybody else from opening it."""
        if self._log is None:
            create_file(self._folder, unfinished=True)
            self._log = _Restoring(self._folder)
        self._log.mark(unfinished=True)

    def restore(self, topic: str, records: Sequence[Restored]) -> list[tuple[int, int]]:
        """Add records at the times given with them, all or none; return where each one is."""
        if self._log is None:
            raise InvalidInput("a copy is begun before it is filled")
        return self._log.restore(topic, records)

    def finish(self) -> None:
        """Let everybody open it."""
        if self._log is not None:
            self._log.mark(unfinished=False)

    def close(self) -> None:
        """Let go of the file; closing twice is harmless."""
        if self._log is not None:
            self._log.close()


class _Restoring(SqliteLog):
    """The log, open although it is unfinished; it knows where it ends, for nobody else writes to it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._next_positions = {topic: end for (topic, _), end in self.ends(TOPICS).items()}

    def _connect(self) -> sqlite3.Connection:
        return connect(self._path, unfinished=True)

    def mark(self, *, unfinished: bool) -> None:
        """Say in the file whether it is whole."""
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        with self._using(self._current_handles().writer, deadline) as connection, translating(self._path):
            if is_unfinished(connection) is not unfinished:
                self._begin(connection, deadline)
                mark(connection, unfinished=unfinished)
                connection.execute("COMMIT")

    def restore(self, topic: str, records: Sequence[Restored]) -> list[tuple[int, int]]:
        """Add records with their times in one transaction, right after those that were there."""
        first = self._next_positions[topic]
        rows = [_row(topic, position, record) for position, record in enumerate(records, first)]
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        with self._using(self._current_handles().writer, deadline) as connection, translating(self._path):
            self._begin(connection, deadline)
            try:
                self._check_end(connection, topic)
                connection.executemany(
                    f'INSERT INTO "{topic}" VALUES (?, ?, ?, ?, ?, ?, ?)',  # noqa: S608 - a known topic
                    rows,
                )
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # a full disk has already rolled back
                    connection.execute("ROLLBACK")
                raise
            self._keep_journal_small(connection)
        self._next_positions[topic] = first + len(rows)
        return [(0, position) for position in range(first, first + len(rows))]

    def _check_end(self, connection: sqlite3.Connection, topic: str) -> None:
        (last,) = connection.execute(f'SELECT max(position) FROM "{topic}"').fetchone()  # noqa: S608 - a known topic
        if (0 if last is None else last + 1) != self._next_positions[topic]:
            raise LogUnavailable(
                f"another program has written to {self._path} meanwhile, such as a second copy: end it, and give the "
                "command again"
            )


def _row(topic: str, position: int, record: Restored) -> tuple[int, int, bytes, bytes, bytes, bytes, bytes]:
    shape, varying = pack_headers(record.headers)
    if max(len(record.key), len(shape), len(varying)) > _MAX_PART_BYTES:
        raise InvalidInput(
            f"a record of {topic} has a key or headers of more than {_MAX_PART_BYTES:,} bytes, which the embedded "
            "log cannot hold: it cannot be copied there"
        )
    return digested_row(topic, position, record.recorded_at, (record.key, shape, varying, record.value))
