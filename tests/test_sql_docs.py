"""docs/sql.md: what it says of the tables is what is there, and what it asks is answered."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from deedbook.cli.sql_query import answered
from deedbook.events import facts
from deedbook.events.codec import current_schema
from deedbook.events.facts import Outcome
from deedbook.events.log import NewRecord
from deedbook.projector.rules import RULES
from deedbook.projector.snapshot import publish
from tests.facts_by_hand import MODEL, Pen, by_city, id_of
from tests.folded import Registry, connected

TEXT = (Path(__file__).parent.parent / "docs" / "sql.md").read_text(encoding="utf-8")
SCHEMA = current_schema("TrainingLogged")
AT = "timestamp '2026-01-31 14:05:00'"
ARGUMENTS = {"ts": AT, "in_service": "'pricing-api'", "in_environment": "'production'"}

Columns = list[tuple[str, str]]


def part(title: str) -> str:
    """What stands under a heading of the second level."""
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def described(title: str) -> dict[str, list[tuple[str, str, str]]]:
    """The tables of a part: name, type and meaning of each column, by the name in the heading."""
    row = re.compile(r"^\| `([^`]+)` \| `([^`]+)` \| (.+) \|$", re.MULTILINE)
    sections = re.split(r"^### `([^`]+)`$", part(title), flags=re.MULTILINE)[1:]
    return {name: row.findall(body) for name, body in zip(sections[::2], sections[1::2], strict=True)}


def without_meanings(tables: dict[str, list[tuple[str, str, str]]]) -> dict[str, Columns]:
    """The same tables, names and types of the columns only."""
    return {name: [(column, kind) for column, kind, _ in rows] for name, rows in tables.items()}


VIEWS = described("Views")
MACROS = described("Macros")
QUESTIONS = dict(
    re.findall(r"^([^\n]+):\n\n```sql\n(.+?)\n```$", part("Questions"), re.MULTILINE | re.DOTALL)
)


def trainings_are_judged(registry: Registry, pen: Pen) -> None:
    """Three trainings of two cities: passed, failed and overridden, pending; one amended; a run of each kind."""
    policy = replace(by_city(), version=1)
    registry.append(pen.policy(policy), pen.requests("set", city="Austin"))
    registry.append(pen.logged("a", mse=1.5))
    registry.append(pen.verdict("a", policy, requested_at_position=2))
    registry.append(pen.logged("b", mse=math.nan), pen.steps("b", values=(0.9, 0.5)))
    registry.append(
        pen.verdict(
            "b",
            policy,
            outcome=Outcome.FAILED,
            requested_at_position=4,
            baseline_training_id=id_of("a"),
        ),
        pen.overridden("b", deployable=True),
        pen.logged("c", city="Waco", mse=2.5),
        pen.amended("c", mse=3.5, team="rents"),
        pen.amended("c", tags=(facts.Tag(name="new", text="yes"),)),
        pen.started("running"),
        pen.failed("failed"),
    )


def services_are_deployed(registry: Registry, pen: Pen) -> None:
    """A release is bound, another is refused for a training that nobody knows; a host reports."""
    report = facts.AcceptanceReport(passed=True, requests_replayed=12, summary="as before")
    registry.append(
        pen.deploy("A", "a", acceptance=report, reason="first"),
        pen.deploy("B", "b"),
        pen.deploy("C", "nobody"),
        pen.activate("A", reason="back"),
        pen.loaded("A", "a"),
    )


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of a small registry in which every view has rows."""
    registry = Registry(tmp_path_factory.mktemp("project") / ".deedbook")
    pen = Pen()
    trainings_are_judged(registry, pen)
    services_are_deployed(registry, pen)
    registry.append(pen.schema(SCHEMA.schema_id, SCHEMA.name, SCHEMA.text, version=1))
    registry.append(NewRecord(b"no event", b"key", (("a", b"1"),)), pen.rules(2))
    registry.fold(rules={**RULES, 2: RULES[1]})
    target = registry.folder / "snapshot.duckdb"
    with registry.store() as store:
        publish(store, target)
    registry.log.close()
    return target


def ask(snapshot: Path, query: str) -> list[tuple[Any, ...]]:
    """What `deedbook sql` answers."""
    with answered(snapshot, query) as answer:
        return list(answer.rows)


def test_every_view_and_column_is_described_and_none_that_is_not_there(snapshot: Path) -> None:
    """Names, order and types, as DuckDB's catalog has them."""
    there: dict[str, Columns] = {}
    with connected(snapshot) as connection:
        for view, column, kind in connection.execute(
            "select table_name, column_name, data_type from duckdb_columns() "
            "where schema_name = 'main' and not internal order by table_name, column_index"
        ).fetchall():
            there.setdefault(view, []).append((column, kind))

    assert there == without_meanings(VIEWS)


def test_every_macro_is_described_with_its_arguments_and_columns(snapshot: Path) -> None:
    """As DuckDB's catalog has them, and as a call answers."""
    there: dict[str, Columns] = {}
    with connected(snapshot) as connection:
        for name, kind, arguments in connection.execute(
            "select function_name, function_type, parameters from duckdb_functions() where not internal"
        ).fetchall():
            call = f"{name}({', '.join(ARGUMENTS[argument] for argument in arguments)})"
            query = f"from {call}" if kind == "table_macro" else f"select {call} as {name}"
            rows = connection.execute(f"describe {query}").fetchall()
            there[f"{name}({', '.join(arguments)})"] = [(row[0], row[1]) for row in rows]

    assert there == without_meanings(MACROS)


