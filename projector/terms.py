"""What the store remembers of metrics: their names as small integers, their directions and units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import duckdb


class Terms:
    """The projection's dictionary of names; a batch's new names are written with its rows.

    The keys depend on the order of reading and are never shown; everything that compares
    projections compares the names.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self.forget()

    def forget(self) -> None:
        """Read the dictionary anew, as after a transaction that was rolled back."""
        found = self._connection.execute("select term, term_key from base.term").fetchall()
        self._keys: dict[str, int] = dict(found)

    def keys(self, names: Iterable[str]) -> list[int]:
        """Return each name's key; a new name gets the next one."""
        wanted = list(names)
        new = [name for name in dict.fromkeys(wanted) if name not in self._keys]
        if new:
            added = {name: len(self._keys) + offset for offset, name in enumerate(new)}
            self._keys.update(added)
            self._connection.register(
                "new_terms",
                pa.table({"k": pa.array(list(added.values()), pa.int32()), "t": pa.array(new, pa.string())}),
            )
            self._connection.execute("insert into base.term select k, t from new_terms")
            self._connection.unregister("new_terms")
        return [self._keys[name] for name in wanted]


class Definitions:
    """Each metric's direction and unit, as the newest training of the model stated them."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self.forget()

    def forget(self) -> None:
        """Read the definitions anew, as after a transaction that was rolled back."""
        rows = self._connection.execute(
            "select model, name, direction, unit from base.metric_definition"
        ).fetchall()
        self._known = {(model, name): (direction, unit) for model, name, direction, unit in rows}

    def state(self, stated: Mapping[tuple[str, str], tuple[str, str]]) -> None:
        """Write the definitions, by (model, metric), that are new or other than before."""
        changed = {key: value for key, value in stated.items() if self._known.get(key) != value}
        for model, name in changed.keys() & self._known.keys():
            self._connection.execute(
                "delete from base.metric_definition where model = ? and name = ?", [model, name]
            )
        if changed:
            rows = [(*key, *value) for key, value in changed.items()]
            columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
            self._connection.register("stated", pa.table(columns, ["model", "name", "direction", "unit"]))
            self._connection.execute("insert into base.metric_definition select * from stated")
            self._connection.unregister("stated")
            self._known.update(changed)
