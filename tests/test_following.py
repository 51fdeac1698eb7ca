"""A projection that is kept at the log's end: what is said of it, and when."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from deedbook.events.codec import Codec
from deedbook.events.facts import REGISTRY
from deedbook.events.ids import new_id
from deedbook.events.sqlite_log import SqliteLog
from deedbook.projector import following
from deedbook.projector.following import Following
from deedbook.projector.projection import Projection
from tests.facts_by_hand import Pen

# More than one batch.
MANY = 4_500


def test_all_is_said_to_be_folded_once_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it looks up while it folds much, it says so first at the log's end."""
    monkeypatch.setattr(following, "_STRETCH_SECONDS", 0.001)
    codec, pen = Codec(), Pen()
    log = SqliteLog.create(tmp_path)
    log.append(REGISTRY, [codec.encode(pen.revalidation("nobody", new_id())) for _ in range(MANY)])
    projection = Projection(tmp_path, log, codec)
    folded: list[int] = []
    told: list[int] = []
    follower = Following(
        projection, log, told=told.append, heard=lambda batch: folded.append(batch.after.next_position)
    )

    follower.run(lambda: bool(told))

    assert len(folded) > 1
    assert [MANY] == told
    log.close()


def test_what_follows_is_seen_to_in_parts_and_the_log_is_folded_between_them(tmp_path: Path) -> None:
    """Whoever writes meanwhile is answered; that all is seen to is said once it is."""
    codec, pen = Codec(), Pen()
    log = SqliteLog.create(tmp_path)
    log.append(REGISTRY, [codec.encode(pen.revalidation("nobody", new_id()))])
    projection = Projection(tmp_path, log, codec)
    seen: list[int] = []
    told: list[int] = []

    def react(connection: duckdb.DuckDBPyConnection) -> bool:
        (events,) = connection.execute("select count(*) from base.event").fetchone() or (0,)
        seen.append(events)
        if len(seen) == 1:
            log.append(REGISTRY, [codec.encode(pen.revalidation("nobody", new_id()))])
        return len(seen) == 3

    projection.after_fold.append(react)
    Following(projection, log, told=told.append).run(lambda: bool(told))

    assert ([1, 2, 2], [2]) == (seen, told)
    log.close()
