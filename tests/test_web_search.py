"""Search over all trainings: what its address and its form ask for, its order and pages, and its answer as a file."""

import asyncio
import base64
import csv
import io
from collections.abc import Iterator

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deedbook.projector.queries.paging import Mark
from deedbook.service.context import Service
from deedbook.service.web import searching
from deedbook.service.web.app import web_app
from deedbook.service.web.exporting import csv_chunks, neutral_text
from tests.serving.charted import FORMULA, HOSTILE, MODEL, tell_of_cities
from tests.serving.in_process import live_registry
from tests.serving.visiting import Browser, Seen


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with trainings of three cities."""
    with live_registry(tmp_path_factory.mktemp("search") / "registry") as service:
        yield tell_of_cities(service).service


@pytest.fixture(scope="module")
def browser(service: Service) -> Browser:
    """Somebody who looks at it."""
    return Browser(service)


def found(seen: Seen) -> list[int]:
    """The versions of the cities' trainings in a list, in order."""
    begins = f"{MODEL} version "
    return [int(cell.removeprefix(begins)) for row in seen.rows for cell in row if cell.startswith(begins)]


def token(plain: str) -> str:
    """A page's mark that somebody made up."""
    return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


# --- what is asked for ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "versions"),
    [
        ("", [3, 5, 2, 6, 4, 1]),
        (f"model={MODEL}", [3, 5, 2, 6, 4, 1]),
        ("model=nothing", []),
        ("where=mse+%3C+5", [3, 2, 1]),
        ("where=mse+%3C+5&where=r2+%3E+0.65", [3, 2]),
        ("where=mse+%3C+5%0Ar2+%3E+0.65", [3, 2]),
        ("where=mse%5Bnew+homes%5D+%3E%3D+16", [5, 4]),
        ("parameter.city=Dallas", [5, 4]),
        ("parameter.city=Dallas&parameter.depth=0", [4]),
        ("tag.team=homes", [3, 2, 1]),
        ("outcome=failed", [2, 4]),
        ("deployable=yes", [3, 4, 1]),
        ("deployable=yes&outcome=failed", [4]),
        ("sha=C0FFEE1", [5, 2]),
        ("after=2014-03-02&before=2014-03-03", [5, 2]),
        ("parameter.city=" + "x" * 200, []),
    ],
)
def test_each_condition_narrows_the_list(browser: Browser, asked: str, versions: list[int]) -> None:
    """The address says all, so that it can be sent to somebody else."""
    seen = browser.look(f"/trainings?{asked}")

    assert 200 == seen.status
    assert sorted(versions) == sorted(found(seen))
    assert ("No training is like that" in seen.text) == (not versions)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("where=mse+is+small", "'mse is small' compares no metric with a number"),
        ("outcome=good", "Outcome 'good' is none of pending, passed, failed, error."),
        ("deployable=perhaps", "Deployable 'perhaps' is none of yes, no."),
        ("page=bm90aGluZw", "This list has no such page: start again from its first one."),
        ("page=" + "W10", "This list has no such page: start again from its first one."),
        (f"page={token('[7,3,5,true,0,1' + '0' * 400 + ']')}", "This list has no such page"),
        (f"page={token('[7,3,5,true,0,NaN]')}", "This list has no such page"),
        (f"page={token('[7,3,5.5,true,0,1.0]')}", "This list has no such page"),
        ("parameter.city=" + "x" * 2_000, "A condition is longer than 1,000 characters."),
        ("&".join(f"where=mse+%3C+{n}" for n in range(50)), "At most 30 metrics can be compared at once."),
        ("pick.value=3", "Choose the metric that is to be compared with the number."),
        ("pick.parameter=city", "Give the parameter's name and its value."),
    ],
)
def test_what_can_not_be_asked_is_told(browser: Browser, asked: str, said: str) -> None:
    """In a sentence that names it."""
    seen = browser.look(f"/trainings?{asked}")

    assert 400 == seen.status
    assert said in seen.text


