"""Snapshots: one complete, read-only copy of the projection that any process may open."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from deedbook.events.errors import DeedbookError, StorageFull

if TYPE_CHECKING:
    from pathlib import Path

    from deedbook.projector.store import Store

_COPY_TIMEOUT_SECONDS = 300


def publish(store: Store, target: Path) -> None:
    """Copy the projection to ``target``, which at every moment is one whole snapshot, old or new.

    The copy is made by a child process: closing a second descriptor of the file in this one would
    drop the lock that keeps other writers out. Who has the old snapshot open keeps reading it.
    Raises StorageFull, and DeedbookError where the copy failed.
    """
    store.checkpoint()
    for left_over in target.parent.glob(f"{target.name}.part-*"):
        left_over.unlink(missing_ok=True)
    part = target.with_name(f"{target.name}.part-{os.getpid()}")
    command = ["cp", "--", str(store.path), str(part)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_COPY_TIMEOUT_SECONDS, check=False)  # noqa: S603 - own paths
    if done.returncode != 0:
        part.unlink(missing_ok=True)
        reason = done.stderr.strip().rsplit(": ", 1)[-1] or f"cp ended with {done.returncode}"
        kind = StorageFull if "space" in reason.lower() else DeedbookError
        raise kind(f"the snapshot could not be written: {reason}; the one before it is still there")
    part.replace(target)
