"""The command as a program: how it ends, what it costs to ask for help, and that two of them get along."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from deedbook.cli.app import new_app
from deedbook.events.errors import ArtifactDamaged, LogUnavailable, MissingExtra, NotFound, RequestRejected
from deedbook.events.facts import TOPICS
from deedbook.events.sqlite_log import SqliteLog
from tests.command import PROGRAM, Command, Ended, ended, next_line, run

HEAVY = ("altair", "duckdb", "numpy", "pandas", "pyarrow", "rich", "scipy", "sklearn", "pydantic", "fastavro")
EMPTY = "There are no trainings yet. Log the first with: deedbook log-training FILE\n"


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The command, on a registry that nothing is written to."""
    command = Command(tmp_path_factory.mktemp("untouched") / "registry")
    command.done("init")
    return command


@pytest.fixture
def deedbook(untouched: Command, tmp_path: Path) -> Command:
    """The command, on a new registry."""
    return untouched.copied(tmp_path / "registry")


def ends_of(command: Command) -> dict[str, int]:
    """Where each topic of a registry's log ends."""
    log = SqliteLog(command.folder)
    try:
        return {topic: log.end(topic) for topic in TOPICS}
    finally:
        log.close()


# --- help ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["trainings", "--help"], ["policy", "--help"]])
def test_help_is_asked_for_and_given(arguments: list[str]) -> None:
    """Help is no error, and lies on standard output."""
    end = run(*arguments)

    assert (0, "") == (end.status, end.err)
    assert end.out.startswith("Usage: deedbook")


