"""Facts to bytes and back: nothing is lost, nothing damaged is believed, and old bytes mean what they meant."""

from __future__ import annotations

import copy
import functools
import json
import struct
import types
import typing
from dataclasses import MISSING, asdict, fields, is_dataclass, replace
from enum import StrEnum
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import avro.schema
import fastavro
import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from hypothesis import given, settings
from hypothesis import strategies as st

from deedbook.events import facts
from deedbook.events.codec import (
    Codec,
    Schema,
    current_schema,
    decode_body,
    released_schemas,
    schema_from_text,
    schema_id_of,
)
from deedbook.events.errors import InvalidInput, Undecodable, UnknownSchema
from deedbook.events.facts import FACTS, Fact
from deedbook.events.log import MAX_BODY_BYTES, NewRecord, Record
from deedbook.events.strict import check_strictly

GOLDEN = Path(__file__).parent / "golden"
SCHEMAS = [schema for versions in released_schemas().values() for schema in versions]
BY_TITLE = {f"{schema.name}.v{schema.version}": schema for schema in SCHEMAS}
TITLES = list(BY_TITLE)
NAMES = [cls.__name__ for cls in FACTS]
LONGS = st.integers(-(1 << 63), (1 << 63) - 1)
TIMES = st.integers(0, 253_402_300_799_999_999)
PLAIN = {
    str: st.text(st.characters(codec="utf-8"), max_size=12),
    int: LONGS,
    float: st.floats(allow_nan=True, width=64),
    bool: st.booleans(),
}


def values_of(hint: Any) -> st.SearchStrategy[Any]:  # noqa: ANN401 - a type hint
    """Any value of a fact's field."""
    if typing.get_origin(hint) is tuple:
        return st.lists(values_of(typing.get_args(hint)[0]), max_size=3).map(tuple)
    if typing.get_origin(hint) is types.UnionType:
        return st.none() | values_of(present(hint))
    if is_dataclass(hint):
        return facts_of(hint)
    return st.sampled_from(list(hint)) if issubclass(hint, StrEnum) else PLAIN[hint]


def facts_of(cls: Any) -> st.SearchStrategy[Any]:  # noqa: ANN401 - a dataclass
    """Any instance of a fact's class, whether or not it is well-formed."""
    hints = typing.get_type_hints(cls)
    parts = {
        f.name: TIMES if f.name == "occurred_at" else values_of(hints[f.name]) for f in fields(cls) if f.init
    }
    return st.builds(cls, **parts)


def present(hint: Any) -> Any:  # noqa: ANN401 - a type hint
    """What an optional field is when it is there."""
    return next(arg for arg in typing.get_args(hint) if arg is not type(None))


def bits(value: Any) -> Any:  # noqa: ANN401 - any part of a fact
    """A value that equals another only if every bit does: NaN is itself, and -0.0 is not 0.0."""
    match value:
        case float():
            return struct.pack(">d", value)
        case dict():
            return {key: bits(item) for key, item in value.items()}
        case list() | tuple():
            return [bits(item) for item in value]
        case _:
            return value


def recorded(new: NewRecord, **changes: Any) -> Record:  # noqa: ANN401 - a record's fields
    """A new record as a log would give it back."""
    return replace(Record("registry", 0, 0, 0, new.key, new.value, new.headers), **changes)


def with_header(new: NewRecord, name: str, value: bytes) -> Record:
    """A record one of whose headers was changed."""
    return recorded(new, headers=tuple((n, value if n == name else v) for n, v in new.headers))


@functools.cache
def golden(title: str) -> bytes:
    """The golden body of a schema."""
    return (GOLDEN / "bodies" / f"{title}.bin").read_bytes()


def zigzag(number: int) -> bytes:
    """A long as Avro writes it."""
    rest, out = (number << 1) ^ (number >> 63), bytearray()
    rest &= (1 << 64) - 1
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*out, rest])


# Each is made once: what a strategy learns of itself is dear.
ANY_FACT = {cls: facts_of(cls) for cls in FACTS}


