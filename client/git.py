"""The commit of the code that runs here, as git tells it."""

from __future__ import annotations

import re
import time
from pathlib import Path

_SHA = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_TIMEOUT_SECONDS = 5.0
_MAX_AGE_SECONDS = 10.0


def head_commit(folder: Path) -> str:
    """Return the commit that is checked out in a folder, or ``""`` where git knows of none."""
    import subprocess

    try:
        done = subprocess.run(
            ["git", "rev-parse", "--verify", "--quiet", "HEAD"],  # noqa: S607 - the git of whoever runs this
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    sha = done.stdout.strip()
    return sha if done.returncode == 0 and _SHA.fullmatch(sha) else ""


class RecentCommit:
    """The commit checked out in a folder, looked up again after ten seconds: git takes longer than logging does."""

    def __init__(self) -> None:
        self._known: tuple[Path, float, str] | None = None

    def of(self, folder: Path) -> str:
        """Return the folder's commit, or ``""``."""
        now = time.monotonic()
        if self._known is None or self._known[0] != folder or now - self._known[1] > _MAX_AGE_SECONDS:
            self._known = (folder, now, head_commit(folder))
        return self._known[2]
