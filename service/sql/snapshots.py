"""The snapshots that queries are asked of: links to published ones, in a folder that holds nothing else."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from pathlib import Path
from typing import Final

# The newest, and the one before it, which a child may be about to open.
_KEPT: Final = 2


class Snapshots:
    """The folder that queries' processes see; threads may share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._turn = threading.Lock()
        self._names: list[str] = []

    def shown(self, published: Path) -> str:
        """Link a published snapshot into the folder, whatever is published meanwhile, and return its name there.

        The same snapshot has the same name. Older ones go; whoever has one open goes on reading it.
        """
        with self._turn:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            part = self.folder / f"part-{os.getpid()}"
            part.unlink(missing_ok=True)
            try:
                os.link(published, part)
            except FileNotFoundError:
                raise
            except OSError:  # a file system without links
                shutil.copyfile(published, part)
                shutil.copystat(published, part)
            found = part.stat()
            name = f"{found.st_mtime_ns}-{found.st_size}.duckdb"
            part.replace(self.folder / name)
            part.unlink(missing_ok=True)  # two names of one file: replacing then leaves both
            if name not in self._names:
                self._names.append(name)
                self._tidy()
            return name

    def _tidy(self) -> None:
        self._names = self._names[-_KEPT:]
        for left in self.folder.iterdir():
            if left.name not in self._names:
                with contextlib.suppress(OSError):
                    left.unlink()
