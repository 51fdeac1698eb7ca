"""What the projector meets when somebody damages, replaces or poisons what it reads or writes."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import fastavro
import pytest

from deedbook.events import facts
from deedbook.events.codec import Codec, current_schema, schema_id_of
from deedbook.events.errors import (
    DeedbookError,
    LogDamaged,
    LogReplaced,
    ProjectionBusy,
    UnknownRules,
    UnknownSchema,
)
from deedbook.events.log import NewRecord
from deedbook.projector.rules import RULES, VERSION_1
from deedbook.projector.schemas import learn_schema
from tests.caught_up import catch_up
from tests.facts_by_hand import Pen, by_city, id_of
from tests.folded import NOON, Registry
from tests.later_release import by_schema, newer, recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deedbook.events.facts import Fact


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty registry's folder, with a projection of it."""
    registry = Registry(tmp_path_factory.mktemp("empty") / "registry")
    registry.fold()
    registry.log.close()
    return registry.folder


@pytest.fixture
def registry(empty: Path, tmp_path: Path) -> Iterator[Registry]:
    """An empty registry, copied from that one."""
    registry = Registry(Path(shutil.copytree(empty, tmp_path / "registry")))
    yield registry
    registry.log.close()


@pytest.fixture
def pen() -> Pen:
    """Somebody to write facts."""
    return Pen()


