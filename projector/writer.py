"""Decisions to rows, in bulk: a few statements per batch, whatever its size."""

from __future__ import annotations

import functools
import operator
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from deedbook.projector.decision import Accepted, Ignored, Rejected
from deedbook.projector.lookups import policy_to_json
from deedbook.projector.rows import (
    AmendmentRow,
    CheckRow,
    ChunkRow,
    CurrentRow,
    DeploymentRow,
    GroupingRow,
    GroupRow,
    ModelLoadRow,
    OverrideRow,
    PolicyRow,
    RequestRow,
    RequestSetRow,
    Row,
    RulesRow,
    RunRow,
    SchemaRow,
    StandingRow,
    TrainingRow,
    VerdictRow,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import duckdb

    from deedbook.events.log import Record
    from deedbook.projector.decision import Decision, Event
    from deedbook.projector.terms import Terms

# table, and the columns that name a row where a new row replaces the old one
_TABLES: dict[type, tuple[str, tuple[str, ...]]] = {
    RunRow: ("run", ("training_id",)),
    GroupingRow: ("grouping", ("training_key",)),
    GroupRow: ("baseline", ("group_key",)),
    RequestRow: ("request", ("training_key", "requested_at_position")),
    PolicyRow: ("policy", ()),
    RequestSetRow: ("request_set", ()),
    VerdictRow: ("verdict", ()),
    CheckRow: ("check_result", ()),
    OverrideRow: ("override", ()),
    DeploymentRow: ("deployment", ()),
    ModelLoadRow: ("model_load", ()),
    ChunkRow: ("chunk", ()),
    SchemaRow: ("schema_published", ()),
    RulesRow: ("rules", ()),
}
# table, and the columns whose newest row closes the one before it
_INTERVALS: dict[type, tuple[str, tuple[str, ...]]] = {
    StandingRow: ("standing", ("training_key",)),
    CurrentRow: ("current_release", ("service", "environment")),
}
# Up to this many rows, values in the statement are faster than a table of Arrow columns.
_FEW = 8
_ARROW_TYPES = {
    "str": pa.string(),
    "int": pa.int64(),
    "bool": pa.bool_(),
    "int | None": pa.int64(),
    "float | None": pa.float64(),
    "bool | None": pa.bool_(),
    "Policy": pa.string(),
    "tuple[tuple[str, str], ...]": pa.map_(pa.string(), pa.string()),
}


_EVENT_COLUMNS = {
    "topic": pa.string(),
    "partition": pa.int64(),
    "position": pa.int64(),
    "event_id": pa.string(),
    "type": pa.string(),
    "subject": pa.string(),
    "actor": pa.string(),
    "occurred_at": pa.int64(),
    "recorded_at": pa.int64(),
    "decision": pa.string(),
    "reason": pa.string(),
    "body_hash": pa.string(),
}
_DECIDED_COLUMNS = ("decision", "reason")


def write_events(connection: duckdb.DuckDBPyConnection, decided: Sequence[tuple[Event, Decision]]) -> None:
    """Write the timeline: every event, with what was decided and why."""
    events = [event for event, _ in decided]
    texts = [_decision_text(decision) for _, decision in decided]
    columns = {name: _column(events, name) for name in _EVENT_COLUMNS if name not in _DECIDED_COLUMNS}
    columns["decision"] = [word for word, _ in texts]
    columns["reason"] = [reason for _, reason in texts]
    _insert(connection, "event", _EVENT_COLUMNS, columns)


def _decision_text(decision: Decision) -> tuple[str, str]:
    match decision:
        case Accepted():
            return "accepted", ""
        case Ignored(reason):
            return "ignored", reason
        case Rejected(reason):
            return "rejected", reason
        case _:
            raise TypeError(f"a {type(decision).__name__} event is not written")


_QUARANTINE_TYPES = {
    "topic": pa.string(),
    "partition": pa.int32(),
    "position": pa.int64(),
    "recorded_at": pa.int64(),
    "reason": pa.string(),
    "key": pa.binary(),
    "headers": pa.map_(pa.string(), pa.binary()),
    "value": pa.binary(),
}


def write_quarantine(
    connection: duckdb.DuckDBPyConnection, quarantined: Sequence[tuple[Record, str]]
) -> None:
    """Keep what could not be decoded, as it came."""
    if not quarantined:
        return
    columns: dict[str, list[Any]] = {
        name: [getattr(record, name) for record, _ in quarantined]
        for name in _QUARANTINE_TYPES
        if name not in {"reason", "headers"}
    }
    columns["reason"] = [reason for _, reason in quarantined]
    # A name may hold half a character, which no table can; of two headers with one name the last counts.
    columns["headers"] = [
        list(
            {name.encode(errors="backslashreplace").decode(): value for name, value in record.headers}.items()
        )
        for record, _ in quarantined
    ]
    arrays = {name: pa.array(columns[name], kind) for name, kind in _QUARANTINE_TYPES.items()}
    connection.register("incoming", pa.table(arrays))
    connection.execute("insert into base.quarantine by name select * from incoming")
    connection.unregister("incoming")


def write_rows(
    connection: duckdb.DuckDBPyConnection, rows: Sequence[Row], terms: Terms, *, first_position: int
) -> None:
    """Write the control rows of a batch, each table's at once, the last row of a key winning."""
    by_class: dict[type, list[Any]] = {}
    for row in rows:
        by_class.setdefault(type(row), []).append(row)
    for cls, of_class in by_class.items():
        if cls in _INTERVALS:
            table, key = _INTERVALS[cls]
            _write_intervals(connection, cls, table, key, of_class, first_position)
        elif cls is AmendmentRow:
            for row in of_class:
                _write_amendment(connection, row, terms)
        elif cls in _TABLES:
            table, key = _TABLES[cls]
            _write_table(connection, cls, table, key, of_class, first_position)
    _write_versions(connection, by_class.get(TrainingRow, []))


def _write_table(  # noqa: PLR0917 - one table's rows
    connection: duckdb.DuckDBPyConnection,
    cls: type,
    table: str,
    key: tuple[str, ...],
    rows: list[Any],
    first_position: int,
) -> None:
    if key:
        get = operator.attrgetter(*key)
        rows = list({get(row): row for row in rows}.values())
        # A row about a training of this very batch cannot be there yet.
        old = [row for row in rows if getattr(row, "training_key", -1) < first_position]
        if len(old) <= _FEW:
            there = {get(row) for row in old if _updated(connection, table, cls, key, row)}
            rows = [row for row in rows if get(row) not in there]
        else:
            _delete(connection, table, cls, key, old)
    types = _types(cls)
    _insert(connection, table, types, {name: _column(rows, name) for name in types})


def _column(rows: Iterable[Row | Event], name: str) -> list[Any]:
    values = map(operator.attrgetter(name), rows)
    return [policy_to_json(policy) for policy in values] if name == "policy" else list(values)


def _updated(
    connection: duckdb.DuckDBPyConnection, table: str, cls: type, key: tuple[str, ...], row: Row
) -> bool:
    """Put a row in the place of the one with its key; tell whether there was one."""
    others = [name for name in _types(cls) if name not in key]
    changes, matching = (", ".join(f"{n} = ?" for n in others), " and ".join(f"{n} = ?" for n in key))
    values = [getattr(row, name) for name in (*others, *key)]
    sql = f"update base.{table} set {changes} where {matching} returning 1"
    return connection.execute(sql, values).fetchone() is not None


def _delete(
    connection: duckdb.DuckDBPyConnection, table: str, cls: type, key: tuple[str, ...], rows: list[Any]
) -> None:
    types = _types(cls)
    keys = pa.table({name: pa.array([getattr(row, name) for row in rows], types[name]) for name in key})
    connection.register("gone", keys)
    matching = " and ".join(f"t.{name} = gone.{name}" for name in key)
    connection.execute(f"delete from base.{table} t using gone where {matching}")
    connection.unregister("gone")


@functools.cache
def _types(cls: type) -> Mapping[str, pa.DataType]:
    return {f.name: _ARROW_TYPES[str(f.type)] for f in fields(cls)}


def _write_intervals(  # noqa: PLR0917 - one table's rows
    connection: duckdb.DuckDBPyConnection,
    cls: type,
    table: str,
    key: tuple[str, ...],
    rows: list[Any],
    first_position: int,
) -> None:
    """Open the new intervals; each closes the one before it, in this batch or in the table."""
    get = operator.attrgetter(*key)
    newest: dict[Any, int] = {}
    first: dict[Any, Any] = {}
    until: list[int | None] = [None] * len(rows)
    for index, row in enumerate(rows):
        name = get(row)
        if name in newest:
            until[newest[name]] = row.from_position
        newest[name] = index
        first.setdefault(name, row)
    closing = [row for row in first.values() if getattr(row, "training_key", -1) < first_position]
    _close(connection, table, cls, key, closing)
    types = {**_types(cls), "to_position": pa.int64()}
    columns = {name: _column(rows, name) for name in _types(cls)} | {"to_position": until}
    _insert(connection, table, types, columns)


def _close(
    connection: duckdb.DuckDBPyConnection, table: str, cls: type, key: tuple[str, ...], rows: list[Any]
) -> None:
    """End the open interval of each row's key where the row begins."""
    if len(rows) <= _FEW:
        matching = " and ".join(f"{name} = ?" for name in key)
        for row in rows:
            connection.execute(
                f"update base.{table} set to_position = ? where {matching} and to_position is null",
                [row.from_position, *(getattr(row, name) for name in key)],
            )
        return
    types = _types(cls)
    columns = {name: pa.array([getattr(row, name) for row in rows], types[name]) for name in key}
    columns["until"] = pa.array([row.from_position for row in rows], pa.int64())
    connection.register("closing", pa.table(columns))
    matching = " and ".join(f"t.{name} = closing.{name}" for name in key)
    connection.execute(
        f"update base.{table} t set to_position = closing.until from closing "
        f"where {matching} and t.to_position is null"
    )
    connection.unregister("closing")


def _insert(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    types: Mapping[str, pa.DataType],
    columns: Mapping[str, Sequence[Any]],
) -> None:
    """Insert rows, handed over as columns by name."""
    count = len(next(iter(columns.values())))
    if not count:
        return
    listed = ", ".join(types)
    if count <= _FEW and not any(pa.types.is_map(kind) for name, kind in types.items() if name != "models"):
        one = f"({', '.join(_MODELS_GIVEN if name == 'models' else '?' for name in types)})"
        given = {name: map(_structs, columns[name]) if name == "models" else columns[name] for name in types}
        rows = zip(*given.values(), strict=True)
        connection.execute(
            f"insert into base.{table} ({listed}) values {', '.join([one] * count)}",
            [value for row in rows for value in row],
        )
        return
    connection.register("incoming", pa.table({n: pa.array(columns[n], kind) for n, kind in types.items()}))
    select = ", ".join(_MODELS_AS_STRUCTS if name == "models" else name for name in types)
    connection.execute(f"insert into base.{table} ({listed}) select {select} from incoming")
    connection.unregister("incoming")


def _structs(models: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"model": model, "training_id": training_id} for model, training_id in models]


