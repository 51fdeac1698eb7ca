"""docs/operations.md and docs/events.md are held to the code: commands, variables, errors, settings, links."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType

from deedbook.events import errors
from deedbook.events.facts import TOPICS
from deedbook.events.kafka_settings import kafka_settings
from deedbook.events.kafka_topics import LARGEST_BATCH_BYTES, create_topics
from tests.servers.kafka import quiet_admin
from tests.test_cli_docs import COMMANDS, HELP, options_of

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {name: (DOCS / name).read_text(encoding="utf-8") for name in ("operations.md", "events.md")}
OPERATIONS = PAGES["operations.md"]
CLI = (DOCS / "cli.md").read_text(encoding="utf-8")


def command_lines(page: str) -> Iterator[str]:
    """Every `deedbook …` that a page shows, in a block of its own or within a sentence."""
    whole = page.replace("\\\n", " ")
    yield from re.findall(r"^    (deedbook .*)$", whole, flags=re.MULTILINE)
    yield from re.findall(r"`(deedbook [^`]+)`", re.sub(r"^    .*$", "", whole, flags=re.MULTILINE))


SHOWN = sorted({(name, line) for name, page in PAGES.items() for line in command_lines(page)})


@pytest.mark.parametrize(("page", "line"), SHOWN, ids=lambda text: str(text)[:60])
def test_every_command_that_is_shown_exists_with_its_options(page: str, line: str) -> None:
    """Whoever types what the page says is understood."""
    del page
    words = shlex.split(line, comments=True)
    root = options_of(COMMANDS["deedbook"])
    while words[1:] and words[1] in root:
        del words[1 : 3 if words[1] in {"--url", "--actor"} else 2]
    named = [name for name in COMMANDS if words[: len(name.split())] == name.split()]

    assert "deedbook" != max(named, key=len)
    used = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert set() == used - options_of(COMMANDS[max(named, key=len)]) - HELP


def test_every_variable_that_is_named_is_one_that_is_read() -> None:
    """As cli.md lists them, which another test holds to the code."""
    named = set(re.findall(r"DEEDBOOK_[A-Z_]+", OPERATIONS))

    assert set() == named - set(re.findall(r"^\| `(DEEDBOOK_[A-Z_]+)`", CLI, flags=re.MULTILINE))


def test_every_error_has_its_row_and_no_other() -> None:
    """Whatever a program ends with, the page says what to do about it."""
    raised = {
        name
        for name, found in inspect.getmembers(errors, inspect.isclass)
        if found.__module__.endswith("errors")
    }
    (table,) = re.findall(r"^\| error \|.*\n\|---.*\n((?:\|.*\n)+)", OPERATIONS, flags=re.MULTILINE)

    assert raised - {"DeedbookError"} == {
        name
        for cell in re.findall(r"^\| (`[^|]*) \|", table, flags=re.MULTILINE)
        for name in re.findall(r"`(\w+)`", cell)
    }


def test_the_topics_are_made_with_the_settings_that_are_told(kafka: str, kafka_url: str) -> None:
    """As the broker has them, for a cluster of one."""
    settings = kafka_settings(kafka_url, None)
    create_topics(settings, partitions=1)
    (table,) = re.findall(r"^\| setting \|.*\n\|---.*\n((?:\|.*\n)+)", OPERATIONS, flags=re.MULTILINE)
    told = dict(re.findall(r"^\| `([a-z.]+)` \| (?:.*; )?`(\S+)`", table, flags=re.MULTILINE))

    admin = quiet_admin(kafka)
    for topic in TOPICS:
        resource = ConfigResource(ResourceType.TOPIC, settings.topic(topic))
        (answer,) = admin.describe_configs([resource]).values()
        found = {name: entry.value for name, entry in answer.result(30).items() if not entry.is_default}
        assert told == found
    assert f"{LARGEST_BATCH_BYTES:,}" in table


def anchors(page: str) -> set[str]:
    """The anchors that a page's headings give."""
    headings = re.findall(r"^#+ (.*)$", page, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    """Files that are there, headings that are there."""
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", PAGES[name]):
        file, _, anchor = link.partition("#")
        path = (DOCS / file).resolve() if file else DOCS / name
        if not path.exists() or (anchor and anchor not in anchors(path.read_text(encoding="utf-8"))):
            dead.append(link)

    assert [] == dead
