"""What users hand over in files and on standard input: bounded, and read before anything is done."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import IO, Any

from deedbook.cli.plain_text import plain
from deedbook.events.errors import InvalidInput, NotFound

MAX_INPUT_BYTES = 256 << 20
_MAX_DEPTH_SAID = "its lists and objects are nested too deeply"


def read_input(file: str) -> str:
    """Return the text of a file, of standard input for `-`. Raises NotFound, InvalidInput."""
    if file == "-":
        return read_text(sys.stdin, "standard input")
    try:
        with Path(file).open(encoding="utf-8-sig") as opened:
            return read_text(opened, plain(file, 200))
    except FileNotFoundError:
        raise NotFound(f"there is no file {plain(file, 200)!r}") from None
    except OSError as error:
        raise InvalidInput(f"cannot read {plain(file, 200)}: {error.strerror}") from None


def read_text(file: IO[str], name: str) -> str:
    """Return all text of an open file. Raises InvalidInput where it is no UTF-8, or too much."""
    try:
        text = file.read(MAX_INPUT_BYTES + 1)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{name} is not UTF-8 text (byte {error.start})") from None
    if len(text) > MAX_INPUT_BYTES:
        raise InvalidInput(f"{name} has more than {MAX_INPUT_BYTES:,} characters")
    return text


def read_objects(text: str, name: str) -> list[dict[str, Any]]:
    """Return the JSON objects in a text: one object, an array of them, or one a line.

    A key that is there twice is refused: one of its values would be lost without a word. Raises InvalidInput.
    """
    if not text.strip():
        raise InvalidInput(f"{name} is empty: it must hold a JSON object, an array of them, or one a line")
    try:
        found = _parsed(text)
    except json.JSONDecodeError as whole:
        found = _lines(text, name, whole)
    except ValueError as error:  # a number of thousands of digits
        raise InvalidInput(f"{name} is refused: {error}") from None
    except RecursionError:
        raise InvalidInput(f"{name} is refused: {_MAX_DEPTH_SAID}") from None
    objects = found if isinstance(found, list) else [found]
    if not objects:
        raise InvalidInput(f"{name} is an empty array: there is nothing to log")
    for number, item in enumerate(objects, start=1):
        if not isinstance(item, dict):
            where = f"item {number} of {name}" if len(objects) > 1 else name
            raise InvalidInput(f"{where} is no JSON object")
    return objects


def _lines(text: str, name: str, whole: json.JSONDecodeError) -> list[Any]:
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    found = []
    for number, line in lines:
        try:
            found.append(_parsed(line))
        except json.JSONDecodeError as error:
            # One object over many lines is broken where it is broken, and not at its first line's end.
            line_number = number if found else whole.lineno
            what = error.msg if found else whole.msg
            raise InvalidInput(f"{name} is not JSON: line {line_number}: {what}") from None
        except ValueError as error:
            raise InvalidInput(f"line {number} of {name} is refused: {error}") from None
        except RecursionError:
            raise InvalidInput(f"line {number} of {name} is refused: {_MAX_DEPTH_SAID}") from None
    return found


def _parsed(text: str) -> Any:  # noqa: ANN401 - any JSON
    return json.loads(text, object_pairs_hook=_pairs)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise InvalidInput(f"the key {plain(key, 80)!r} is there twice in one object")
        found[key] = value
    return found
