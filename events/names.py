"""What a name, a text and an id may be: bounded, printable, and one spelling for one look.

The fold asks these questions too, so the answers must be the same on every machine for ever: they
rest on fixed lists and on what Unicode has promised not to change, never on what this Python's
Unicode tables happen to know.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

MAX_NAME_CHARACTERS: Final = 200
MAX_TEXT_CHARACTERS: Final = 1_000
MAX_REASON_CHARACTERS: Final = 4_000
MAX_ERROR_CHARACTERS: Final = 10_000
MAX_SOURCE_BYTES: Final = 64 << 10
# For vectorised checks, in RE2's words: what matches is a name (a text), and most names (texts) do.
PLAIN_NAME_PATTERN: Final = rf"\A[ -~]{{1,{MAX_NAME_CHARACTERS}}}\z"
PLAIN_TEXT_PATTERN: Final = rf"\A[ -~]{{0,{MAX_TEXT_CHARACTERS}}}\z"
# What is not printed, or changes how its neighbours are: controls, line separators, surrogates, marks and
# overrides of direction, invisible spaces and joiners (but those that scripts are written with), noncharacters.
_UNPRINTABLE = re.compile(
    "[\u0000-\u001f\u007f-\u009f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufdd0-\ufdef"
    "\ufeff\ufff0-\ufffb\U000e0000-\U000e007f"
    + "".join(chr(plane << 16 | 0xFFFE) + chr(plane << 16 | 0xFFFF) for plane in range(17))
    + "]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHA256 = re.compile("[0-9a-f]{64}")
_SHOWN_CHARACTERS = 60


def normalise(text: str) -> str:
    """Return a name in Unicode's normal form C, as front doors hand it on."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def name_problem(text: object) -> str | None:
    """Return what keeps a text from being a name (1 to 200 printable characters in form C), or None."""
    if not isinstance(text, str):
        return _is_no_text(text)
    if not text:
        return "is empty"
    if len(text) > MAX_NAME_CHARACTERS:
        return _is_too_long(text, MAX_NAME_CHARACTERS)
    if found := _UNPRINTABLE.search(text):
        return f"{shown(text)} has {found[0]!a} as character {found.start() + 1}, which is not printable"
    if not text.isascii() and not _is_normalised(text):
        return f"{shown(text)} is not in Unicode's normal form C"
    return None


def text_problem(text: object, max_characters: int) -> str | None:
    """Return what keeps a text from being kept (too long, not encodable as UTF-8), or None."""
    if not isinstance(text, str):
        return _is_no_text(text)
    if len(text) > max_characters:
        return _is_too_long(text, max_characters)
    if found := _SURROGATE.search(text):
        return f"{shown(text)} has {found[0]!a} as character {found.start() + 1}, which is half a character"
    return None


def prose_problem(text: object, max_characters: int) -> str | None:
    """Return what keeps a text from being read by people (as names, but lines may end), or None."""
    if (problem := text_problem(text, max_characters)) is not None or not isinstance(text, str):
        return problem
    if found := _UNPRINTABLE.search(text.replace("\n", " ")):
        return f"{shown(text)} has {found[0]!a} as character {found.start() + 1}, which is not printable"
    return None


def id_problem(text: object) -> str | None:
    """Return what keeps a text from being a UUID as deedbook writes them, or None."""
    if not isinstance(text, str):
        return _is_no_text(text)
    if not text:
        return "is empty"
    return None if _ID.fullmatch(text) else f"{shown(text)} is not a UUID in lower-case letters"


def sha256_problem(text: object) -> str | None:
    """Return what keeps a text from being a SHA-256 in hexadecimal, or None."""
    if not isinstance(text, str):
        return _is_no_text(text)
    return None if _SHA256.fullmatch(text) else f"{shown(text)} is not a SHA-256: 64 lower-case hex digits"


def shown(value: object) -> str:
    """Return a value as a message shows it: short, quoted, with nothing in it that a terminal obeys."""
    if not isinstance(value, str):
        text = repr(value) if isinstance(value, int | float) else f"a {type(value).__name__}"
        return text[:_SHOWN_CHARACTERS]
    cut = value[:_SHOWN_CHARACTERS]
    return repr(_UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", cut) + ("…" if cut != value else ""))


def _is_no_text(value: object) -> str:
    return f"is a {type(value).__name__}, not a text"


def _is_too_long(text: str, max_characters: int) -> str:
    return f"{shown(text)} has {len(text):,} characters, over the limit of {max_characters:,}"


def _is_normalised(text: str) -> bool:
    """Tell whether a text is in form C, as far as its characters were in Unicode 3.2.

    For those the answer is fixed; of younger ones an older Python knows no normal form, so they count
    as what nothing combines with.
    """
    known = unicodedata.ucd_3_2_0
    settled = [character if known.category(character) != "Cn" else "\ufffc" for character in text]
    return unicodedata.is_normalized("NFC", "".join(settled))
