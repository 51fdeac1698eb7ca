"""The record and its upkeep: explain, events, sql, snapshot, rebuild, state-hash, check."""

from __future__ import annotations

import csv
import io
import json
import signal
import sqlite3
import time
from pathlib import Path

import duckdb
import pytest

from tests.command import Command, Ended, ended, next_line


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """A training that was overridden and deployed, and one that was refused; nothing is added to it."""
    command = Command(tmp_path_factory.mktemp("story") / "registry")
    command.deployable(metrics={"mse": 0.5}, parameters={"city": "=Austin", "note": "a\nb"})
    command.log({"metrics": {"mse": "NaN"}})
    command.done("deploy", "pricing", "r1", "--model", "home-price=home-price@1")
    command("deploy", "pricing", "r2", "--model", "home-price=home-price@2")
    return command


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """A registry with one training; nothing is added to it."""
    command = Command(tmp_path_factory.mktemp("logged") / "registry")
    command.log({"metrics": {"mse": 0.5}})
    return command


@pytest.fixture
def deedbook(logged: Command, tmp_path: Path) -> Command:
    """The command, on a registry of the test's own with one training."""
    return logged.copied(tmp_path / "registry")


# --- explain -------------------------------------------------------------------------------------


def test_a_training_s_story_is_told_with_positions(story: Command) -> None:
    """What happened, where in the log, by whom, and why."""
    told = story.done("explain", "home-price@1").splitlines()

    assert "home-price version 1" == told[0]
    assert "now       deployable (pending): overridden by ana: seen by me" == told[2]
    assert ["18", "19", "21", "21"] == [line.split()[0] for line in told[5:]]
    assert told[6].endswith("ana overrode the verdict, deployable: seen by me")


def test_a_deployment_s_story_is_told_by_the_beginning_of_its_id(story: Command) -> None:
    """A refused one, too, with the reason."""
    refused, bound = story.json("deployments")

    found = story.json("explain", bound["deployment_id"])
    told = story.done("explain", refused["deployment_id"][:-1])

    assert ("deployment", "pricing r1 in production", "the current release") == (
        found["kind"],
        found["title"],
        found["now"],
    )
    assert "now         rejected: home-price version 2 (" in told


# --- events --------------------------------------------------------------------------------------


def test_the_newest_events_are_listed_in_their_order(story: Command) -> None:
    """What was appended, and what was decided on it."""
    told = story.done("events", "--limit", "2").splitlines()

    assert ["position", "recorded", "(UTC)", "type", "decision", "who", "about", "reason"] == told[0].split()
    assert [["21", "accepted"], ["22", "rejected"]] == [
        [line.split()[0], line.split()[4]] for line in told[1:]
    ]
    assert "is not deployable: pending at position 20: no verdict yet" in told[2]


def test_events_are_chosen_by_type_and_position(story: Command) -> None:
    """From a position on, the first ones come first."""
    after = story.json("events", "--after", "17", "--limit", "2")
    both = story.json("events", "--type", "TrainingLogged", "--type", "VerdictOverridden")

    assert [(18, "TrainingLogged"), (19, "VerdictOverridden")] == [
        (event["position"], event["type"]) for event in after
    ]
    assert [18, 19, 20] == [event["position"] for event in both]
    assert [] == story.json("events", "--topic", "hosts")
    assert 23 == len(story.json("events", "--topic", "all"))


def test_no_event_is_said(story: Command) -> None:
    """An empty timeline is no empty screen."""
    assert "There are no such events.\n" == story.done("events", "--topic", "metrics")


def test_events_are_followed_as_they_come(deedbook: Command) -> None:
    """One JSON object a line, at once; Ctrl-C ends it."""
    words = ("events", "--follow", "--json", "--limit", "1", "--type", "TrainingLogged")
    with deedbook.running(*words) as following:
        first = json.loads(next_line(following))
        deedbook.done("override", "home-price@1", "--deployable", "--reason", "not of that type")
        (training_id,) = deedbook.log({})
        second = json.loads(next_line(following))
        following.send_signal(signal.SIGINT)
        end = ended(following)

    assert [(18, 20), (training_id, Ended(130, "", ""))] == [
        (first["position"], second["position"]),
        (second["subject"], end),
    ]


