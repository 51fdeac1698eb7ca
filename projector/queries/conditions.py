"""What a search asks of trainings, put in SQL: joins and conditions, for now or as of a position.

What users give is an argument, never a part of the text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deedbook.projector.queries.asking import micros
from deedbook.projector.queries.filters import Comparison, MetricFilter, MetricName

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

_METRIC = "select training_key, value from base.metric where name_key = ? and slice_key = ?"
_PARAMETER = "select training_key, text, number from base.parameter where name = ?"
# What was amended since holds what it replaced; of several amendments the first one holds what was there then.
_AMENDED = (
    "select training_key, first(old_text order by position) as old_text, "
    "first(old_number order by position) as old_number from base.amendment "
    "where kind = ? and name = ? and slice = ? and position >= ? group by training_key"
)
_METRIC_THEN = (
    "select m.training_key, if(a.training_key is null, m.value, a.old_number) as value from base.metric m "
    f"left join ({_AMENDED}) a on a.training_key = m.training_key where m.name_key = ? and m.slice_key = ?"
)
_PARAMETER_THEN = (
    "select p.training_key, if(a.training_key is null, p.text, a.old_text) as text, "
    "if(a.training_key is null, p.number, a.old_number) as number from base.parameter p "
    f"left join ({_AMENDED}) a on a.training_key = p.training_key where p.name = ?"
)
_TAG = "select key as training_key, tags[?] as text from base.training"
_TAG_THEN = (
    "select t.key as training_key, if(a.training_key is null, t.tags[?], a.old_text) as text "
    f"from base.training t left join ({_AMENDED}) a on a.training_key = t.key"
)
# NaN is no number here, though it is the largest to DuckDB.
_COMPARED = {
    Comparison.LESS: "value < ?",
    Comparison.AT_MOST: "value <= ?",
    Comparison.MORE: "value > ? and value <= 'infinity'",
    Comparison.AT_LEAST: "value >= ? and value <= 'infinity'",
    Comparison.EQUAL: "value = ?",
    Comparison.OTHER: "value != ?",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingQuery:
    """Which trainings are wanted, in which order, and which metrics are to be shown with them.

    ``parameters``: a text is compared as a text, a number as a number. ``created_after`` is included,
    ``created_before`` is not. ``git_sha``: the commit, or its beginning. ``order_by``: a metric, lowest
    first, NaN and trainings without it last; None: by time of creation, newest first; ``descending``
    decides for either.
    """

    model: str | None = None
    parameters: Mapping[str, str | float] = field(default_factory=dict)
    metrics: Sequence[MetricFilter] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None
    deployable: bool | None = None
    outcome: str | None = None
    git_sha: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    order_by: MetricName | None = None
    descending: bool | None = None
    show: Sequence[MetricName] = ()

    @property
    def named(self) -> tuple[MetricName, ...]:
        """All metrics that are asked about."""
        ordering = () if self.order_by is None else (self.order_by,)
        return (*(MetricName(m.name, m.slice) for m in self.metrics), *ordering, *self.show)


@dataclass(slots=True)
class Question:
    """The parts of a search in SQL: joins and conditions, each with the arguments in its text.

    ``terms``: the keys of metrics' names and slices. ``values``: for each metric joined, the expression
    of its value. ``as_of``: a registry position; nothing from there on counts. None: all counts.
    """

    terms: Mapping[str, int]
    as_of: int | None = None
    joins: list[str] = field(default_factory=list)
    join_arguments: list[object] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)
    condition_arguments: list[object] = field(default_factory=list)
    values: dict[MetricName, str] = field(default_factory=dict)

    def knows(self, metric: MetricName) -> bool:
        """Tell whether any training has the name and the slice."""
        return metric.name in self.terms and metric.slice in self.terms

    def where(self, text: str, *arguments: object) -> None:
        """Add a condition that all trainings must meet."""
        self.conditions.append(text)
        self.condition_arguments += arguments

    def value_of(self, metric: MetricName) -> str:
        """Return the expression of a known metric's value, null where a training has none."""
        if metric not in self.values:
            alias = self._join("left join", *self._metric(metric))
            self.values[metric] = f"{alias}.value"
        return self.values[metric]

    def ask(self, query: TrainingQuery) -> None:
        """Ask for all that a query wants but the order; its metrics are known."""
        if self.as_of is not None:
            self.where("t.key < ?", self.as_of)
        if query.model is not None:
            self.where("t.model = ?", query.model)
        if query.git_sha is not None:
            self.where("starts_with(t.git_sha, ?)", query.git_sha)
        if query.created_after is not None:
            self.where("t.created_at >= ?", micros(query.created_after))
        if query.created_before is not None:
            self.where("t.created_at < ?", micros(query.created_before))
        if query.deployable is not None or query.outcome is not None:
            self._ask_of_standing(query)
        for name, value in query.parameters.items():
            column = "text" if isinstance(value, str) else "number"
            self._join("join", *self._parameter(name), f"{column} = ?", value)
        for name, text in query.tags.items():
            self._join("join", *self._tag(name), "text = ?", text)
        self._ask_of_metrics(query.metrics)

    def _join(
        self,
        kind: str,
        source: str,
        arguments: Iterable[object],
        condition: str = "true",
        *compared: object,
    ) -> str:
        """Join the rows of a source that meet a condition, by ``training_key``; return their alias."""
        alias = f"j{len(self.joins)}"
        rows = f"(select * from ({source}) where {condition})"
        self.joins.append(f"{kind} {rows} {alias} on {alias}.training_key = t.key")
        self.join_arguments += [*arguments, *compared]
        return alias

    def _ask_of_standing(self, query: TrainingQuery) -> None:
        columns = "select training_key, deployable, outcome from base.standing where "
        if self.as_of is None:
            alias = self._join("join", columns + "to_position is null", ())
        else:
            then = "from_position < ? and (to_position is null or to_position >= ?)"
            alias = self._join("join", columns + then, (self.as_of, self.as_of))
        if query.deployable is not None:
            self.where(f"{alias}.deployable = ?", query.deployable)
        if query.outcome is not None:
            self.where(f"{alias}.outcome = ?", query.outcome)

    def _ask_of_metrics(self, metrics: Iterable[MetricFilter]) -> None:
        for wanted in metrics:
            metric = MetricName(wanted.name, wanted.slice)
            alias = self._join("join", *self._metric(metric), _COMPARED[wanted.comparison], wanted.value)
            self.values.setdefault(metric, f"{alias}.value")

    def _metric(self, metric: MetricName) -> tuple[str, tuple[object, ...]]:
        keys = (self.terms[metric.name], self.terms[metric.slice])
        if self.as_of is None:
            return _METRIC, keys
        return _METRIC_THEN, ("metric", metric.name, metric.slice, self.as_of, *keys)

    def _parameter(self, name: str) -> tuple[str, tuple[object, ...]]:
        if self.as_of is None:
            return _PARAMETER, (name,)
        return _PARAMETER_THEN, ("parameter", name, "", self.as_of, name)

    def _tag(self, name: str) -> tuple[str, tuple[object, ...]]:
        if self.as_of is None:
            return _TAG, (name,)
        return _TAG_THEN, (name, "tag", name, "", self.as_of)
