"""The check-up: it tells what is wrong with a log or a projection, where, and nothing where all is well."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from deedbook.events.codec import Codec
from deedbook.events.errors import ProjectionBusy
from deedbook.events.facts import Fact
from deedbook.events.log import NewRecord, Record
from deedbook.events.sqlite_log import SqliteLog
from deedbook.projector.checkup import Finding, Severity, check, check_log
from deedbook.projector.projection import Projection
from tests.facts_by_hand import Pen, by_city, id_of
from tests.folded import NOON, Registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a log of four facts, folded; nothing is added to it."""
    registry = Registry(tmp_path_factory.mktemp("folded") / "registry")
    pen = Pen()
    registry.append(pen.policy(by_city()), pen.logged("a"), pen.logged("b"), pen.steps("a"))
    registry.fold()
    registry.log.close()
    return registry.folder


def copied(folded: Path, folder: Path) -> Registry:
    """A registry of its own in a new folder, that begins with all that a closed one holds."""
    shutil.copytree(folded, folder)
    return Registry(folder)


@pytest.fixture
def registry(folded: Path, tmp_path: Path) -> Iterator[Registry]:
    """A log of four facts, folded, of the test's own."""
    registry = copied(folded, tmp_path / "registry")
    yield registry
    registry.log.close()


def checked(registry: Registry) -> list[Finding]:
    """What a check-up finds, but for notes."""
    projection = Projection(registry.folder, registry.log, Codec())
    return [found for found in check(registry.log, projection) if found.severity is not Severity.NOTE]


def in_log(registry: Registry, statement: str) -> None:
    """Change the log's file as somebody with an SQLite shell would."""
    with closing(sqlite3.connect(registry.folder / "log.db", isolation_level=None)) as connection:
        connection.execute(statement)


def in_projection(registry: Registry, *statements: str) -> None:
    """Change the projection as somebody with a DuckDB shell would."""
    with duckdb.connect(str(registry.folder / "projection.duckdb")) as connection:
        for statement in statements:
            connection.execute(statement)


def with_headers(fact: Fact, **changed: bytes | None) -> NewRecord:
    """A fact's record with some headers changed, or left out; ``_`` stands for ``-``."""
    record = Codec().encode(fact)
    names = dict(changed)
    headers = [(name, names.get(name.replace("-", "_"), value)) for name, value in record.headers]
    return replace(record, headers=tuple((name, value) for name, value in headers if value is not None))


def test_a_sound_registry_has_no_findings_but_a_note_on_its_running_hash(registry: Registry) -> None:
    """The hash says how far the record is, and that it is this one."""
    ((running_hash,),) = registry.ask("select running_hash from base.progress where topic = 'registry'")
    (note,) = check(registry.log, Projection(registry.folder, registry.log, Codec()))

    assert (
        Finding(
            Severity.NOTE,
            "projection.duckdb",
            f"the state is that of a fresh fold; the running hash of registry before position 3 is {running_hash}",
        )
        == note
    )


def test_a_projection_that_is_behind_is_sound(registry: Registry) -> None:
    """It is compared with a fold up to where it is."""
    registry.append(Pen("bob").logged("c"))

    assert [] == checked(registry)


def test_a_registry_without_a_projection_is_checked_as_far_as_there_is_one(registry: Registry) -> None:
    """The log is read all the same."""
    (registry.folder / "projection.duckdb").unlink()
    found = check(registry.log, Projection(registry.folder, registry.log, Codec()))

    assert [Severity.NOTE] == [finding.severity for finding in found]


def test_a_check_up_changes_nothing(registry: Registry) -> None:
    """Neither the files nor which there are."""
    registry.log.close()

    def files() -> dict[str, str]:
        return {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in registry.folder.iterdir()
            if path.suffix != ".lock"
        }

    before = files()
    again = Registry(registry.folder)
    assert [] == checked(again)
    again.log.close()

    assert before == files()


