"""Two logs compared by what is true after each: both folded anew, up to given ends."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from deedbook.events.earlier_log import EarlierLog
from deedbook.projector.rebuild import differing_tables, fold_anew

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from deedbook.events.log import Log

    Ends = Mapping[tuple[str, int], int]

# What the log refers to by digest; which of them are needed once more is not for a copy to decide.
_ARTIFACTS = """
    select distinct artifact_sha256 from (
        select artifact_sha256 from base.training union all select artifact_sha256 from base.request_set
    ) where artifact_sha256 <> '' order by all
"""


@dataclass(frozen=True, slots=True)
class Compared:
    """Both state hashes, the tables that differ, and the digest of every artifact the second log refers to."""

    left: str
    right: str
    differing: tuple[str, ...]
    artifacts: tuple[str, ...]
    seconds: float


def compare(
    left: tuple[Log, Ends],
    right: tuple[Log, Ends],
    folder: Path,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Compared:
    """Fold two logs up to their ends into files of that folder, which are removed, and compare the states.

    Raises what folding raises: UnknownSchema, UnknownRules, LogDamaged, LogUnavailable, StorageFull.
    """
    began = time.monotonic()
    paths = (folder / "copy-from.duckdb", folder / "copy-to.duckdb")
    try:
        hashes = [
            fold_anew(EarlierLog(log, ends), path, on_progress=on_progress)[0]
            for (log, ends), path in zip((left, right), paths, strict=True)
        ]
        with (
            duckdb.connect(str(paths[0]), read_only=True) as ours,
            duckdb.connect(str(paths[1]), read_only=True) as theirs,
        ):
            differing = () if hashes[0] == hashes[1] else tuple(differing_tables(ours, theirs))
            artifacts = tuple(digest for (digest,) in theirs.execute(_ARTIFACTS).fetchall())
    finally:
        for path in paths:
            path.unlink(missing_ok=True)
            path.with_name(f"{path.name}.wal").unlink(missing_ok=True)
    return Compared(hashes[0], hashes[1], differing, artifacts, time.monotonic() - began)
