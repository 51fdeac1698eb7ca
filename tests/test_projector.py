"""The projector: however a log is read, the state is the same, and it is what the fold decides."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pyruhvro
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from deedbook.events import facts
from deedbook.events.codec import Codec, current_schema, released_schemas
from deedbook.events.log import NewRecord
from deedbook.events.shape import problem_of
from deedbook.projector.decision import Accepted, Ignored, Rejected
from deedbook.projector.fine import surely_fine
from deedbook.projector.state_hash import state_hash, table_hash
from deedbook.projector.store import Store
from tests.caught_up import caught_up
from tests.facts_by_hand import Pen, id_of
from tests.folded import Registry
from tests.pure_fold import PureFold
from tests.random_logs import Written, logs


def decided(fold: PureFold) -> list[tuple[str, int, str, str | None]]:
    """What the fold with nothing around it decided, as `Registry.decisions` says it."""
    words = {Accepted: "accepted", Ignored: "ignored", Rejected: "rejected"}
    return sorted(
        (event.topic, event.position, words[type(decision)], getattr(decision, "reason", None))
        for event, decision in fold.decisions
    )


def decisions(store: Store) -> list[tuple[Any, ...]]:
    """What was decided, as `Registry.decisions` says it."""
    return store.connection.execute(
        "select topic, position, decision, reason from events order by all"
    ).fetchall()


def read_in_bites(written: Written, data: st.DataObject) -> None:
    """Fold a log while it is written, in small batches with restarts; fold it at once; compare both."""
    with tempfile.TemporaryDirectory() as folder:
        registry = Registry(Path(folder))
        count = len(written.records)
        stops = sorted(data.draw(st.lists(st.integers(0, count), max_size=3), label="restarts at"))
        bites = data.draw(st.sampled_from([1, 2, 7, 20, 50]), label="records per batch")
        for start, stop in zip([0, *stops], [*stops, count], strict=True):
            for topic, record in written.records[start:stop]:
                registry.append(record, topic=topic)
            with caught_up(registry, "live", max_records=bites):
                pass
        # Once more, in a projector that finds nothing to do.
        with caught_up(registry, "live") as live, caught_up(registry, "at once") as at_once:
            assert decided(written.fold) == decisions(live)
            assert decided(written.fold) == decisions(at_once)
            assert state_hash(at_once.connection) == state_hash(live.connection)
        registry.log.close()


@settings(max_examples=6)
@given(logs(), st.data())
def test_any_batches_and_restarts_give_the_state_that_the_pure_fold_decides(
    written: Written, data: st.DataObject
) -> None:
    """Topics interleaved, one batch or small ones, with restarts: same decisions, same state hash."""
    read_in_bites(written, data)


@pytest.mark.soak
@settings(max_examples=500)
@given(logs(), st.data())
def test_many_batches_and_restarts_give_the_same_state(written: Written, data: st.DataObject) -> None:
    """The test above, for as long as somebody has patience."""
    read_in_bites(written, data)


# --- duplicates ----------------------------------------------------------------------------------


def deliver_twice(written: Written) -> None:
    """Append a log and append it again; compare what is known then with what was known before."""
    with tempfile.TemporaryDirectory() as folder:
        registry = Registry(Path(folder))
        for topic, record in written.records:
            registry.append(record, topic=topic)
        with caught_up(registry) as store:
            once = tables(store)
        for topic, record in written.records:
            registry.append(record, topic=topic)
        with caught_up(registry) as store:
            twice, decided_twice = tables(store), decisions(store)

        assert once == twice
        assert {"ignored"} >= {
            decision
            for topic, position, decision, reason in decided_twice
            if position >= sum(where == topic for where, _ in written.records)
            # An id that was used twice was another event's the second time, and is again.
            and "was used before, for another event" not in (reason or "")
        }
        registry.log.close()


@settings(max_examples=5)
@given(logs())
def test_a_log_delivered_twice_decides_nothing_anew(written: Written) -> None:
    """Every event appended once more is ignored, and no table but the timeline sees it."""
    deliver_twice(written)


@pytest.mark.soak
@settings(max_examples=200)
@given(logs())
def test_many_logs_delivered_twice_decide_nothing_anew(written: Written) -> None:
    """The test above, for as long as somebody has patience."""
    deliver_twice(written)


def tables(store: Store) -> dict[str, str]:
    """A hash of every table of a projection, but for the timeline and how far it is."""
    names = store.connection.execute(
        "select table_name from duckdb_tables() where schema_name = 'base' "
        "and table_name not in ('event', 'progress', 'meta', 'term')"
    ).fetchall()
    return {name: table_hash(store.connection, name) for (name,) in names}


# --- the fast road and the slow one --------------------------------------------------------------


def named(schema: Any) -> dict[str, Any]:  # noqa: ANN401 - an Avro schema
    """The types that a schema names."""
    match schema:
        case {"type": "record", "name": str(name), "fields": fields}:
            return {name: schema} | {k: v for f in fields for k, v in named(f["type"]).items()}
        case {"type": "enum", "name": str(name)}:
            return {name: schema}
        case {"type": "array", "items": items}:
            return named(items)
        case list(branches):
            return {k: v for branch in branches for k, v in named(branch).items()}
        case _:
            return {}


def in_blocks(schema: Any, value: Any, names: dict[str, Any]) -> bytes:  # noqa: ANN401 - an Avro schema, a value
    """Encode a value by the letter of Avro, but as nobody does: lists in blocks of one, with their sizes."""
    match schema:
        case {"type": "record", "fields": fields}:
            return b"".join(in_blocks(field["type"], value[field["name"]], names) for field in fields)
        case {"type": "array", "items": items}:
            blocks = [in_blocks(items, item, names) for item in value]
            return b"".join(plainly("long", -1) + plainly("long", len(b)) + b for b in blocks) + b"\0"
        case {"type": "enum", "symbols": symbols}:
            return plainly("long", symbols.index(value))
        case ["null", other]:
            return b"\0" if value is None else b"\2" + in_blocks(other, value, names)
        case str(name) if (short := name.rsplit(".", 1)[-1]) in names:
            return in_blocks(names[short], value, names)
        case _:
            return plainly(schema, value)


def plainly(schema: Any, value: Any) -> bytes:  # noqa: ANN401 - an Avro schema and a value of it
    """Encode a value as everybody does."""
    body = BytesIO()
    fastavro.schemaless_writer(body, schema, value)
    return body.getvalue()


SCHEMAS = {schema.schema_id: schema for versions in released_schemas().values() for schema in versions}


def the_slow_way(record: NewRecord) -> NewRecord:
    """The same event, as a body that the fast decoder isn't trusted with."""
    schema = SCHEMAS[dict(record.headers)["ce_dataschema"].decode().rsplit(":", 1)[-1]]
    plain = fastavro.schemaless_reader(BytesIO(record.value), schema.parsed, None)
    assert isinstance(plain, dict)
    body = in_blocks(schema.plain, plain, named(schema.plain))
    digest = hashlib.sha256(body).hexdigest().encode()
    headers = tuple((k, digest if k == "ce_valuesha256" else v) for k, v in record.headers)
    return replace(record, value=body, headers=headers)


