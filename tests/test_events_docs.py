"""docs/events.md is held to the schemas and the code: every topic, header, event, field and limit, and no other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from deedbook.events import facts, field_rules, log, names, shape
from deedbook.events.codec import Codec, released_schemas
from tests.golden.write_bodies import SAMPLES

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/events.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", PAGE, flags=re.MULTILINE | re.DOTALL))
ENVELOPE = ["event_id", "type", "occurred_at", "actor"]
SCHEMAS = {name: versions[-1] for name, versions in released_schemas().items()}


def rows(text: str) -> list[list[str]]:
    """The cells of a text's table rows, without its headings."""
    lines = re.findall(r"^\| (.*) \|$", text, flags=re.MULTILINE)
    return [cells for line in lines if not set(cells := line.split(" | ")) & {"field", "symbol", "event"}]


def section(title: str) -> str:
    """What stands under a heading of the second order."""
    (found,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL)
    return str(found)


def words_of(kind: Any) -> str:  # noqa: ANN401 - a JSON schema
    """A type as the page writes it."""
    match kind:
        case ["null", inner]:
            return f"{words_of(inner)} or null"
        case {"type": "long", "logicalType": "timestamp-micros"}:
            return "time"
        case {"type": "array", "items": items}:
            return f"list of {words_of(items)}"
        case {"type": "record" | "enum", "name": str(name)}:
            return name
        case str(name):
            return name.rpartition(".")[2]
    raise AssertionError(kind)


