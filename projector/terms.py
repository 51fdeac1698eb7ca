"""Names of metrics and slices as small integers, in the order in which they first came."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable

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