_MODELS_GIVEN = "?::struct(model varchar, training_id varchar)[]"
_MODELS_AS_STRUCTS = (
    "[struct_pack(model := e.key, training_id := e.value) for e in map_entries(models)] as models"
)


def _write_versions(connection: duckdb.DuckDBPyConnection, rows: list[TrainingRow]) -> None:
    versions = {row.model: row.version for row in rows}
    for model, version in versions.items():
        known = connection.execute(
            "update base.model set last_version = ? where model = ? returning 1", [version, model]
        ).fetchone()
        if known is None:
            connection.execute("insert into base.model values (?, ?)", [model, version])


def _write_amendment(connection: duckdb.DuckDBPyConnection, row: AmendmentRow, terms: Terms) -> None:
    """Put the new value in the old one's place, and keep the old one in the amendment."""
    old_text: str | None = None
    old_number: float | None = None
    match row.kind:
        case "metric":
            where = [row.training_key, *terms.keys([row.name, row.slice])]
            matching = "training_key = ? and name_key = ? and slice_key = ?"
            (old_number,) = _one(connection, f"select value from base.metric where {matching}", where)
            connection.execute(f"update base.metric set value = ? where {matching}", [row.number, *where])
        case "parameter":
            where_name = [row.training_key, row.name]
            matching = "training_key = ? and name = ?"
            old_text, old_number = _one(
                connection,
                f"select text, number from base.parameter where {matching}",
                where_name,
            )
            connection.execute(
                f"update base.parameter set text = ?, number = ? where {matching}",
                [row.text, row.number, *where_name],
            )
            _put_in_map(connection, "parameters", row)
        case _:
            (old_text,) = _one(
                connection, "select tags[?] from base.training where key = ?", [row.name, row.training_key]
            )
            _put_in_map(connection, "tags", row)
    connection.execute(
        "insert into base.amendment values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [*(getattr(row, f.name) for f in fields(row)), old_text, old_number],
    )


def _put_in_map(connection: duckdb.DuckDBPyConnection, column: str, row: AmendmentRow) -> None:
    connection.execute(
        f"update base.training set {column} = map_concat({column}, map([?], [?])) where key = ?",
        [row.name, row.text, row.training_key],
    )


def _one(connection: duckdb.DuckDBPyConnection, sql: str, arguments: list[Any]) -> tuple[Any, ...]:
    found: tuple[Any, ...] | None = connection.execute(sql, arguments).fetchone()
    if found is None:
        raise LookupError(f"no row for {arguments}")
    return found