def parts_of(kind: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:  # noqa: ANN401 - a JSON schema
    """The named types within a type, by name."""
    match kind:
        case list(branches):
            for branch in branches:
                yield from parts_of(branch)
        case {"type": "array", "items": items}:
            yield from parts_of(items)
        case {"type": "enum", "name": str(name)}:
            yield name, kind
        case {"type": "record", "name": str(name), "fields": fields}:
            yield name, kind
            for field in fields:
                yield from parts_of(field["type"])
        case _:
            pass


EVENTS: Mapping[str, Mapping[str, Any]] = {name: json.loads(schema.text) for name, schema in SCHEMAS.items()}
PARTS = {
    name: part
    for event in EVENTS.values()
    for field in event["fields"]
    for name, part in parts_of(field["type"])
}


def test_every_event_and_every_part_has_its_section_and_no_other() -> None:
    """Nothing that can be on the log is left out."""
    assert sorted([*EVENTS, *PARTS]) == sorted(SECTIONS)


@pytest.mark.parametrize("name", [name for name in [*EVENTS, *PARTS] if "symbols" not in PARTS.get(name, {})])
def test_every_field_is_told_in_its_order_with_its_type(name: str) -> None:
    """A body can be written and read by the page and the schema alone."""
    fields = (EVENTS.get(name) or PARTS[name])["fields"]
    own = fields[len(ENVELOPE) :] if name in EVENTS else fields

    assert [(f"`{field['name']}`", words_of(field["type"])) for field in own] == [
        (field, kind) for field, kind, _ in rows(SECTIONS[name])
    ]
    assert "" not in {meaning.strip() for _, _, meaning in rows(SECTIONS[name])}


def test_every_event_begins_with_the_envelope() -> None:
    """The fields that are told once for all."""
    told = [(field, kind) for field, kind, _ in rows(section("Events").partition("\n### ")[0])]

    for event in EVENTS.values():
        assert told == [(f"`{field['name']}`", words_of(field["type"])) for field in event["fields"][:4]]


@pytest.mark.parametrize("name", [name for name, part in PARTS.items() if "symbols" in part])
def test_every_symbol_is_told(name: str) -> None:
    """In the enum's order, which its bytes depend on."""
    assert [f"`{symbol}`" for symbol in PARTS[name]["symbols"]] == [
        symbol for symbol, _ in rows(SECTIONS[name])
    ]


@pytest.mark.parametrize("fact", SAMPLES, ids=lambda fact: type(fact).__name__)
def test_topic_and_key_are_those_that_the_codec_gives(fact: facts.Fact) -> None:
    """Whoever follows the page writes where our own producers write."""
    told = {topic: key for topic, _, key, *_ in rows(section("Topics"))}
    opening = SECTIONS[type(fact).__name__].strip().partition(". ")[0]
    key = told[f"`{fact.topic}`"].strip("`")
    value: Any = fact
    for step in key.split(".") if key != "none" else ():
        value = getattr(value, step)

    assert opening == f"Topic `{fact.topic}`" + (f", key `{key}`" if key != "none" else "")
    assert (b"" if key == "none" else str(value).encode()) == Codec().encode(fact).key


def test_the_topics_are_those_there_are() -> None:
    """In the order of the code."""
    told = [topic for topic, *_ in rows(section("Topics"))[1:]]

    assert [f"`{topic}`" for topic in facts.TOPICS] == told


def test_every_header_that_the_code_names_is_told_and_no_other() -> None:
    """A header that some module reads or writes has its row."""
    named = {
        header
        for floor in ("events", "projector", "consumers", "client", "cli")
        for module in (ROOT / floor).rglob("*.py")
        for header in re.findall(r"\"(ce_[a-z0-9]+|content-type)\"", module.read_text(encoding="utf-8"))
    }
    told = re.findall(r"^\| `(ce_[a-z0-9]+|content-type)` \|", section("A record"), flags=re.MULTILINE)

    assert sorted(named) == sorted(told)


@pytest.mark.parametrize("fact", SAMPLES, ids=lambda fact: type(fact).__name__)
def test_headers_have_the_documented_form(fact: facts.Fact) -> None:
    """Each header of what our producer writes is as the page says."""
    name = type(fact).__name__
    headers = {header: value.decode("ascii") for header, value in Codec().encode(fact).headers}

    assert headers["ce_id"] == fact.event_id
    assert headers["ce_type"] == f"deedbook.{name}.v{SCHEMAS[name].version}"
    assert headers["ce_source"] == "/deedbook"
    assert headers["content-type"] == "application/avro"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z", headers["ce_time"])
    assert re.fullmatch("urn:sha256:[0-9a-f]{64}", headers["ce_dataschema"])
    assert re.fullmatch("[0-9a-f]{64}", headers["ce_valuesha256"])


def test_the_schemas_are_listed_with_their_ids() -> None:
    """Whoever writes may copy an id from the page."""
    told = [
        tuple(cell.strip("`") for cell in cells)
        for cells in re.findall(
            r"^\| (`\w+`) \| (`\S+\.avsc`) \| (`[0-9a-f]{64}`) \|$", PAGE, flags=re.MULTILINE
        )
    ]
    shipped = [
        (schema.name, f"{schema.name}.v{schema.version}.avsc", schema.schema_id)
        for schema in SCHEMAS.values()
    ]

    assert sorted(shipped) == sorted(told)


def test_the_limits_are_those_of_the_code() -> None:
    """The last number of each row."""
    limits = {
        "the value, in bytes": log.MAX_BODY_BYTES,
        "key and headers together, in bytes": log.MAX_HEAD_BYTES,
        "a name": names.MAX_NAME_CHARACTERS,
        "a label": names.MAX_NAME_CHARACTERS,
        "a text": names.MAX_TEXT_CHARACTERS,
        "a URI": shape.MAX_URI_CHARACTERS,
        "`reason`, `summary`": names.MAX_REASON_CHARACTERS,
        "`error`": names.MAX_ERROR_CHARACTERS,
        "`source` of a policy, `schema`, in bytes": names.MAX_SOURCE_BYTES,
        "parameters, tags, models of one deployment": shape.MAX_PARAMETERS,
        "metrics, points, features, coefficients": shape.MAX_ITEMS,
        "checks": shape.MAX_CHECKS,
    }
    table = re.search(r"^\| what \| limit \|\n\|---\|---\|\n((?:\|.*\n)+)", PAGE, flags=re.MULTILINE)
    assert table is not None
    told = {
        re.split(r": | \(", what)[0]: int(re.findall(r"[\d,]+", limit)[-1].replace(",", ""))
        for what, limit in rows(table[1])
    }

    assert limits == told
    assert 253_402_300_799_999_999 == field_rules.MAX_TIME_MICROS, "the end of the year 9999"
