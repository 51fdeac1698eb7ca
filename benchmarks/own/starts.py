"""What it costs to start: importing deedbook in a training, and the command's help."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import measure
from measure import Measure

from own import DEEDBOOK

BARE: Final = "bare python"
REPEATS: Final = 11


def started(folder: Path, *, quick: bool) -> Iterator[Measure]:
    """Fresh interpreters, by turns with bare ones."""
    del folder
    repeats = 3 if quick else REPEATS
    # Naming connect imports what a training needs: `import deedbook` alone would import nothing yet.
    statement = "import deedbook; deedbook.connect"
    yield from measure.fresh_starts(
        DEEDBOOK, sys.executable, "deedbook", repeats=repeats, statement=statement
    )
    command = [str(Path(sys.executable).with_name("deedbook")), "--help"]
    measure.start(command)
    ours, bare = [], []
    for _ in range(repeats):
        ours.append(measure.start(command)[0])
        bare.append(measure.start([sys.executable, "-c", "pass"])[0])
    yield measure.of_samples(DEEDBOOK, "help", 0, ours, route="deedbook --help")
    yield measure.of_samples(BARE, "help", 0, bare, route="python -c pass")
