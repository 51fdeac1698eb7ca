"""`deedbook sql`: analysts' questions to the snapshot."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from deedbook.cli.asking import asked
from deedbook.cli.documents import document, print_document
from deedbook.cli.input_files import read_text
from deedbook.cli.options import AsJson, settings_of
from deedbook.cli.tables import Column, note, print_table
from deedbook.events.errors import InvalidInput

if TYPE_CHECKING:
    from deedbook.cli.sql_query import Answer

MAX_TABLE_ROWS = 1_000
_NUMBERS = (
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
)


def sql(
    ctx: typer.Context,
    query: Annotated[str, typer.Argument(help="One SQL statement; - reads it from standard input.")],
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Ask the snapshot one question in SQL."""
    if as_json and as_csv:
        raise InvalidInput("the answer is either --json or --csv")
    text = read_text(sys.stdin, "standard input") if query == "-" else query
    with asked(settings_of(ctx)) as registry, registry.answered(text) as answer:
        if as_json:
            columns = [{"name": n, "type": t} for n, t in zip(answer.names, answer.types, strict=True)]
            print_document({"columns": columns, "rows": list(answer.rows)})
        elif as_csv:
            _print_csv(answer)
        else:
            _print_rows(answer)


def _print_rows(answer: Answer) -> None:
    columns = [
        Column(name, align="right" if kind in {*_NUMBERS, "DOUBLE", "FLOAT"} else "left")
        for name, kind in zip(answer.names, answer.types, strict=True)
    ]
    rows = ([_text(value) for value in row] for row in islice(answer.rows, MAX_TABLE_ROWS))
    print_table(columns, rows, keep_empty=True)
    if next(answer.rows, None) is not None:
        note(f"These are the first {MAX_TABLE_ROWS:,} rows: --csv and --json give them all.")


def _print_csv(answer: Answer) -> None:
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    rows: Iterable[Iterable[object]] = ([_csv_cell(value) for value in row] for row in answer.rows)
    writer.writerow(_csv_cell(name) for name in answer.names)
    for row in rows:
        writer.writerow(row)
        sys.stdout.write(written.getvalue())
        written.seek(0)
        written.truncate()
    sys.stdout.write(written.getvalue())


def _text(value: object) -> object:
    """Return a value as one text: what is nested as JSON, all else as JSON would say it."""
    plain = document(value)
    if isinstance(plain, bool):
        return "true" if plain else "false"
    return json.dumps(plain, ensure_ascii=False) if isinstance(plain, list | dict) else plain


def _csv_cell(value: object) -> object:
    """Return a value as a cell that no spreadsheet takes for a formula; numbers stay numbers."""
    text = _text(value)
    if isinstance(value, int | float) or text is None:
        return text
    return f"'{text}" if str(text).startswith(("=", "+", "-", "@", "\t", "\r")) else text
