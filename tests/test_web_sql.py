"""The page for queries: the answer as table, chart and files, the reference beside it, and what is refused."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from urllib.parse import urlencode

import httpx
import pyarrow.parquet as pq
import pytest

from deedbook.consumers.sandbox.outcome import Isolation
from deedbook.service.context import Service
from deedbook.service.sql.documented import documented
from deedbook.service.web.app import web_app
from deedbook.service.web.examples import examples
from tests.facts_by_hand import MODEL, SERVICE, id_of
from tests.serving.charted import FORMULA, HOSTILE, tell_of_cities
from tests.serving.in_process import live_registry
from tests.serving.visiting import HERE, Browser, Seen

ERRORS = (
    "select created_at, parameters['city'] as city, value from metric_history "
    "where name = 'mse' and slice = '' order by all"
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with trainings of three cities, and of a model whose names mean harm."""
    with live_registry(tmp_path_factory.mktemp("sql") / "registry") as service:
        yield tell_of_cities(service).service


@pytest.fixture(scope="module")
def browser(service: Service) -> Browser:
    """Somebody who looks at it."""
    return Browser(service)


def asked(browser: Browser, query: str, **more: str) -> Seen:
    """The page with a query's answer."""
    return browser.look(f"/sql?{urlencode({'query': query} | more)}")


def written(seen: Seen) -> str:
    """What stands in the field for the query."""
    return next(form for form in seen.read.forms if "query" in form.fields).fields["query"]


def fetched(service: Service, path: str, query: str, **more: str) -> httpx.Response:
    """What another address answers to the same query."""

    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(web_app(service), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=HERE) as client:
            return await client.get(path, params={"query": query} | more)

    return asyncio.run(get())


def test_the_page_has_every_table_and_questions_of_this_registry(browser: Browser) -> None:
    """The reference is the documentation's; the questions name what there is here."""
    seen = browser.look("/sql")
    known = documented()

    assert (22, 4, 12) == (len(known.views), len(known.macros), len(known.questions))
    assert [] == [table.name for table in (*known.views, *known.macros) if table.name not in seen.text]
    assert "may be NaN or infinite" in seen.text
    (address,) = seen.leads_to("What was live at a time")
    assert f"'{SERVICE}'" in written(browser.look(address))


def test_every_question_of_the_page_is_answered(service: Service) -> None:
    """As it stands there."""
    with service.live.reading() as connection:
        questions = examples(connection)

    async def all_of_them() -> list[str]:
        return [title for title, query in questions if not (await service.sql.run(query)).columns]

    assert 12 == len(questions)
    assert [] == asyncio.run(all_of_them())


def test_an_answer_is_a_table_with_its_types_its_count_and_its_position(
    service: Service, browser: Browser
) -> None:
    """The query stays in its field, and the address is the permalink."""
    seen = asked(browser, ERRORS)

    assert ERRORS == written(seen)
    assert ["created_at TIMESTAMP", "city VARCHAR", "value DOUBLE"] == seen.rows[0]
    assert ["Austin", "4"] == seen.rows[1][1:]
    assert "6 rows; " in seen.text
    assert f"of the registry up to position {service.live.position - 1}." in seen.text
    assert [] == seen.read.styled


def test_values_are_shown_as_what_they_are(browser: Browser) -> None:
    """Null is not the empty text; ids lead to their pages; what is nested is JSON; markup is text."""
    seen = asked(
        browser,
        "select null as a, '' as b, true as c, 'nan'::double as d, 1e300 as e, 12345678901234567890::hugeint as f, "
        "[1, null] as g, map {'k': {'v': 1.5}} as h, '\\xFF'::blob as i, 'infinity'::timestamp as j, "
        "timestamptz '2026-01-31 14:05:00+01' as k, '<b>&</b>' as l, 1.50::decimal(9, 2) as m, 1::bit as n, "
        f"'{id_of('Austin 0')}' as training_id, repeat('x', 600) as o",
    )
    row = seen.rows[1]

    assert ["null", "", "true", "NaN", "1e+300", "12345678901234567890", "[1, null]"] == row[:7]
    assert ['{"k": {"v": 1.5}}', "\\xff", "infinity", "2026-01-31 13:05:00Z", "<b>&</b>", "1.50"] == row[7:13]
    assert f"/trainings/{id_of('Austin 0')}" in [link.href for link in seen.read.links]
    assert "x" * 500 + "…" == row[-1]
    assert "<b>&</b>" not in seen.html


