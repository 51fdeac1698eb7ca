"""Copies of what is kept elsewhere: within a bound."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from deedbook.artifacts.local_cache import make_room
from deedbook.artifacts.store import LocalArtifactStore

if TYPE_CHECKING:
    from pathlib import Path


def test_local_copies_stay_within_a_bound_and_the_longest_unused_goes_first(tmp_path: Path) -> None:
    """What was asked for lately stays whatever the bound: somebody may be about to open it."""
    copies = LocalArtifactStore(tmp_path)
    digests = [copies.put(bytes([number]) * 1000).sha256 for number in range(4)]
    for hours, digest in zip((4, 9, 5, 0), digests, strict=True):
        before = time.time() - hours * 3600
        os.utime(copies.path(digest), (before, before))

    make_room(tmp_path, max_bytes=2500)
    assert [True, False, False, True] == [copies.has(digest) for digest in digests]

    make_room(tmp_path, max_bytes=0)
    assert [False, False, False, True] == [copies.has(digest) for digest in digests]
