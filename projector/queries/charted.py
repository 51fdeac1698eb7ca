"""What a chart of a model shows: its metrics, what they can be told apart by, and every point with its verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from deedbook.projector.queries.asking import ask, ask_one, micros
from deedbook.projector.queries.filters import MetricName

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import duckdb
    import pyarrow as pa

MAX_VALUES: Final = 50
_OF_MODEL = "training_key in (select key from base.training where model = ?)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartMetric:
    """A metric that trainings of a model ended with: how many of them, which way is better, in which unit."""

    metric: MetricName
    trainings: int
    direction: str
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartParameter:
    """A parameter of a model's trainings: how many have it, with how many different values.

    ``numeric``: all its values are numbers. ``grouping``: the model's policy compares within its values.
    """

    name: str
    trainings: int
    values: int
    numeric: bool
    grouping: bool


@dataclass(frozen=True, slots=True)
class Charted:
    """A metric of a model's trainings over time, nothing sampled.

    ``table``: Arrow, ordered by series and time, with the columns ``series`` (the parameter's value; null where a
    training has none), ``created_at`` (microseconds since 1970), ``value``, ``version``, ``outcome``, ``deployable``,
    ``overridden``, ``deployed`` (named by an accepted deployment), ``training_id``.
    """

    model: str
    metric: MetricName
    by: str | None
    direction: str
    unit: str
    table: pa.Table


def chart_metrics(connection: duckdb.DuckDBPyConnection, model: str | None = None) -> tuple[ChartMetric, ...]:
    """Return the metrics of a model, or of all: the one that most trainings have first, then as they came up."""
    condition, arguments = ("true", []) if model is None else ("t.model = ?", [model])
    rows = ask(
        connection,
        "with counted as (select m.name_key, m.slice_key, count(*) as trainings, any_value(t.model) as model "
        f"from base.metric m join base.training t on t.key = m.training_key where {condition} group by all) "
        "select n.term as name, s.term as slice, c.trainings, coalesce(d.direction, 'unspecified') as direction, "
        "coalesce(d.unit, '') as unit from counted c join base.term n on n.term_key = c.name_key "
        "join base.term s on s.term_key = c.slice_key "
        "left join base.metric_definition d on d.model = c.model and d.name = n.term "
        "order by c.trainings desc, c.slice_key, c.name_key",
        arguments,
    )
    return tuple(ChartMetric(metric=MetricName(row.pop("name"), row.pop("slice")), **row) for row in rows)


def chart_parameters(connection: duckdb.DuckDBPyConnection, model: str) -> tuple[ChartParameter, ...]:
    """Return the parameters of a model's trainings, those first that tell them apart best.

    First those that the policy groups by; then those with 2 to 50 values, texts before numbers; as they came up.
    """
    rows = ask(
        connection,
        "with counted as (select name, count(*) as trainings, count(distinct text) as values, "
        f"count(number) = count(*) as numeric, min(rowid) as came from base.parameter where {_OF_MODEL} "
        "group by name), policy as (select json_extract(policy, '$.group_by')::varchar[] as names "
        "from base.policy where model = ? order by version desc limit 1) "
        "select name, trainings, values, numeric, "
        "coalesce(list_contains((select names from policy), name), false) as grouping "
        f"from counted order by grouping desc, values between 2 and {MAX_VALUES} desc, numeric, came",
        [model, model],
    )
    return tuple(ChartParameter(**row) for row in rows)


def parameter_values(
    connection: duckdb.DuckDBPyConnection, model: str, parameter: str, *, limit: int = 500
) -> tuple[tuple[str, int], ...]:
    """Return the values of a parameter and how many trainings have each: the most frequent ones, by name."""
    rows = ask(
        connection,
        f"from (select text, count(*) as trainings from base.parameter where name = ? and {_OF_MODEL} "
        "group by text order by trainings desc, text limit ?) order by try_cast(text as double), text",
        [parameter, model, limit],
    )
    return tuple((row["text"], row["trainings"]) for row in rows)


def charted(
    connection: duckdb.DuckDBPyConnection,
    model: str,
    metric: MetricName,
    *,
    by: str | None = None,
    values: Sequence[str] = (),
    created_after: datetime | None = None,
    created_before: datetime | None = None,
) -> Charted:
    """Return a metric of a model's trainings, told apart by a parameter; ``values``: only these of its values.

    No such model, metric or parameter is an empty or undivided chart, not an error.
    """
    conditions = ["t.model = ?"]
    arguments: list[object] = [by, metric.name, metric.slice, model]
    if values:
        conditions.append("list_contains(?::varchar[], p.text)")
        arguments.append(list(values))
    if created_after is not None:
        conditions.append("t.created_at >= ?")
        arguments.append(micros(created_after))
    if created_before is not None:
        conditions.append("t.created_at < ?")
        arguments.append(micros(created_before))
    table = connection.execute(
        "with p as (select training_key, text from base.parameter where name = ?), "
        "m as (select training_key, value from base.metric "
        "where name_key = (select term_key from base.term where term = ?) "
        "and slice_key = (select term_key from base.term where term = ?)), "
        "d as (select distinct unnest(models).training_id as training_id from base.deployment "
        "where decision = 'accepted') "
        "select p.text as series, t.created_at, m.value, t.version, s.outcome, s.deployable, s.overridden, "
        "d.training_id is not null as deployed, t.training_id "
        "from m join base.training t on t.key = m.training_key "
        "join base.standing s on s.training_key = t.key and s.to_position is null "
        "left join p on p.training_key = t.key left join d on d.training_id = t.training_id "
        f"where {' and '.join(conditions)} order by series nulls last, t.created_at, t.key",
        arguments,
    ).to_arrow_table()
    defined = ask_one(
        connection,
        "select direction, unit from base.metric_definition where model = ? and name = ?",
        [model, metric.name],
    )
    direction, unit = ("unspecified", "") if defined is None else (defined["direction"], defined["unit"])
    return Charted(model, metric, by, direction, unit, table)