def test_help_costs_no_heavy_library() -> None:
    """A person who asks for help waits for nothing that help does not need."""
    program = (
        "import sys\nfrom deedbook.cli.program import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert "[]\n" == done.stderr


def test_the_version_is_that_of_the_package(deedbook: Command) -> None:
    """One question, one line."""
    from deedbook import __version__

    assert f"deedbook {__version__}\n" == deedbook.done("--version")


# --- settings ------------------------------------------------------------------------------------


def test_url_and_actor_come_from_the_environment(tmp_path: Path) -> None:
    """A pipeline sets them once for all its commands."""
    environment = {"DEEDBOOK_URL": f"sqlite:///{tmp_path}/elsewhere", "DEEDBOOK_ACTOR": "pipeline-7"}

    subprocess.run(
        [*PROGRAM, "log-training", "-"],
        input=TRAINING,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    asked = run("sql", "select actor from trainings", "--csv", env=environment)

    assert Ended(0, "actor\npipeline-7\n", "") == asked


def test_an_option_goes_before_the_environment(
    deedbook: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is typed is what is meant."""
    monkeypatch.setenv("DEEDBOOK_URL", f"sqlite:///{tmp_path}/nowhere")

    assert EMPTY == deedbook.done("trainings")


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "1e9"])
def test_a_timeout_that_is_none_is_refused(
    deedbook: Command, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """A setting is checked when it is read."""
    monkeypatch.setenv("DEEDBOOK_TIMEOUT_SECONDS", text)

    end = deedbook("trainings")

    assert (2, "") == (end.status, end.out)
    assert end.err.startswith(
        f"deedbook: DEEDBOOK_TIMEOUT_SECONDS is '{text}': it must be a number of seconds"
    )


# --- bad input -----------------------------------------------------------------------------------

TRAINING = '{"model": "home-price"}'
NO_ID = "there is no training {} in this registry"


@pytest.mark.parametrize(
    ("arguments", "given", "sentence"),
    [
        (["nonsense"], "", "No such command 'nonsense': see deedbook --help"),
        (["trainings", "--nonsense"], "", "No such option: --nonsense: see deedbook trainings --help"),
        (["training"], "", "Missing argument 'ID': see deedbook training --help"),
        (["trainings", "--limit", "0"], "", "Invalid value for '--limit': "),
        (["training", "0198"], "", NO_ID.format("0198")),
        (["training", "not-an-id\x1b[2J"], "", NO_ID.format(r"not-an-id\x1b[2J")),
        (
            ["training", "019a0000-0000-7000-8000-000000000000"],
            "",
            NO_ID.format("019a0000-0000-7000-8000-000000000000"),
        ),
        (["compare", "019a0000"], "", NO_ID.format("019a0000")),
        (["explain", "019a0000"], "", "there is no training or deployment 019a0000 in this registry"),
        (["trainings", "--where", "mse is small"], "", "'mse is small' compares no metric with a number"),
        (["trainings", "--where", "mse < NaN"], "", "'mse < NaN' compares with NaN"),
        (["trainings", "--parameter", "city"], "", "--parameter 'city' must be written NAME=VALUE"),
        (["trainings", "--since", "yesterday"], "", "--since 'yesterday' is not a time"),
        (["live", "pricing"], "", "nothing of pricing is live in production"),
        (["live", "pricing", "--at", "2026-13-01"], "", "--at '2026-13-01' is not a time"),
        (["metrics", "home-price", "mse"], "", "there is no training of a model 'home-price'"),
        (
            ["events", "--type", "VerdictIsued"],
            "",
            "'VerdictIsued' is not a type of event: did you mean VerdictIssued?",
        ),
        (["events", "--topic", "gossip"], "", "'gossip' is not a topic with a timeline"),
        (["events", "--topic", "all", "--after", "3"], "", "--after counts in one topic"),
        (
            ["policy", "show", "home-price", "--version", "3"],
            "",
            "there is no policy version 3 of home-price",
        ),
        (["policy", "publish", "-"], "checks = 3", "the policy has no group_by"),
        (["policy", "publish", "-"], 'model = "m"\ngroup_by = []\n[[checks]]\ncheck = "x"', "check 1: "),
        (["deploy", "s", "r"], "", "Missing option '--model': see deedbook deploy --help"),
        (["deploy", "s", "r", "--model", "m"], "", "--model 'm' must be written NAME=TRAINING"),
        (["deploy", "s", "r", "--model", "m=019a0000"], "", NO_ID.format("019a0000")),
        (
            ["override", "019a0000", "--reason", "x"],
            "",
            "say what is decided: --deployable or --not-deployable",
        ),
        (["override", "019a0000", "--deployable"], "", "Missing option '--reason'"),
        (["override", "019a0000", "--deployable", "--reason", " "], "", "an override needs its reason"),
        (["sql", "select 1", "--json", "--csv"], "", "the answer is either --json or --csv"),
        (["log-training", "nowhere.json"], "", "there is no file 'nowhere.json'"),
        (["log-training", "/"], "", "cannot read /: Is a directory"),
        (["log-training", "-"], "", "standard input is empty"),
        (["log-training", "-"], "[]", "standard input is an empty array"),
        (["log-training", "-"], "{", "standard input is not JSON: line 1: "),
        (["log-training", "-"], f"{TRAINING}\n{{x", "standard input is not JSON: line 2: "),
        (
            ["log-training", "-"],
            "[" * 100_000,
            "standard input is refused: its lists and objects are nested too deeply",
        ),
        (["log-training", "-"], '{"model": ' + "9" * 5_000 + "}", "standard input is refused: "),
        (["log-training", "-"], "7", "standard input is no JSON object"),
        (["log-training", "-"], f"[{TRAINING}, 7]", "item 2 of standard input is no JSON object"),
        (["log-training", "-"], "{}", "it has no model"),
        (["log-training", "-"], '{"model": ""}', "it has no model"),
        (["log-training", "-"], '{"model": "a\\u0000b"}', "training.model "),
        (["log-training", "-"], '{"model": "' + "x" * 201 + '"}', "training.model "),
        (["log-training", "-"], '{"model": 7}', "the model is 7, not a text"),
        (
            ["log-training", "-"],
            '{"model": "m", "metrix": {}}',
            "'metrix' is not a key of a training: did you mean 'metrics'?",
        ),
        (
            ["log-training", "-"],
            '{"model": "m", "model": "n"}',
            "the key 'model' is there twice in one object",
        ),
        (["log-training", "-"], '{"model": "m", "training_id": "first"}', "training.training_id "),
        (
            ["log-training", "-"],
            '{"model": "m", "metrics": {"mse": "low"}}',
            "metric 'mse' is 'low', not a number",
        ),
        (
            ["log-training", "-"],
            '{"model": "m", "metrics": [7]}',
            "each of metrics must be an object such as ",
        ),
        (["log-training", "-"], '{"model": "m", "features": [7]}', "each of features must be a name"),
        (["log-training", "-"], '{"model": "m", "tags": []}', "tags must be an object"),
        (["log-training", "-"], '{"model": "m", "created_at": "noon"}', "created_at must be a time such as "),
        (
            ["log-training", "-"],
            '{"model": "m", "metrics": [{"name": "mse", "value": 1}, {"name": "mse", "value": 2}]}',
            "metric 'mse' is given twice",
        ),
        (["log-training", "-"], f'[{TRAINING}, {{"model": ""}}]', "training 2: it has no model"),
        (
            ["log-training", "-", "--artifact", "x"],
            f"[{TRAINING}, {TRAINING}]",
            "--artifact is the file of one training",
        ),
        (["log-training", "-", "--artifact", "nowhere"], TRAINING, "there is no file 'nowhere'"),
    ],
)
def test_bad_input_ends_in_one_sentence_and_writes_nothing(
    untouched: Command, arguments: list[str], given: str, sentence: str
) -> None:
    """Status 2, standard output empty, the log and the artifacts as they were."""
    deedbook = untouched
    before = ends_of(deedbook)

    end = deedbook(*arguments, given=given)

    assert (2, "", 1) == (end.status, end.out, end.err.count("\n"))
    assert end.err.startswith(f"deedbook: {sentence}"), end.err
    assert before == ends_of(deedbook)
    assert not (deedbook.folder / "artifacts").exists()


def test_bytes_that_are_no_text_are_refused(deedbook: Command, tmp_path: Path) -> None:
    """A model's file given as the description of a training is not one."""
    (tmp_path / "model.bin").write_bytes(b"\xff\xfe\x00")

    end = deedbook("log-training", str(tmp_path / "model.bin"))

    assert (2, f"deedbook: {tmp_path}/model.bin is not UTF-8 text (byte 0)\n") == (end.status, end.err)


def test_a_body_over_a_mebibyte_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """What is too large for one event says how to log it otherwise, and no registry is made for it."""
    command = Command(tmp_path / "registry")
    slices = ", ".join(f'{{"name": "mse", "slice": "{n:0190}", "value": 1}}' for n in range(8_000))

    end = command("log-training", "-", given=f'{{"model": "m", "metrics": [{slices}]}}')

    assert 2 == end.status
    assert "over the limit of 1,048,576: log step-wise values with log_metric(step=…)" in end.err
    assert not command.folder.exists()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("here", "'here' is no URL: a registry is at sqlite:///folder"),
        ("mlflow://host:5000", "the scheme of 'mlflow://host:5000' is not known here"),
        ("sqlite:///", "'sqlite:///' names no folder"),
        ("sqlite:///nowhere/at/all", "there is no log in "),
    ],
)
def test_a_url_that_names_no_registry_is_refused(url: str, sentence: str) -> None:
    """Whoever mistypes a URL is told so, and no registry is made."""
    end = run("--url", url, "trainings")

    assert (2, "", 1) == (end.status, end.out, end.err.count("\n"))
    assert end.err.startswith(f"deedbook: {sentence}")


def test_an_actor_that_can_be_no_name_is_refused(deedbook: Command) -> None:
    """Whoever writes has a name that can be printed."""
    end = run("--url", deedbook.url, "--actor", "a\nb", "log-training", "-", given=TRAINING)

    assert 2 == end.status
    assert end.err.startswith("deedbook: actor ")


def test_a_log_of_a_newer_release_is_refused(deedbook: Command) -> None:
    """An older release does not guess at what a newer one wrote."""
    with sqlite3.connect(deedbook.folder / "log.db") as connection:
        connection.execute("PRAGMA user_version = 99")

    end = deedbook("trainings")

    assert (2, "", 1) == (end.status, end.out, end.err.count("\n"))
    assert "log.db has format 99" in end.err


def test_a_file_that_is_no_log_is_refused(tmp_path: Path) -> None:
    """Whatever lies there is left alone."""
    (tmp_path / "log.db").write_text("no log at all" * 1_000)

    end = Command(tmp_path)("trainings")

    assert (2, "", 1) == (end.status, end.out, end.err.count("\n"))


# --- other endings -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFound("it is not there"), 2),
        (RequestRejected("it was decided otherwise"), 3),
        (LogUnavailable("it does not answer"), 1),
        (ArtifactDamaged("it is broken"), 1),
        (MissingExtra("it is not installed"), 1),
    ],
)
def test_each_error_has_its_status(error: Exception, status: int) -> None:
    """A script tells what it did wrong from what went wrong, and from what was decided."""
    failing = new_app()

    @failing.command("fail")
    def fail() -> None:
        raise error

    end = CliRunner().invoke(failing, ["fail"])

    assert (status, "", f"deedbook: {error}\n") == (end.exit_code, end.stdout, end.stderr)


