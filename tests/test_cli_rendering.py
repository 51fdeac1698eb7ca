"""How answers look: text that can't steer a terminal, tables that fit, sparklines, JSON, the chart."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import sys
import termios
from datetime import UTC, datetime, timedelta, timezone
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deedbook.cli.chart import Point, chart_spec, write_png
from deedbook.cli.documents import document
from deedbook.cli.moments import iso, micros_of, moment, shown
from deedbook.cli.numbers import short_number, size
from deedbook.cli.plain_text import plain
from deedbook.cli.sparkline import sparkline
from deedbook.cli.tables import Column, cell, console, print_fields, print_table, say
from deedbook.events.errors import InvalidInput, NotFound
from tests.command import Command

HOSTILE = "[bold]x[/bold] \x1b]0;title\x07\x1b[2J\u202egnol :smile: \u2028end"
ESCAPED = r"[bold]x[/bold] \x1b]0;title\x07\x1b[2J\u202egnol :smile: \u2028end"
MOMENT = datetime(2026, 1, 31, 14, 5, tzinfo=UTC)


# --- text ----------------------------------------------------------------------------------------


@given(st.text())
def test_plain_text_is_printable_whatever_it_was(text: str) -> None:
    """No control, no line end, no mark of direction reaches a terminal."""
    assert plain(text).isprintable()


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S"])))
def test_printable_text_stays_as_it_is(text: str) -> None:
    """São Paulo is São Paulo."""
    assert text == plain(text)


def test_a_long_text_is_cut_where_a_limit_is_given() -> None:
    """A name of two hundred characters is no title of a chart."""
    assert "abcd…" == plain("abcdefgh", 5)


@pytest.mark.parametrize("show", [say, lambda text: print_fields([("name", text)])])
def test_names_are_shown_as_plain_text(capsys: pytest.CaptureFixture[str], show: Any) -> None:  # noqa: ANN401 - either
    """Neither the terminal nor Rich takes a name for an instruction."""
    show(HOSTILE)

    assert capsys.readouterr().out.strip().endswith(ESCAPED)


def test_headings_are_names_too(capsys: pytest.CaptureFixture[str]) -> None:
    """A metric or a column of a query may be called anything."""
    print_table([Column(HOSTILE)], [[HOSTILE]])

    assert f"{ESCAPED}\n{ESCAPED}\n" == capsys.readouterr().out


# --- tables --------------------------------------------------------------------------------------


def test_a_piped_table_is_whole_whatever_its_width(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever reads with a program gets each row on one line, and nothing cut."""
    print_table(
        [Column("id", whole=True), Column("reason", narrow="below")], [["a" * 500, "b " * 500 + "end"]]
    )

    heading, row = capsys.readouterr().out.splitlines()
    assert ["id", "reason"] == heading.split()
    assert ("a" * 500 + "  " + "b " * 500 + "end") == row


def test_columns_without_any_value_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """A registry without slices shows no column of them."""
    print_table(
        [Column("metric"), Column("slice"), Column("value", align="right")],
        [["mse", "", 1], ["mae", None, 22]],
    )

    assert "metric  value\nmse         1\nmae        22\n" == capsys.readouterr().out


def test_a_query_s_columns_are_all_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Who asks for a column sees that it is empty."""
    print_table([Column("a"), Column("b")], [["1", ""]], keep_empty=True)

    assert "a  b\n1\n" == capsys.readouterr().out


def on_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """Make this process write to a terminal of a width, without colours."""
    monkeypatch.setattr("deedbook.cli.tables.on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")


ROW = ["01a20a31-22e8-75a5-a2bf-13a1081a1a26", "home-price", "failed because of this and that and more"]


def table_at(width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines of one table on a terminal of a width."""
    on_terminal(monkeypatch, width)
    columns = [
        Column("id", whole=True, narrow="drop"),
        Column("model", whole=True),
        Column("why", narrow="below"),
    ]
    print_table(columns, [ROW])
    return capsys.readouterr().out.splitlines()


def test_a_terminal_that_is_wide_enough_shows_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is folded without need."""
    lines = table_at(120, monkeypatch, capsys)

    assert "  ".join(ROW) == lines[1]


def test_a_narrower_terminal_folds_what_may_be_folded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Words stay whole, and so do the columns that must."""
    on_terminal(monkeypatch, 76)

    print_table([Column("id", whole=True), Column("model", whole=True), Column("why")], [ROW])

    lines = capsys.readouterr().out.splitlines()
    assert f"{ROW[0]}  home-price  failed because of this and" == lines[1]
    assert "that and more" == lines[2].strip()


def test_a_narrow_terminal_leaves_out_what_may_be_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What else names the row is enough."""
    lines = table_at(52, monkeypatch, capsys)

    assert "home-price  failed because of this and that and more" == lines[1]


def test_a_very_narrow_terminal_tells_the_reason_below(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sentence is read as one, and not as a column of syllables."""
    lines = table_at(17, monkeypatch, capsys)

    assert [
        "model",
        "home-price",
        "    failed",
        "    because of",
        "    this and that",
        "    and more",
    ] == lines