def test_what_is_picked_becomes_a_condition_in_the_address(browser: Browser) -> None:
    """The form adds to what was asked before, and leaves nothing empty behind."""
    seen = browser.look(
        "/trainings?model=&outcome=&where=r2+%3E+0.5&pick.metric=mse&pick.is=%3C%3D&pick.value=3"
        "&pick.parameter=city&pick.parameter.value=Austin&pick.tag=&pick.tag.value="
    )

    assert (
        "/trainings?where=r2+%3E+0.5&where=mse+%3C%3D+3&parameter.city=Austin"
        == seen.address.removeprefix("http://127.0.0.1:8470")
    )
    assert [3, 2] == found(seen)


def test_a_metric_that_is_picked_without_a_number_becomes_a_column(browser: Browser) -> None:
    """It is shown, and compared with nothing."""
    seen = browser.look("/trainings?pick.metric=mse%5Bnew+homes%5D&pick.is=%3C&pick.value=")

    assert "show=mse%5Bnew+homes%5D" in seen.address
    assert "16" in seen.row(f"{MODEL} version 4")


def test_each_condition_can_be_taken_away(browser: Browser) -> None:
    """It is a link to the search without it."""
    seen = browser.look("/trainings?where=mse+%3C+5&parameter.city=Austin&order_by=mse")

    first, second = seen.leads_to("✕")
    assert "/trainings?parameter.city=Austin&order_by=mse" == first
    assert "/trainings?where=mse+%3C+5&order_by=mse" == second
    assert "Take away: mse < 5" in seen.html.replace("&lt;", "<")


# --- order and pages -----------------------------------------------------------------------------


def test_a_column_sorts_the_list_and_turns_it_round(browser: Browser) -> None:
    """By a metric, lowest first, and by time; which one it is by is said, too."""
    seen = browser.look("/trainings?parameter.city=Austin")
    (by_error,) = seen.leads_to("mse")
    up = browser.look(by_error)
    (turned,) = up.leads_to("mse ▲")
    (oldest_first,) = seen.leads_to("Created ▼")

    assert [3, 2, 1] == found(up)
    assert 'aria-sort="ascending"' in up.html
    assert [1, 2, 3] == found(browser.look(turned))
    assert [1, 2, 3] == found(browser.look(oldest_first))