def in_log(registry: Registry, *statements: str) -> None:
    """Change the log's file as somebody with an SQLite shell would."""
    with closing(sqlite3.connect(registry.folder / "log.db", isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def with_header(fact: Fact, name: str, value: bytes) -> NewRecord:
    """A fact's record with another value of one header."""
    record = Codec().encode(fact)
    headers = tuple((key, value if key == name else old) for key, old in record.headers)
    return replace(record, headers=headers)


# --- quarantine ----------------------------------------------------------------------------------


def a_changed_row(registry: Registry, fact: Fact) -> None:
    """Append a fact, then change its row."""
    (position,) = registry.append(fact)
    in_log(registry, f"update registry set value = x'00' where position = {position}")  # noqa: S608 - a number


def a_row_of_other_types(registry: Registry, fact: Fact) -> None:
    """Append a fact, then put texts and numbers in its row's place."""
    (position,) = registry.append(fact)
    in_log(
        registry,
        "update registry set value = 'text', key = 7, shape = null, recorded_at = 9223372036854775807 "  # noqa: S608
        f"where position = {position}".replace("shape = null, ", ""),
    )


def a_wrong_hash(registry: Registry, fact: Fact) -> None:
    """Append a fact under the hash of another body."""
    registry.append(with_header(fact, "ce_valuesha256", b"0" * 64))


def another_content_type(registry: Registry, fact: Fact) -> None:
    """Append a fact as JSON, which it isn't."""
    registry.append(with_header(fact, "content-type", b"application/json"))


def half_a_body(registry: Registry, fact: Fact) -> None:
    """Append half of a fact, whole as far as its hash says."""
    record = Codec().encode(fact)
    half = recorded(current_schema("TrainingLogged").text, record.value[: len(record.value) // 2])
    registry.append(half)


def a_body_and_more(registry: Registry, fact: Fact) -> None:
    """Append a fact with a byte after it."""
    registry.append(recorded(current_schema("TrainingLogged").text, Codec().encode(fact).value + b"\0"))


def a_body_of_another_type(registry: Registry, _: Fact) -> None:
    """Append a body that says it is something else than its schema says."""
    schema = current_schema("TrainingLogged")
    body = BytesIO()
    fastavro.schemaless_writer(body, schema.parsed, {"type": "TrainingFailed"})
    registry.append(recorded(schema.text, body.getvalue()))


def no_event_at_all(registry: Registry, _: Fact) -> None:
    """Append bytes with headers that no table can hold."""
    registry.append(NewRecord(b"\xff\x00", b"\x00", (("\ud800", b"\xff"), ("a\x00b", b""), ("a\x00b", b"2"))))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (a_changed_row, "the log's own checksum of this record does not hold"),
        (a_row_of_other_types, "the log's own checksum of this record does not hold"),
        (a_wrong_hash, "the body does not have the SHA-256 its header ce_valuesha256 states"),
        (another_content_type, "the record's content-type is not application/avro"),
        (half_a_body, "the body is no TrainingLogged"),
        (a_body_and_more, "bytes follow the event"),
        (a_body_of_another_type, "the body says it is a 'TrainingFailed'"),
        (no_event_at_all, "the record's content-type is not application/avro"),
    ],
)
def test_what_cannot_be_read_goes_to_quarantine_and_the_fold_goes_on(
    registry: Registry, pen: Pen, damage: Callable[[Registry, Fact], None], reason: str
) -> None:
    """Position, reason and bytes are kept, in the transaction that moves the position past it."""
    registry.append(pen.logged("a"))
    damage(registry, pen.logged("b"))
    registry.append(pen.logged("c"))
    catch_up(registry, max_records=2)
    ((topic, position, why),) = registry.ask("select topic, position, reason from quarantine")

    assert ("registry", 1, True) == (topic, position, reason in why)
    assert [(id_of("a"), 1), (id_of("c"), 2)] == registry.ask(
        "select training_id, version from trainings order by position"
    )


@pytest.mark.parametrize("topic", [facts.METRICS, facts.HOSTS])
def test_every_folded_topic_has_its_quarantine(registry: Registry, pen: Pen, topic: str) -> None:
    """Where a record was is kept with it."""
    registry.append(NewRecord(b"body", b"key", (("a", b"1"),)), topic=topic)
    registry.append(pen.steps("a"), pen.loaded("A", "a"))
    catch_up(registry)

    assert [(topic, 0, b"key", {"a": b"1"}, b"body")] == registry.ask(
        "select topic, position, key, headers, value from quarantine"
    )
    assert [(1,), (1,)] == [
        registry.ask("select count(*) from base.chunk")[0],
        *registry.ask("select count(*) from model_loads"),
    ]


def test_a_log_of_nothing_but_rubbish_is_folded(registry: Registry) -> None:
    """All of it is in quarantine, and nothing is folded twice."""
    registry.append(*[NewRecord(b"x")] * 5)
    first = registry.fold(max_records=2)

    assert first == registry.fold()
    assert [(5,)] == registry.ask("select count(*) from quarantine")
    assert first == registry.fold("at once")


def test_a_damaged_time_does_not_move_the_clock(registry: Registry, pen: Pen) -> None:
    """Only what could be read counts for the time."""
    registry.append(pen.logged("a"))
    a_row_of_other_types(registry, pen.logged("b"))
    registry.append(pen.logged("c"))
    catch_up(registry)
    times = registry.ask("select epoch_us(recorded_at) from events order by position")

    assert all(NOON <= time < NOON + 60_000_000 for (time,) in times)


# --- times ---------------------------------------------------------------------------------------


def test_recorded_times_never_go_back_whatever_the_log_says(registry: Registry, pen: Pen) -> None:
    """The state as of a time is the state at a position."""

    class SetBack(type(registry.log)):  # type: ignore[misc] # a log whose clock was set back
        def read(self, topic: str, partition: int, start: int, **bounds: Any) -> list[Any]:  # noqa: ANN401
            records = super().read(topic, partition, start, **bounds)
            return [replace(r, recorded_at=NOON + (5, 3, 7, 1)[r.position]) for r in records]

    registry.append(*(pen.logged(name) for name in "abcd"))
    registry.log = SetBack(registry.folder)
    catch_up(registry, max_records=1)

    assert [NOON + 5, NOON + 5, NOON + 7, NOON + 7] == [
        time for (time,) in registry.ask("select epoch_us(recorded_at) from events order by position")
    ]
    assert registry.fold("at once") == registry.fold()


# --- logs that are not what they were ------------------------------------------------------------


def test_a_log_that_lost_its_end_is_refused(registry: Registry, pen: Pen) -> None:
    """It is not folded on from there, nor read again from its beginning."""
    registry.append(*(pen.logged(name) for name in "abc"))
    catch_up(registry)
    in_log(registry, "delete from registry where position > 0")

    with pytest.raises(LogReplaced, match="registry:0 ends at 1, but was folded up to 3"):
        catch_up(registry)
    assert [(3,)] == registry.ask("select count(*) from events")


def test_a_log_that_lost_a_record_is_refused_before_the_gap(registry: Registry, pen: Pen) -> None:
    """Nothing after it is folded; what was there stays."""
    registry.append(*(pen.logged(name) for name in "abcd"))
    in_log(registry, "delete from registry where position = 2")

    with pytest.raises(LogDamaged, match="position 2"):
        catch_up(registry, max_records=2)
    assert [(0,), (1,)] == registry.ask("select position from events order by position")


def test_a_log_made_anew_in_its_place_is_refused(registry: Registry, pen: Pen, tmp_path: Path) -> None:
    """Even when it is as long as the old one."""
    registry.append(pen.logged("a"))
    catch_up(registry)
    other = Registry(tmp_path / "other")
    other.append(pen.logged("a"))
    (registry.folder / "projection.duckdb").rename(other.folder / "projection.duckdb")

    with pytest.raises(LogReplaced, match="put the old log back, or run `deedbook rebuild`"):
        other.fold()
    other.log.close()


# --- schemas -------------------------------------------------------------------------------------


def test_a_record_of_an_unknown_schema_stops_the_fold_and_says_what_to_install(
    registry: Registry, pen: Pen
) -> None:
    """What came before it is committed; starting again stops at the same place."""
    text = newer()
    registry.append(pen.logged("a"), by_schema(text, pen.logged("b"), weather="hot"), pen.logged("c"))
    sentence = f"registry:0:1 is a .*TrainingLogged.* with schema {schema_id_of(text)[:12]}.*install a newer deedbook"

    for _ in range(2):
        with pytest.raises(UnknownSchema, match=sentence):
            catch_up(registry)
        assert [(0,)] == registry.ask("select position from events")


def test_a_published_schema_is_read_from_there_on(registry: Registry, pen: Pen) -> None:
    """The log explains itself: an older release reads on, as far as it understands."""
    text = newer()
    registry.append(
        pen.schema(schema_id_of(text), "TrainingLogged", text),
        by_schema(text, pen.logged("a"), weather="hot"),
        pen.logged("b"),
        by_schema(text, pen.logged("c"), weather="wet"),
    )
    at_once = registry.fold()

    assert [(id_of(name),) for name in "abc"] == registry.ask(
        "select training_id from trainings order by position"
    )
    assert at_once == registry.fold("in bites", max_records=1)


def test_a_schema_published_later_lets_another_topic_go_on(registry: Registry, pen: Pen) -> None:
    """Step metrics of a newer client wait until its schema is known."""
    text = newer("MetricsLogged")
    registry.append(by_schema(text, pen.steps("a"), weather="hot"), topic=facts.METRICS)
    with pytest.raises(UnknownSchema):
        catch_up(registry)
    registry.append(pen.schema(schema_id_of(text), "MetricsLogged", text))
    catch_up(registry)

    assert [(1,)] == registry.ask("select count(*) from base.step_metric")


def test_a_schema_without_the_envelope_in_front_is_read(registry: Registry, pen: Pen) -> None:
    """The order of fields is the writer's own affair."""
    plain = json.loads(newer())
    plain["fields"].reverse()
    text = json.dumps(plain)
    record = by_schema(text, pen.logged("a"))
    again = by_schema(text, pen.logged("a"))
    registry.append(pen.schema(schema_id_of(text), "TrainingLogged", text), record, again)
    catch_up(registry)

    assert ["accepted", "accepted", "rejected"] == [decision for _, _, decision, _ in registry.decisions()]


NODE = {
    "type": "record",
    "name": "deedbook.Node",
    "fields": [{"name": "next", "type": ["null", "deedbook.Node"]}],
}
EMPTY = {"type": "record", "name": "Empty", "fields": [{"name": "nothing", "type": "null"}]}


def nested(depth: int) -> Any:  # noqa: ANN401 - a JSON schema
    """Lists of lists of numbers."""
    return {"type": "array", "items": nested(depth - 1)} if depth else "long"


@pytest.mark.parametrize(
    "kind",
    [
        NODE,
        {"type": "array", "items": "null"},
        {"type": "array", "items": {"type": "null"}},
        {"type": "array", "items": EMPTY},
        {"type": "array", "items": {"type": "record", "name": "None", "fields": []}},
        {"type": "map", "values": "string"},
        {"type": "fixed", "name": "Digest", "size": 1 << 40},
        {"type": "array", "items": {"type": "fixed", "name": "Zero", "size": 0}},
        nested(40),
        [],
        7,
        None,
    ],
    ids=str,
)
def test_an_unsafe_schema_is_never_decoded_with(registry: Registry, pen: Pen, kind: Any) -> None:  # noqa: ANN401
    """Recursion, lists of nothing, maps, fixed sizes, depth: the records wait for a release that knows them."""
    text = newer(type=kind)
    assert not learn_schema(Codec(), text, 2)

    registry.append(
        pen.schema(schema_id_of(text), "TrainingLogged", text), recorded(text, b"\xff" * 9 + b"\x01")
    )
    with pytest.raises(UnknownSchema):
        catch_up(registry)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("training", "string"),
        ("occurred_at", "string"),
        ("occurred_at", "double"),
        ("actor", ["null", "string"]),
    ],
)
def test_a_schema_that_this_release_cannot_take_in_is_not_learned(name: str, kind: object) -> None:
    """Half understood, its records would be decided otherwise than by a release that knows it."""
    plain = json.loads(current_schema("TrainingLogged").text)
    for field in plain["fields"]:
        if field["name"] == name:
            field["type"] = kind
            field.pop("default")

    assert not learn_schema(Codec(), json.dumps(plain), 2)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"type": "array", "name": "TrainingLogged", "items": "string"}),
        json.dumps({"type": "record", "name": "Unheard", "fields": [{"name": "a", "type": "long"}]}),
        json.dumps([json.loads(current_schema("TrainingLogged").text)]),
        json.dumps("string"),
        "[" * 10_000,
        newer(doc="x" * 300_000),
    ],
    ids=["an array", "of no event", "a union", "a name", "deep", "huge"],
)
def test_what_is_no_schema_of_an_event_is_not_learned(text: str) -> None:
    """Whatever its hash."""
    assert not learn_schema(Codec(), text, 2)


