"""Finding trainings: by model, parameters, metrics, time and standing, in the order of a metric."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deedbook.events.errors import InvalidInput
from deedbook.projector.queries.asking import ask, micros
from deedbook.projector.queries.filters import Comparison, MetricFilter, MetricName

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    import duckdb

MAX_LIMIT = 100_000

_VALUES = "select training_key, value from base.metric where name_key = ? and slice_key = ?"
# NaN is no number here, though it is the largest to DuckDB. Values are arguments, never part of the text.
_CONDITIONS = {
    Comparison.LESS: "and value < ?",
    Comparison.AT_MOST: "and value <= ?",
    Comparison.MORE: "and value > ? and value <= 'infinity'",
    Comparison.AT_LEAST: "and value >= ? and value <= 'infinity'",
    Comparison.EQUAL: "and value = ?",
    Comparison.OTHER: "and value != ?",
}
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


@dataclass(slots=True)
class _Question:
    """The parts of a search in SQL: joins and conditions, each with the arguments in its text.

    ``values``: for each metric joined, the expression of its value.
    """

    joins: list[str] = field(default_factory=list)
    join_arguments: list[object] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)
    condition_arguments: list[object] = field(default_factory=list)
    values: dict[MetricName, str] = field(default_factory=dict)

    def join(self, kind: str, source: str, *arguments: object) -> str:
        """Join a source of rows by ``training_key``, and return the alias it has."""
        alias = f"j{len(self.joins)}"
        self.joins.append(f"{kind} ({source}) {alias} on {alias}.training_key = t.key")
        self.join_arguments += arguments
        return alias

    def where(self, text: str, *arguments: object) -> None:
        """Add a condition that all trainings must meet."""
        self.conditions.append(text)
        self.condition_arguments += arguments


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
    order_by: MetricName | None = None,
    descending: bool | None = None,
    show: Sequence[MetricName] = (),
    limit: int = 50,
    offset: int = 0,
) -> tuple[TrainingSummary, ...]:
    """Return the trainings that meet all conditions.

    ``parameters``: a text is compared as a text, a number as a number. ``created_after`` is included,
    ``created_before`` is not. ``order_by``: a metric, lowest first, NaN and trainings without it last;
    None: by time of creation, newest first; ``descending`` decides for either. ``show``: further metrics
    to return. Raises InvalidInput.
    """
    if not 1 <= limit <= MAX_LIMIT or offset < 0:
        raise InvalidInput(f"a search returns 1 to {MAX_LIMIT:,} trainings, from an offset of 0 or more")
    ordering = [] if order_by is None else [order_by]
    named = [*(MetricName(m.name, m.slice) for m in metrics), *ordering, *show]
    terms = _term_keys(connection, named)
    if any(m.name not in terms or m.slice not in terms for m in metrics):
        return ()
    question = _Question()
    _ask_of_trainings(question, model, (created_after, created_before), deployable, outcome)
    _ask_of_parameters(question, parameters or {})
    _ask_of_metrics(question, metrics, terms)
    order = _order(question, order_by, descending, terms)
    found = connection.execute(
        f"select {', '.join(['t.key', 't.training_id', *question.values.values()])} "
        f"from base.training t {' '.join(question.joins)} "
        f"where {' and '.join(question.conditions) or 'true'} order by {order} limit ? offset ?",
        [*question.join_arguments, *question.condition_arguments, limit, offset],
    ).fetchall()
    ids = {key: training_id for key, training_id, *_ in found}
    others = [metric for metric in show if metric not in question.values]
    values = _values(connection, list(ids), others, terms)
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
    values = _values(connection, positions, metrics, _term_keys(connection, metrics))
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


def _ask_of_trainings(
    question: _Question,
    model: str | None,
    created: tuple[datetime | None, datetime | None],
    deployable: bool | None,  # noqa: FBT001 - three answers, and private
    outcome: str | None,
) -> None:
    created_after, created_before = created
    if model is not None:
        question.where("t.model = ?", model)
    if created_after is not None:
        question.where("t.created_at >= ?", micros(created_after))
    if created_before is not None:
        question.where("t.created_at < ?", micros(created_before))
    if deployable is not None or outcome is not None:
        standing = question.join(
            "join", "select training_key, deployable, outcome from base.standing where to_position is null"
        )
        if deployable is not None:
            question.where(f"{standing}.deployable = ?", deployable)
        if outcome is not None:
            question.where(f"{standing}.outcome = ?", outcome)


def _ask_of_parameters(question: _Question, parameters: Mapping[str, str | float]) -> None:
    for name, value in parameters.items():
        column = "text" if isinstance(value, str) else "number"
        source = f"select training_key from base.parameter where name = ? and {column} = ?"
        question.join("join", source, name, value)


def _ask_of_metrics(question: _Question, metrics: Iterable[MetricFilter], terms: Mapping[str, int]) -> None:
    for wanted in metrics:
        alias = question.join(
            "join",
            f"{_VALUES} {_CONDITIONS[wanted.comparison]}",
            terms[wanted.name],
            terms[wanted.slice],
            wanted.value,
        )
        question.values.setdefault(MetricName(wanted.name, wanted.slice), f"{alias}.value")


def _order(
    question: _Question,
    metric: MetricName | None,
    descending: bool | None,  # noqa: FBT001 - three answers, and private
    terms: Mapping[str, int],
) -> str:
    """Return the order of the answer, and join what it needs."""
    if metric is None or metric.name not in terms or metric.slice not in terms:
        direction = "asc" if metric is None and descending is False else "desc"
        return f"t.created_at {direction}, t.key {direction}"
    if metric not in question.values:
        alias = question.join("left join", _VALUES, terms[metric.name], terms[metric.slice])
        question.values[metric] = f"{alias}.value"
    value = question.values[metric]
    return f"{value} is null, isnan({value}), {value} {'desc' if descending else 'asc'}, t.key desc"


def _term_keys(connection: duckdb.DuckDBPyConnection, metrics: Iterable[MetricName]) -> dict[str, int]:
    """Return the keys of the names and slices of metrics, as far as any training has them."""
    texts = {text for metric in metrics for text in (metric.name, metric.slice)}
    if not texts:
        return {}
    found = connection.execute(
        "select term, term_key from base.term where term in (select unnest(?::varchar[]))", [sorted(texts)]
    ).fetchall()
    return dict(found)
