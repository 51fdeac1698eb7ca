"""The log's pages: every record, filtered and page by page; one record with all it says; and those who follow."""

from __future__ import annotations

import asyncio
import html
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest

from deedbook.events import facts
from deedbook.events.errors import InvalidInput
from deedbook.events.log import NewRecord
from deedbook.projector.queries.journal import Entries
from deedbook.service.context import Service
from deedbook.service.web.followers import Followers, News, _Reader, read, written
from deedbook.service.web.pages.log import _told
from tests.facts_by_hand import Pen, id_of
from tests.serving.in_process import live_registry
from tests.serving.telling import Told, tell_the_story
from tests.serving.visiting import Browser, Seen

HOSTILE = """<script>alert("1")</script>"""
MANY = 130


@dataclass
class Place:
    """A service with a story, many small events, one that means harm and one that is none; and who looks at it."""

    service: Service
    told: Told
    browser: Browser
    damaged: int

    def log(self, **query: object) -> Seen:
        """A page of the log."""
        return self.browser.look(f"/log?{urlencode(query)}")

    def count(self, sql: str) -> int:
        """A number in the projection."""
        with self.service.live.reading() as connection:
            (row,) = connection.execute(sql).fetchall()
        return int(row[0])


def places(seen: Seen) -> list[str]:
    """The places that a page of the log lists."""
    return [row[0].replace(",", "") for row in seen.rows if len(row) == 6 and row[0] != "Place"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """All of it, folded."""
    with live_registry(tmp_path_factory.mktemp("log") / "registry") as service:
        told = tell_the_story(service)
        other = Pen(actor=HOSTILE)
        asyncio.run(service.writer.append([other.started(f"run {n}", model=HOSTILE) for n in range(MANY)]))
        told.tell(told.pen.logged("nan", mse=math.nan), called="nan")
        ((_, damaged),) = service.log.append(
            "registry", [NewRecord(b"no event \x00", b"key", (("a", b"1"),))]
        )
        service.live.wake()
        told.tell(other.steps("nan", values=(0.5,) * 150))
        service.live.wait_until_reached("registry", 0, damaged, timeout_seconds=30)
        yield Place(service, told, Browser(service), damaged)


def test_every_record_is_on_exactly_one_page_newest_first(place: Place) -> None:
    """Older and newer lead through all of them, those of all topics that are folded."""
    seen, pages = place.log(), []
    while True:
        pages.append(places(seen))
        older = seen.leads_to("Older →")
        if not older:
            break
        seen = place.browser.look(older[0])
    total = place.count("select (select count(*) from base.event) + (select count(*) from base.quarantine)")
    found = [one for page in pages for one in page]
    back = place.browser.look(seen.leads_to("← Newer")[0])

    assert [100, total - 100] == [len(page) for page in pages]
    assert total == len(set(found)) == len(found)
    assert {"registry", "metrics", "hosts"} == {one.split()[0] for one in found}
    registry = [int(one.split()[1]) for one in found if one.startswith("registry ")]
    assert sorted(registry, reverse=True) == registry
    assert pages[-2] == places(back)


def test_what_is_newer_can_be_asked_for_without_a_script(place: Place) -> None:
    """Nothing is there until something is."""
    (address,) = place.log().leads_to("Is there anything newer?")
    before = place.browser.look(address)
    place.told.tell(place.told.pen.started("one more"))
    after = place.browser.look(address)

    assert "Nothing newer yet" in before.text
    assert 1 == len(places(after))
    assert "TrainingStarted" in after.text


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ({"topic": "hosts"}, "topic = 'hosts'"),
        ({"type": "VerdictIssued"}, "type = 'VerdictIssued'"),
        ({"decision": "rejected"}, "decision = 'rejected'"),
        ({"subject": id_of("first")}, f"subject = '{id_of('first')}'"),
        ({"actor": "ada", "type": "TrainingLogged"}, "actor = 'ada' and type = 'TrainingLogged'"),
        ({"until": "1999-01-01"}, "false"),
        ({"since": "1999-01-01", "topic": "metrics"}, "topic = 'metrics'"),
    ],
)
def test_the_log_is_filtered(place: Place, query: dict[str, str], where: str) -> None:
    """By each of its columns, and by several."""
    expected = place.count(f"select count(*) from base.event where {where}")  # noqa: S608

    assert expected == len(places(place.log(**query)))


def test_what_can_not_be_read_on_a_topic_that_is_not_folded_is_not_said_to_be_listed(
    tmp_path: Path,
) -> None:
    """It is in no quarantine: the page says that its body can't be read, and why."""
    with live_registry(tmp_path / "registry") as service:
        ((partition, position),) = service.log.append("validations", [NewRecord(b"no event")])
        seen = Browser(service).look(f"/log/validations/{partition}/{position}")

    assert "Its body can't be read: the record's content-type is not application/avro." in seen.text
    assert "lists all such records" not in seen.text