def write_another_way(written: Written) -> None:
    """Fold a log, and the same log in bodies that the fast decoder leaves to the slow one; compare both."""
    with tempfile.TemporaryDirectory() as folder:
        fast, slow = Registry(Path(folder) / "fast"), Registry(Path(folder) / "slow")
        for topic, record in written.records:
            fast.append(record, topic=topic)
            slow.append(the_slow_way(record), topic=topic)
        with caught_up(fast) as one, caught_up(slow) as other:
            of_one, of_other = tables(one), tables(other)
            # It holds the hash of each training's content as it was written.
            del of_one["training"], of_other["training"]

            assert of_one == of_other
            assert decisions(one) == decisions(other)
            assert trainings_in(one) == trainings_in(other)
        fast.log.close()
        slow.log.close()


def trainings_in(store: Store) -> list[tuple[Any, ...]]:
    """Every training as analysts see it."""
    return store.connection.execute("from trainings order by position").fetchall()


@settings(max_examples=5)
@given(logs())
def test_bodies_written_another_way_give_the_same_state(written: Written) -> None:
    """Whichever decoder read them: all that differs are the hashes of the bodies themselves."""
    write_another_way(written)


@pytest.mark.soak
@settings(max_examples=200)
@given(logs())
def test_many_bodies_written_another_way_give_the_same_state(written: Written) -> None:
    """The test above, for as long as somebody has patience."""
    write_another_way(written)


def test_some_of_those_bodies_are_other_bodies() -> None:
    """Otherwise the test above would compare a log with itself."""
    record = Codec().encode(Pen().logged("a"))

    assert record.value != the_slow_way(record).value


# --- what is surely fine -------------------------------------------------------------------------

