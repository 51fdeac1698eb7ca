"""Where the demo keeps its registry: a folder that it made itself, and of which it removes only what is its own."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from deedbook.cli.plain_text import plain
from deedbook.events.errors import InvalidInput, StorageFull

DEFAULT_FOLDER: Final = Path(".deedbook-demo")
_MARKER: Final = "made-by-deedbook-demo.txt"
_LOCK: Final = "demo.lock"
# Whatever the demo writes is in here, and nothing else is ever removed.
_OWN: Final = ("registry", "caches", "logs", "mse-by-city.png")
_MARKER_TEXT: Final = (
    "This folder was made by `deedbook demo`. When the demo runs in it again, it removes\n"
    f"{', '.join(_OWN)}, makes them anew, and touches nothing else.\n"
)


@dataclass(frozen=True, slots=True)
class DemoFolder:
    """The demo's own folder, for as long as one demo runs in it."""

    path: Path

    @property
    def registry(self) -> Path:
        """Where the demo's registry is, unless it was given another; where a log on Kafka is folded."""
        return self.path / "registry"

    @property
    def caches(self) -> Path:
        """Where the serving instances keep their local copies, each in a folder of its own."""
        return self.path / "caches"

    @property
    def logs(self) -> Path:
        """What the processes say that run beside the demo."""
        return self.path / "logs"

    @property
    def chart(self) -> Path:
        """Where the picture goes."""
        return self.path / "mse-by-city.png"


@contextmanager
def demo_folder(path: Path) -> Iterator[DemoFolder]:
    """Make the folder, or clear the demo's own things out of it, and keep other demos away meanwhile.

    Raises InvalidInput (somebody else's folder, not a folder, not writable, in use), StorageFull.
    """
    with _plain_errors(path):
        _claim(path)
        lock = FileLock(path / _LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InvalidInput(
                f"another demo is running in {plain(path, 200)}: wait for it, or choose another folder with --folder"
            ) from None
    try:
        with _plain_errors(path):
            for name in _OWN:
                _remove(path / name)
        yield DemoFolder(path)
    finally:
        lock.release()


def _claim(path: Path) -> None:
    """Make sure that the folder is the demo's: new, empty, or marked as its own by an earlier run."""
    path.mkdir(parents=True, exist_ok=True)
    marker = path / _MARKER
    if marker.is_file():
        return
    other = next((child.name for child in sorted(path.iterdir())), None)
    if other is not None:
        raise InvalidInput(
            f"{plain(path, 200)} holds something that is not the demo's ({plain(other, 80)}), so nothing was touched: "
            "choose an empty or new folder with --folder"
        )
    marker.write_text(_MARKER_TEXT, encoding="utf-8")


def _remove(path: Path) -> None:
    """Remove a file or a folder; of a link, the link alone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _plain_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StorageFull(f"no room left for the demo in {plain(path, 200)}") from error
        why = error.strerror or type(error).__name__
        raise InvalidInput(
            f"the demo cannot use the folder {plain(path, 200)}: {why}; choose another with --folder"
        ) from error
