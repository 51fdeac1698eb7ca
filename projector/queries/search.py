"""Finding trainings: by model, parameters, metrics, time and standing, in the order of a metric."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deedbook.events.errors import InvalidInput
from deedbook.projector.queries.asking import ask
from deedbook.projector.queries.conditions import Question, TrainingQuery
from deedbook.projector.queries.filters import MetricFilter, MetricName

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    import duckdb

MAX_LIMIT = 100_000

# Up to this many, rows are found through the index; above, by a scan.
_FEW = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSummary:
    """A training in a list; ``metrics`` holds the final values of those metrics that were asked about.

    ``outcome``: pending, passed, failed or error. ``position``: where it was logged in the registry.
    A metric is named ``mse``, or ``mse[north]`` for its slice north.
    """

    training_id: str
    model: str
    version: int
    created_at: datetime
    actor: str
    model_type: str
    framework: str
    git_sha: str
    artifact_sha256: str
    outcome: str
    deployable: bool
    overridden: bool
    reason: str
    position: int
    parameters: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


def search(
    connection: duckdb.DuckDBPyConnection,
    *,
    model: str | None = None,
    parameters: Mapping[str, str | float] | None = None,
    metrics: Sequence[MetricFilter] = (),
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    deployable: bool | None = None,
    outcome: str | None = None,
    git_sha: str | None = None,
    tags: Mapping[str, str] | None = None,
    order_by: MetricName | None = None,
    descending: bool | None = None,
    show: Sequence[MetricName] = (),
    limit: int = 50,
    offset: int = 0,
) -> tuple[TrainingSummary, ...]:
    """Return the trainings that meet all conditions, each as `TrainingQuery` describes it.

    Raises InvalidInput.
    """
    query = TrainingQuery(
        model=model,
        parameters=parameters or {},
        metrics=metrics,
        created_after=created_after,
        created_before=created_before,
        deployable=deployable,
        outcome=outcome,
        git_sha=git_sha,
        tags=tags or {},
        order_by=order_by,
        descending=descending,
        show=show,
    )
    return search_for(connection, query, limit=limit, offset=offset)


def search_for(
    connection: duckdb.DuckDBPyConnection, query: TrainingQuery, *, limit: int, offset: int
) -> tuple[TrainingSummary, ...]:
    """Return the trainings that a query asks for; raises InvalidInput."""
    if not 1 <= limit <= MAX_LIMIT or offset < 0:
        raise InvalidInput(f"a search returns 1 to {MAX_LIMIT:,} trainings, from an offset of 0 or more")
    question = Question(term_keys(connection, query.named))
    if not all(question.knows(MetricName(m.name, m.slice)) for m in query.metrics):
        return ()
    question.ask(query)
    order = _order(question, query)
    found = connection.execute(
        f"select {', '.join(['t.key', 't.training_id', *question.values.values()])} "
        f"from base.training t {' '.join(question.joins)} "
        f"where {' and '.join(question.conditions) or 'true'} order by {order} limit ? offset ?",
        [*question.join_arguments, *question.condition_arguments, limit, offset],
    ).fetchall()
    return found_summaries(connection, question, query, found)


def found_summaries(
    connection: duckdb.DuckDBPyConnection,
    question: Question,
    query: TrainingQuery,
    found: Sequence[tuple[Any, ...]],
) -> tuple[TrainingSummary, ...]:
    """Return the trainings of rows of key, id, and the values of the question's metrics."""
    ids = {key: training_id for key, training_id, *_ in found}
    others = [metric for metric in query.show if metric not in question.values]
    values = _values(connection, list(ids), others, question.terms)
    for key, _, *joined in found:
        known = zip(question.values, joined, strict=True)
        values.setdefault(key, {}).update(
            (str(metric), value) for metric, value in known if value is not None
        )
    return _summaries(connection, values, ids)