def test_events_are_followed_from_a_position_on(deedbook: Command) -> None:
    """Nothing between what was listed and what comes is lost."""
    with deedbook.running("events", "--follow", "--after", "14", "--limit", "2") as following:
        lines = [next_line(following) for _ in range(4)]

    assert ["15", "16", "17", "18"] == [line.split()[0] for line in lines]


# --- sql -----------------------------------------------------------------------------------------


def test_a_question_in_sql_is_answered(story: Command) -> None:
    """As a table, with every column that was asked for."""
    told = story.done("sql", "select version, deployable, git_sha, 1.5 as x from trainings order by version")

    assert ["version", "deployable", "git_sha", "x"] == told.splitlines()[0].split()
    assert [["1", "true", "1.5"], ["2", "false", "1.5"]] == [line.split() for line in told.splitlines()[1:]]


def test_a_question_comes_from_standard_input_too(story: Command) -> None:
    """A long query lies in a file."""
    assert "n\n2\n" == story.done("sql", "-", "--csv", given="select count(*) as n\nfrom trainings;\n")


def test_an_answer_in_json_has_columns_and_rows(story: Command) -> None:
    """Columns may be called alike, so a row is a list."""
    found = story.json(
        "sql",
        "select 1 as a, 'x' as a, value, timestamptz '2026-01-31 14:05:00+00' from metrics order by value",
    )

    assert ["a", "a", "value"] == [column["name"] for column in found["columns"]][:3]
    assert ["INTEGER", "VARCHAR", "DOUBLE"] == [column["type"] for column in found["columns"]][:3]
    assert [
        [1, "x", 0.5, "2026-01-31T14:05:00.000000Z"],
        [1, "x", "NaN", "2026-01-31T14:05:00.000000Z"],
    ] == found["rows"]


def test_a_spreadsheet_takes_no_text_for_a_formula(story: Command) -> None:
    """Numbers stay numbers; a text that begins like a formula begins with an apostrophe."""
    written = story.done("sql", "select name, value, -1 as n from parameters where name = 'city'", "--csv")

    assert [["name", "value", "n"], ["city", "'=Austin", "-1"]] == list(csv.reader(io.StringIO(written)))


def test_an_answer_s_texts_are_plain_in_a_table(story: Command) -> None:
    """A line end in a value breaks no row."""
    assert "value\na\\nb\n" == story.done("sql", "select value from parameters where name = 'note'")


@pytest.mark.parametrize(
    "query",
    [
        "from range(3)",
        "describe trainings",
        "summarize deployments",
        "pivot metrics on name using max(value)",
        "explain select 1",
        "show tables",
        "with x as (select 1) from x",
        "from live_at('pricing', 'production', now()::timestamp)",
    ],
)
def test_whatever_returns_rows_may_be_asked(story: Command, query: str) -> None:
    """The parser decides, not the first word."""
    assert [] != story.json("sql", query)["rows"]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("", "there is no SQL statement in what was given"),
        (" -- nothing", "there is no SQL statement in what was given"),
        ("select 1; select 2", "one SQL statement can be asked at a time, and these are 2"),
        ("create table x (a int)", "the snapshot can be asked, not changed"),
        ("insert into base.rules values (1, 2, 'x', 'y')", "the snapshot can be asked, not changed"),
        ("copy (select 1) to 'out.csv'", "the snapshot can be asked, not changed"),
        ("attach 'other.duckdb'", "the snapshot can be asked, not changed"),
        ("set threads = 1", "the snapshot can be asked, not changed"),
        (
            "create temp table x as select 1; from x",
            "one SQL statement can be asked at a time, and these are 2",
        ),
        ("from read_csv('/etc/passwd')", "the query was refused: Permission Error: "),
        ("from '/etc/passwd'", "the query was refused: Catalog Error: "),
        ("selec 1", 'the query was refused: Parser Error: syntax error at or near "selec"'),
        ("select nothing from trainings", "the query was refused: Binder Error: Referenced column "),
        ("select 'x'::int", "the query was refused: Conversion Error: "),
        ("select ?", "the query was refused: Binder Error: "),
        ("from connection", "the query was refused: Catalog Error: "),
    ],
)
def test_whatever_else_is_refused_in_one_sentence(story: Command, query: str, sentence: str) -> None:
    """Status 2, and nothing on standard output."""
    end = story("sql", query)

    assert (2, "", 1) == (end.status, end.out, end.err.count("\n"))
    assert end.err.startswith(f"deedbook: {sentence}"), end.err


