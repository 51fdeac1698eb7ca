"""Queries by others: what they are answered, what they are kept from, and that nothing outlives its time."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from deedbook.events.errors import DeadlineExceeded, InvalidInput
from deedbook.projector.snapshot import publish
from deedbook.service.sql import Answer, Column, Limits, SqlRunner
from deedbook.service.sql.frames import Malformed
from deedbook.service.sql.turns import Turns
from tests.facts_by_hand import MODEL, Pen
from tests.folded import Registry
from tests.lesser_systems import LANDLOCK_CREATE_RULESET, ORDINARY_USER, without

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="queries are isolated on Linux only"
)

# Each of its values alone takes longer than anybody waits, and DuckDB's own interrupt is not heard within one.
ENDLESS = "select count(*) from range(1000000000) a, range(1000000000) b where a.range * b.range = -1"
QUESTIONS = (
    "from trainings",
    "select model, version from trainings",
    "with t as (from trainings) select count(*) from t",
    "pivot trainings on outcome using count(*)",
    "unpivot (select version, position from trainings) on version, position",
    "describe trainings",
    "summarize trainings",
    "show tables",
    "table trainings",
    "values (1), (2)",
    "(select 1)",
    "explain select 1",
    "explain analyze select 1",
    "from deployable_at(now() at time zone 'UTC')",
    "-- a comment\nselect 1;",
)
NO_QUESTIONS = (
    "",
    "-- nothing",
    "select 1; select 2",
    "copy trainings to '/tmp/x'",
    "copy (select 1) to 'x.csv'",
    "explain analyze copy (select 1) to '/tmp/x'",
    "attach '/tmp/x' as other",
    "detach memory",
    "install httpfs",
    "load httpfs",
    "set memory_limit = '100GB'",
    "reset threads",
    "pragma database_list",
    "; /* so */ PRAGMA version",
    "explain pragma version",
    "call pragma_version()",
    "checkpoint",
    "export database '/tmp/x'",
    "import database '/etc'",
    "create temp table t as select 1",
    "create secret (type s3)",
    "insert into base.meta values ('a', 'b')",
    "delete from base.meta",
    "update base.meta set value = ''",
    "drop view trainings",
    "begin",
    "prepare p as select 1",
    "use memory",
    "vacuum",
    "select * from read_text('/etc/passwd')",
    "select * from read_csv('/etc/passwd')",
    "from '/etc/passwd'",
    "from 'https://example.com/x.parquet'",
    "select * from glob('/*')",
    "select getenv('PATH')",
    "selec",
)


class Place:
    """A runner over a small registry's snapshots, on a loop of its own."""

    def __init__(self, folder: Path) -> None:
        self.registry = Registry(folder)
        self.pen = Pen()
        self.registry.append(self.pen.logged("a", mse=1.5), self.pen.logged("b", mse=2.5))
        self.publish()
        self.loop = asyncio.Runner()
        self.sql = self.runner()

    def runner(self, limits: Limits | None = None) -> SqlRunner:
        """A runner with limits of its own."""
        folder = self.registry.folder
        return SqlRunner(self.newest, folder, folder / "projection.duckdb", limits)

    def publish(self) -> None:
        """Fold what there is, and publish a snapshot of it."""
        self.registry.fold()
        with self.registry.store() as store:
            publish(store, self.registry.folder / "snapshot.duckdb")

    async def newest(self, _: int) -> Path:
        """What was published last."""
        return self.registry.folder / "snapshot.duckdb"

    def wait(self, awaited: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - what it comes to
        """Wait for something."""
        return self.loop.run(awaited)

    def ask(self, query: str, **more: Any) -> Answer:  # noqa: ANN401 - as `run` takes them
        """The answer to a query."""
        answer: Answer = self.wait(self.sql.run(query, **more))
        return answer

    def processes(self) -> int:
        """How many processes the keeper has below it."""
        assert self.sql._keeper is not None  # noqa: SLF001 - nobody else knows
        return len(descendants(self.sql._keeper.pid))  # noqa: SLF001

    def comes_to(self, count: int) -> bool:
        """Whether the keeper comes to have so many processes, with the child for the next query among them."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            self.wait(asyncio.sleep(0.01))  # its own loop sees to the next child
            if not self.sql._background and self.processes() == count:  # noqa: SLF001
                return True
        return False


def descendants(pid: int) -> list[int]:
    """All processes below one, those that have ended left out."""
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            try:
                alive = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
                found += [int(child), *descendants(int(child))] if alive else []
            except OSError:
                continue
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A registry with two trainings, that can be asked."""
    place = Place(tmp_path_factory.mktemp("asked") / ".deedbook")
    yield place
    place.sql.close()
    place.loop.close()
    place.registry.log.close()


def test_every_promise_is_kept_here(place: Place) -> None:
    """All of them, each tried; and so queries are answered."""
    promises = place.wait(place.sql.isolation())

    assert [] == [promise for promise in promises if not promise.isolated]
    assert 9 == len(promises)
    assert "" == place.sql.off


def test_every_kind_of_question_is_answered(place: Place) -> None:
    """Whatever word it begins with, it is DuckDB's parser that knows."""
    assert {} == {query: 0 for query in QUESTIONS if not place.ask(query).table().num_columns}


def test_what_is_no_question_or_reaches_for_more_is_refused_in_one_line(place: Place) -> None:
    """Nothing is written, nothing else is read, and each refusal is a sentence."""
    said = {}
    for query in NO_QUESTIONS:
        with pytest.raises(InvalidInput) as refused:
            place.ask(query)
        said[query] = str(refused.value)

    assert [] == [query for query, sentence in said.items() if "\n" in sentence or not sentence]
    assert said["select 1; select 2"].endswith("these are 2")
    assert 'syntax error at or near "selec"' in said["selec"]
    assert said["copy trainings to '/tmp/x'"].endswith("only statements that return rows are allowed")


def test_an_answer_has_columns_types_rows_and_the_position_it_is_of(place: Place) -> None:
    """What Arrow has no type for comes as text; names may stand twice."""
    answer = place.ask(
        "select version, 1 as a, interval 1 day as a, uuid() as u, 1::bit from trainings order by 1"
    )

    assert ["version", "a", "a", "u"] == [column.name for column in answer.columns][:4]
    assert ["BIGINT", "INTEGER", "INTERVAL", "UUID", "BIT"] == [column.type for column in answer.columns]
    assert [[1, 2], [1, 1], ["1 day", "1 day"]] == [
        column.to_pylist() for column in answer.table().columns[:3]
    ]
    assert (2, False, 2) == (answer.rows, answer.truncated, answer.position)


def test_a_query_sees_the_newest_snapshot(place: Place) -> None:
    """The child that was warm for the old one is not asked; nothing but snapshots is left in their folder."""
    before = place.ask("select count(*) from trainings")
    place.registry.append(place.pen.logged("c", mse=3.5))
    place.publish()
    after = place.ask("select count(*) from trainings")

    assert [before.position + 1] == [after.position]
    assert before.table()[0][0].as_py() + 1 == after.table()[0][0].as_py()
    assert {".duckdb"} == {path.suffix for path in (place.registry.folder / "sql").iterdir()}


def test_rows_and_bytes_are_bounded(place: Place) -> None:
    """What is more is left out and said; a row that is too large by itself is refused."""
    rows = place.ask("from range(1000000000000)", max_rows=3)
    size = place.ask("select repeat('x', 1000) from range(1000000)", max_rows=1_000_000, max_bytes=5_000_000)

    assert (3, True) == (rows.rows, rows.truncated)
    assert size.truncated
    assert 4_000_000 < len(size.arrow) < 6_000_000
    with pytest.raises(InvalidInput, match="more than 1000 bytes"):
        place.ask("select repeat('x', 100000)", max_bytes=1_000)
    assert not place.ask("from range(2)", max_rows=2).truncated


def test_a_query_that_does_not_end_is_ended_and_nothing_of_it_is_left(place: Place) -> None:
    """At its deadline, whatever it does; the next one is answered."""
    place.ask("select 1")
    assert place.comes_to(3)  # the keeper itself, a holder, and the child that waits for the next query

    with pytest.raises(DeadlineExceeded, match="not answered within"):
        place.ask(ENDLESS, timeout_seconds=0.3)

    assert place.comes_to(3)
    assert [[7]] == [column.to_pylist() for column in place.ask("select 7").table().columns]


def test_a_query_whose_caller_leaves_is_ended(place: Place) -> None:
    """A page that was closed costs nothing any more."""

    async def left() -> None:
        asked = asyncio.create_task(place.sql.run(ENDLESS))
        await asyncio.sleep(0.2)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked

    place.wait(left())

    place.ask("select 1")
    assert place.comes_to(3)


def test_a_query_that_needs_too_much_memory_is_refused(place: Place) -> None:
    """By DuckDB's own limit, or by the system's, of which DuckDB knows nothing."""
    for query in ("select length(repeat('x', 2000000000))", "select len(range(200000000))"):
        with pytest.raises(InvalidInput, match="more memory than a query may use"):
            place.ask(query)


def test_queries_are_answered_again_after_the_keeper_was_killed(place: Place) -> None:
    """By whomever; all that it had below it goes with it."""
    keeper = place.sql._keeper  # noqa: SLF001 - nobody else knows
    assert keeper is not None
    below = descendants(keeper.pid)
    os.kill(below[0], 9)
    keeper._process.wait(20)  # noqa: SLF001

    assert [1] == place.ask("select 1 as one").table()[0].to_pylist()
    assert [] == [pid for pid in below if pid in descendants(os.getpid())]


def test_processes_end_when_nobody_has_asked_for_a_while(place: Place) -> None:
    """And with them whatever they had open."""
    sql = place.runner(replace(Limits(), idle_seconds=0.0))
    sql._isolation = place.sql.promises  # noqa: SLF001 - tried already

    async def asked() -> list[int]:
        await sql.run("select 1")
        keeper = sql._keeper  # noqa: SLF001
        assert keeper is not None
        below = [keeper.pid, *descendants(keeper.pid)]
        await asyncio.sleep(0.05)
        return below

    below = place.wait(asked())
    # The threads that end them are waited for by closing.
    sql._threads.shutdown()  # noqa: SLF001
    left = [pid for pid in below if pid in descendants(os.getpid())]
    sql.close()

    assert [] == left


# --- turns ---------------------------------------------------------------------------------------


def in_turn(callers: str, at_once: int = 1, **bounds: int) -> str:
    """In which order callers get their turns, who ask at once in this order."""
    order: list[str] = []

    async def ask(turns: Turns, caller: str) -> None:
        async with turns.turn(caller, time.monotonic() + 30):
            order.append(caller)
            await asyncio.sleep(0)

    async def all_of_them() -> None:
        turns = Turns(
            at_once, queued=bounds.get("queued", 100), queued_by_one=bounds.get("queued_by_one", 100)
        )
        await asyncio.gather(*(ask(turns, caller) for caller in callers))

    asyncio.run(all_of_them())
    return "".join(order)


def test_callers_take_turns_whoever_asked_most() -> None:
    """The queries of one caller stay in their order, and hold up nobody's."""
    assert "abcabaa" == in_turn("aaaabbc")
    assert "aabcaba" == in_turn("aaaabbc", at_once=2)


def test_who_waits_too_long_or_with_too_many_is_told_so() -> None:
    """A turn that is given up is the next one's."""
    with pytest.raises(DeadlineExceeded, match="too many queries wait"):
        in_turn("aaaa", queued_by_one=2)
    with pytest.raises(DeadlineExceeded, match="too many queries wait"):
        in_turn("abcd", queued=2)

    async def impatient() -> str:
        turns = Turns(1, queued=9, queued_by_one=9)
        async with turns.turn("a", time.monotonic() + 30):
            with pytest.raises(DeadlineExceeded, match="other queries took all the time"):
                async with turns.turn("b", time.monotonic() + 0.01):
                    pass
        async with turns.turn("c", time.monotonic() + 30):
            return "c had a turn"

    assert "c had a turn" == asyncio.run(impatient())


# --- what comes from a child ---------------------------------------------------------------------


def stream(table: pa.Table, **options: Any) -> bytes:  # noqa: ANN401 - Arrow's
    """A table as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def test_what_a_child_sends_is_looked_through_before_it_is_used() -> None:
    """Cut short, compressed, or not what it said it is: none of it is taken for an answer."""
    table = pa.table({"text": ["x" * 1000] * 100})
    good = Answer((Column("text", "VARCHAR"),), stream(table), 100, truncated=False, position=1, seconds=0.0)
    nonsense = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")]
    )

    assert good.table() == table
    for bad in (
        replace(good, arrow=good.arrow[:-2000]),
        replace(good, arrow=stream(table, compression="zstd")),
        replace(good, rows=99),
        replace(good, columns=()),
        replace(
            good,
            arrow=stream(
                pa.table({"text": nonsense}),
            ),
            rows=1,
        ),
        replace(good, arrow=os.urandom(100)),
    ):
        with pytest.raises(Malformed):
            bad.table()


# --- systems that allow less ---------------------------------------------------------------------

ASKING = """
import asyncio, json, pathlib, sys
from deedbook.events.errors import DeedbookError
from deedbook.service.sql import SqlRunner
folder = pathlib.Path(sys.argv[1])
async def newest(position):
    return folder / "snapshot.duckdb"
async def main():
    sql = SqlRunner(newest, folder, folder / "projection.duckdb")
    promises = {promise.what: [promise.isolated, promise.how] for promise in await sql.isolation()}
    try:
        said = (await sql.run("select model from trainings limit 1")).table()[0][0].as_py()
    except DeedbookError as error:
        said = f"{type(error).__name__}: {error}"
    sql.close()
    print(json.dumps({"promises": promises, "said": said}))
asyncio.run(main())
"""
NETWORK = "a query can't use the network"
SYSTEMS = {
    "ordinary user": ORDINARY_USER,
    "container": without("unshare"),
    "nothing": without("unshare", "setresuid", LANDLOCK_CREATE_RULESET, no_filters=True),
}


@pytest.fixture(scope="module")
def lesser(place: Place) -> Iterator[dict[str, dict[str, Any]]]:
    """What a runner reports on systems that allow less, all tried at the same time."""
    with tempfile.TemporaryDirectory(prefix="deedbook-test-") as home:
        running = {}
        for name, preparation in SYSTEMS.items():
            folder = Path(home) / name
            folder.mkdir()
            (folder / "snapshot.duckdb").write_bytes((place.registry.folder / "snapshot.duckdb").read_bytes())
            (folder / "projection.duckdb").write_bytes(
                (place.registry.folder / "projection.duckdb").read_bytes()
            )
            for path in (Path(home), folder):
                path.chmod(0o777)
            command = [sys.executable, "-c", preparation + ASKING, str(folder)]
            running[name] = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        reports = {}
        for name, process in running.items():
            said, complained = process.communicate(timeout=120)
            assert 0 == process.returncode, complained.decode()
            reports[name] = json.loads(said)
        yield reports


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an ordinary user")
@pytest.mark.parametrize("system", ["ordinary user", "container"])
def test_where_a_layer_is_missing_the_others_keep_every_promise(
    lesser: dict[str, dict[str, Any]], system: str
) -> None:
    """Without privileges; without namespaces."""
    report = lesser[system]

    assert [] == [what for what, (holds, _) in report["promises"].items() if not holds]
    assert MODEL == report["said"]


def test_where_nothing_isolates_no_query_is_answered_and_that_is_said(
    lesser: dict[str, dict[str, Any]],
) -> None:
    """With the promise that can't be kept, and what this system lacks."""
    report = lesser["nothing"]

    assert not report["promises"][NETWORK][0]
    assert "namespaces are not allowed here" in report["promises"][NETWORK][1]
    assert report["said"].startswith("PermissionRefused: SQL is switched off here")
    assert NETWORK in report["said"]