def test_a_compatible_schema_is_learned() -> None:
    """More fields, fewer fields, more symbols, smaller numbers: this release can take them in."""
    plain = json.loads(newer(type=["null", "long"], default=None))
    plain["fields"] = [field for field in plain["fields"] if field["name"] != "actor"]
    for field in plain["fields"]:
        if field["name"] == "occurred_at":
            field["type"] = "int"

    assert learn_schema(Codec(), json.dumps(plain), 2)


# --- rules ---------------------------------------------------------------------------------------


def test_rules_that_this_release_lacks_stop_the_fold_and_say_what_to_install(
    registry: Registry, pen: Pen
) -> None:
    """What came before is committed; a release that has them goes on from there."""
    registry.append(pen.logged("a"), pen.rules(2), pen.logged("b"))
    for _ in range(2):
        with pytest.raises(
            UnknownRules, match=r"registry:0:1: .* version 2, .*; install the release that has"
        ):
            catch_up(registry)
        assert [(0,)] == registry.ask("select position from events")
    catch_up(registry, rules={**RULES, 2: VERSION_1})

    assert [(0,), (1,), (2,)] == registry.ask("select position from events order by position")
    registry.append(pen.logged("c"))
    with pytest.raises(UnknownRules, match="which this release lacks"):
        catch_up(registry)


