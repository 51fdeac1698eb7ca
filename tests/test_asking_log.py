"""What pages ask the log itself, and what they wait for: a log that is away, a replica that is behind another."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from deedbook.events.errors import LogUnavailable
from deedbook.events.facts import REGISTRY
from deedbook.events.ids import new_id
from deedbook.projector.queries.paging import Mark
from deedbook.service.web.asking_log import LogAsker
from deedbook.service.web.searching import token_of
from tests.facts_by_hand import MODEL, Pen, id_of
from tests.serving.in_process import live_registry
from tests.serving.visiting import Browser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deedbook.service.context import Service

AT_ONCE = 8


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A registry with nothing in it."""
    with live_registry(tmp_path_factory.mktemp("asked") / "registry") as service:
        yield service


def logged_elsewhere(service: Service, name: str) -> int:
    """Put a training on the log as another replica does, which tells nobody; return its position."""
    ((_, position),) = service.log.append(REGISTRY, [service.codec.encode(Pen(new_id()).logged(name))])
    return position


def test_a_log_that_takes_too_long_is_said_to_be_away(service: Service) -> None:
    """However many have asked; once it answers, all are answered again."""
    asker, there = LogAsker(service.log), threading.Event()

    for _ in range(AT_ONCE + 1):
        with pytest.raises(LogUnavailable, match="the log did not answer within 0 seconds"):
            asker.ask(lambda _: there.wait(), timeout_seconds=0.01)
    there.set()

    assert service.log.end(REGISTRY) == asker.ask(lambda log: log.end(REGISTRY))


def test_what_the_log_says_is_wrong_is_said_to_who_asks(service: Service) -> None:
    """In its own words."""
    with pytest.raises(LogUnavailable, match="full moon"):
        LogAsker(service.log).ask(lambda _: _raise(LogUnavailable("full moon")))


def _raise(error: Exception) -> None:
    raise error


def test_the_page_that_a_form_leads_to_shows_what_was_recorded_through_another_replica(
    service: Service,
) -> None:
    """Its address says at which position: until that is folded here, the page waits."""
    position = logged_elsewhere(service, "form")

    seen = Browser(service).look(f"/trainings/{id_of('form')}?done={position}")

    assert f"Recorded at position {position}" in seen.text


def test_the_next_page_of_a_search_that_began_in_another_replica_lacks_nothing(service: Service) -> None:
    """Its mark says of which state the search is."""
    position = logged_elsewhere(service, "page")
    mark = token_of(Mark(as_of=position + 1, key=1 << 40, created_at=1 << 60))

    pages = [
        Browser(service).look(address) for address in (f"/trainings?page={mark}", f"/model?name={MODEL}")
    ]

    assert [True, True] == [id_of("page") in seen.html for seen in pages]


def test_what_is_older_than_a_place_lacks_nothing_in_a_replica_that_is_behind(service: Service) -> None:
    """What stands right before that place is there, though it was not folded here a moment ago."""
    older, position = logged_elsewhere(service, "older"), logged_elsewhere(service, "place")

    seen = Browser(service).look(f"/log?before=registry:0:{position}")

    assert f"registry {older} " in seen.text
    assert f"registry {position} " not in seen.text


def test_a_position_that_is_not_on_the_log_is_not_waited_for(service: Service) -> None:
    """An address may name any: the page is there, with what there is."""
    seen = Browser(service).look(f"/log?before=registry:0:{10**15}")

    assert 200 == seen.status
    assert "registry 0" in seen.text
