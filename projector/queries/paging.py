"""A search page by page: no page repeats or skips what was there when the first one was read.

Later pages ask of the state as of the first: trainings logged, amended or judged since change nothing.
What is shown of a training is how it is when its page is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deedbook.events.errors import InvalidInput
from deedbook.projector.queries.asking import ask_one
from deedbook.projector.queries.conditions import Question, TrainingQuery
from deedbook.projector.queries.filters import MetricName
from deedbook.projector.queries.search import TrainingSummary, found_summaries, term_keys

if TYPE_CHECKING:
    import duckdb

MAX_PAGE_SIZE = 1_000
# Where a value stands in an order by a metric: numbers, then NaN, then trainings without one.
_NUMBER, _NAN, _NONE = range(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Where a page ended: the state the search is about, and the last training's place in the order.

    ``as_of``: the registry position that state ends before. ``by_metric``: the order is by a metric, in
    which the training has ``value``, of ``rank`` 0 (a number), 1 (NaN) or 2 (none).
    """

    as_of: int
    key: int
    created_at: int = 0
    by_metric: bool = False
    rank: int = _NUMBER
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class Page:
    """Trainings, and the mark to ask for the next ones with: None where there are no more."""

    trainings: tuple[TrainingSummary, ...]
    next: Mark | None


def registry_position(connection: duckdb.DuckDBPyConnection) -> int:
    """Return the registry position after the last one that this state holds."""
    row = ask_one(connection, "select next_position from base.progress where topic = 'registry'")
    return 0 if row is None else int(row["next_position"])


def search_page(
    connection: duckdb.DuckDBPyConnection, query: TrainingQuery, *, size: int = 50, after: Mark | None = None
) -> Page:
    """Return a page of the trainings that meet all conditions: the first, or the one after a mark.

    Raises InvalidInput.
    """
    if not 1 <= size <= MAX_PAGE_SIZE:
        raise InvalidInput(f"a page has 1 to {MAX_PAGE_SIZE:,} trainings")
    as_of = registry_position(connection) if after is None else after.as_of
    question = Question(term_keys(connection, query.named), as_of=as_of)
    if not all(question.knows(MetricName(m.name, m.slice)) for m in query.metrics):
        return Page((), None)
    question.ask(query)
    by_metric = query.order_by is not None and (
        question.knows(query.order_by) if after is None else after.by_metric
    )
    order, sort_key = _by_metric(question, query, after) if by_metric else _by_time(question, query, after)
    found = connection.execute(
        f"select {sort_key}, {', '.join(['t.key', 't.training_id', *question.values.values()])} "
        f"from base.training t {' '.join(question.joins)} "
        f"where {' and '.join(question.conditions)} order by {order} limit ?",
        [*question.join_arguments, *question.condition_arguments, size + 1],
    ).fetchall()
    shown = found[:size]
    trainings = found_summaries(connection, question, query, [row[3:] for row in shown])
    if len(found) == len(shown):
        return Page(trainings, None)
    created_at, rank, value, key, *_ = shown[-1]
    mark = Mark(
        as_of=as_of,
        key=key,
        created_at=created_at,
        by_metric=by_metric,
        rank=rank,
        value=value if rank == _NUMBER else 0.0,
    )
    return Page(trainings, mark)


def _by_time(question: Question, query: TrainingQuery, after: Mark | None) -> tuple[str, str]:
    """Return the order by time of creation and the columns of its sort key, past a mark."""
    ascending = query.order_by is None and query.descending is False
    direction, sign = ("asc", ">") if ascending else ("desc", "<")
    if after is not None:
        question.where(
            f"(t.created_at {sign} ? or (t.created_at = ? and t.key {sign} ?))",
            after.created_at,
            after.created_at,
            after.key,
        )
    return f"t.created_at {direction}, t.key {direction}", f"t.created_at, {_NUMBER}, 0.0::double"


def _by_metric(question: Question, query: TrainingQuery, after: Mark | None) -> tuple[str, str]:
    """Return the order by a known metric and the columns of its sort key, past a mark."""
    if query.order_by is None:
        raise InvalidInput("the search is in no metric's order")
    value = question.value_of(query.order_by)
    direction, sign = ("desc", "<") if query.descending else ("asc", ">")
    rank = f"case when {value} is null then {_NONE} when isnan({value}) then {_NAN} else {_NUMBER} end"
    if after is not None and after.rank == _NUMBER:
        question.where(
            f"({rank} > {_NUMBER} or {value} {sign} ? or ({value} = ? and t.key < ?))",
            after.value,
            after.value,
            after.key,
        )
    elif after is not None:
        question.where(f"({rank} > ? or ({rank} = ? and t.key < ?))", after.rank, after.rank, after.key)
    return f"{rank}, {value} {direction}, t.key desc", f"t.created_at, {rank}, {value}"