def test_nothing_but_views_is_in_the_schema_main(snapshot: Path) -> None:
    """All that is stored is in the schema that is not promised."""
    with connected(snapshot) as connection:
        tables = connection.execute("select distinct schema_name from duckdb_tables()").fetchall()

    assert [("base",)] == tables


@pytest.mark.parametrize("view", VIEWS)
def test_a_column_that_can_be_null_says_when(snapshot: Path, view: str) -> None:
    """Each view has rows here, and no null that its description does not tell of."""
    rows = ask(snapshot, f'from "{view}"')
    with_nulls = {
        name for row in rows for (name, *_), value in zip(VIEWS[view], row, strict=True) if value is None
    }

    assert rows
    assert set() == with_nulls - {name for name, _, meaning in VIEWS[view] if "null" in meaning}


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_is_answered_with_rows(snapshot: Path, question: str) -> None:
    """As it stands on the page, by `deedbook sql`, of a registry that has something to say on it."""
    assert ask(snapshot, QUESTIONS[question])


def test_the_page_asks_twelve_questions() -> None:
    """None is lost to how it is written down."""
    assert (12, 12) == (len(QUESTIONS), TEXT.count("```sql\n"))


def answers(snapshot: Path, beginning: str) -> list[dict[str, Any]]:
    """The answer to the question that begins so, its rows by column name."""
    (query,) = (query for question, query in QUESTIONS.items() if question.startswith(beginning))
    with answered(snapshot, query) as answer:
        return [dict(zip(answer.names, row, strict=True)) for row in answer.rows]


def test_the_latest_of_each_city_is_one_row_each(snapshot: Path) -> None:
    """Austin's second training, whose value is NaN, and Waco's first, as it was amended."""
    assert [("Austin", 2, "nan"), ("Waco", 3, "3.5")] == [
        (row["city"], row["version"], str(row["value"])) for row in answers(snapshot, "The latest")
    ]


def test_a_deployment_is_shown_with_the_standing_that_let_it_pass(snapshot: Path) -> None:
    """Passed, overridden, and a training that there isn't; the newest first."""
    assert [
        ("C", "rejected", None, None),
        ("B", "accepted", "failed", True),
        ("A", "accepted", "passed", False),
    ] == [
        (row["release"], row["decision"], row["outcome"], row["overridden"])
        for row in answers(snapshot, "Deployments")
    ]


def test_an_amendment_is_shown_with_old_and_new_value(snapshot: Path) -> None:
    """A metric, a tag, and a tag that was not there before."""
    assert [("metric", "2.5", "3.5"), ("tag", "homes", "rents"), ("tag", None, "yes")] == [
        (row["kind"], row["old"], row["new"]) for row in answers(snapshot, "What was amended")
    ]


def test_two_trainings_stand_side_by_side(snapshot: Path) -> None:
    """One row for each metric and slice."""
    assert [("mse", "", 1.5, "nan"), ("mse", "new homes", 3.0, "nan")] == [
        (row["name"], row["slice"], row["first"], str(row["second"])) for row in answers(snapshot, "Two")
    ]


def test_an_override_is_shown_with_the_verdict_it_is_against(snapshot: Path) -> None:
    """Who decided, and that it still holds."""
    assert [("ada", MODEL, 2, "failed", True, True)] == [
        (*(row[name] for name in ("actor", "model", "version", "verdict", "deployable", "holds")),)
        for row in answers(snapshot, "Who")
    ]


def test_nan_is_what_the_page_says_it_is() -> None:
    """The largest of all, and equal to itself; isfinite leaves it out."""
    numbers = "(values ('nan'::double), ('inf'::double), (1.0)) numbers(value)"
    with duckdb.connect() as connection:
        (with_it,) = connection.execute(f"select [max(value), avg(value)] from {numbers}").fetchall()  # noqa: S608
        without = connection.execute(f"select value from {numbers} where isfinite(value)").fetchall()  # noqa: S608

    assert (["nan", "nan"],) == ([str(value) for value in with_it[0]],)
    assert [(1.0,)] == without


def test_the_code_on_the_page_reads_the_snapshot(snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any DuckDB, in the folder above the registry's."""
    monkeypatch.chdir(snapshot.parent.parent)
    (block,) = re.findall(r"```python\n(.+?)```", TEXT, re.DOTALL)
    names: dict[str, Any] = {}
    exec(block, names)  # noqa: S102 - our own documentation

    assert [(MODEL, 1, "passed"), (MODEL, 2, "failed"), (MODEL, 3, "pending")] == sorted(names["rows"])


def test_now_is_in_utc_as_the_page_writes_it(snapshot: Path) -> None:
    """The zone of the session makes no difference."""
    (expression,) = re.findall(r"for now, `([^`]+)`", TEXT)
    with connected(snapshot) as connection:
        connection.execute("set timezone = 'Asia/Tokyo'")
        same = connection.execute(f"select epoch_us({expression}) = epoch_us(now())").fetchall()

    assert [(True,)] == same
    assert [(2,)] == ask(snapshot, f"select count(*) from deployable_at({expression})")  # noqa: S608
