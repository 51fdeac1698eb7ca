"""What waits for a verdict, and all that a validator must be told to reach one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deedbook.events.facts import (
    Artifact,
    Baseline,
    BaselineRole,
    Coefficient,
    Direction,
    Feature,
    Metric,
    Parameter,
    Policy,
    RequestSet,
    Tag,
    Training,
)
from deedbook.projector.lookups import policy_from_json
from deedbook.projector.view import default_policy

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import duckdb

# What the announcer calls itself in a verdict that says nobody judged.
NO_VALIDATOR = "none"
# Past every position.
_BEYOND = 1 << 62
# Up to this many are asked for one by one, through the index; above, as one list.
_FEW = 500
_UNDEFINED = (Direction.UNSPECIFIED, "")


@dataclass(frozen=True, slots=True)
class Request:
    """A validation that is due: its position and time on the log, and whom it is about."""

    training_id: str
    requested_at_position: int
    recorded_at: int
    model: str
    policy_version: int
    baselines: tuple[tuple[BaselineRole, str], ...]
    requests_id: str


@dataclass(frozen=True, slots=True)
class Order:
    """A complete work order, short of the envelope."""

    request: Request
    training: Training
    policy: Policy
    baselines: tuple[Baseline, ...]
    requests: tuple[RequestSet, ...]

    @property
    def baseline_training_id(self) -> str:
        """The training that the policy compares with, or nothing."""
        role = self.policy.baseline
        wanted = BaselineRole.LAST_DEPLOYABLE if role is BaselineRole.UNSPECIFIED else role
        return next((b.training.training_id for b in self.baselines if b.role is wanted), "")


def due_requests(
    connection: duckdb.DuckDBPyConnection,
    *,
    after_position: int = -1,
    recorded_before: int | None = None,
    limit: int,
) -> list[Request]:
    """Return the validations without a verdict, oldest first; times are microseconds.

    Asked table by table: of a few rows that is found out for less than a join takes to be planned.
    """
    before = _BEYOND if recorded_before is None else _first_position_since(connection, recorded_before)
    rows = connection.execute(
        "select training_key, requested_at_position, policy_version, last_trained, last_deployable, live, requests_id "
        "from base.request where closed_position is null and requested_at_position > ? and requested_at_position < ? "
        # A limit that is a parameter takes as long to plan as all the rest.
        f"order by requested_at_position limit {int(limit)}",
        [after_position, before],
    ).fetchall()
    if not rows:
        return []
    keys, positions = {row[0] for row in rows}, {row[1] for row in rows}
    named = _of(connection, keys, "select key, training_id, model from base.training where {}", "key")
    trainings = {key: (training_id, model) for key, training_id, model in named}
    of_registry = "select position, recorded_at from base.event where topic = 'registry' and {}"
    times = dict(_of(connection, positions, of_registry, "position"))
    return [
        Request(
            training_id=trainings[key][0],
            requested_at_position=position,
            recorded_at=times[position],
            model=trainings[key][1],
            policy_version=policy_version,
            baselines=_roles(roles),
            requests_id=requests_id,
        )
        for key, position, policy_version, *roles, requests_id in rows
    ]


def _first_position_since(connection: duckdb.DuckDBPyConnection, recorded_at: int) -> int:
    """Return the first registry position recorded at or after a time; its time never goes back."""
    (position,) = connection.execute(
        "select coalesce(min(position), ?) from base.event where topic = 'registry' and recorded_at >= ?",
        [_BEYOND, recorded_at],
    ).fetchone() or (_BEYOND,)
    return int(position)


def unanswered(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, int], int]:
    """Return the requests a validator may still answer, and when each was recorded (microseconds).

    These are the open ones, and those of which the announcer said that no validator answered.
    """
    rows = connection.execute(
        "select t.training_id, r.requested_at_position, e.recorded_at "
        "from base.request r join base.training t on t.key = r.training_key "
        "join base.event e on e.topic = 'registry' and e.position = r.requested_at_position "
        "left join base.verdict v on v.position = r.closed_position and v.training_key = r.training_key "
        "where r.closed_position is null or v.validator_version = ? "
        "qualify row_number() over (partition by t.key order by r.requested_at_position desc) = 1",
        [NO_VALIDATOR],
    ).fetchall()
    return {(training_id, position): recorded_at for training_id, position, recorded_at in rows}


def orders_of(connection: duckdb.DuckDBPyConnection, requests: Sequence[Request]) -> list[Order]:
    """Return the work orders of these requests, with every training in them as it is now."""
    ids = {request.training_id for request in requests}
    ids |= {training_id for request in requests for _, training_id in request.baselines}
    trainings, versions = _trainings(connection, ids)
    policies = {key: _policy(connection, *key) for key in {(r.model, r.policy_version) for r in requests}}
    requests_ids = {r.requests_id for r in requests if r.requests_id}
    sets = _request_sets(connection, requests_ids) if requests_ids else {}
    return [
        Order(
            request=request,
            training=trainings[request.training_id],
            policy=policies[request.model, request.policy_version],
            baselines=tuple(
                Baseline(role=role, training=trainings[id_], version=versions[id_])
                for role, id_ in request.baselines
            ),
            requests=(sets[request.requests_id],) if request.requests_id else (),
        )
        for request in requests
    ]


def _trainings(
    connection: duckdb.DuckDBPyConnection, training_ids: set[str]
) -> tuple[dict[str, Training], dict[str, int]]:
    """Return whole trainings, with the values they have after all amendments, and their versions; by id."""
    if not training_ids:
        return {}, {}
    ids = sorted(training_ids)
    heads = connection.execute(
        "select t.key, t.training_id, t.model, t.model_type, t.framework, t.artifact_uri, t.artifact_sha256, "
        "t.artifact_size_bytes, t.artifact_format, t.features, t.coefficients, t.tags, t.git_sha, "
        "t.data_fingerprint, t.created_at, t.started_at, t.finished_at, t.version "
        f"from base.training t where t.training_id in ({_listed(ids, 'varchar')})",
        _arguments(ids),
    ).fetchall()
    models = {head[0]: head[2] for head in heads}
    metrics = _metrics(connection, models)
    parameters = _parameters(connection, models)
    trainings = {
        head[1]: Training(
            training_id=head[1],
            model=head[2],
            model_type=head[3],
            framework=head[4],
            artifact=Artifact(uri=head[5], sha256=head[6], size_bytes=head[7], format=head[8]),
            features=tuple(Feature(**feature) for feature in head[9]),
            coefficients=tuple(Coefficient(**coefficient) for coefficient in head[10]),
            tags=tuple(Tag(name=name, text=text) for name, text in head[11].items()),
            parameters=parameters.get(head[0], ()),
            metrics=metrics.get(head[0], ()),
            **dict(zip(("git_sha", "data_fingerprint"), head[12:14], strict=True)),
            **dict(zip(("created_at", "started_at", "finished_at"), head[14:17], strict=True)),
        )
        for head in heads
    }
    return trainings, {head[1]: head[17] for head in heads}


def _metrics(
    connection: duckdb.DuckDBPyConnection, models: Mapping[int, str]
) -> dict[int, tuple[Metric, ...]]:
    """Return the metrics of trainings, by their keys; ``models`` says of which model each of these is."""
    rows = _of(
        connection,
        models,
        "select training_key, name_key, slice_key, value from base.metric where {}",
        "training_key",
    )
    if not rows:
        return {}
    names = {row[1] for row in rows} | {row[2] for row in rows}
    terms = dict(_of(connection, names, "select term_key, term from base.term where {}", "term_key"))
    definitions = _definitions(connection, set(models.values()))
    found: dict[int, list[Metric]] = {}
    for key, name_key, slice_key, value in rows:
        name = terms[name_key]
        direction, unit = definitions.get((models[key], name), _UNDEFINED)
        metric = Metric(name=name, value=value, slice=terms[slice_key], direction=direction, unit=unit)
        found.setdefault(key, []).append(metric)
    return {key: tuple(metrics) for key, metrics in found.items()}


def _definitions(
    connection: duckdb.DuckDBPyConnection, models: set[str]
) -> dict[tuple[str, str], tuple[Direction, str]]:
    """Return direction and unit of what these models measure, by model and name."""
    wanted = sorted(models)
    rows = connection.execute(
        "select model, name, direction, unit from base.metric_definition "
        f"where model in ({_listed(wanted, 'varchar')})",
        _arguments(wanted),
    ).fetchall()
    return {(model, name): (Direction(direction), unit) for model, name, direction, unit in rows}


def _parameters(
    connection: duckdb.DuckDBPyConnection, keys: Collection[int]
) -> dict[int, tuple[Parameter, ...]]:
    sql = "select training_key, name, text, number from base.parameter where {}"
    found: dict[int, list[Parameter]] = {}
    for key, name, text, number in _of(connection, keys, sql, "training_key"):
        found.setdefault(key, []).append(Parameter(name=name, text=text, number=number))
    return {key: tuple(parameters) for key, parameters in found.items()}


def _of(
    connection: duckdb.DuckDBPyConnection, keys: Collection[int], sql: str, column: str
) -> list[tuple[Any, ...]]:
    """Return the rows of a query in which a column has one of these keys."""
    if not keys:
        return []
    if len(keys) == 1:
        return connection.execute(sql.format(f"{column} = ?"), list(keys)).fetchall()
    wanted = sorted(keys)
    # The bounds let sorted columns skip what the list alone would have read.
    matching = f"{column} in ({_listed(wanted, 'bigint')}) and {column} between {wanted[0]} and {wanted[-1]}"
    return connection.execute(sql.format(matching), _arguments(wanted)).fetchall()


def _listed(wanted: Sequence[object], type_: str) -> str:
    """Return what stands in an IN: a placeholder for each of a few, which an index answers, or one list."""
    return ", ".join("?" * len(wanted)) if len(wanted) <= _FEW else f"select unnest(?::{type_}[])"


def _arguments(wanted: Sequence[object]) -> list[object]:
    return list(wanted) if len(wanted) <= _FEW else [list(wanted)]


def _policy(connection: duckdb.DuckDBPyConnection, model: str, version: int) -> Policy:
    if version == 0:
        return default_policy(model)
    row = connection.execute(
        "select policy from base.policy where model = ? and version = ?", [model, version]
    ).fetchone()
    if row is None:
        raise LookupError(f"no policy version {version} of {model}")
    return policy_from_json(row[0])


def _request_sets(connection: duckdb.DuckDBPyConnection, ids: set[str]) -> dict[str, RequestSet]:
    rows = connection.execute(
        "select requests_id, model, parameters, artifact_uri, artifact_sha256, artifact_size_bytes, count "
        "from base.request_set where requests_id in (select unnest(?))",
        [sorted(ids)],
    ).fetchall()
    return {
        row[0]: RequestSet(
            requests_id=row[0],
            model=row[1],
            parameters=tuple(Parameter(name=name, text=text) for name, text in row[2].items()),
            artifact=Artifact(uri=row[3], sha256=row[4], size_bytes=row[5]),
            count=row[6],
        )
        for row in rows
    }


def _roles(ids: Sequence[str]) -> tuple[tuple[BaselineRole, str], ...]:
    roles = (BaselineRole.LAST_TRAINED, BaselineRole.LAST_DEPLOYABLE, BaselineRole.LIVE)
    return tuple((role, id_) for role, id_ in zip(roles, ids, strict=True) if id_)