def goes_and_comes_back(fact: Fact) -> None:
    """Encode a fact and decode it again; compare every bit."""
    decoded = Codec().decode(recorded(Codec().encode(fact)))
    assert type(decoded) is type(fact)
    assert bits(asdict(fact)) == bits(asdict(decoded))


class TestRoundTrip:
    """Encoding and decoding again."""

    @pytest.mark.parametrize("cls", FACTS, ids=NAMES)
    @settings(max_examples=40)
    @given(data=st.data())
    def test_any_fact_comes_back_bit_for_bit(self, cls: type[Fact], data: st.DataObject) -> None:
        """Every class, every value its fields can hold."""
        goes_and_comes_back(data.draw(ANY_FACT[cls]))

    @pytest.mark.soak
    @pytest.mark.parametrize("cls", FACTS, ids=NAMES)
    @settings(max_examples=500)
    @given(data=st.data())
    def test_very_many_facts_come_back_bit_for_bit(self, cls: type[Fact], data: st.DataObject) -> None:
        """The test above, for as long as somebody has patience."""
        goes_and_comes_back(data.draw(ANY_FACT[cls]))

    @pytest.mark.parametrize("title", TITLES)
    def test_headers_follow_cloudevents(self, title: str) -> None:
        """Binary mode: each attribute a header, the body as Avro, its digest beside it."""
        name, version = title.rsplit(".v", 1)
        fact = decode_body(current_schema(name), golden(title))
        new = Codec().encode(fact)
        expected = (
            ("ce_specversion", b"1.0"),
            ("ce_id", fact.event_id.encode()),
            ("ce_type", f"deedbook.{name}.v{version}".encode()),
            ("ce_source", b"/deedbook"),
            ("ce_time", b"2024-11-23T20:03:11.123456Z"),
            ("content-type", b"application/avro"),
            ("ce_dataschema", f"urn:sha256:{current_schema(name).schema_id}".encode()),
            ("ce_valuesha256", sha256(new.value).hexdigest().encode()),
        )
        assert expected == new.headers

    def test_keys_keep_together_what_needs_an_order(self) -> None:
        """Step metrics by training, work orders by model, deployments and hosts by service."""
        keys = {
            name: Codec().encode(decode_body(current_schema(name), golden(f"{name}.v1"))).key
            for name in NAMES
        }
        expected = {
            "MetricsLogged": b"0193c1f4-6f1e-7c1e-8f55-3d3a2a0a1b2c",
            "ValidationRequested": b"home-price",
            "DeploymentCreated": b"pricing-api",
            "DeploymentRejected": b"pricing-api",
            "ModelLoaded": b"pricing-api",
        }
        assert expected == {name: key for name, key in keys.items() if key}

    def test_a_body_over_the_limit_is_refused_with_the_way_out(self) -> None:
        """The sentence says how to split."""
        fact = facts.TrainingFailed(
            event_id="", occurred_at=0, actor="", training_id="", model="", error="x" * MAX_BODY_BYTES
        )
        with pytest.raises(
            InvalidInput, match=r"over the limit of 1,048,576: log step-wise values with log_metric"
        ):
            Codec().encode(fact)

    @pytest.mark.parametrize(
        "change",
        [
            {"occurred_at": 1 << 63},
            {"occurred_at": 1 << 62},
            {"occurred_at": -(1 << 62)},
            {"actor": "\ud800"},
            {"actor": None},
            {"rules_version": 1 << 63},
            {"rules_version": "one"},
        ],
    )
    def test_what_no_body_can_hold_is_refused_in_one_sentence(self, change: dict[str, Any]) -> None:
        """Whatever the encoder stumbles over, the caller gets InvalidInput."""
        fact = facts.RulesAdopted(event_id="", occurred_at=0, actor="", rules_version=1)
        with pytest.raises(InvalidInput, match="this RulesAdopted cannot be encoded"):
            Codec().encode(replace(fact, **change))


