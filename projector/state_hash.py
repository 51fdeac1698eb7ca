"""One hash of all the state, equal wherever the same log was folded to the same positions."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

# Positions count for what is decided, which is `registry`. Of the other topics only the content does: the same
# records, spread over more partitions, are the same state.
_PLACE = (
    "case topic when 'registry' then partition end as partition, "
    "case topic when 'registry' then position end as position"
)
# Left out: what depends on the order of reading (names' keys) or belongs to the file (meta).
_WHAT_COUNTS = {
    "progress": "select * from base.progress where topic = 'registry'",
    # What was ignored elsewhere was sent before, and says at which position.
    "event": (
        f"select * replace (case when topic = 'registry' or decision <> 'ignored' then reason end as reason, {_PLACE}) "
        "from base.event"
    ),
    "quarantine": (
        "select * replace (map_from_entries(list_filter(map_entries(headers), "
        f"lambda header: header.key <> 'ce_copiedfrom')) as headers, {_PLACE}) from base.quarantine"
    ),
    "chunk": "select training_id, producer, sequence from base.chunk",
    "model_load": "select * exclude (partition, position) from base.model_load",
    "metric": (
        "select m.training_key, n.term as name, s.term as slice, m.value from base.metric m "
        "join base.term n on n.term_key = m.name_key join base.term s on s.term_key = m.slice_key"
    ),
    "step_metric": (
        "select c.training_id, c.producer, c.sequence, n.term as name, s.term as slice, m.step, m.value, m.logged_at "
        "from base.step_metric m join base.chunk c on c.partition = m.partition and c.position = m.chunk_position "
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
    rows = _WHAT_COUNTS.get(table, f"select * from base.{table}")
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
