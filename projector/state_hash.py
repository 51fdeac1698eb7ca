"""One hash of all the state, equal wherever the same log was folded to the same positions."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

# Left out: what depends on the order of reading (names' keys) or belongs to the file (meta).
_NAMES_RESOLVED = {
    "metric": (
        "select m.training_key, n.term as name, s.term as slice, m.value from base.metric m "
        "join base.term n on n.term_key = m.name_key join base.term s on s.term_key = m.slice_key"
    ),
    "step_metric": (
        "select m.partition, m.chunk_position, n.term as name, s.term as slice, m.step, m.value, m.logged_at "
        "from base.step_metric m "
        "join base.term n on n.term_key = m.name_key join base.term s on s.term_key = m.slice_key"
    ),
}
_LOW_HALF = (1 << 64) - 1
_LEFT_OUT = frozenset({"meta", "term"})


def state_hash(connection: duckdb.DuckDBPyConnection) -> str:
    """Return the SHA-256 (hex) over every table, whatever the order of rows in it."""
    tables = connection.execute(
        "select table_name from duckdb_tables() where schema_name = 'base' order by table_name"
    ).fetchall()
    whole = hashlib.sha256()
    for (table,) in tables:
        if table not in _LEFT_OUT:
            whole.update(f"{table} {table_hash(connection, table)}\n".encode())
    return whole.hexdigest()


def table_hash(connection: duckdb.DuckDBPyConnection, table: str) -> str:
    """Return the number of a table's rows and the sum of their MD5s: equal for equal rows in any order."""
    rows = _NAMES_RESOLVED.get(table, f"select * from base.{table}")
    columns = [name for name, *_ in connection.execute(f"describe {rows}").fetchall()]
    # A null and an empty text differ; the separator cannot come from a number or an id.
    texts = ", ".join(f"coalesce({name}::varchar, chr(1))" for name in columns)
    # One MD5 of each row, and the sums of its halves, in which no carry gets lost.
    found = connection.execute(
        f"select count(*), sum((h >> 64)::hugeint), sum((h & {_LOW_HALF}::uhugeint)::hugeint) "
        f"from (select md5_number(concat_ws(chr(31), {texts})) as h from ({rows}))"
    ).fetchone()
    return " ".join(str(value or 0) for value in found or ())


def positions(connection: duckdb.DuckDBPyConnection) -> str:
    """Return the positions the state holds for, as ``topic:partition:next`` in order."""
    rows = connection.execute(
        "select topic, partition, next_position from base.progress order by topic, partition"
    ).fetchall()
    return " ".join(f"{topic}:{partition}:{position}" for topic, partition, position in rows)