def test_pages_neither_repeat_nor_skip(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next page goes on where this one ended, in the same order."""
    monkeypatch.setattr("deedbook.service.web.listing.PAGE_SIZE", 2)
    address, versions = "/trainings?order_by=mse&where=mse+%3E+0", []
    while address:
        seen = browser.look(address)
        assert "6 trainings" in seen.text
        versions.append(found(seen))
        address = next(iter(seen.leads_to("Next →")), "")

    assert [[3, 2], [1, 6], [4, 5]] == versions


def test_a_pages_mark_comes_back_as_it_was() -> None:
    """Infinite values and values far apart included; one with NaN is none."""
    marks = [
        Mark(as_of=7, key=3, created_at=5),
        Mark(as_of=7, key=3, by_metric=True, rank=0, value=-1.25e-300),
        Mark(as_of=7, key=3, by_metric=True, rank=0, value=float("inf")),
        Mark(as_of=7, key=3, by_metric=True, rank=2),
    ]

    assert marks == [searching.mark_of(searching.token_of(mark)) for mark in marks]


# --- the whole answer ----------------------------------------------------------------------------


def lines(seen: Seen) -> list[dict[str, str]]:
    """The rows of a CSV file by the names of its columns."""
    return list(csv.DictReader(io.StringIO(seen.html)))


def test_the_whole_answer_is_a_csv_file(browser: Browser) -> None:
    """All columns, in the order of the search; numbers are numbers, times are in UTC."""
    seen = browser.look("/trainings.csv?where=mse+%3C+6&order_by=mse")

    assert ("text/csv; charset=utf-8", 'attachment; filename="trainings.csv"') == (
        seen.headers["content-type"],
        seen.headers["content-disposition"],
    )
    rows = lines(seen)
    assert ["2", "3", "4", "5.5"] == [row["metric:mse"] for row in rows]
    assert ["Austin", "Austin", "Austin", "Waco"] == [row["parameter:city"] for row in rows]
    assert ("2014-03-03T00:00:00.000000Z", "homes", "4") == (
        rows[0]["created_at"],
        rows[0]["tag:team"],
        rows[0]["metric:mse[new homes]"],
    )


def test_no_cell_of_a_csv_file_is_a_formula(browser: Browser) -> None:
    """Texts that begin one, names of columns too, stand behind a quote; numbers are left alone."""
    (row,) = lines(browser.look("/trainings.csv?parameter.less=-0.5"))

    assert (f"'{FORMULA}", "-0.5") == (row[f"parameter:{HOSTILE}"], row["parameter:less"])
    texts = ["=1", "+x", "-1+1", "@a", "\t=1", " -2", "-1e9", "+.5", "a=b"]
    assert ["'=1", "'+x", "'-1+1", "'@a", "'\t=1", "' -2", "-1e9", "+.5", "a=b"] == [
        neutral_text(text) for text in texts
    ]


def test_the_whole_answer_is_a_parquet_file(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written piece by piece, with its types; a value that a training doesn't have is null."""
    monkeypatch.setattr("deedbook.service.web.pages.search._AT_ONCE", 2)

    table = pq.read_table(io.BytesIO(_bytes(service, "/trainings.parquet?order_by=mse")))

    assert 7 == table.num_rows
    assert [2.0, 3.0, 4.0, 5.5, 8.0, 9.0, None] == table.column("metric:mse").to_pylist()
    assert "timestamp[us]" == str(table.schema.field("created_at").type)


def _bytes(service: Service, address: str) -> bytes:
    async def asked() -> bytes:
        transport = httpx.ASGITransport(web_app(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8470") as client:
            return (await client.get(address)).content

    return asyncio.run(asked())


def test_an_answer_of_nothing_is_a_file_all_the_same(browser: Browser) -> None:
    """With its header, and no rows."""
    seen = browser.look("/trainings.csv?model=nothing")

    assert [] == lines(seen)
    assert seen.html.startswith('"training_id","model","version"')


def test_a_file_that_can_not_be_asked_for_is_a_page_that_says_so(browser: Browser) -> None:
    """Nothing is begun that can't be ended."""
    seen = browser.look("/trainings.csv?where=nonsense")

    assert (400, "text/html; charset=utf-8") == (seen.status, seen.headers["content-type"])


def test_tables_of_any_kind_have_csv_cells() -> None:
    """Lists and dates, too, which other questions answer with."""
    table = pa.table({"list": [["a", "b"]], "formula": ["=1"], "none": pa.array([None], pa.null())})

    assert '"list","formula","none"\n"[\'a\', \'b\']","\'=1",\n' == b"".join(csv_chunks([table])).decode()


# --- choosing ------------------------------------------------------------------------------------


def test_trainings_are_chosen_to_be_compared(browser: Browser) -> None:
    """By a box before each, which says what it chooses."""
    seen = browser.look("/trainings?parameter.city=Austin")

    assert 3 == seen.html.count('type="checkbox" name="training"')
    assert f'aria-label="Choose {MODEL} version 3"' in seen.html
    assert "/compare" in [form.action for form in seen.read.forms]


def test_the_names_that_users_gave_are_text(browser: Browser) -> None:
    """In the list, in its form, and in its address."""
    seen = browser.look("/trainings")

    assert HOSTILE in seen.text
    assert "script" not in seen.read.tags
    assert [] == seen.read.styled
