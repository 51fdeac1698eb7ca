"""One record of the log as a page shows it: what was decoded as fields and JSON, the headers, the bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from deedbook.consumers.sandbox.outcome import printable
from deedbook.events.codec import Codec
from deedbook.events.errors import Undecodable, UnknownSchema
from deedbook.events.facts import DEPLOYMENTS, QUARANTINE, REGISTRY, VALIDATIONS, Fact
from deedbook.projector.queries.timeline import Event

if TYPE_CHECKING:
    from deedbook.events.log import Record

# So many entries of a list are shown; the JSON has them all.
MAX_ENTRIES: Final = 100
MAX_RAW_BYTES: Final = 512
_PAGES: Final = {
    "training_id": "/trainings/",
    "baseline_training_id": "/trainings/",
    "deployment_id": "/deployments/",
}
_POSITIONS: Final = frozenset({"requested_at_position"})
_ABOUT_TRAININGS: Final = frozenset(
    {
        *(
            "TrainingStarted",
            "TrainingFailed",
            "TrainingLogged",
            "TrainingAmended",
            "MetricsLogged",
            "ModelLoaded",
        ),
        *("ValidationRequested", "VerdictIssued", "VerdictOverridden", "RevalidationRequested"),
    }
)
_ABOUT_DEPLOYMENTS: Final = frozenset({"DeploymentRequested", "DeploymentCreated", "DeploymentRejected"})


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a body: a text, a time, what is inside it, or a table of things of one kind.

    `href` where it leads to a page; `left_out` counts what a long list has besides.
    """

    name: str
    text: str = ""
    moment: datetime | None = None
    href: str = ""
    inside: tuple[Field, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Field, ...], ...] = ()
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """All that is known of a record. `problem`: why its body could not be read, else empty.

    `sha256` is that of the value; `as_stated`: whether the header states the same.
    """

    record: Record
    schema: str
    schema_id: str
    fields: tuple[Field, ...]
    json: str
    headers: tuple[tuple[str, str], ...]
    sha256: str
    as_stated: bool
    problem: str
    key: str
    raw: str

    @property
    def recorded_at(self) -> datetime:
        """When it was recorded, by the log's clock."""
        return _moment(self.record.recorded_at) or datetime(1970, 1, 1, tzinfo=UTC)


def told(record: Record, codec: Codec) -> Told:
    """Return what a record says; one that can't be read says its headers and its bytes."""
    headers = tuple(
        (name, printable(value.decode("utf-8", "backslashreplace"), 2_000)) for name, value in record.headers
    )
    sha256 = hashlib.sha256(record.value).hexdigest()
    body: Fact | None = None
    schema = schema_id = problem = ""
    try:
        known = codec.schema_of(record)
        schema, schema_id = f"{known.name}, version {known.version}", known.schema_id
        body = codec.decode(record)
    except (Undecodable, UnknownSchema) as error:
        problem = str(error)
    return Told(
        record=record,
        schema=schema,
        schema_id=schema_id,
        fields=_inside(body).inside if body is not None else (),
        json=json.dumps(plain(body), indent=2, ensure_ascii=False) if body is not None else "",
        headers=headers,
        sha256=sha256,
        as_stated=dict(record.headers).get("ce_valuesha256", b"") == sha256.encode(),
        problem=problem,
        key=printable(record.key.decode("utf-8", "backslashreplace"), 200),
        raw=_raw(record.value),
    )


def event_of(record: Record, codec: Codec) -> Event:
    """Return a record that is never folded as one of the journal; nothing is decided on it."""
    headers = {name: value.decode("utf-8", "replace") for name, value in record.headers}
    actor = subject = reason = ""
    occurred_at: int | None = None
    kind = headers.get("ce_type", "").removeprefix("deedbook.").partition(".v")[0]
    try:
        fact = codec.decode(record)
        kind, actor, occurred_at = type(fact).__name__, fact.actor, fact.occurred_at
        subject = subject_of(fact)
    except (Undecodable, UnknownSchema) as error:
        reason = headers.get("ce_quarantinereason", str(error))
    quarantined = record.topic == QUARANTINE
    return Event(
        topic=record.topic,
        partition=record.partition,
        position=record.position,
        event_id=headers.get("ce_id", ""),
        type=kind,
        subject=headers.get("ce_quarantinedfrom", "") if quarantined else subject,
        actor=actor,
        occurred_at=None if occurred_at is None else _moment(occurred_at),
        recorded_at=_moment(record.recorded_at) or datetime(1970, 1, 1, tzinfo=UTC),
        decision="quarantined" if quarantined or reason else "",
        reason=reason or None,
    )