def test_a_table_that_fits_nowhere_is_told_line_by_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Forty columns at eighty characters are no table."""
    on_terminal(monkeypatch, 80)

    print_table([Column(f"c{n}", whole=True) for n in range(40)], [range(40), range(40, 80)])

    lines = capsys.readouterr().out.splitlines()
    assert ["c0   0", "c1   1"] == lines[:2]
    assert ["", "c0   40"] == lines[40:42]


@given(
    st.lists(st.tuples(st.text(max_size=60), st.text(max_size=60), st.integers()), min_size=1, max_size=5),
    st.integers(min_value=50, max_value=130),
)
def test_no_line_is_wider_than_the_terminal(rows: list[tuple[str, str, int]], width: int) -> None:
    """Whatever is in a table, a terminal never breaks its lines itself."""
    from deedbook.cli.layout import laid_out

    out = console()
    out.width = width
    columns = [Column("a"), Column("b", narrow="below"), Column("n", align="right")]

    lines = laid_out(columns, [[cell(value) for value in row] for row in rows], width).lines(out)

    assert [] == [line.plain for line in lines if len(line.plain.rstrip()) > width and line.cell_len > width]


# --- the command on a terminal -------------------------------------------------------------------


# Begun once, for most of the time would go to beginning.
ONE_AFTER_THE_OTHER = """
import json, sys
from deedbook.cli.program import app
for words in json.loads(sys.argv[1]):
    try:
        app(words)
    except SystemExit as end:
        print(f"ended with {end.code}")
"""


def seen_at_80_columns(*arguments: str) -> str:
    """What a person with a terminal of 80 columns sees of a program, without colours."""
    pid, terminal = pty.fork()
    if pid == 0:
        # In the child: wait for the size, then become the program.
        os.read(0, 1)
        os.execv(arguments[0], list(arguments))  # noqa: S606 - no shell is wanted
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.write(terminal, b"\n")
    written = b""
    while True:
        try:
            part = os.read(terminal, 65_536)
        except OSError:  # the terminal's other end is closed
            break
        if not part:
            break
        written += part
    os.waitpid(pid, 0)
    os.close(terminal)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode()).replace("\r", "")


def test_lists_fit_a_terminal_and_are_whole_when_piped(tmp_path: Path) -> None:
    """At 80 columns no line is longer; piped, every id is there."""
    deedbook = Command(tmp_path)
    ids = deedbook.log(
        *(
            {"parameters": {"city": f"El Paso {n}", "months": n}, "metrics": {"mse": n / 7, "r2": 0.5}}
            for n in range(5)
        )
    )
    deedbook.done("override", ids[0], "--deployable", "--reason", "a long reason " * 9)
    deedbook.done(
        "deploy", "pricing", "a41f7c02d9be5c38f6a0e1d47b92c8350f6e1da4", "--model", f"home-price={ids[0]}"
    )
    commands = [
        ["--url", deedbook.url, *words] for words in (["trainings"], ["deployments"], ["explain", ids[0]])
    ]

    seen = seen_at_80_columns(sys.executable, "-c", ONE_AFTER_THE_OTHER, json.dumps(commands))

    *told, rest = seen.split("ended with 0\n")
    assert (3, "") == (len(told), rest)
    assert [] == [line for line in seen.splitlines() if len(line) > 80]
    assert [True, True, True] == ["home-price@1" in one or "home-price version 1" in one for one in told]
    assert set(ids) == {line.split()[0] for line in deedbook.done("trainings").splitlines()[1:]}


# --- numbers and times ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.123456, "0.1235"),
        (12.0, "12"),
        (123456.7, "123,457"),
        (1e-9, "1e-09"),
        (3e12, "3e+12"),
        (nan, "NaN"),
        (-inf, "-Infinity"),
        (None, ""),
    ],
)
def test_numbers_are_short(value: float | None, text: str) -> None:
    """Four digits tell two trainings apart; the rest is in --json."""
    assert text == short_number(value)


@pytest.mark.parametrize(("count", "text"), [(12, "12 bytes"), (2048, "2.0 KiB"), (5 << 30, "5.0 GiB")])
def test_sizes_have_units(count: int, text: str) -> None:
    """Nobody counts digits."""
    assert text == size(count)


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T14:05:00",
        "2026-01-31 14:05",
        "2026-01-31T14:05:00Z",
        "2026-01-31T16:05:00+02:00",
        "20260131T1405",
    ],
)
def test_a_time_without_an_offset_is_utc(text: str) -> None:
    """The same moment, however it is written."""
    assert MOMENT == moment(text, "--at")


def test_now_is_a_time() -> None:
    """Between the clock before and the clock after."""
    before = datetime.now(UTC)

    assert before <= moment("now", "--at") <= datetime.now(UTC)


def test_a_time_that_is_none_is_refused() -> None:
    """With the ways to write one."""
    with pytest.raises(InvalidInput, match=r"--at 'noon' is not a time: write it as 2026-01-31T14:05:00"):
        moment("noon", "--at")


def test_times_are_printed_in_utc() -> None:
    """Whatever zone they came in."""
    there = MOMENT.astimezone(timezone(timedelta(hours=-8)))

    assert ("2026-01-31T14:05:00.000000Z", "2026-01-31 14:05:00", "") == (
        iso(there),
        shown(there),
        shown(None),
    )
    assert micros_of(MOMENT) == micros_of(there) == micros_of(MOMENT.replace(tzinfo=None))


# --- sparklines ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "bars"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8], "▁▂▃▄▅▆▇█"),
        ([5, 5, 5], "▄▄▄"),
        ([0, 5e-324], "▄▄"),
        ([1, nan, 8], "▁ █"),
        ([1, inf, 2, -inf], "▁██▁"),
        ([nan], " "),
        ([], ""),
        ([-1.7e308, 1.7e308], "▁█"),
    ],
)
def test_a_sparkline_says_where_values_go(values: list[float], bars: str) -> None:
    """The lowest is the lowest bar; NaN is a gap; an infinity doesn't flatten the rest."""
    assert bars == sparkline(values, 16)


