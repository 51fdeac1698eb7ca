"""Fold a log into a projection in a folder, once: a process whose memory is measured from outside."""

from __future__ import annotations

import sys
from pathlib import Path

from deedbook.client.place import Surroundings, place_of
from deedbook.events.clock import now_micros
from deedbook.events.codec import Codec
from deedbook.projector.loop import Projector
from deedbook.projector.store import Store


def main() -> None:
    """Fold the log in the folder named on the command line, or the one at a URL named after it."""
    folder = Path(sys.argv[1])
    url = sys.argv[2] if len(sys.argv) > 2 else f"sqlite:///{folder}"
    log = place_of(url, Surroundings()).log(create=False, clock=now_micros)
    store = Store(folder / "projection.duckdb", log_identity=log.identity())
    Projector(log, store, Codec()).catch_up()
    store.close()
    log.close()


if __name__ == "__main__":
    main()
