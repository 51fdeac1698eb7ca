"""Two decoders, one decision: what the fast one read is trusted only where the strict one reads the same.

The rule by which the bulk path trusts pyruhvro: it decoded the body, Arrow finds the columns valid (pyruhvro
hands on texts that are not UTF-8), and encoding them gives the body again. Here bodies are damaged in every
way that comes to mind, and the rule has to hold.
"""

from __future__ import annotations

import math
import random
import struct
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyruhvro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deedbook.events import facts
from deedbook.events.codec import Codec, Schema, current_schema, decode_body
from deedbook.events.errors import Undecodable
from deedbook.events.log import Record
from deedbook.events.shape import problem_of
from deedbook.projector.bulk import decode_batch

NAMES = ("TrainingLogged", "MetricsLogged")
GOLDEN = Path(__file__).parent / "golden" / "bodies"
# Bytes at which decoders differ: over-long and extreme integers, counts without end, lengths below nothing,
# half characters, choices out of range.
SNIPPETS = (
    b"\x80\x00",
    b"\x80\x80\x00",
    b"\xff" * 9 + b"\x01",
    b"\xff" * 9 + b"\x7f",
    b"\xfe" + b"\xff" * 8 + b"\x01",
    b"\xff" * 12 + b"\x00",
    b"\x80" * 20,
    b"\x01",
    b"\x03",
    b"\x07",
    b"\xed\xa0\x80",
    b"\xc3\x28",
    b"\xf4\x90\x80\x80",
    b"\x00",
    b"\x02",
    b"\x7f",
    struct.pack("<d", math.nan),
    b"\x01\x00\x00\x00\x00\x00\xf0\x7f",
    b"\xff" * 8,
)


def read_fast(schema: Schema, body: bytes) -> pa.RecordBatch | None:
    """What pyruhvro reads, where the bulk path would trust it."""
    try:
        batch = pyruhvro.deserialize_array([body], schema.text)
        batch.validate(full=True)
        again = pyruhvro.serialize_record_batch(batch, schema.text, 1)
        (written,) = pa.chunked_array(again).cast(pa.binary()).to_pylist()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001 - a panic in the decoder is a BaseException
        return None
    return batch if written == body else None


def plain(value: Any) -> Any:  # noqa: ANN401 - what a decoder read
    """Values as both decoders can say them: floats by their bits, lists as lists."""
    match value:
        case float():
            return struct.pack(">d", value)
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case str():
            return str(value)
        case _:
            return value