def subject_of(fact: Fact) -> str:
    """Return what an event of an announced topic is about."""
    training = getattr(fact, "training", None)
    return str(getattr(training, "training_id", None) or getattr(fact, "deployment_id", ""))


def subject_href(event: Event) -> str:
    """Return the page of what an event is about; empty where it has none."""
    if not event.subject:
        return ""
    if event.topic == QUARANTINE:
        parts = event.subject.split(":")
        return (
            f"/log/{'/'.join(parts)}" if len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit() else ""
        )
    if event.type in _ABOUT_TRAININGS:
        return f"/trainings/{event.subject}" if _is_id(event.subject) else ""
    if event.type in _ABOUT_DEPLOYMENTS:
        return f"/deployments/{event.subject}" if _is_id(event.subject) else ""
    return ""


def plain(value: object) -> Any:  # noqa: ANN401 - what JSON holds
    """Return a fact as JSON holds it; NaN and the infinities as texts."""
    if is_dataclass(value) and not isinstance(value, type):
        kind = {"type": type(value).__name__} if isinstance(value, Fact) else {}
        return kind | {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    match value:
        case Enum():
            return value.value
        case float() if value != value or value in {float("inf"), float("-inf")}:  # noqa: PLR0124 - NaN
            return str(value)
        case Mapping():
            return {str(name): plain(one) for name, one in value.items()}
        case bytes():
            return value.hex()
        case str() | bool() | int() | float() | None:
            return value
        case Sequence():
            return [plain(one) for one in value]
        case _:
            return str(value)


def _inside(value: object, name: str = "") -> Field:
    """Return a value as a field with what is inside it."""
    if is_dataclass(value) and not isinstance(value, type):
        return Field(name, inside=tuple(_inside(getattr(value, one.name), one.name) for one in fields(value)))
    match value:
        case Enum():
            return Field(name, str(value.value))
        case bool():
            return Field(name, "yes" if value else "no")
        case int() if name.endswith("_at") and value:
            return Field(name, str(value), moment=_moment(value))
        case int() if name in _POSITIONS:
            return Field(name, str(value), href=f"/log/{REGISTRY}/0/{value}")
        case str() if name in _PAGES and _is_id(value):
            return Field(name, value, href=_PAGES[name] + value)
        case None:
            return Field(name)
        case str() | int() | float():
            return Field(name, str(value))
        case Sequence() if value and all(_is_row(one) for one in value):
            columns = tuple(one.name for one in fields(value[0]))
            kept = [column for column in columns if any(_is_told(getattr(one, column)) for one in value)]
            rows = tuple(
                tuple(_inside(getattr(one, column), column) for column in kept) for one in value[:MAX_ENTRIES]
            )
            return Field(name, columns=tuple(kept), rows=rows, left_out=max(0, len(value) - MAX_ENTRIES))
        case Sequence():
            shown = tuple(
                _inside(one, _numbered(one, place)) for place, one in enumerate(value[:MAX_ENTRIES], start=1)
            )
            return Field(name, inside=shown, left_out=max(0, len(value) - MAX_ENTRIES))
        case _:
            return Field(name, str(value))


def _is_row(value: Any) -> bool:  # noqa: ANN401 - any field's value
    """Say whether something is as flat as a table's row."""
    return is_dataclass(value) and all(
        isinstance(getattr(value, one.name), str | int | float | Enum | None) for one in fields(value)
    )


def _is_told(value: object) -> bool:
    return value is not None and value != ""


def _numbered(value: object, place: int) -> str:
    named = getattr(value, "name", None) or getattr(value, "check", None) or getattr(value, "model", None)
    return f"{place}. {named}" if isinstance(named, str) else str(place)


def _moment(micros: int) -> datetime | None:
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    except OverflowError:
        return None


def _raw(value: bytes) -> str:
    shown = value[:MAX_RAW_BYTES]
    lines = (
        f"{start:06x}  {shown[start : start + 16].hex(' '):<47}  "
        + "".join(chr(byte) if 32 <= byte < 127 else "." for byte in shown[start : start + 16])
        for start in range(0, len(shown), 16)
    )
    return "\n".join(lines)


def _is_id(text: str) -> bool:
    return (
        len(text) == 36
        and text.count("-") == 4
        and all(character in "0123456789abcdef-" for character in text)
    )


# What is never folded: read from the log itself.
UNFOLDED: Final = (VALIDATIONS, DEPLOYMENTS, QUARANTINE)