def test_a_changed_row_of_the_log_is_found(registry: Registry) -> None:
    """Its own digest does not hold any more, and a fresh fold can't read it."""
    in_log(registry, "update registry set value = zeroblob(9) where position = 1")

    assert [
        Finding(Severity.ERROR, "registry:0:1", "the log's own checksum of this record does not hold"),
        Finding(
            Severity.ERROR,
            "projection.duckdb",
            "the state is not that of a fresh fold: event, grouping, metric, model, "
            "parameter, progress, quarantine, request, standing, training differ",
        ),
        Finding(Severity.ERROR, "registry:0:1", "this event is in the projection, but not in a fresh fold"),
    ] == checked(registry)


def test_changed_rows_of_topics_that_are_not_folded_are_found_too(registry: Registry) -> None:
    """Work orders, news, quarantine: the whole log is read."""
    for topic in ("validations", "deployments", "quarantine"):
        registry.append(NewRecord(b"anything"), topic=topic)
        in_log(registry, f"update \"{topic}\" set key = x'00'")  # noqa: S608 - a known topic

    assert ["validations:0:0", "deployments:0:0", "quarantine:0:0"] == [
        found.where for found in checked(registry) if found.severity is Severity.ERROR
    ]


@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_record_is_found_and_the_others_are_read(registry: Registry, lost: int) -> None:
    """Each gap is told of, at its position."""
    registry.append(with_headers(Pen("bob").logged("c"), ce_id=b"another"))
    in_log(registry, f"delete from registry where position = {lost}")  # noqa: S608 - a number
    found = checked(registry)

    assert [
        (f"registry:0:{lost}", Severity.ERROR),
        ("projection.duckdb", Severity.ERROR),
        ("registry:0:3", Severity.WARNING),
    ] == [(finding.where, finding.severity) for finding in found]
    assert f"registry has lost 1 of its records, the first at position {lost}" in found[0].sentence


def test_very_many_findings_of_a_topic_are_counted(registry: Registry) -> None:
    """The first hundred are told in full; of what others wrote amiss, any number is no error."""
    registry.append(*[NewRecord(b"x")] * 130, topic="hosts")
    found = checked(registry)

    assert 101 == len(found)
    assert Finding(Severity.WARNING, "hosts", "there are 30 more findings in this topic") == found[-1]


def test_a_body_that_is_not_the_one_sent_is_found(registry: Registry) -> None:
    """It is in quarantine, and told of once."""
    registry.append(with_headers(Pen("bob").logged("c"), ce_valuesha256=b"0" * 64))
    registry.fold()

    assert [
        Finding(
            Severity.WARNING,
            "registry:0:3",
            "the body does not have the SHA-256 its header ce_valuesha256 states",
        )
    ] == checked(registry)


MISHEADED = [
    ("ce_id", b"another", id_of("event 1 of bob")),
    ("ce_id", None, id_of("event 2 of bob")),
    ("ce_type", b"deedbook.TrainingFailed.v1", "TrainingLogged"),
    ("ce_type", b"\xff", "TrainingLogged"),
]


@pytest.fixture(scope="module")
def misheaded(folded: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Finding]:
    """What a check-up finds in a log with a header that says otherwise in each of its last records."""
    registry = copied(folded, tmp_path_factory.mktemp("misheaded") / "registry")
    pen = Pen("bob")
    registry.append(
        *(
            with_headers(pen.logged(f"by bob {number}"), **{header: value})
            for number, (header, value, _) in enumerate(MISHEADED)
        )
    )
    registry.fold()
    found = checked(registry)
    registry.log.close()
    return found


@pytest.mark.parametrize(
    ("number", "header", "value", "body"), [(n, *one) for n, one in enumerate(MISHEADED)]
)
def test_headers_that_say_otherwise_than_the_body_are_found(
    misheaded: list[Finding], number: int, header: str, value: bytes | None, body: str
) -> None:
    """Some stream clients drop or change them; the body counts."""
    said = (value or b"").decode("utf-8", "replace")

    assert len(MISHEADED) == len(misheaded)
    assert (
        Finding(
            Severity.WARNING,
            f"registry:0:{3 + number}",
            f"its header {header} says {said!r}, its body {body!r}; the body counts",
        )
        == misheaded[number]
    )


