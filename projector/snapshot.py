"""Snapshots: one complete, read-only copy of the projection that any process may open."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from deedbook.events.errors import DeedbookError, ProjectionBusy, StorageFull
from deedbook.projector.without_pandas import settle_pandas

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from deedbook.projector.readers import Readers
    from deedbook.projector.store import Store

_LOG = logging.getLogger(__name__)
_COPY_TIMEOUT_SECONDS = 300
# A snapshot takes at most this part of the time: the larger the projection, the rarer. Those who wait for one
# are worth more of it.
_SHARE = 0.05
_ASKED_SHARE = 0.5
_EVERY_SECONDS = 1.0
# Best made once nothing has happened for a moment, for it holds up what does; where that never is so, late.
_QUIET_SECONDS = 0.5
_LATE_SECONDS = 30.0
# So long a checkpoint is tried beside readers; then they are kept out for a moment.
_BESIDE_READERS_SECONDS = 0.3
_AGAIN_SECONDS = 0.01
_ALONE_SECONDS = 1.0
_READING = ".reading-"
# Longer than anything takes that is done with a snapshot by its name.
_LEFT_OVER_SECONDS = 24 * 3600.0


def publish(store: Store, target: Path) -> None:
    """Copy the projection to ``target``, which at every moment is one whole snapshot, old or new.

    The copy is made by a child process: closing a second descriptor of the file in this one would
    drop the lock that keeps other writers out. Who has the old snapshot open keeps reading it.
    Raises StorageFull, and DeedbookError where the copy failed.
    """
    store.checkpoint()
    _copy(store.path, target)


def _copy(source: Path, target: Path) -> None:
    for left_over in target.parent.glob(f"{target.name}.part-*"):
        left_over.unlink(missing_ok=True)
    part = target.with_name(f"{target.name}.part-{os.getpid()}")
    command = ["cp", "--", str(source), str(part)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_COPY_TIMEOUT_SECONDS, check=False)  # noqa: S603 - own paths
    if done.returncode != 0:
        part.unlink(missing_ok=True)
        reason = done.stderr.strip().rsplit(": ", 1)[-1] or f"cp ended with {done.returncode}"
        kind = StorageFull if "space" in reason.lower() else DeedbookError
        raise kind(f"the snapshot could not be written: {reason}; the one before it is still there")
    part.replace(target)


@contextlib.contextmanager
def held(snapshot: Path) -> Iterator[Path]:
    """Hand out a snapshot under a name of its own, which stays when a newer one takes the old name.

    Under the old name DuckDB would hand out what this process has open already. Once open, a file needs no name.
    """
    with tempfile.TemporaryDirectory(prefix=_READING, dir=snapshot.parent) as folder:
        path = Path(folder) / snapshot.name
        try:
            path.hardlink_to(snapshot)
        except OSError:  # a file system without hard links
            shutil.copyfile(snapshot, path)
        yield path


def open_snapshot(snapshot: Path) -> duckdb.DuckDBPyConnection:
    """Open a snapshot for reading; it stays what it is however many are published after it."""
    settle_pandas()
    with held(snapshot) as path:
        return duckdb.connect(str(path), read_only=True)


def remove_left_overs(folder: Path) -> None:
    """Remove the names under which processes that were killed had snapshots: each keeps a whole file on the disk."""
    long_ago = time.time() - _LEFT_OVER_SECONDS
    for left_over in folder.glob(f"{_READING}*"):
        with contextlib.suppress(OSError):
            if left_over.stat().st_mtime < long_ago:
                shutil.rmtree(left_over)


class Snapshots:
    """The snapshots of a projection that one process keeps open: its folding thread publishes, others ask."""

    def __init__(self, path: Path, *, wake: Callable[[], None]) -> None:
        self.path = path
        self._wake = wake
        self._changed = threading.Condition()
        self._asked: list[Mapping[tuple[str, int], int]] = []
        # What the newest one holds; None before this process has published any.
        self._published: Mapping[tuple[str, int], int] | None = None
        self._refused: tuple[int, DeedbookError] | None = None
        self._attempts = 0
        self._tried_since: float | None = None
        self._again_at = 0.0
        self._began_at = 0.0
        self._took_seconds = 0.0

    def holding(self, ends: Mapping[tuple[str, int], int], *, timeout_seconds: float) -> Path:
        """Return the snapshot's path once it holds all up to these ends at least; for any thread but the folding one.

        Raises ProjectionBusy at the deadline, and what publishing raises.
        """
        with self._changed:
            if _holds(self._published, ends):
                return self.path
            begun = self._attempts
            self._asked.append(ends)
            self._wake()
            try:
                self._changed.wait_for(
                    lambda: _holds(self._published, ends) or (self._refused or (0,))[0] > begun,
                    timeout_seconds,
                )
                if _holds(self._published, ends):
                    return self.path
                if self._refused is not None and self._refused[0] > begun:
                    raise self._refused[1]
            finally:
                self._asked.remove(ends)
        raise ProjectionBusy(f"no snapshot was published for {timeout_seconds:.0f} s; try again")

    def attend(
        self,
        store: Store,
        folded: Mapping[tuple[str, int], int],
        readers: Readers,
        *,
        quiet_seconds: float,
        last: bool = False,
    ) -> None:
        """Publish a snapshot if somebody waits for one, or if there is anything new and it is time.

        ``quiet_seconds``: for how long nothing has happened.
        """
        due = folded != self._published if last else self.due_in_seconds(folded, quiet_seconds) <= 0
        if not due:
            return
        now = time.monotonic()
        if not self._checkpointed(store, readers, last=last):
            return
        self._attempts += 1
        try:
            _copy(store.path, self.path)
        except DeedbookError as error:
            # The state itself is well, and so is the snapshot before this one.
            _LOG.warning("%s", error)
            with self._changed:
                self._refused = (self._attempts, error)
                self._changed.notify_all()
            return
        finally:
            self._began_at, self._took_seconds = now, time.monotonic() - now
        with self._changed:
            self._published = dict(folded)
            self._changed.notify_all()

    def due_in_seconds(self, folded: Mapping[tuple[str, int], int], quiet_seconds: float) -> float:
        """Return how long it is until the next one is due if nothing happens until then; 0 where it is due now."""
        if folded == self._published:
            return math.inf
        with self._changed:
            waiting = any(_holds(folded, ends) and not _holds(self._published, ends) for ends in self._asked)
        now = time.monotonic()
        if waiting:
            at = self._began_at + self._took_seconds / _ASKED_SHARE
        else:
            spent = self._took_seconds / _SHARE
            at_rest = max(self._began_at + max(_EVERY_SECONDS, spent), now + _QUIET_SECONDS - quiet_seconds)
            at = min(at_rest, self._began_at + max(_LATE_SECONDS, spent))
        return max(0.0, max(at, self._again_at) - now)

    def _checkpointed(self, store: Store, readers: Readers, *, last: bool) -> bool:
        """Bring all into the projection's file; False where readers are in the way: to be tried again soon.

        DuckDB can't while anybody reads what the last commits have changed.
        """
        try:
            store.checkpoint()
        except duckdb.TransactionException:
            now = time.monotonic()
            self._tried_since = self._tried_since or now
            if not last and now - self._tried_since < _BESIDE_READERS_SECONDS:
                self._again_at = now + _AGAIN_SECONDS
                return False
            with readers.excluded(timeout_seconds=_ALONE_SECONDS) as alone:
                if alone:
                    store.checkpoint()
        else:
            alone = True
        self._tried_since = None
        return alone


def _holds(published: Mapping[tuple[str, int], int] | None, ends: Mapping[tuple[str, int], int]) -> bool:
    return published is not None and all(published.get(where, 0) >= end for where, end in ends.items())