def test_a_long_series_is_told_by_means() -> None:
    """Every value counts, even where there are more of them than bars."""
    assert "▁█" == sparkline([0, 2, 9, 7], 2)


@given(st.lists(st.floats(), max_size=200), st.integers(min_value=1, max_value=30))
def test_a_sparkline_is_never_wider_than_asked(values: list[float], width: int) -> None:
    """Whatever the values, one bar for each, and at most as many as fit."""
    assert min(len(values), width) == len(sparkline(values, width))


# --- JSON ----------------------------------------------------------------------------------------


def test_json_has_numbers_texts_and_times() -> None:
    """What JSON has no word for is a text that says it."""
    found = document(
        {"a": [1, 2.5, nan, -inf, True, None], "at": MOMENT, "folder": Path("x"), "raw": b"\x01"}
    )

    assert {
        "a": [1, 2.5, "NaN", "-Infinity", True, None],
        "at": "2026-01-31T14:05:00.000000Z",
        "folder": "x",
        "raw": "01",
    } == found


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_a_json_document_is_json_and_loses_nothing(value: Any) -> None:  # noqa: ANN401 - any JSON
    """What is read back is what was meant."""
    assert value == json.loads(json.dumps(document(value), allow_nan=False))


# --- the chart -----------------------------------------------------------------------------------


def points(count: int, series: str = "Austin") -> list[Point]:
    """So many months of a series."""
    return [Point(series, MOMENT + timedelta(days=30 * n), float(n % 7)) for n in range(count)]


def values_of(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The data of a chart."""
    (values,) = spec["datasets"].values()
    return list(values)


def test_users_names_are_data_and_titles_in_the_chart_and_never_fields() -> None:
    """A parameter called like an expression is a parameter called like an expression."""
    name = "datum['x'] || alert(1)"

    spec = chart_spec(points(3, name), title=name, metric=name, parameter=name)

    fields = {channel: encoding["field"] for channel, encoding in spec["encoding"].items()}
    assert {"x": "time", "y": "value", "color": "series"} == fields
    assert {name} == {value["series"] for value in values_of(spec)}
    assert (name, name, name) == (
        spec["title"],
        spec["encoding"]["y"]["title"],
        spec["encoding"]["color"]["legend"]["title"],
    )


def test_every_point_is_in_the_chart() -> None:
    """No row limit, no sampling; what is not finite is a gap."""
    many = [*points(6_000), Point("Austin", MOMENT, nan)]

    spec = chart_spec(many, title="t", metric="m", parameter="p")

    assert 6_001 == len(values_of(spec))
    assert values_of(spec)[-1]["value"] is None


def test_the_chart_is_drawn_into_a_file(tmp_path: Path) -> None:
    """A picture, whole, and nothing beside it."""
    write_png(chart_spec(points(24), title="t", metric="m", parameter="p"), tmp_path / "chart.png")

    assert b"\x89PNG\r\n\x1a\n" == (tmp_path / "chart.png").read_bytes()[:8]
    assert ["chart.png"] == [file.name for file in tmp_path.iterdir()]


def test_a_chart_that_can_t_be_written_is_one_sentence(tmp_path: Path) -> None:
    """A folder that isn't there."""
    spec = chart_spec(points(2), title="t", metric="m", parameter="p")

    with pytest.raises((InvalidInput, NotFound), match=r"cannot write .*: No such file or directory"):
        write_png(spec, tmp_path / "nowhere" / "chart.png")