def test_rules_adopted_in_the_middle_leave_what_came_before(registry: Registry, pen: Pen) -> None:
    """However the log is read, each event is decided by the rules in force there."""

    def strict(view: Any, event: Any) -> Any:  # noqa: ANN401 - a made-up rule
        from deedbook.projector.decision import Rejected

        del view
        return Rejected(f"no more trainings: {event.subject}")

    rules = {**RULES, 2: {**VERSION_1, "TrainingLogged": strict}}
    registry.append(pen.logged("a"), pen.rules(2), pen.logged("b"), pen.logged("c"), pen.rules(2))
    hashes = {registry.fold(f"in bites of {n}", max_records=n, rules=rules) for n in (1, 2, 3, 10)}

    assert 1 == len(hashes)
    assert ["accepted", "accepted", "rejected", "rejected", "rejected"] == [
        decision for _, _, decision, _ in registry.decisions("in bites of 2")
    ]


# --- the projection's file -----------------------------------------------------------------------

HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("create table if not exists held (x int)")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_file_that_another_process_holds_is_said_to_be_busy(registry: Registry, pen: Pen) -> None:
    """In one sentence, with the process that has it."""
    registry.append(pen.logged("a"))
    catch_up(registry)
    path = registry.folder / "projection.duckdb"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert "held\n" == holder.stdout.readline()
        with pytest.raises(ProjectionBusy) as caught:
            catch_up(registry)
        assert holder.stdin is not None
        holder.stdin.close()

    assert f"(PID {holder.pid})" in str(caught.value)
    assert 1 == len(str(caught.value).splitlines())
    catch_up(registry)


