"""docs/service.md is held to the code: every measure and its labels, every address, every option, every field."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from deedbook.events.facts import TrainingLogged
from deedbook.service.measuring import readiness
from deedbook.service.web.pages import collected
from tests.facts_by_hand import training
from tests.serving.in_process import live_registry
from tests.test_cli_docs import COMMANDS, options_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deedbook.service.context import Service

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "service.md").read_text(encoding="utf-8")
# What Prometheus' own library adds, the page names together.
FOREIGN = ("process_", "python_")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A registry with a training, where a page and a stream were asked for."""
    with live_registry(tmp_path_factory.mktemp("docs") / "registry") as service:
        fact = TrainingLogged(**service.writer.envelope("ana"), training=training("a1"))
        service.writer.decide_blocking(fact)
        service.measures.request("web", "/", "200", 0.1)
        service.measures.streams.labels("grpc", "Subscribe").inc()
        yield service


def test_every_measure_has_its_row_with_its_labels(service: Service) -> None:
    """And no row is left of one that is gone."""
    measured = {}
    for family in text_string_to_metric_families(service.measures.exposition().decode()):
        if not family.name.startswith(FOREIGN):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = {label for sample in family.samples for label in sample.labels}
            measured[name] = labels - {"le"}

    told = {
        name: set(re.findall(r"`(\w+)`", labels))
        for name, labels in re.findall(r"^\| `(deedbook_\w+)` \|([^|]*)\|", PAGE, flags=re.MULTILINE)
    }

    assert measured == told


def test_the_figures_of_readiness_are_named(service: Service) -> None:
    """Each key of the answer stands on the page."""
    _, told = readiness(service.live, service.settings)

    assert [] == [key for key in told if f"`{key}`" not in PAGE]


def test_the_addresses_for_machines_are_pages() -> None:
    """Each address in the table is one that the service answers."""
    addresses = set(re.findall(r"^\| `(/\w+)` \|", PAGE, flags=re.MULTILINE))

    assert {"/healthz", "/readyz", "/metrics", "/health"} == addresses
    assert set() == addresses - {page.path for page in collected()}


def test_the_options_that_are_named_exist() -> None:
    """Of `deedbook serve`, or of the command that they stand with."""
    known = {option for name in COMMANDS for option in options_of(COMMANDS[name])}

    assert set() == set(re.findall(r"(?<![\w|-])--[a-z][a-z-]+", PAGE)) - known


def test_every_link_leads_somewhere() -> None:
    """Files that are there."""
    links = re.findall(r"\]\(([^)\s#]+)", PAGE)

    assert [] == [link for link in links if not (DOCS / link).exists()]