def test_a_schema_that_nobody_knows_is_found_and_the_rest_is_read(registry: Registry) -> None:
    """The projector stops there; the check-up goes on."""
    pen = Pen("bob")
    registry.append(
        with_headers(pen.logged("c"), ce_dataschema=b"urn:sha256:" + b"0" * 64),
        with_headers(pen.logged("d"), ce_id=b"another"),
    )

    assert [("registry:0:3", Severity.ERROR), ("registry:0:4", Severity.WARNING)] == [
        (finding.where, finding.severity) for finding in checked(registry)
    ]


class SetBack(SqliteLog):
    """A log whose times run backwards, as the embedded one's never do."""

    def read(self, topic: str, partition: int, start: int, **bounds: Any) -> list[Record]:  # noqa: ANN401
        """Return records, the later the earlier."""
        records = super().read(topic, partition, start, **bounds)
        return [replace(record, recorded_at=NOON - record.position) for record in records]


def test_a_log_whose_time_goes_back_is_told_of(registry: Registry) -> None:
    """The fold counts it as the time before, so nothing else is wrong with it."""
    found = check_log(SetBack(registry.folder))

    sentence = "the log's time goes back here; the fold counts it as the time before"
    assert [Finding(Severity.WARNING, f"registry:0:{n}", sentence) for n in (1, 2)] == found


def test_a_changed_row_of_the_projection_is_found(registry: Registry) -> None:
    """Somebody made a training deployable by hand."""
    in_projection(registry, "update base.standing set deployable = true where training_key = 1")

    assert [
        Finding(
            Severity.ERROR,
            "projection.duckdb",
            "the state is not that of a fresh fold: standing differ",
        )
    ] == checked(registry)


def test_the_first_event_that_was_decided_otherwise_is_named(registry: Registry) -> None:
    """With both decisions."""
    in_projection(
        registry, "update base.event set decision = 'rejected', reason = 'no' where position in (1, 2)"
    )

    assert Finding(
        Severity.ERROR,
        "registry:0:1",
        "this event is recorded as rejected (no), a fresh fold says accepted",
    ) in checked(registry)


def test_the_first_event_with_another_body_is_named(registry: Registry) -> None:
    """The log is not the one that was folded, though it says so."""
    in_projection(registry, "update base.event set body_hash = 'another' where topic = 'metrics'")

    assert Finding(
        Severity.ERROR,
        "metrics:0:0",
        "the log now holds another body here than the one that was folded",
    ) in checked(registry)


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        (
            "delete from base.event where position = 1",
            "this event is in a fresh fold, but not in the projection",
        ),
        (
            "insert into base.event select * replace ('hosts' as topic) from base.event where position = 2",
            "this event is in the projection, but not in a fresh fold",
        ),
    ],
)
def test_events_that_are_missing_or_too_many_are_named(
    registry: Registry, statement: str, sentence: str
) -> None:
    """Whichever of the two has them."""
    in_projection(registry, statement)

    assert sentence in [finding.sentence for finding in checked(registry)]


def test_a_projection_of_more_than_the_log_holds_is_found(registry: Registry) -> None:
    """The log lost its end."""
    in_log(registry, "delete from registry where position = 2")

    assert [
        Finding(Severity.ERROR, "registry:0", "the log ends at 2, but projection.duckdb was folded up to 3")
    ] == checked(registry)


def test_the_projection_of_another_log_is_found(registry: Registry) -> None:
    """Its file says which log it was folded from."""
    in_projection(registry, "update base.meta set value = 'another' where name = 'log_identity'")
    (found,) = checked(registry)

    assert (Severity.ERROR, "projection.duckdb", True) == (
        found.severity,
        found.where,
        "was folded from log another" in found.sentence,
    )


def test_what_is_in_quarantine_only_is_told_of(registry: Registry) -> None:
    """A row that was damaged when it was folded, and was restored since."""
    in_projection(
        registry,
        "insert into base.quarantine values ('hosts', 0, 7, 0, 'no event', null, null, null)",
    )

    assert Finding(Severity.WARNING, "hosts:0:7", "in quarantine: no event") in checked(registry)


def test_a_projection_in_use_is_waited_for_and_then_told_of(registry: Registry) -> None:
    """What can't be looked at is neither well nor ill."""
    held = Projection(registry.folder, registry.log, Codec())
    late = Projection(registry.folder, registry.log, Codec(), timeout_seconds=0.1)

    with held.turn(), pytest.raises(ProjectionBusy):
        check(registry.log, late)
