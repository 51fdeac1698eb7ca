"""A look at the embedded log that costs next to nothing, and shows whether anybody has appended since the last one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deedbook.events.sqlite_file import FILE_NAME, connect, translating

if TYPE_CHECKING:
    from pathlib import Path


class SqliteWatch:
    """Watches a folder's log over a connection of its own, for one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self._path = folder.absolute() / FILE_NAME
        self._connection = connect(self._path)

    def version(self) -> int:
        """Return a number that every append changes, whichever process makes it. Raises LogUnavailable."""
        with translating(self._path):
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()
