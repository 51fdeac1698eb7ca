"""The projector: however a log is read, the state is the same, and it is what the fold decides."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deedbook.projector.decision import Accepted, Ignored, Rejected
from tests.folded import Registry
from tests.pure_fold import PureFold
from tests.random_logs import Written, logs


def decided(fold: PureFold) -> list[tuple[str, int, str, str | None]]:
    """What the fold with nothing around it decided, as `Registry.decisions` says it."""
    words = {Accepted: "accepted", Ignored: "ignored", Rejected: "rejected"}
    return sorted(
        (event.topic, event.position, words[type(decision)], getattr(decision, "reason", None))
        for event, decision in fold.decisions
    )


def read_in_bites(written: Written, data: st.DataObject) -> None:
    """Fold a log while it is written, in small batches with restarts; fold it at once; compare both."""
    with tempfile.TemporaryDirectory() as folder:
        registry = Registry(Path(folder))
        count = len(written.records)
        stops = sorted(data.draw(st.lists(st.integers(0, count), max_size=3), label="restarts at"))
        bites = data.draw(st.sampled_from([1, 2, 7, 20, 50]), label="records per batch")
        live = ""
        for start, stop in zip([0, *stops], [*stops, count], strict=True):
            for topic, record in written.records[start:stop]:
                registry.append(record, topic=topic)
            live = registry.fold("live", max_records=bites)
        at_once = registry.fold("at once")

        assert decided(written.fold) == registry.decisions("live")
        assert decided(written.fold) == registry.decisions("at once")
        assert at_once == live
        registry.log.close()


@settings(max_examples=12)
@given(logs(), st.data())
def test_any_batches_and_restarts_give_the_state_that_the_pure_fold_decides(
    written: Written, data: st.DataObject
) -> None:
    """Topics interleaved, one batch or small ones, with restarts: same decisions, same state hash."""
    read_in_bites(written, data)


@pytest.mark.soak
@settings(max_examples=500)
@given(logs(), st.data())
def test_many_batches_and_restarts_give_the_same_state(written: Written, data: st.DataObject) -> None:
    """The test above, for as long as somebody has patience."""
    read_in_bites(written, data)
