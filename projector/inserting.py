"""Arrow columns into a table: whatever their number, by the way that is fastest for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb

# Up to so many rows, one set of parameters for each row is fastest; then one list for each column; then Arrow.
_FEW_ROWS = 8
_SOME_ROWS = 128
_SQL_TYPES = {
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.float64(): "double",
    pa.string(): "varchar",
}


def insert(connection: duckdb.DuckDBPyConnection, table: str, columns: Mapping[str, pa.Array]) -> None:
    """Insert rows into a table of the projection; nested columns are lists of structs, or maps of texts."""
    count = len(next(iter(columns.values())))
    names = ", ".join(columns)
    nested = any(pa.types.is_nested(column.type) for column in columns.values())
    in_lists = any(_has_nan(values) for column in columns.values() for values in _listed(column))
    if count <= _FEW_ROWS and not in_lists:
        one = f"({', '.join(_placeholder(column.type) for column in columns.values())})"
        rows = zip(*(values for column in columns.values() for values in _arguments(column)), strict=True)
        connection.execute(
            f"insert into base.{table} ({names}) values {', '.join([one] * count)}",
            [value for row in rows for value in row],
        )
    elif count <= _SOME_ROWS and not nested and not any(_has_nan(column) for column in columns.values()):
        lists = ", ".join(f"unnest(?::{_SQL_TYPES[column.type]}[])" for column in columns.values())
        connection.execute(
            f"insert into base.{table} ({names}) select {lists}",
            [column.to_pylist() for column in columns.values()],
        )
    else:
        connection.register("incoming", pa.table(dict(columns)))
        connection.execute(f"insert into base.{table} ({names}) select {names} from incoming")
        connection.unregister("incoming")


def _has_nan(column: pa.Array) -> bool:
    """Tell whether a column has a NaN: in a list, DuckDB takes it for a null."""
    return pa.types.is_floating(column.type) and bool(pc.any(pc.is_nan(column)).as_py())


def _listed(column: pa.Array) -> list[pa.Array]:
    """Return the fields of the structs in a column of lists."""
    return column.flatten().flatten() if pa.types.is_list(column.type) else []


def _placeholder(kind: pa.DataType) -> str:
    if pa.types.is_map(kind):
        return "map(?::varchar[], ?::varchar[])"
    if pa.types.is_list(kind):
        fields = ", ".join(f"{field.name} {_SQL_TYPES[field.type]}" for field in kind.value_type)
        return f"?::struct({fields})[]"
    return "?"


def _arguments(column: pa.Array) -> list[list[Any]]:
    """Return what goes into a column's placeholder, row by row: for a map its keys and its values."""
    if not pa.types.is_map(column.type):
        return [column.to_pylist()]
    rows = column.to_pylist()
    return [[[pair[part] for pair in row] for row in rows] for part in (0, 1)]