def times_as_numbers(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with timestamps as the microseconds they are, at any distance from today."""

    def plain_type(kind: pa.DataType) -> pa.DataType:
        if pa.types.is_timestamp(kind):
            return pa.int64()
        if pa.types.is_dictionary(kind):
            return kind.value_type
        if pa.types.is_struct(kind):
            return pa.struct([(field.name, plain_type(field.type)) for field in kind])
        if pa.types.is_list(kind):
            return pa.list_(plain_type(kind.value_type))
        return kind

    columns = [column.cast(plain_type(column.type)) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


def assert_they_agree(name: str, body: bytes) -> bool:
    """Hold the two decoders together; tell whether the fast one was to be trusted."""
    schema = current_schema(name)
    batch = read_fast(schema, body)
    if batch is None:
        return False
    (row,) = times_as_numbers(batch).to_pylist()
    try:
        fact = decode_body(schema, body)
    except Undecodable:
        # The one thing the strict decoder reads and the bulk path looks at in its columns.
        assert row["type"] != name
        return True
    assert plain(asdict(fact) | {"type": name}) == plain(row)
    return True


def mutated(body: bytes, chance: random.Random) -> bytes:
    """A body changed in one to three places."""
    changed = bytearray(body)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(changed) or 1)
        match chance.randrange(6):
            case 0:
                changed[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                changed[at : at + 1] = bytes([changed[at] ^ 1 << chance.randrange(8)]) if changed else b""
            case 2:
                snippet = chance.choice(SNIPPETS)
                changed[at : at + len(snippet)] = snippet
            case 3:
                changed[at:at] = chance.choice(SNIPPETS)
            case 4:
                del changed[at : at + chance.randint(1, 9)]
            case _:
                start = chance.randrange(len(changed) or 1)
                changed[at:at] = changed[start : start + chance.randint(1, 40)]
    return bytes(changed)


def bodies_of(name: str) -> list[bytes]:
    """Whole bodies to begin with: the golden one, and one with nothing in it."""
    nothing: dict[str, Any] = {"event_id": "", "occurred_at": 0, "actor": ""}
    empty: facts.Fact = (
        facts.TrainingLogged(**nothing, training=facts.Training(training_id="", model=""))
        if name == "TrainingLogged"
        else facts.MetricsLogged(**nothing, training_id="", producer="", sequence=0)
    )
    return [(GOLDEN / f"{name}.v1.bin").read_bytes(), Codec().encode(empty).value]


@pytest.mark.parametrize("name", NAMES)
def test_whole_bodies_take_the_fast_road(name: str) -> None:
    """The rule trusts what our own encoder wrote, or it would be of no use."""
    for body in bodies_of(name):
        assert assert_they_agree(name, body)


@pytest.mark.parametrize("count", [1_000, pytest.param(20_000, marks=pytest.mark.soak)])
@pytest.mark.parametrize("name", NAMES)
def test_mutated_bodies_are_read_alike_or_not_fast(
    name: str, count: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """Thousands of damaged bodies: trusted ones have the same values, and some of each kind came up."""
    chance = random.Random(20_241_123)  # noqa: S311 - no secret
    verdicts = [
        assert_they_agree(name, mutated(body, chance)) for body in bodies_of(name) for _ in range(count)
    ]
    assert {True, False} == set(verdicts)
    capfd.readouterr()  # a panic is printed as it happens


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_bodies_of_arbitrary_bytes_are_read_alike_or_not_fast(name: str, data: st.DataObject) -> None:
    """Bytes put together at will, around a whole body's own."""
    body = data.draw(st.sampled_from(bodies_of(name)))
    start, end = sorted((data.draw(st.integers(0, len(body))), data.draw(st.integers(0, len(body)))))
    middle = data.draw(st.binary(max_size=30) | st.sampled_from(SNIPPETS))
    assert_they_agree(name, body[:start] + middle + body[end:])


# In the short form a bit of each byte and two of some, and as many of the lowest as of the highest.
@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.soak)])
@pytest.mark.parametrize("name", NAMES)
def test_each_byte_and_each_bit_is_read_alike_or_not_fast(name: str, step: int) -> None:
    """Every single bit of the golden body, flipped."""
    body = bodies_of(name)[0]
    for at in range(0, len(body) * 8, step):
        changed = bytearray(body)
        changed[at // 8] ^= 1 << at % 8
        assert_they_agree(name, bytes(changed))


def recorded(name: str, body: bytes, position: int) -> Record:
    """A record of a bulk type with headers that vouch for its body."""
    headers = (
        ("content-type", b"application/avro"),
        ("ce_dataschema", f"urn:sha256:{current_schema(name).schema_id}".encode()),
        ("ce_valuesha256", sha256(body).hexdigest().encode()),
    )
    topic = {"TrainingLogged": facts.REGISTRY, "MetricsLogged": facts.METRICS}[name]
    return Record(topic, 0, position, 1, b"", body, headers)


def decided_singly(name: str, body: bytes) -> str:
    """What becomes of a body that is decoded by itself."""
    try:
        fact = decode_body(current_schema(name), body)
    except Undecodable:
        return "quarantined"
    return "ill-formed" if problem_of(fact) else "well-formed"


def decided_in_bulk(name: str, bodies: list[bytes]) -> list[str]:
    """What becomes of bodies that are decoded together."""
    decoded = decode_batch([recorded(name, body, at) for at, body in enumerate(bodies)], Codec())
    found = {record.position: "quarantined" for record, _ in decoded.quarantined}
    found |= {event.position: "ill-formed" for event in decoded.events}
    columns = decoded.columns.get(name)
    found |= dict.fromkeys(columns.column("position").to_pylist() if columns else (), "well-formed")
    return [found[at] for at in range(len(bodies))]


def ill_formed_bodies() -> list[bytes]:
    """Trainings that are encoded well and are not well-formed, and some that just are."""
    whole = decode_body(current_schema("TrainingLogged"), bodies_of("TrainingLogged")[0])
    assert isinstance(whole, facts.TrainingLogged)
    metric, parameter = facts.Metric(name="m", value=1.0), facts.Parameter(name="p", text="")
    changes: list[dict[str, Any]] = [
        {"metrics": (metric, metric)},
        {"metrics": (metric, replace(metric, slice="a"))},
        {"metrics": tuple(replace(metric, name=f"{n}") for n in range(10_001))},
        {"parameters": (parameter, parameter)},
        {"parameters": (replace(parameter, text="x" * 1_001),)},
        {"parameters": (replace(parameter, text="\x1b"),)},
        {"tags": (facts.Tag(name="t", text="x" * 1_000), facts.Tag(name="\u200b"))},
        {"features": (facts.Feature(name="Zoe\u0308"),)},
        {"coefficients": (facts.Coefficient(name="", value=1.0),)},
        {"artifact": facts.Artifact(sha256="AB" * 32)},
        {"artifact": facts.Artifact(size_bytes=-1)},
        {"created_at": -1},
        {"finished_at": 253_402_300_800_000_000},
        {"git_sha": "x" * 201},
        {"model": "\u202e"},
        {"model": "x" * 201},
        {"training_id": "1"},
        {"training_id": "0193c1f4-6f1e-7c1e-8f55-3d3a2a0a1b2c\n"},
    ]
    return [
        Codec().encode(replace(whole, training=replace(whole.training, **change))).value for change in changes
    ]


@pytest.mark.parametrize("name", NAMES)
def test_bodies_have_one_fate_alone_or_in_bulk(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Quarantined, ill-formed or well-formed: whichever road a body takes, and whatever came with it."""
    chance = random.Random(5)  # noqa: S311 - no secret
    bodies = [mutated(body, chance) for body in bodies_of(name) for _ in range(300)]
    bodies += [mutated(bodies_of(name)[0], chance) for _ in range(600)] + bodies_of(name)
    if name == "TrainingLogged":
        bodies += ill_formed_bodies()
    chance.shuffle(bodies)
    for start in range(0, len(bodies), 40):
        batch = bodies[start : start + 40]
        assert [decided_singly(name, body) for body in batch] == decided_in_bulk(name, batch)
    assert {"quarantined", "ill-formed", "well-formed"} == {decided_singly(name, body) for body in bodies}
    capfd.readouterr()  # a panic is printed as it happens
