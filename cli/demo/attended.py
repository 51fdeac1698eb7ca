"""A command of deedbook that runs beside the demo, and ends when the demo does, however that ends.

Run as a module it is that command: `python -m deedbook.cli.demo.attended validate` is `deedbook validate`, asked to
end (SIGTERM) when its standard input does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Final

from deedbook.cli.main import main
from deedbook.events.errors import DeedbookError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_END_SECONDS: Final = 15.0


class Attended:
    """The process of a command, seen from the process that started it."""

    def __init__(self, *command: str, environment: Mapping[str, str], log_path: Path) -> None:
        """Start it; what it says goes to a file."""
        self._name = f"deedbook {command[-1]}"
        self._log_path = log_path
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", __name__, *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                # Ctrl-C is for the demo, which ends its processes itself.
                start_new_session=True,
                env=environment,
            )

    @property
    def process_id(self) -> int:
        """The number of its process."""
        return self._process.pid

    def check(self) -> None:
        """Raise DeedbookError, with the last it said, where it has ended."""
        if self._process.poll() is not None:
            said = self._log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise DeedbookError(f"{self._name} ended: {said[-1] if said else 'without a word'}")

    def stop(self) -> None:
        """Let it end by itself, as it does when its standard input ends; kill it where it does not."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _end_with_input() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_input, daemon=True).start()
    main()
