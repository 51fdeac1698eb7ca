"""The fleet: who runs what, who disagrees with what is current, and who was not heard of for long."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from deedbook.projector import queries
from deedbook.projector.queries import Agreement
from tests.facts_by_hand import Pen
from tests.folded import Registry
from tests.serving.in_process import live_registry
from tests.serving.telling import SERVICE, Told, id_of, tell_the_story
from tests.serving.visiting import Browser

HOSTILE = """<b>host</b>-"1"&co"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """A service that was told the story on a log that begins with a host's word of 2014, and more words after it."""
    folder = tmp_path_factory.mktemp("fleet") / "registry"
    folder.mkdir()
    old = Registry(folder)
    old.append(Pen("host").loaded("r0", "first", "host-0"))
    old.log.close()
    with live_registry(folder) as service:
        told = tell_the_story(service)
        pen = told.pen
        told.tell(
            replace(pen.loaded("r1", "first", "host-4"), artifact_sha256="b" * 64),
            replace(pen.loaded("r1", "first", HOSTILE), artifact_sha256="a" * 64),
            pen.loaded("r1", "third", "host-5"),
            replace(pen.loaded("r1", "first", "host-6"), model="rent"),
            replace(pen.loaded("r1", "first", "host-7"), service="quiet-api"),
            pen.deploy("r9", "first", service="alone-api"),
        )
        yield told


def test_each_host_is_held_against_what_is_current(told: Told) -> None:
    """Release, training, digest, and whether anything is current at all."""
    with told.service.live.reading() as connection:
        found = {
            host.instance: load.agreement
            for service in queries.fleet(connection)
            for host in service.hosts
            for load in host.loads
        }

    assert {
        "host-0": Agreement.SILENT,
        "host-1": Agreement.AGREES,
        "host-2": Agreement.SILENT,
        "host-3": Agreement.OTHER_RELEASE,
        "host-4": Agreement.OTHER_ARTIFACT,
        HOSTILE: Agreement.AGREES,
        "host-5": Agreement.OTHER_TRAINING,
        "host-6": Agreement.NOT_BOUND,
        "host-7": Agreement.NO_RELEASE,
    } == found


def test_who_disagrees_comes_first_and_says_so_in_words(told: Told) -> None:
    """With the release, the digest and when it was heard of last."""
    seen = Browser(told.service).look(f"/fleet?service={SERVICE}")
    hosts = [row for row in seen.rows if row[0].startswith(("host-", "<b>"))]
    words = [row[1].split(" It ")[0] for row in hosts if "not loaded" not in row[1]]

    assert ["✓ agrees"] * 2 == words[-2:]
    assert {"✕ other release", "✕ other digest", "✕ other training", "! no word since"} <= set(words[:-2])
    assert "r3" == seen.row("host-3")[3]
    assert "bbbbbbbbbbbb" in seen.row("host-4")[4]
    assert "8 hosts heard of: 6 disagree with what is current" in seen.text


def test_a_model_that_a_host_never_loaded_is_named(told: Told) -> None:
    """It may serve only a part of a release."""
    seen = Browser(told.service).look(f"/fleet?service={SERVICE}")

    assert ["host-6", "• not loaded", "home-price"] == seen.row("host-6", "not loaded")[:3]


def test_services_of_which_no_host_has_spoken_are_listed(told: Told) -> None:
    """What is live and runs nowhere, as far as anybody knows."""
    seen = Browser(told.service).look("/fleet")

    assert ["alone-api in production", "r9"] == seen.row("alone-api", "r9")[:2]


def test_who_was_not_heard_of_for_long_can_be_listed(told: Told) -> None:
    """How long that is can be said."""
    browser = Browser(told.service)
    seen, of_ages = (browser.look(f"/fleet?show=quiet&days={days}") for days in (30, 3_650))

    assert ["host-0"] == [row[0] for row in seen.rows if row[0].startswith("host-")]
    assert "! quiet" in seen.row("host-0")[5]
    assert ["host-0"] == [row[0] for row in of_ages.rows if row[0].startswith("host-")]


@pytest.mark.parametrize("days", ["0", "3651", "many", "-1"])
def test_what_is_no_number_of_days_is_refused(told: Told, days: str) -> None:
    """With the bounds."""
    seen = Browser(told.service).look(f"/fleet?days={days}")

    assert (400, True) == (seen.status, "is not a whole number from 1 to 3,650" in seen.text)


def test_only_those_who_disagree_can_be_listed(told: Told) -> None:
    """On the page of all services."""
    seen = Browser(told.service).look("/fleet?show=disagreeing")

    assert False is any(len(row) > 1 and row[1] == "✓ agrees" for row in seen.rows)
    assert "host-3" in seen.text


def test_of_many_hosts_those_who_disagree_are_listed(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page is bounded, says so, and counts all."""
    monkeypatch.setattr("deedbook.service.web.pages.fleet._MAX_LISTED", 2)
    seen = Browser(told.service).look(f"/fleet?service={SERVICE}")

    assert ["host-0", "host-2"] == [row[0] for row in seen.rows if row[0].startswith("host-")]
    assert "8 hosts heard of: 6 disagree" in seen.text
    assert "Only 2 hosts are listed here" in seen.text


def test_where_no_host_fits_the_way_back_is_shown(told: Told) -> None:
    """A filter that leaves nothing is no error."""
    seen = Browser(told.service).look("/fleet?service=nothing&show=quiet")

    assert (200, ["/fleet"]) == (seen.status, seen.leads_to("Show all hosts"))


def test_a_training_names_the_hosts_that_run_it_now(told: Told) -> None:
    """A host that has loaded something else since is none of them."""
    with told.service.live.reading() as connection:
        found = [host.instance for _, host in queries.hosts_of(connection, id_of("third"))]

    assert ["host-2", "host-3", "host-5"] == found
