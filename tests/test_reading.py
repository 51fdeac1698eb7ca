"""The fold's answer to a request, as an embedded client reads it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from deedbook.client.place import Surroundings, place_of
from deedbook.client.reading import Answer, Reader
from deedbook.client.recording import Recorder
from deedbook.events.facts import REGISTRY, Fact
from tests.facts_by_hand import Pen


def test_an_id_that_is_used_again_with_other_content_has_an_answer_of_its_own(tmp_path: Path) -> None:
    """What is sent again gets the first answer; what only carries the same id is told that it does."""
    recorder = Recorder(place_of(f"sqlite:///{tmp_path}", Surroundings()), actor="ana")
    reader = Reader(recorder)

    def answer(fact: Fact) -> Answer:
        return reader.answer((REGISTRY, *recorder.append(fact)), lambda _, answer: answer)

    fact = Pen().revalidation("nobody")
    first, again, other = answer(fact), answer(fact), answer(replace(fact, reason="another"))
    reader.close()
    recorder.close()

    assert first == again
    assert "rejected" == other.decision
    assert first.reason != other.reason
    assert first.position < other.position
