"""The whole answer to a search: how many trainings, which, and all of them as one wide table, piece by piece."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from deedbook.events.errors import InvalidInput
from deedbook.projector.queries.conditions import Question, TrainingQuery
from deedbook.projector.queries.filters import MetricName
from deedbook.projector.queries.search import term_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb
    import pyarrow as pa

MAX_TRAININGS: Final = 100_000
MAX_COLUMNS: Final = 2_000
_FIXED: Final = (
    "t.training_id, t.model, t.version, make_timestamp(t.created_at) as created_at, t.actor, t.model_type, "
    "t.framework, t.git_sha, t.data_fingerprint, t.artifact_sha256, t.artifact_size_bytes, s.outcome, "
    "s.deployable, s.overridden, s.reason, t.key as position"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What trainings have: the names of parameters and tags, and the metrics with their keys."""

    parameters: tuple[str, ...]
    tags: tuple[str, ...]
    metrics: tuple[tuple[MetricName, int, int], ...]


def count_found(connection: duckdb.DuckDBPyConnection, query: TrainingQuery) -> int:
    """Return how many trainings meet all conditions."""
    asked = _question(connection, query)
    if asked is None:
        return 0
    row = connection.execute(
        f"select count(*) from base.training t {' '.join(asked.joins)} where {_conditions(asked)}",
        [*asked.join_arguments, *asked.condition_arguments],
    ).fetchone()
    return 0 if row is None else int(row[0])


def found_keys(connection: duckdb.DuckDBPyConnection, query: TrainingQuery) -> tuple[int, ...]:
    """Return the positions of all trainings that meet all conditions, in the query's order.

    Raises InvalidInput where they are more than 100,000.
    """
    asked = _question(connection, query)
    if asked is None:
        return ()
    order = "t.created_at desc, t.key desc"
    if query.order_by is not None and asked.knows(query.order_by):
        value = asked.value_of(query.order_by)
        order = (
            f"{value} is null, isnan({value}), {value} {'desc' if query.descending else 'asc'}, t.key desc"
        )
    elif query.order_by is None and query.descending is False:
        order = "t.created_at, t.key"
    rows = connection.execute(
        f"select t.key from base.training t {' '.join(asked.joins)} where {_conditions(asked)} "
        f"order by {order} limit {MAX_TRAININGS + 1}",
        [*asked.join_arguments, *asked.condition_arguments],
    ).fetchall()
    if len(rows) > MAX_TRAININGS:
        raise InvalidInput(f"more than {MAX_TRAININGS:,} trainings are too many at once: narrow the search")
    return tuple(key for (key,) in rows)


def columns_of(connection: duckdb.DuckDBPyConnection, keys: Sequence[int]) -> Columns:
    """Return what any of these trainings has; raises InvalidInput where that is more than 2,000 columns."""
    wanted = "(select unnest(?::bigint[]))"
    parameters = connection.execute(
        f"select name from base.parameter where training_key in {wanted} group by name order by min(rowid)",
        [list(keys)],
    ).fetchall()
    tags = connection.execute(
        f"select distinct unnest(map_keys(tags)) as name from base.training where key in {wanted} order by name",
        [list(keys)],
    ).fetchall()
    metrics = connection.execute(
        "select n.term, s.term, m.name_key, m.slice_key from (select distinct name_key, slice_key from base.metric "
        f"where training_key in {wanted}) m join base.term n on n.term_key = m.name_key "
        "join base.term s on s.term_key = m.slice_key order by m.slice_key, m.name_key",
        [list(keys)],
    ).fetchall()
    if len(parameters) + len(tags) + len(metrics) > MAX_COLUMNS:
        raise InvalidInput(f"more than {MAX_COLUMNS:,} columns are too many for one table: narrow the search")
    return Columns(
        parameters=tuple(name for (name,) in parameters),
        tags=tuple(name for (name,) in tags),
        metrics=tuple((MetricName(name, slice_), key, other) for name, slice_, key, other in metrics),
    )


def wide_table(connection: duckdb.DuckDBPyConnection, keys: Sequence[int], columns: Columns) -> pa.Table:
    """Return trainings in the order of their keys, a column for each parameter, tag and metric.

    Columns are named ``parameter:city``, ``tag:team``, ``metric:mse`` or ``metric:mse[north]``; null where a
    training has none. Times are UTC.
    """
    table = connection.execute(
        f"select {_FIXED}, t.parameters as _parameters, t.tags as _tags from "
        "(select unnest(?::bigint[]) as key, generate_subscripts(?::bigint[], 1) as place) w "
        "join base.training t on t.key = w.key "
        "join base.standing s on s.training_key = t.key and s.to_position is null order by w.place",
        [list(keys), list(keys)],
    ).to_arrow_table()
    parameters = table.column("_parameters").to_pylist()
    tags = table.column("_tags").to_pylist()
    table = table.drop_columns(["_parameters", "_tags"])
    table = _with_texts(table, "parameter", columns.parameters, [dict(row or ()) for row in parameters])
    table = _with_texts(table, "tag", columns.tags, [dict(row or ()) for row in tags])
    return _with_metrics(connection, table, columns)


def _with_texts(table: pa.Table, kind: str, names: Sequence[str], rows: Sequence[dict[str, str]]) -> pa.Table:
    import pyarrow as pa

    for name in names:
        table = table.append_column(f"{kind}:{name}", pa.array([row.get(name) for row in rows], pa.string()))
    return table


def _with_metrics(connection: duckdb.DuckDBPyConnection, table: pa.Table, columns: Columns) -> pa.Table:
    """Return the table with the values of its trainings' metrics, put in place as whole columns."""
    import numpy as np
    import pyarrow as pa

    keys = table.column("position").to_numpy()
    found = connection.execute(
        "select training_key, name_key, slice_key, value from base.metric "
        "where training_key in (select unnest(?::bigint[]))",
        [keys.tolist()],
    ).to_arrow_table()
    places = {(name, slice_): place for place, (_, name, slice_) in enumerate(columns.metrics)}
    pairs = zip(found.column("name_key").to_pylist(), found.column("slice_key").to_pylist(), strict=True)
    column = np.array([places.get(pair, -1) for pair in pairs], dtype=np.int64)
    order = np.argsort(keys)
    row = order[np.searchsorted(keys, found.column("training_key").to_numpy(), sorter=order)]
    known = column >= 0
    values = np.full((len(columns.metrics), len(keys)), np.nan)
    missing = np.ones(values.shape, dtype=bool)
    values[column[known], row[known]] = found.column("value").to_numpy(zero_copy_only=False)[known]
    missing[column[known], row[known]] = False
    for place, (metric, _, _) in enumerate(columns.metrics):
        table = table.append_column(f"metric:{metric}", pa.array(values[place], mask=missing[place]))
    return table


def _question(connection: duckdb.DuckDBPyConnection, query: TrainingQuery) -> Question | None:
    """Return a query in SQL; None where it names a metric that no training has."""
    question = Question(term_keys(connection, query.named))
    if not all(question.knows(MetricName(m.name, m.slice)) for m in query.metrics):
        return None
    question.ask(query)
    return question


def _conditions(question: Question) -> str:
    return " and ".join(question.conditions) or "true"
