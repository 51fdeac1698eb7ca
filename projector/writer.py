"""Decisions to rows, in bulk: a few statements per batch, whatever its size."""

from __future__ import annotations

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
    from collections.abc import Iterable, Sequence

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


def write_events(connection: duckdb.DuckDBPyConnection, decided: Sequence[tuple[Event, Decision]]) -> None:
    """Write the timeline: every event, with what was decided and why."""
    get = operator.attrgetter(*list(_EVENT_COLUMNS)[:9])
    rows = [(*get(event), *_decision_text(decision), event.body_hash) for event, decision in decided]
    _insert(connection, "event", list(_EVENT_COLUMNS), list(_EVENT_COLUMNS.values()), rows)


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


def write_quarantine(
    connection: duckdb.DuckDBPyConnection, quarantined: Iterable[tuple[Record, str]]
) -> None:
    """Keep what could not be decoded, as it came."""
    for record, reason in quarantined:
        headers = dict(record.headers)
        connection.execute(
            "insert into base.quarantine "
            "values (?, ?, ?, ?, ?, ?, map_from_entries(?::struct(k varchar, v blob)[]), ?)",
            [
                record.topic,
                record.partition,
                record.position,
                record.recorded_at,
                reason,
                record.key,
                [{"k": name, "v": value} for name, value in headers.items()],
                record.value,
            ],
        )


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
    names = [f.name for f in fields(cls)]
    if key:
        get = operator.attrgetter(*key)
        rows = list({get(row): row for row in rows}.values())
        # A row about a training of this very batch cannot be there yet.
        old = [row for row in rows if getattr(row, "training_key", -1) < first_position]
        _delete(connection, table, cls, key, old)
    types = [_ARROW_TYPES[str(f.type)] for f in fields(cls)]
    _insert(connection, table, names, types, [_values(row, names) for row in rows])


def _values(row: Row, names: list[str]) -> tuple[Any, ...]:
    return tuple(
        policy_to_json(value) if name == "policy" else value
        for name, value in ((name, getattr(row, name)) for name in names)
    )


def _delete(
    connection: duckdb.DuckDBPyConnection, table: str, cls: type, key: tuple[str, ...], rows: list[Any]
) -> None:
    if len(rows) <= _FEW:
        matching = " and ".join(f"{name} = ?" for name in key)
        for row in rows:
            connection.execute(
                f"delete from base.{table} where {matching}", [getattr(row, name) for name in key]
            )
        return
    types = _types(cls)
    keys = pa.table({name: pa.array([getattr(row, name) for row in rows], types[name]) for name in key})
    connection.register("gone", keys)
    matching = " and ".join(f"t.{name} = gone.{name}" for name in key)
    connection.execute(f"delete from base.{table} t using gone where {matching}")
    connection.unregister("gone")


def _types(cls: type) -> dict[str, pa.DataType]:
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
    names = [f.name for f in fields(cls)]
    types_in_order = [*(_ARROW_TYPES[str(f.type)] for f in fields(cls)), pa.int64()]
    values = [(*_values(row, names), end) for row, end in zip(rows, until, strict=True)]
    _insert(connection, table, [*names, "to_position"], types_in_order, values)


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
    names: Sequence[str],
    types: Sequence[pa.DataType],
    rows: Sequence[tuple[Any, ...]],
) -> None:
    if not rows:
        return
    if len(rows) <= _FEW and not any(pa.types.is_map(kind) for kind in types):
        one = f"({', '.join('?' * len(names))})"
        values = [value for row in rows for value in row]
        connection.execute(
            f"insert into base.{table} ({', '.join(names)}) values {', '.join([one] * len(rows))}", values
        )
        return
    columns = [pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), types, strict=True)]
    connection.register("incoming", pa.table(dict(zip(names, columns, strict=True))))
    listed = ", ".join(names)
    select = ", ".join(_MODELS_AS_STRUCTS if name == "models" else name for name in names)
    connection.execute(f"insert into base.{table} ({listed}) select {select} from incoming")
    connection.unregister("incoming")


_MODELS_AS_STRUCTS = (
    "[struct_pack(model := e.key, training_id := e.value) for e in map_entries(models)] as models"
)


def _write_versions(connection: duckdb.DuckDBPyConnection, rows: list[TrainingRow]) -> None:
    versions = {row.model: row.version for row in rows}
    for model, version in versions.items():
        if version > 1:
            connection.execute("delete from base.model where model = ?", [model])
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
