"""docs/operations.md and docs/events.md are held to the code: commands, variables, errors, settings, links."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewPartitions
from typer.testing import CliRunner

from deedbook.cli.program import app
from deedbook.events import errors
from deedbook.events.codec import Codec
from deedbook.events.facts import HOSTS, METRICS, TOPICS, MetricPoint, MetricsLogged
from deedbook.events.ids import new_id
from deedbook.events.kafka.log import KafkaLog
from deedbook.events.kafka.settings import KafkaSettings, kafka_settings
from deedbook.events.kafka.topics import LARGEST_BATCH_BYTES, create_topics
from tests.facts_by_hand import Pen
from tests.servers.kafka import quiet_admin
from tests.serving.in_process import live_registry
from tests.serving.visiting import Browser
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


def divided(kafka: str, settings: KafkaSettings, topic: str) -> None:
    """Add partitions to a topic of one, as the page says, until clients see them."""
    admin = quiet_admin(kafka)
    for grown in admin.create_partitions([NewPartitions(settings.topic(topic), 6)]).values():
        grown.result(30)
    deadline = time.monotonic() + 30
    while described(settings, topic) < 6 and time.monotonic() < deadline:
        time.sleep(0.1)


def described(settings: KafkaSettings, topic: str) -> int:
    """How many partitions a client that comes now sees."""
    with closing(KafkaLog(settings)) as log:
        return log.partitions(topic)


def test_a_chunk_sent_again_to_another_partition_counts_twice(
    kafka: str, kafka_url: str, tmp_path: Path
) -> None:
    """After partitions were added its key leads elsewhere, and no partition decides by what is in another."""
    settings = kafka_settings(kafka_url, None)
    create_topics(settings, partitions=1)
    chunk = MetricsLogged(
        event_id=new_id(),
        occurred_at=1_700_000_000_000_000,
        actor="ana",
        training_id="0193c1f4-0000-7000-8000-000000000001",
        producer="a job",
        sequence=0,
        points=(MetricPoint(name="loss", step=1, value=0.5),),
    )

    with closing(KafkaLog(settings)) as log:
        (before,) = log.append(METRICS, [Codec().encode(chunk)])
    divided(kafka, settings, METRICS)
    with closing(KafkaLog(settings)) as log:
        (after,) = log.append(METRICS, [Codec().encode(chunk)])

    assert before[0] != after[0]
    query = "select decision, count(*) from events where topic = 'metrics' group by all order by all"
    environment = {"DEEDBOOK_FOLDER": str(tmp_path)}
    done = CliRunner().invoke(app, ["--url", kafka_url, "sql", query, "--json"], env=environment)
    assert (0, [["accepted", 2]]) == (done.exit_code, json.loads(done.stdout)["rows"])


def test_a_host_s_last_word_is_its_last_one_in_whatever_partition(
    kafka: str, kafka_url: str, tmp_path: Path
) -> None:
    """After partitions were added it stands before, by its position, and after, by the log's clock."""
    settings = kafka_settings(kafka_url, None)
    create_topics(settings, partitions=1)
    pen, codec = Pen(), Codec()
    words = [codec.encode(pen.loaded(release, release, "host-1")) for release in ("r1", "r2", "r3", "r4")]

    with closing(KafkaLog(settings)) as log:
        log.append(HOSTS, words[:3])
    divided(kafka, settings, HOSTS)
    with closing(KafkaLog(settings)) as log:
        ((partition, position),) = log.append(HOSTS, words[3:])

    assert partition > position == 0
    with live_registry(tmp_path / "registry", url=kafka_url) as service:
        row = Browser(service).look("/fleet").row("host-1")
    assert "r4" in row