def test_a_topic_without_records_says_that_it_has_none(tmp_path: Path) -> None:
    """Rather than that no record is like what nobody asked for."""
    with live_registry(tmp_path / "registry") as service:
        topic, narrowed = (
            Browser(service).look(f"/log?topic=quarantine{more}") for more in ("", "&actor=ana")
        )

    assert "Nothing is here yet This topic has no records." in topic.text
    assert "No record is like that" in narrowed.text


@pytest.mark.parametrize(
    "query",
    [
        "topic=nope",
        "type=Nope",
        "decision=nope",
        "since=yesterday",
        "before=registry",
        "after=nope:0:1",
        "before=registry:0:x",
    ],
)
def test_what_can_not_be_asked_is_said_in_a_sentence(place: Place, query: str) -> None:
    """With what would be right."""
    seen = place.browser.look(f"/log?{query}")

    assert 400 == seen.status
    assert query.split("=", maxsplit=1)[0] in seen.text.lower()


def test_a_record_says_what_it_holds_and_what_was_decided(place: Place) -> None:
    """As fields, as JSON, with its headers and its hash; it leads to its training, and to its neighbours."""
    position = place.told.positions["second"]
    seen = place.browser.look(f"/log/registry/0/{position}")

    assert f"TrainingLogged registry {position}" in seen.text
    assert "Decision ✓ accepted" in seen.text
    assert "Actor ada (claimed: this registry asks nobody for a token)" in seen.text
    assert f"/trainings/{id_of('second')}" in [link.href for link in seen.read.links]
    assert ["rooms", "2.5"] == seen.row("rooms", "2.5")
    assert ["ce_type", "deedbook.TrainingLogged.v1"] == seen.row("ce_type")
    assert "✓ as its header says" in seen.text
    assert [f"/log/registry/0/{position - 1}"] == seen.leads_to(f"← {position - 1}")
    assert [f"/log/registry/0/{position + 1}"] == seen.leads_to(f"{position + 1} →")


def test_a_rejected_request_stands_with_its_reason(place: Place) -> None:
    """In the list, and on its own page, which leads to the deployment."""
    (row,) = [row for row in place.log(decision="rejected").rows if "DeploymentRequested" in row]
    seen = place.browser.look(f"/log/registry/0/{place.told.positions['two']}")

    assert row[5].startswith("✕ rejected")
    assert "not deployable" in row[5]
    assert "not deployable" in seen.text
    assert f"/deployments/{id_of('two')}" in [link.href for link in seen.read.links]


def test_a_record_that_can_not_be_read_is_shown_as_such(place: Place) -> None:
    """Why, and its first bytes; the list can be narrowed to such ones."""
    (row,) = [row for row in place.log(decision="quarantined").rows if row[0].startswith("registry")]
    seen = place.browser.look(f"/log/registry/0/{place.damaged}")

    assert "(not an event)" == row[2]
    assert "quarantined The record's content-type is not application/avro".lower() in row[5].lower()
    assert "This record is quarantined: the record's content-type is not application/avro" in seen.text
    assert "6e 6f 20 65 76 65 6e 74 20 00" in seen.text
    assert ["a", "1"] == seen.row("a", "1")
    assert "✕ not as its header says" in seen.text


def test_topics_that_are_not_folded_are_read_from_the_log(place: Place) -> None:
    """Work orders and news of deployments, with what they are about."""
    orders, news = place.log(topic="validations"), place.log(topic="deployments")
    position = places(orders)[0].split()[1]
    order = place.browser.look(f"/log/validations/0/{position}")

    assert place.service.log.end("validations") == len(places(orders))
    assert {"ValidationRequested"} == {row[2] for row in orders.rows[1:]}
    assert {"DeploymentCreated", "DeploymentRejected"} == {row[2] for row in news.rows[1:]}
    assert [] == places(place.log(topic="validations", type="VerdictIssued"))
    assert "ValidationRequested" in order.text
    assert "metric_threshold" in order.text
    assert any(link.href.startswith("/log/registry/0/") for link in order.read.links)


def test_such_topics_are_paged_by_position_whatever_a_filter_leaves(place: Place) -> None:
    """Older positions are looked through though none of the newer ones is wanted."""
    for _ in range(120):
        place.service.log.append("deployments", [NewRecord(b"no event")])
    newest = place.log(topic="deployments", type="DeploymentCreated")
    older = place.browser.look(newest.leads_to("Older →")[0])

    assert [] == places(newest)
    assert 3 == len(places(older))
    assert [] == older.leads_to("Older →")


def test_a_long_body_is_cut_on_the_page_and_whole_in_the_file(place: Place) -> None:
    """A hundred of a hundred and fifty points; NaN is a text in JSON, which has no number for it."""
    seen = place.browser.look("/log/metrics/0/0")
    steps = json.loads(place.browser.look("/log/metrics/0/0/body.json").html)
    logged = json.loads(place.browser.look(f"/log/registry/0/{place.told.positions['nan']}/body.json").html)

    assert "and 50 more, in the JSON." in seen.text
    assert (150, "MetricsLogged") == (len(steps["points"]), steps["type"])
    assert "nan" == logged["training"]["metrics"][0]["value"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/log/registry/0/999999", 404),
        ("/log/registry/7/0", 404),
        ("/log/nope/0/0", 400),
        ("/log/registry/0/-1", 404),
        (f"/log/registry/0/{10**17}", 404),
        (f"/log/registry/0/{10**30}", 400),
    ],
)
def test_where_no_record_is_that_is_said(place: Place, path: str, status: int) -> None:
    """Far away, in another partition, in no topic."""
    assert status == place.browser.look(path).status


