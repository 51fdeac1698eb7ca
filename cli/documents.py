"""What commands found, as JSON that programs can rely on: one document, in ASCII."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from enum import Enum
from math import isfinite, isnan
from typing import TypeAlias

from deedbook.cli.moments import iso

Document: TypeAlias = "bool | int | float | str | list[Document] | dict[str, Document] | None"


def document(value: object) -> Document:
    """Return a value as JSON can say it.

    Times are ISO-8601 in UTC; NaN and the infinities are the texts "NaN", "Infinity" and "-Infinity";
    dataclasses are objects of their fields; whatever else there is becomes its text.
    """
    match value:
        case Enum():
            return document(value.value)
        case None | bool() | int() | str():
            return value
        case float():
            return value if isfinite(value) else number_text(value)
        case datetime():
            return iso(value)
        case date() | time() | timedelta():
            return str(value)
        case bytes() | bytearray():
            return bytes(value).hex()
        case Mapping():
            return {str(key): document(item) for key, item in value.items()}
        case Sequence() | set() | frozenset():
            return [document(item) for item in value]
        case _ if is_dataclass(value):
            return {field.name: document(getattr(value, field.name)) for field in fields(value)}
        case _:
            return str(value)


def number_text(value: float) -> str:
    """Return how a number that JSON does not have is written."""
    if isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def print_document(value: object) -> None:
    """Write one JSON document on standard output."""
    # ASCII, so that nothing in a name reaches a terminal as a control, nor is lost in its encoding.
    sys.stdout.write(json.dumps(document(value), indent=2, allow_nan=False) + "\n")


def print_document_line(value: object) -> None:
    """Write one JSON document on one line of standard output: one of a stream of them."""
    sys.stdout.write(json.dumps(document(value), allow_nan=False) + "\n")
    sys.stdout.flush()