@pytest.mark.parametrize(("debug", "traceback"), [("", False), ("0", False), ("1", True)])
def test_what_nobody_foresaw_is_one_sentence_unless_asked(
    monkeypatch: pytest.MonkeyPatch, *, debug: str, traceback: bool
) -> None:
    """A traceback is for whoever asks for it."""
    failing = new_app()
    monkeypatch.setenv("DEEDBOOK_DEBUG", debug)

    @failing.command("fail")
    def fail() -> None:
        raise ZeroDivisionError("of all things\x1b[31m")

    end = CliRunner().invoke(failing, ["fail"])

    assert 1 == end.exit_code
    assert traceback is ("Traceback" in end.stderr)
    last = end.stderr.splitlines()[-1]
    assert last.startswith(
        r"deedbook: something unexpected went wrong: ZeroDivisionError: of all things\x1b[31m"
    )
    assert traceback is not last.endswith("(set DEEDBOOK_DEBUG=1 to see where)")


def test_a_reader_that_stops_reading_is_no_error(deedbook: Command) -> None:
    """`deedbook … | head -1` says nothing on standard error."""
    command = f"{' '.join(PROGRAM)} --url {deedbook.url} sql 'from range(200000)' --csv"

    done = subprocess.run(
        ["bash", "-c", f"{command} | head -1; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ("range\n141\n", "") == (done.stdout, done.stderr)


def test_ctrl_c_ends_a_command_without_a_word(deedbook: Command) -> None:
    """Status 130, as shells expect."""
    with deedbook.running("events", "--follow") as following:
        next_line(following)
        following.send_signal(signal.SIGINT)
        end = ended(following)

    assert (130, "") == (end.status, end.err)


def test_a_busy_projection_is_waited_for_and_then_named(deedbook: Command) -> None:
    """A file that another program holds is no reason for a traceback, nor to wait for ever."""
    with duckdb.connect(str(deedbook.folder / "projection.duckdb")):
        end = deedbook.program("trainings", DEEDBOOK_TIMEOUT_SECONDS="0.2")

    assert (1, "", 1) == (end.status, end.out, end.err.count("\n"))
    assert end.err.startswith("deedbook: another process holds projection.duckdb: ")


def test_commands_at_the_same_time_wait_for_each_other(deedbook: Command) -> None:
    """Three at once all succeed: each takes its turn at the projection."""
    with ExitStack() as stack:
        started = [stack.enter_context(deedbook.running("trainings", "--json")) for _ in range(3)]
        ends = [ended(process) for process in started]

    assert [Ended(0, "[]\n", "")] * 3 == ends


def test_an_empty_registry_says_how_to_log_the_first_training(deedbook: Command) -> None:
    """An empty list would leave a newcomer alone."""
    assert EMPTY == deedbook.done("trainings")
    assert [] == deedbook.json("trainings")


def test_init_twice_changes_nothing(deedbook: Command) -> None:
    """A set-up script may run again."""
    before = deedbook.done("state-hash")

    deedbook.done("init")

    assert before == deedbook.done("state-hash")


def test_the_base_install_says_what_the_command_needs() -> None:
    """A training job's small install has no command line, and no traceback either."""
    program = "import sys\nsys.modules['typer'] = None\nfrom deedbook.cli.main import main\nmain()"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (1, "deedbook: the command needs typer: pip install 'deedbook[server]'\n") == (
        done.returncode,
        done.stderr,
    )