class TestDistrust:
    """What is not believed."""

    new = Codec().encode(
        facts.MetricsLogged(
            event_id="e",
            occurred_at=1,
            actor="a",
            training_id="t",
            producer="p",
            sequence=1,
            points=(
                facts.MetricPoint(name="loss", step=1, value=1.0),
                facts.MetricPoint(name="x", step=2, value=2.0),
            ),
        )
    )

    def test_any_flipped_bit_of_a_body_is_caught(self) -> None:
        """Most such bodies would decode to something: the digest tells."""
        for at in range(len(self.new.value) * 8):
            body = bytearray(self.new.value)
            body[at // 8] ^= 1 << at % 8
            with pytest.raises(Undecodable, match="SHA-256"):
                Codec().decode(recorded(self.new, value=bytes(body)))

    @pytest.mark.parametrize(
        ("header", "value", "expected"),
        [
            ("content-type", b"text/plain", "content-type"),
            ("ce_valuesha256", b"0" * 64, "SHA-256"),
            ("ce_valuesha256", b"", "SHA-256"),
            ("ce_dataschema", b"https://example.com/schema", "ce_dataschema"),
            ("ce_dataschema", b"urn:sha256:" + b"G" * 64, "ce_dataschema"),
            ("ce_dataschema", b"urn:sha256:\xff", "ce_dataschema"),
        ],
    )
    def test_headers_that_do_not_fit_make_a_record_undecodable(
        self, header: str, value: bytes, expected: str
    ) -> None:
        """The sentence names the header."""
        with pytest.raises(Undecodable, match=expected):
            Codec().decode(with_header(self.new, header, value))

    def test_a_record_without_headers_is_undecodable(self) -> None:
        """Somebody else's message is no event."""
        with pytest.raises(Undecodable):
            Codec().decode(recorded(self.new, headers=()))

    def test_a_record_the_log_itself_distrusts_is_undecodable(self) -> None:
        """Even if its body still has the right digest."""
        with pytest.raises(Undecodable, match="the log's own checksum"):
            Codec().decode(recorded(self.new, intact=False))

    def test_a_body_over_the_limit_is_not_decoded(self) -> None:
        """Whatever a log lets through, memory stays bounded."""
        with pytest.raises(Undecodable, match="over the limit"):
            Codec().decode(recorded(self.new, value=b"\x00" * (MAX_BODY_BYTES + 1)))

    def test_the_digest_a_log_has_computed_is_not_taken_from_another_body(self) -> None:
        """A log that computed the digest of the value saves the work; a wrong one is seen."""
        right, wrong = sha256(self.new.value).digest(), sha256(b"").digest()
        assert isinstance(Codec().decode(recorded(self.new, value_sha256=right)), facts.MetricsLogged)
        with pytest.raises(Undecodable, match="SHA-256"):
            Codec().decode(recorded(self.new, value_sha256=wrong))

    def test_an_unknown_schema_says_what_to_install_and_can_be_learnt(self) -> None:
        """A newer release's event stops a reader until the log has taught it the schema."""
        plain = json.loads(current_schema("MetricsLogged").text)
        plain["fields"].append({"name": "colour", "type": "string", "default": ""})
        newer = schema_from_text(json.dumps(plain), 2)
        body = BytesIO()
        fastavro.schemaless_writer(
            body, newer.parsed, {"type": "MetricsLogged", "sequence": 3, "colour": "red"}
        )
        record = with_header(
            NewRecord(
                body.getvalue(),
                b"",
                tuple(
                    (n, sha256(body.getvalue()).hexdigest().encode() if n == "ce_valuesha256" else v)
                    for n, v in self.new.headers
                ),
            ),
            "ce_dataschema",
            f"urn:sha256:{newer.schema_id}".encode(),
        )
        codec = Codec()
        with pytest.raises(
            UnknownSchema, match=r"registry:0:0 is a 'deedbook\.MetricsLogged\.v1'.*install a newer"
        ):
            codec.decode(record)
        codec.learn(newer)
        fact = codec.decode(record)
        assert isinstance(fact, facts.MetricsLogged)
        assert fact.sequence == 3

    def test_a_body_that_says_it_is_something_else_is_undecodable(self) -> None:
        """The type inside is the schema's name."""
        schema = current_schema("RulesAdopted")
        body = BytesIO()
        fastavro.schemaless_writer(body, schema.parsed, {"type": "Rules\x1b[2J", "rules_version": 1})
        with pytest.raises(
            Undecodable, match=r"says it is a 'Rules�\[2J', its schema that it is a RulesAdopted"
        ):
            decode_body(schema, body.getvalue())


@functools.cache
def mutated(body: bytes) -> st.SearchStrategy[bytes]:
    """A body with other bytes in one to three places."""
    changes = st.lists(st.tuples(st.integers(0, len(body) - 1), st.integers(0, 255)), min_size=1, max_size=3)

    def changed(places: list[tuple[int, int]]) -> bytes:
        copied = bytearray(body)
        for at, byte in places:
            copied[at] = byte
        return bytes(copied)

    return changes.map(changed)


def is_read_or_refused(schema: Schema, body: bytes) -> None:
    """Decode a body; what comes out must be there again once it is written and read."""
    try:
        fact = decode_body(schema, body)
    except Undecodable:
        return
    check_strictly(schema.plain, body)
    again = decode_body(schema, Codec().encode(replace(fact, occurred_at=0)).value)
    assert bits(asdict(replace(fact, occurred_at=0))) == bits(asdict(again))


class TestByTheLetter:
    """Bodies that no encoder of ours writes, for which decoders would differ."""

    schema = current_schema("MetricsLogged")
    body = golden("MetricsLogged.v1")
    bare = Codec().encode(
        facts.MetricsLogged(event_id="", occurred_at=0, actor="", training_id="", producer="", sequence=0)
    )

    @pytest.mark.parametrize("title", TITLES)
    def test_trailing_bytes_are_refused(self, title: str) -> None:
        """A body is consumed to its last byte."""
        schema = BY_TITLE[title]
        for more in (b"\x00", b"\x00" * 7, golden(title)):
            with pytest.raises(Undecodable):
                decode_body(schema, golden(title) + more)

    @pytest.mark.parametrize("title", TITLES)
    def test_bodies_that_end_early_are_refused(self, title: str) -> None:
        """Wherever they were cut."""
        schema = BY_TITLE[title]
        body = golden(title)
        for length in range(len(body)):
            with pytest.raises(Undecodable):
                decode_body(schema, body[:length])

    @pytest.mark.parametrize("title", TITLES)
    def test_the_strict_walk_accepts_what_the_encoder_writes(self, title: str) -> None:
        """It says no only to what is wrong."""
        schema = BY_TITLE[title]
        check_strictly(schema.plain, golden(title))

    def test_arrays_written_in_blocks_are_accepted(self) -> None:
        """Avro allows them, several in an array, with or without their lengths."""
        first, second = zigzag(2) + b"ab" + zigzag(1), zigzag(2) + b"cd" + zigzag(2)
        rest = struct.pack("<d", 1.5) + zigzag(0) + zigzag(0)
        points = zigzag(-1) + zigzag(len(first + rest)) + first + rest + zigzag(1) + second + rest + zigzag(0)
        decoded = decode_body(self.schema, self.bare.value[:-1] + points)
        assert isinstance(decoded, facts.MetricsLogged)
        assert ["ab", "cd"] == [point.name for point in decoded.points]

    @pytest.mark.parametrize(
        ("points", "why"),
        [
            (zigzag(-1) + zigzag(3) + zigzag(0) * 2 + b"\x00" * 8 + zigzag(0) * 3, "its length is wrong"),
            (zigzag(1 << 40) + zigzag(0), "more items than bytes"),
            (zigzag(-(1 << 63)) + zigzag(1) + zigzag(0), "the smallest count"),
            (zigzag(-(1 << 40)) + zigzag(-1) + zigzag(0), "a length below nothing"),
            (b"\x80\x00", "the end in two bytes where one will do"),
            (b"\xff" * 9 + b"\x7f", "a count of more than 64 bits"),
            (b"\x80" * 200_000 + b"\x00", "a count without end"),
            (zigzag(1) + zigzag(-4) + b"\x00" * 12 + zigzag(0), "a text shorter than nothing"),
            (zigzag(1) + zigzag(2) + b"\xc3\x28" + b"\x00" * 11 + zigzag(0), "a text that is not UTF-8"),
            (zigzag(1) + zigzag(3) + b"\xed\xa0\x80" + b"\x00" * 11 + zigzag(0), "half a character"),
            (zigzag(1) + b"\x80\x00" + b"\x00" * 11 + zigzag(0), "an over-long length of nothing"),
        ],
    )
    def test_arrays_and_texts_against_the_letter_are_refused(self, points: bytes, why: str) -> None:
        """Each ends in Undecodable, soon, and in no other way."""
        assert why
        with pytest.raises(Undecodable):
            decode_body(self.schema, self.bare.value[:-1] + points)

    @pytest.mark.parametrize("index", [-1, 5, 1 << 40, -(1 << 63)])
    def test_choices_out_of_range_are_refused(self, index: int) -> None:
        """An enum's or a union's index that its schema does not have: a decoder may read one from the end."""
        verdict = current_schema("VerdictIssued")
        plain: dict[str, Any] = {"type": "VerdictIssued"}
        body = BytesIO()
        fastavro.schemaless_writer(body, verdict.parsed, plain)
        written = body.getvalue()
        assert isinstance(decode_body(verdict, written), facts.VerdictIssued)
        # After outcome come two empty texts and an empty array: one byte each.
        with pytest.raises(Undecodable):
            decode_body(verdict, written[:-4] + zigzag(index) + written[-3:])
        activated = current_schema("ReleaseActivated")
        body = BytesIO()
        fastavro.schemaless_writer(body, activated.parsed, {"type": "ReleaseActivated"})
        with pytest.raises(Undecodable):
            decode_body(activated, body.getvalue()[:-2] + zigzag(index) + body.getvalue()[-1:])

    def test_a_boolean_that_is_neither_is_refused(self) -> None:
        """Zero or one."""
        schema = current_schema("VerdictOverridden")
        body = BytesIO()
        fastavro.schemaless_writer(body, schema.parsed, {"type": "VerdictOverridden", "deployable": True})
        assert body.getvalue()[-2] == 1
        with pytest.raises(Undecodable):
            decode_body(schema, body.getvalue()[:-2] + b"\x02" + body.getvalue()[-1:])

    @pytest.mark.parametrize("title", TITLES)
    @settings(max_examples=40)
    @given(data=st.data())
    def test_mutated_bodies_end_in_a_fact_or_in_undecodable(self, title: str, data: st.DataObject) -> None:
        """Nothing else comes out, and a fact that comes out is the same once written and read again."""
        is_read_or_refused(BY_TITLE[title], data.draw(mutated(golden(title))))

    @pytest.mark.soak
    @pytest.mark.parametrize("title", TITLES)
    @settings(max_examples=1_000)
    @given(data=st.data())
    def test_very_many_mutated_bodies_end_so(self, title: str, data: st.DataObject) -> None:
        """The test above, for as long as somebody has patience."""
        is_read_or_refused(BY_TITLE[title], data.draw(mutated(golden(title))))


class TestGolden:
    """Bytes of every schema ever released."""

    @pytest.mark.parametrize("title", TITLES)
    def test_golden_bodies_mean_what_they_meant(self, title: str) -> None:
        """Decoded with the schema they name, they give the recorded values, to the last digit."""
        schema = BY_TITLE[title]
        decoded = json.dumps(asdict(decode_body(schema, golden(title))), indent=2, ensure_ascii=False)
        expected = (GOLDEN / "bodies" / f"{title}.json").read_text(encoding="utf-8")
        assert expected == decoded + "\n"

    def test_no_released_schema_changes_or_goes(self) -> None:
        """A schema's id is on every record: change one letter of its file, and the records are unreadable."""
        expected = json.loads((GOLDEN / "schema_ids.json").read_text(encoding="utf-8"))
        assert expected == {f"{s.name}.v{s.version}": s.schema_id for s in SCHEMAS}

    def test_every_released_schema_has_a_golden_body(self) -> None:
        """`python tests/golden/write_bodies.py` makes those of new ones."""
        assert sorted(TITLES) == sorted(path.stem for path in (GOLDEN / "bodies").glob("*.bin"))


def expected_type(hint: Any, name: str, seen: set[str]) -> Any:  # noqa: ANN401 - a type hint, a schema
    """The Avro type of a fact's field, without its documentation."""
    if typing.get_origin(hint) is tuple:
        return {"type": "array", "items": expected_type(typing.get_args(hint)[0], "", seen)}
    if typing.get_origin(hint) is types.UnionType:
        return ["null", expected_type(present(hint), "", seen)]
    if is_dataclass(hint) or issubclass(hint, StrEnum):
        if hint.__name__ in seen:
            return f"deedbook.{hint.__name__}"
        seen.add(hint.__name__)
        return expected_record(hint, seen) if is_dataclass(hint) else expected_enum(hint)
    if hint is int and name.endswith("_at"):
        return {"type": "long", "logicalType": "timestamp-micros"}
    return {str: "string", int: "long", float: "double", bool: "boolean"}[hint]


def expected_enum(hint: type[StrEnum]) -> Any:  # noqa: ANN401 - a schema
    """The Avro enum of an enumeration: its first symbol is what unknown ones become."""
    symbols = [member.value for member in hint]
    return {"type": "enum", "name": hint.__name__, "symbols": symbols, "default": symbols[0]}


def expected_record(cls: Any, seen: set[str]) -> Any:  # noqa: ANN401 - a dataclass, a schema
    """The Avro record of a class; an event also says its type."""
    hints = typing.get_type_hints(cls)
    record = [(f.name, expected_type(hints[f.name], f.name, seen)) for f in fields(cls)]
    if issubclass(cls, Fact):
        record.insert(1, ("type", "string"))
    return {"type": "record", "name": cls.__name__, "fields": record}


def bare(schema: Any) -> Any:  # noqa: ANN401 - a schema
    """A schema's types and names alone."""
    match schema:
        case {"type": "record", "name": name, "fields": all_fields}:
            return {
                "type": "record",
                "name": name,
                "fields": [(f["name"], bare(f["type"])) for f in all_fields],
            }
        case {"type": "enum", "name": name, "symbols": symbols, "default": default}:
            return {"type": "enum", "name": name, "symbols": symbols, "default": default}
        case {"type": "array", "items": items}:
            return {"type": "array", "items": bare(items)}
        case list():
            return [bare(branch) for branch in schema]
        case _:
            return schema


def parts(schema: Any) -> typing.Iterator[Any]:  # noqa: ANN401 - a schema
    """A schema and all schemas within it."""
    yield schema
    match schema:
        case {"type": "record", "fields": all_fields}:
            for field in all_fields:
                yield from parts(field["type"])
        case {"type": "array", "items": items}:
            yield from parts(items)
        case list():
            for branch in schema:
                yield from parts(branch)


def compatible(reader: str, writer: str) -> bool:
    """Tell, with Apache's own checker, whether what was written with one schema is read with another."""
    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
    found = checker.get_compatibility(avro.schema.parse(reader), avro.schema.parse(writer))
    return bool(found.compatibility is SchemaCompatibilityType.compatible)


class TestSchemas:
    """The files under `schemas/`."""

    @pytest.mark.parametrize("cls", FACTS, ids=NAMES)
    def test_the_newest_schema_and_the_class_have_the_same_fields(self, cls: type[Fact]) -> None:
        """Names, types and order, all the way down."""
        assert expected_record(cls, set()) == bare(json.loads(current_schema(cls.__name__).text))

    def test_every_event_has_a_schema_and_every_schema_an_event(self) -> None:
        """Neither side has one more."""
        assert sorted(NAMES) == sorted(released_schemas())

    @pytest.mark.parametrize("cls", FACTS, ids=NAMES)
    def test_defaults_agree_where_a_class_has_one(self, cls: type[Fact]) -> None:
        """A field left out of a body means what it means when left out of a call, all the way down."""
        for part in parts(json.loads(current_schema(cls.__name__).text)):
            if not (isinstance(part, dict) and part["type"] == "record"):
                continue
            by_name = {field["name"]: field["default"] for field in part["fields"]}
            for field in fields(getattr(facts, part["name"])):
                if field.default is not MISSING:
                    assert json.loads(json.dumps(field.default)) == by_name[field.name], field.name
                elif field.default_factory is not MISSING:
                    assert asdict(field.default_factory()) == by_name[field.name], field.name
                elif field.name == "policy":
                    assert json.loads(json.dumps(asdict(facts.Policy(model="")))) == by_name[field.name]

    @pytest.mark.parametrize("title", TITLES)
    def test_every_field_and_every_enum_has_a_default(self, title: str) -> None:
        """So that any version can be read as any other."""
        plain = json.loads(BY_TITLE[title].text)
        for part in parts(plain):
            match part:
                case {"type": "record", "fields": all_fields}:
                    assert [] == [field["name"] for field in all_fields if "default" not in field]
                case {"type": "enum"}:
                    assert part["default"] in part["symbols"]

    @pytest.mark.parametrize("title", TITLES)
    def test_no_schema_can_hang_or_crash_a_decoder(self, title: str) -> None:
        """No recursion, no items of no bytes, no decimals, nothing but the types of facts."""
        plain = json.loads(BY_TITLE[title].text)
        allowed = {"string", "long", "double", "boolean"}

        def look(schema: Any, inside: tuple[str, ...]) -> None:  # noqa: ANN401 - a schema
            match schema:
                case {"type": "record", "name": name, "fields": all_fields}:
                    assert all_fields
                    for field in all_fields:
                        look(field["type"], (*inside, f"deedbook.{name}"))
                case {"type": "enum", "symbols": symbols}:
                    assert symbols
                case {"type": "array", "items": items}:
                    look(items, inside)
                case ["null", branch]:
                    look(branch, inside)
                case {"type": "long", "logicalType": "timestamp-micros"}:
                    pass
                case str() if schema.startswith("deedbook."):
                    assert schema not in inside
                case _:
                    assert schema in allowed

        look(plain, ())

    @pytest.mark.parametrize("name", NAMES)
    def test_every_version_reads_every_other(self, name: str) -> None:
        """Full-transitive: any release reads what any other wrote, before it or after."""
        versions = [schema.text for schema in released_schemas()[name]]
        assert [] == [
            (newer, older)
            for newer, reader in enumerate(versions)
            for older, writer in enumerate(versions)
            if not compatible(reader, writer)
        ]

    def test_the_compatibility_checker_sees_what_breaks(self) -> None:
        """A field without a default, another type, an enum that lost a symbol and its default: all are seen."""
        text = current_schema("VerdictIssued").text

        def changed(change: str) -> str:
            plain = copy.deepcopy(json.loads(text))
            by_name = {field["name"]: field for field in plain["fields"]}
            match change:
                case "no default":
                    plain["fields"].append({"name": "colour", "type": "string"})
                case "default":
                    plain["fields"].append({"name": "colour", "type": "string", "default": ""})
                case "type":
                    by_name["policy_version"]["type"] = "boolean"
                    by_name["policy_version"]["default"] = False
                case "symbol":
                    by_name["outcome"]["type"]["symbols"].remove("passed")
                    del by_name["outcome"]["type"]["default"]
            return json.dumps(plain)

        seen = {
            change: compatible(changed(change), text)
            for change in ("no default", "default", "type", "symbol")
        }
        assert {"no default": False, "default": True, "type": False, "symbol": False} == seen

    def test_a_schema_is_known_by_all_it_says(self) -> None:
        """White space and the order of keys don't count; defaults and logical types do."""
        text = current_schema("RulesAdopted").text
        plain = json.loads(text)
        assert schema_id_of(text) == schema_id_of(json.dumps(dict(reversed(plain.items())), indent=7))
        assert schema_id_of(text) != schema_id_of(text.replace('"default": 0', '"default": 1', 1))
        assert schema_id_of(text) != schema_id_of(text.replace("timestamp-micros", "timestamp-millis"))