def test_a_file_of_a_newer_release_is_refused_and_left_alone(registry: Registry, pen: Pen) -> None:
    """It says which format it has, and what to do."""
    registry.append(pen.logged("a"))
    catch_up(registry)
    path = registry.folder / "projection.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("update base.meta set value = '99' where name = 'format_version'")
    before = path.read_bytes()

    with pytest.raises(
        DeedbookError, match=r"has format 99, this release reads .*: run `deedbook rebuild`, or install"
    ):
        catch_up(registry)
    assert before == path.read_bytes()


@pytest.mark.parametrize("keep", [0, 100, 9_000, 40_000])
def test_a_damaged_file_is_said_to_be_damaged(registry: Registry, pen: Pen, keep: int) -> None:
    """Not to be busy, though the words for its blocks are near those for locks."""
    registry.append(*(pen.logged(str(number)) for number in range(3)))
    catch_up(registry)
    path = registry.folder / "projection.duckdb"
    whole = path.read_bytes()
    path.write_bytes(whole[:keep] + bytes(len(whole) - keep))

    with pytest.raises(DeedbookError) as caught:
        catch_up(registry)
    assert DeedbookError is type(caught.value)
    assert "`deedbook rebuild` makes it anew" in str(caught.value)
    assert 1 == len(str(caught.value).splitlines())


def test_a_folder_whose_name_has_lock_in_it_is_as_good_as_any(tmp_path: Path, pen: Pen) -> None:
    """What cannot be opened there is not thereby busy."""
    registry = Registry(tmp_path / "lock smith")
    registry.append(pen.logged("a"))
    (registry.folder / "projection.duckdb").write_bytes(b"no database" * 1_000)

    with pytest.raises(DeedbookError, match="cannot be opened"):
        catch_up(registry)
    registry.log.close()


FILL = """
import resource, sys
from pathlib import Path
from deedbook.events.codec import Codec
from deedbook.events.errors import StorageFull
from deedbook.events.sqlite_log import SqliteLog
from deedbook.projector.loop import Bounds, Projector
from deedbook.projector.store import Store

import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder, limit = Path(sys.argv[1]), int(sys.argv[2])
log = SqliteLog(folder)
store = Store(folder / "projection.duckdb", log_identity=log.identity())
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    Projector(log, store, Codec(), bounds=Bounds(max_records=20)).catch_up()
    store.close()
except StorageFull as error:
    print(error)
"""


def test_a_full_disk_is_told_and_nothing_is_half_written(registry: Registry, pen: Pen) -> None:
    """Each batch is there wholly or not at all; once there is room, the fold goes on."""
    coefficients = tuple(facts.Coefficient(name=f"c{number}", value=number / 7) for number in range(1_000))
    registry.append(pen.policy(by_city()))
    registry.append(*(pen.logged(str(number), coefficients=coefficients) for number in range(80)))
    whole = registry.fold("whole")
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(registry.folder), str(1_500_000)],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert "the disk holding projection.duckdb is full; nothing of this batch was written\n" == done.stdout
    ((events, trainings, position),) = registry.ask(
        "select (select count(*) from events), (select count(*) from trainings), "
        "(select max(next_position) from base.progress)"
    )
    assert (position, position - 1, 0) == (events, trainings, events % 20)
    assert 0 < events < 81
    assert whole == registry.fold()
