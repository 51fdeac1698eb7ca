"""What the tables hold, in words: the reference that docs/sql.md is, as the pages show it."""

from __future__ import annotations

import importlib.resources
import re
from dataclasses import dataclass
from functools import cache

_ROW = re.compile(r"^\| `([^`]+)` \| `([^`]+)` \| (.+) \|$", re.MULTILINE)
_TABLE = re.compile(r"^### `([^`]+)`$", re.MULTILINE)
_QUESTION = re.compile(r"^([^\n]+):\n\n```sql\n(.+?)\n```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")


@dataclass(frozen=True, slots=True)
class DocumentedColumn:
    """A column: what it means, in plain text with `code` in backquotes."""

    name: str
    type: str
    meaning: str


@dataclass(frozen=True, slots=True)
class DocumentedTable:
    """A view, or a macro with its arguments: what a row of it is, and its columns."""

    name: str
    text: str
    columns: tuple[DocumentedColumn, ...]


@dataclass(frozen=True, slots=True)
class Documented:
    """The views, the macros, and questions to begin with: (what is asked, the query)."""

    views: tuple[DocumentedTable, ...]
    macros: tuple[DocumentedTable, ...]
    questions: tuple[tuple[str, str], ...]


@cache
def documented() -> Documented:
    """Return the reference; read once."""
    text = (importlib.resources.files("deedbook.service.sql") / "tables.md").read_text(encoding="utf-8")
    questions = tuple((title, query) for title, query in _QUESTION.findall(_part(text, "Questions")))
    return Documented(_tables(_part(text, "Views")), _tables(_part(text, "Macros")), questions)


def _part(text: str, title: str) -> str:
    return text.split(f"\n## {title}\n")[1].split("\n## ", maxsplit=1)[0]


def _tables(part: str) -> tuple[DocumentedTable, ...]:
    sections = _TABLE.split(part)[1:]
    return tuple(
        DocumentedTable(
            name,
            " ".join(_LINK.sub(r"\1", body.strip().partition("\n\n")[0]).split()),
            tuple(DocumentedColumn(*row) for row in _ROW.findall(body)),
        )
        for name, body in zip(sections[::2], sections[1::2], strict=True)
    )