def test_what_means_harm_is_shown_and_does_none(browser: Browser) -> None:
    """In values and in the names of columns."""
    quoted = HOSTILE.replace('"', '""')
    seen = asked(browser, f'select model, parameters as "{quoted}" from trainings order by version')  # noqa: S608

    assert HOSTILE in " ".join(seen.rows[0])
    assert "<script>alert" not in seen.html
    assert [] == seen.read.styled


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("selec", 'The query was refused: Parser Error: syntax error at or near "selec".'),
        ("select 1; select 2", "One SQL statement can be asked at a time, and these are 2."),
        ("copy trainings to 'x'", "only statements that return rows are allowed."),
        ("from nowhere", "Table with name nowhere does not exist!"),
    ],
)
def test_what_is_refused_is_said_beside_the_query(browser: Browser, query: str, sentence: str) -> None:
    """So that it can be mended where it stands."""
    seen = asked(browser, query)

    assert 400 == seen.status
    assert sentence in seen.text
    assert query == written(seen)


def test_the_first_rows_are_shown_and_the_rest_is_in_the_files(browser: Browser) -> None:
    """Both bounds are said."""
    seen = asked(browser, "from range(20000)")

    assert "10,000 rows, and there are more" in seen.text
    assert "The table shows the first 1,000 rows." in seen.text
    assert 1_001 == len(seen.rows)
    assert "The answer has no rows." in asked(browser, "select 1 where false").text


def test_csv_neutralises_formulas_and_keeps_numbers(service: Service) -> None:
    """Every value of a type of its own, and columns that have the same name."""
    query = (
        f"select '{FORMULA}' as formula, -1.5 as number, -2 as number, '-3' as text, null as nothing, "
        "timestamp '2026-01-31 14:05:00' as moment, {'a': 1} as nested"
    )
    answer = fetched(service, "/sql.csv", query)
    header, row = csv.reader(io.StringIO(answer.text))

    assert ["formula", "number", "number_2", "text", "nothing", "moment", "nested"] == header
    assert [f"'{FORMULA}", "-1.5", "-2", "-3", ""] == row[:5]
    assert row[5].startswith("2026-01-31T14:05:00")
    assert "attachment" in answer.headers["content-disposition"]


def test_parquet_holds_the_whole_answer(service: Service) -> None:
    """All rows, with their types."""
    answer = fetched(service, "/sql.parquet", "select range as n, range::varchar as t from range(20000)")
    table = pq.read_table(io.BytesIO(answer.content))

    assert (20_000, ["int64", "string"]) == (table.num_rows, [str(kind) for kind in table.schema.types])


def test_a_number_over_time_is_charted_with_a_line_for_each_text(service: Service, browser: Browser) -> None:
    """The points are all there; what is not finite is counted. Other columns can be chosen."""
    seen = asked(browser, ERRORS)
    chart = json.loads(fetched(service, "/sql/chart.json", ERRORS).content)
    other = json.loads(
        fetched(
            service, "/sql/chart.json", "select 1.5 as a, 2 as b, 'nan'::double as c from range(3)", x="0"
        ).content
    )

    assert "/sql/chart.json?" in seen.html
    assert ["Austin", "Dallas", "Waco"] == sorted(chart["names"])
    assert [2.0, 3.0, 4.0, 5.5, 8.0, 9.0] == sorted(point["y"] for point in chart["points"])
    assert "temporal" == chart["spec"]["layer"][0]["encoding"]["x"]["type"]
    assert (3, []) == (other["left_out"], other["points"])
    assert "/sql/chart.json" not in asked(browser, "select model from trainings").html


def test_a_file_without_a_query_or_of_too_much_is_refused(service: Service) -> None:
    """In a sentence."""
    empty, long = fetched(service, "/sql.csv", ""), fetched(service, "/sql.parquet", f"select '{'x' * 9000}'")

    assert (400, 400) == (empty.status_code, long.status_code)
    assert "There is no query in the address" in empty.text
    assert "at most 8,000 characters" in long.text


def test_where_queries_are_not_isolated_the_page_says_so_and_asks_nothing(
    service: Service, browser: Browser
) -> None:
    """With the promise that this system can't keep."""
    kept = service.sql._isolation  # noqa: SLF001 - a system on which it does not hold is not at hand
    service.sql._isolation = (Isolation("a query can't fly", isolated=False, how="wings: not clipped"),)  # noqa: SLF001
    try:
        seen = asked(browser, "select 1")
        answer = fetched(service, "/sql.csv", "select 1")
    finally:
        service.sql._isolation = kept  # noqa: SLF001

    assert (
        "SQL is switched off here, for this system can't keep a promise: that a query can't fly" in seen.text
    )
    assert "✕ not kept A query can't fly (wings: not clipped)" in seen.text
    assert [] == seen.rows
    assert 403 == answer.status_code


def test_the_model_in_the_examples_is_the_one_with_most_trainings(service: Service) -> None:
    """Quoted as SQL quotes texts."""
    with service.live.reading() as connection:
        questions = dict(examples(connection))

    assert any(f"model = '{MODEL}'" in query for query in questions.values())
