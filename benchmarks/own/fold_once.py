"""Fold the log in a folder into a projection beside it, once: a process whose memory is measured from outside."""

from __future__ import annotations

import sys
from pathlib import Path

from deedbook.events.codec import Codec
from deedbook.events.sqlite_log import SqliteLog
from deedbook.projector.loop import Projector
from deedbook.projector.store import Store


def main() -> None:
    """Fold the log in the folder named on the command line."""
    folder = Path(sys.argv[1])
    log = SqliteLog(folder)
    store = Store(folder / "projection.duckdb", log_identity=log.identity())
    Projector(log, store, Codec()).catch_up()
    store.close()
    log.close()


if __name__ == "__main__":
    main()