def test_names_that_mean_harm_are_texts(place: Place) -> None:
    """In the list, in its filter and on a record's page."""
    pages = [place.log(actor=HOSTILE), place.browser.look(f"/log/registry/0/{place.damaged - 2}")]

    assert [] == [seen for seen in pages if "<script>alert" in seen.html or seen.read.styled]
    assert [] == [seen for seen in pages if HOSTILE not in html.unescape(seen.html)]


# --- following -----------------------------------------------------------------------------------


def test_who_follows_is_told_everything_once(place: Place) -> None:
    """From where it left off, then as it happens; another who began now, only what is new."""
    service, pen = place.service, Pen(actor="late")

    async def followed() -> tuple[list[str], list[str], list[str]]:
        followers = Followers(service.live)
        since = dict(service.live.following.folded)
        behind = {**since, ("registry", 0): since["registry", 0] - 3}
        early, now = followers.follow(behind), followers.follow(None)
        first = await anext(early)
        waiting = asyncio.ensure_future(anext(now))
        await asyncio.sleep(0.05)
        told = [pen.started("late 1"), pen.steps("late 1", values=(1.0,)), pen.loaded("r1", "first", "late")]
        for fact in told:
            await service.writer.append([fact])
        seen: dict[str, list[str]] = {"early": [], "now": [event.type for event in (await waiting).events]}
        while len(seen["now"]) < len(told):
            seen["now"] += [event.type for event in (await anext(now)).events]
        while len(seen["early"]) < len(told):
            seen["early"] += [event.type for event in (await anext(early)).events]
        await early.aclose()
        await now.aclose()
        return [event.type for event in first.events], sorted(seen["early"]), sorted(seen["now"])

    missed, early, now = asyncio.run(followed())
    new = ["MetricsLogged", "ModelLoaded", "TrainingStarted"]

    assert 3 == len(missed)
    assert (new, new) == (early, now)


def test_the_stream_holds_rows_of_the_page_and_says_where_to_go_on(place: Place) -> None:
    """Only those that the filter lets through; what it doesn't is passed all the same."""
    since = {("registry", 0): place.damaged - 2, ("metrics", 0): 0, ("hosts", 0): 0}

    async def streamed() -> list[tuple[str | None, str | None, str]]:
        found = []
        stream = _told(Followers(place.service.live), Entries(actor=HOSTILE, topic="registry"), since)
        async for event in stream:
            found.append((event.event, event.id, str(event.data)))
            if len(found) == 2:
                await stream.aclose()
        return found

    (begun, _, _), (name, where, data) = asyncio.run(streamed())
    news = json.loads(data)

    assert ("begun", "records") == (begun, name)
    assert place.service.live.following.folded.items() <= read(where or "").items()
    assert news["count"] == news["rows"].count("<tr") == 1
    assert "<script>alert" not in news["rows"]


def test_a_reader_that_is_too_slow_is_dropped(place: Place) -> None:
    """At the bound of its queue, and nobody waits for it."""
    reader = _Reader()
    news = News((), place.service.live.following.folded)
    for _ in range(40):
        reader.tell(news)

    assert reader.dropped
    assert 32 == reader.queue.qsize()
    assert [None] == [reader.queue.get_nowait() for _ in range(32)][-1:]


def test_where_to_go_on_is_written_and_read() -> None:
    """And nothing else is taken for it."""
    ends = {("registry", 0): 220, ("hosts", 11): 3}

    assert "hosts.11.3,registry.0.220" == written(ends)
    assert ends == read(written(ends))
    for wrong in (
        "nope.0.1",
        "registry.0",
        "registry.0.-1",
        "registry.x.1",
        "registry",
        "registry.0." + "9" * 30,
    ):
        with pytest.raises(InvalidInput):
            read(wrong)


def test_a_stream_ends_with_the_service(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whoever follows comes again, to another replica or a moment later."""
    with live_registry(tmp_path_factory.mktemp("ending") / "registry") as service:

        async def followed() -> list[str]:
            stream = Followers(service.live).follow({})
            seen = [event.type for event in (await anext(stream)).events]
            waiting = asyncio.ensure_future(anext(stream, None))
            await asyncio.sleep(0.05)
            service.live.end_streams()
            assert await waiting is None
            return seen

        (position,) = asyncio.run(service.writer.append([Pen().started("run")]))
        service.live.wait_until_reached(facts.REGISTRY, 0, position, timeout_seconds=30)
        assert "TrainingStarted" in asyncio.run(followed())