texts = st.sampled_from(
    ["", "mse", "größe", "a\x00", "\u200b", "e\u0301", "x" * 201, "\U0001f600", "a b"]
) | st.text(max_size=8)
numbers = st.sampled_from(
    [0, 1, -1, 2**62, 2**63 - 1, -(2**63), 253_402_300_799_999_999, 253_402_300_800_000_000]
)
ids = st.sampled_from([id_of("a"), id_of("b"), "", "A" * 36, id_of("a").upper(), id_of("a") + "\n"])
envelopes = st.fixed_dictionaries({"event_id": ids, "occurred_at": numbers, "actor": texts})
parts: dict[str, st.SearchStrategy[Any]] = {
    "training_id": ids,
    "model": texts,
    "model_type": texts,
    "git_sha": texts,
    "data_fingerprint": texts,
    "artifact": st.builds(
        facts.Artifact,
        uri=texts,
        sha256=st.sampled_from(["", "a" * 64, "A" * 64, "a" * 63]),
        size_bytes=numbers,
    ),
    "features": st.lists(st.builds(facts.Feature, name=texts, dtype=texts), max_size=2).map(tuple),
    "parameters": st.lists(st.builds(facts.Parameter, name=texts, text=texts), max_size=2).map(tuple),
    "metrics": st.lists(
        st.builds(facts.Metric, name=texts, value=st.floats(), slice=texts, unit=texts), max_size=2
    ).map(tuple),
    "coefficients": st.lists(st.builds(facts.Coefficient, name=texts, value=st.floats()), max_size=2).map(
        tuple
    ),
    "tags": st.lists(st.builds(facts.Tag, name=texts, text=texts), max_size=2).map(tuple),
    "created_at": numbers,
    "started_at": numbers,
    "finished_at": numbers,
}
trainings = st.builds(facts.Training, **parts)
chunks = st.lists(
    st.builds(facts.MetricPoint, name=texts, step=numbers, value=st.floats(), slice=texts, logged_at=numbers),
    max_size=2,
).map(tuple)
odd_facts = st.one_of(
    st.builds(lambda e, t: facts.TrainingLogged(**e, training=t), envelopes, trainings),
    st.builds(
        lambda e, i, p, s, c: facts.MetricsLogged(**e, training_id=i, producer=p, sequence=s, points=c),
        envelopes,
        ids,
        texts,
        numbers,
        chunks,
    ),
)
SOUND = replace(
    Pen().logged("a"), training=replace(Pen().logged("a").training, features=(facts.Feature(name="rooms"),))
)


def judged_in_bulk(fact: facts.Fact) -> bool:
    """Whether the vectorised checks take a fact for fine."""
    schema = current_schema(type(fact).__name__)
    body = BytesIO()
    fastavro.schemaless_writer(body, schema.parsed, {**dataclasses.asdict(fact), "type": schema.name})
    return surely_fine(schema.name, pyruhvro.deserialize_array([body.getvalue()], schema.text))


def never_laxer(fact: facts.Fact) -> None:
    """Hold the vectorised checks to those of single facts, which let less pass or the same."""
    try:
        fine = judged_in_bulk(fact)
    except UnicodeEncodeError:  # half characters can't be written
        return

    assert not (fine and problem_of(fact))


@settings(max_examples=100)
@given(odd_facts)
def test_what_the_vectorised_checks_let_pass_is_well_formed(fact: facts.Fact) -> None:
    """They may be stricter, never laxer, than the checks of single facts."""
    never_laxer(fact)


@pytest.mark.soak
@settings(max_examples=3_000)
@given(odd_facts)
def test_whatever_the_vectorised_checks_let_pass_is_well_formed(fact: facts.Fact) -> None:
    """The test above, for as long as somebody has patience."""
    never_laxer(fact)


@pytest.mark.parametrize(
    "field", [field.name for field in dataclasses.fields(facts.Training) if field.name != "framework"]
)
@given(st.data())
def test_one_odd_field_of_a_training_is_enough(field: str, data: st.DataObject) -> None:
    """Each field on its own, in a training that is otherwise sound."""
    odd = data.draw(parts[field])
    assume("\\ud" not in repr(odd))
    fact = replace(SOUND, training=replace(SOUND.training, **{field: odd}))

    assert not (judged_in_bulk(fact) and problem_of(fact))


def test_what_is_plainly_fine_takes_the_fast_road() -> None:
    """A check that lets nothing pass would be no use."""
    assert [True, True] == [judged_in_bulk(fact) for fact in (SOUND, Pen().steps("a"))]
