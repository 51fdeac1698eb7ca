"""The health page: what is wrong, what to do about it, and how everything does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

import deedbook
from deedbook.consumers.sandbox.outcome import Isolation
from deedbook.events.log import NewRecord
from deedbook.service.context import Service
from tests.facts_by_hand import MODEL, Pen, id_of
from tests.folded import Registry
from tests.serving.in_process import live_registry
from tests.serving.visiting import Browser

HOSTILE = "<b>harm</b>"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A registry with a training that has waited for its verdict since 2014, and a record that is no event."""
    folder = tmp_path_factory.mktemp("health") / "registry"
    old = Registry(folder)
    pen = Pen()
    old.append(pen.logged("waits", mse=1.5), pen.steps("waits"), pen.loaded("r1", "waits", HOSTILE))
    old.append(NewRecord(b"no event", b"", (("a", b"1"),)))
    old.log.close()
    with live_registry(folder) as service:
        yield service


def test_a_registry_without_trouble_says_so(tmp_path: Path) -> None:
    """With its versions, and how far its log is folded."""
    with live_registry(tmp_path / "registry") as service:
        service.live.snapshot()
        seen = Browser(service).look("/health")

    assert 200 == seen.status
    assert "✓ ready Nothing is wrong." in seen.text
    assert f"deedbook {deedbook.__version__} DuckDB {duckdb.__version__}" in seen.text
    assert "Rules in force 1; this release knows up to 1" in seen.text
    assert service.log.identity() in seen.text
    assert "Nothing waits." in seen.text
    assert "Every record can be read." in seen.text
    assert "none yet" not in seen.text


def test_each_topic_tells_how_far_it_is_folded(service: Service) -> None:
    """Of how many records, and how many are left."""
    seen = Browser(service).look("/health")

    assert [["hosts", "1", "1", "0"], ["metrics", "1", "1", "0"], ["registry", "2", "2", "0"]] == seen.rows[
        1:4
    ]
    assert ["/log?topic=hosts"] == seen.leads_to("hosts")


def test_what_can_not_be_read_degrades_and_is_named(service: Service) -> None:
    """With why, and a link to it."""
    seen = Browser(service).look("/health")

    assert "! degraded" in seen.text
    assert "1 record on the log can't be read." in seen.text
    assert ["/log/registry/0/1"] == seen.leads_to("registry 1")
    (row,) = [row for row in seen.rows if row[0] == "registry 1"]
    assert "content-type is not application/avro" in row[2]


def test_who_waits_for_a_verdict_is_named_with_its_age_and_the_orders_given(service: Service) -> None:
    """One that nobody answered in time is overdue, and the page says who should."""
    seen = Browser(service).look("/health")
    (row,) = [row for row in seen.rows if row[0].startswith(MODEL)]

    assert "years ago" in row[2]
    assert ["the default", "1 of 3", "✕ overdue"] == row[3:]
    assert f"/trainings/{id_of('waits')}" in [link.href for link in seen.read.links]
    assert "1 training has waited too long for a verdict." in seen.text
    assert "deedbook validate" in seen.text


def test_queries_that_are_not_isolated_are_a_trouble(service: Service) -> None:
    """The page says which promise is not kept, and why."""
    kept = service.sql._isolation  # noqa: SLF001 - a system on which it does not hold is not at hand
    broken = Isolation(f"a query can't {HOSTILE}", isolated=False, how="wings: not clipped")
    service.sql._isolation = (broken,)  # noqa: SLF001
    try:
        seen = Browser(service).look("/health")
    finally:
        service.sql._isolation = kept  # noqa: SLF001

    assert "SQL is switched off here" in seen.text
    assert "✕ not kept A query can't <b>harm</b> (wings: not clipped)" in seen.text
    assert HOSTILE not in seen.html


def test_what_keeps_the_service_from_being_ready_is_said_first(tmp_path: Path) -> None:
    """As /readyz tells it to machines."""
    with live_registry(tmp_path / "registry") as service:
        service.live.end_streams()
        seen, ready = (Browser(service).look(path) for path in ("/health", "/readyz"))

    assert 503 == ready.status
    assert "✕ not ready The service is being stopped." in seen.text