def summaries(
    connection: duckdb.DuckDBPyConnection, positions: Sequence[int], metrics: Sequence[MetricName] = ()
) -> tuple[TrainingSummary, ...]:
    """Return the trainings logged at these positions, in the order given; those that are none are left out."""
    found = connection.execute(
        "select key, training_id from base.training where key in (select unnest(?::bigint[]))",
        [list(positions)],
    ).fetchall()
    ids = dict(found)
    values = _values(connection, positions, metrics, term_keys(connection, metrics))
    return _summaries(connection, values, {key: ids[key] for key in positions if key in ids})


def _summaries(
    connection: duckdb.DuckDBPyConnection,
    values: Mapping[int, Mapping[str, float]],
    ids: Mapping[int, str],
) -> tuple[TrainingSummary, ...]:
    """Return the trainings of these positions and ids, in their order."""
    if not ids:
        return ()
    rows = ask(
        connection,
        "select training_id, model, version, make_timestamp(created_at) as created_at, actor, model_type, framework, "
        "git_sha, artifact_sha256, key as position, parameters, tags from base.training "
        f"where training_id in ({_listed(ids, 'varchar')})",
        _arguments(ids.values()),
    )
    standing = ask(
        connection,
        "select training_key, outcome, deployable, overridden, reason from base.standing "
        f"where to_position is null and training_key in ({_listed(ids, 'bigint')})",
        _arguments(ids),
    )
    stands = {row.pop("training_key"): row for row in standing}
    by_position = {
        row["position"]: TrainingSummary(
            **row, **stands[row["position"]], metrics=values.get(row["position"], {})
        )
        for row in rows
    }
    return tuple(by_position[position] for position in ids)


def _listed(wanted: Collection[object], type_: str) -> str:
    """Return what stands in an IN: a placeholder for each, which an index answers, or one list."""
    return ", ".join("?" * len(wanted)) if len(wanted) <= _FEW else f"select unnest(?::{type_}[])"


def _arguments(wanted: Collection[object]) -> list[object]:
    return list(wanted) if len(wanted) <= _FEW else [list(wanted)]


def _values(
    connection: duckdb.DuckDBPyConnection,
    positions: Sequence[int],
    metrics: Iterable[MetricName],
    terms: Mapping[str, int],
) -> dict[int, dict[str, float]]:
    """Return the final values of some metrics by training, each under its written name."""
    names = {
        (terms[metric.name], terms[metric.slice]): str(metric)
        for metric in metrics
        if metric.name in terms and metric.slice in terms
    }
    values: dict[int, dict[str, float]] = {}
    if not names or not positions:
        return values
    found = connection.execute(
        "select training_key, name_key, slice_key, value from base.metric "
        "where name_key in (select unnest(?::integer[])) and slice_key in (select unnest(?::integer[])) "
        "and training_key in (select unnest(?::bigint[]))",
        [[name for name, _ in names], [slice_ for _, slice_ in names], list(positions)],
    ).fetchall()
    wanted = ((key, names.get((name, slice_)), value) for key, name, slice_, value in found)
    for key, written, value in wanted:
        if written is not None:
            values.setdefault(key, {})[written] = value
    return values


def _order(question: Question, query: TrainingQuery) -> str:
    """Return the order of the answer, and join what it needs."""
    metric = query.order_by
    if metric is None or not question.knows(metric):
        direction = "asc" if metric is None and query.descending is False else "desc"
        return f"t.created_at {direction}, t.key {direction}"
    value = question.value_of(metric)
    return f"{value} is null, isnan({value}), {value} {'desc' if query.descending else 'asc'}, t.key desc"


def term_keys(connection: duckdb.DuckDBPyConnection, metrics: Iterable[MetricName]) -> dict[str, int]:
    """Return the keys of the names and slices of metrics, as far as any training has them."""
    texts = {text for metric in metrics for text in (metric.name, metric.slice)}
    if not texts:
        return {}
    found = connection.execute(
        "select term, term_key from base.term where term in (select unnest(?::varchar[]))", [sorted(texts)]
    ).fetchall()
    return dict(found)