def test_a_long_answer_is_cut_in_a_table_only_and_says_so(story: Command) -> None:
    """A person sees enough; a program gets all."""
    end = story("sql", "from range(1001)")

    assert 1_001 == len(end.out.splitlines())
    assert "These are the first 1,000 rows: --csv and --json give them all.\n" == end.err
    assert 1_001 == len(story.json("sql", "from range(1001)")["rows"])


def test_a_long_question_is_ended_by_ctrl_c(deedbook: Command) -> None:
    """Nobody waits for a query that was a mistake."""
    (deedbook.folder / "snapshot.duckdb").unlink()
    question = "select sum(a.range * b.range) from range(10000000) a, range(10000000) b"
    with deedbook.running("sql", question) as asking:
        # A new snapshot is there once the question can be asked.
        while not (deedbook.folder / "snapshot.duckdb").exists() and asking.poll() is None:
            time.sleep(0.01)
        asking.send_signal(signal.SIGINT)
        end = ended(asking)

    assert Ended(130, "", "") == end


# --- upkeep --------------------------------------------------------------------------------------


def test_a_snapshot_is_a_file_that_anybody_may_open(deedbook: Command) -> None:
    """Read-only, by any number of programs, with all that the log holds."""
    path = deedbook.done("snapshot").rstrip("\n")

    assert {"snapshot": path} == deedbook.json("snapshot")
    with duckdb.connect(path, read_only=True) as connection:
        assert [(1,)] == connection.execute("select version from trainings").fetchall()


def test_a_rebuilt_projection_has_the_same_state(story: Command) -> None:
    """The log is the record; the projection can always be made anew."""
    before = story.json("state-hash")

    rebuilt = story.json("rebuild")

    assert {"before": before["state_hash"], **before} == rebuilt
    assert before == story.json("state-hash")
    assert f"{before['state_hash']}  {before['positions']}\n" == story.done("state-hash")


def test_a_projection_that_cannot_be_read_is_rebuilt(deedbook: Command) -> None:
    """The sentence says how, and it works."""
    expected = deedbook.json("state-hash")
    (deedbook.folder / "projection.duckdb").write_bytes(b"no database " * 1_000)

    end = deedbook("trainings")
    rebuilt = deedbook.json("rebuild")

    assert (1, "", 1) == (end.status, end.out, end.err.count("\n"))
    assert "`deedbook rebuild` makes it anew" in end.err
    assert (None, expected["state_hash"]) == (rebuilt["before"], rebuilt["state_hash"])


def test_a_sound_registry_is_well(story: Command) -> None:
    """Status 0, and what was compared."""
    end = story("check")
    found = story.json("check")

    assert (0, "All is well.") == (end.status, end.out.splitlines()[-1])
    assert found["ok"] is True
    assert ["note"] == [finding["severity"] for finding in found["findings"]]


def test_a_changed_row_of_the_log_is_found(deedbook: Command) -> None:
    """Status 1, where it is, and that the rest can still be read."""
    with sqlite3.connect(deedbook.folder / "log.db") as connection:
        connection.execute("update registry set value = x'00' || substr(value, 2) where position = 18")

    end = deedbook("check", "--json")

    found = json.loads(end.out)
    assert (1, "", False) == (end.status, end.err, found["ok"])
    assert ("error", "registry:0:18") == (found["findings"][0]["severity"], found["findings"][0]["where"])
    assert "1 error" in deedbook("check").out.splitlines()[-1] or "errors found." in deedbook("check").out


def test_a_changed_projection_is_found(deedbook: Command) -> None:
    """What was not folded from the log doesn't stay unseen."""
    deedbook.done("state-hash")
    with duckdb.connect(str(deedbook.folder / "projection.duckdb")) as connection:
        connection.execute("update base.standing set deployable = true")

    end = deedbook("check")

    assert 1 == end.status
    assert "the state is not that of a fresh fold: standing differ" in end.out
