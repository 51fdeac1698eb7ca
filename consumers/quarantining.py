"""Quarantine on the log: what could not be decoded is put on the topic `quarantine`, as it came, with where and why.

Every projection keeps such records for itself as well. The topic is for those who mend what wrote them: it can
be followed like any other, and outlives every projection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deedbook.events.errors import InvalidInput
from deedbook.events.facts import QUARANTINE
from deedbook.events.log import NewRecord

if TYPE_CHECKING:
    import duckdb

    from deedbook.events.log import Log

# Where a quarantined record stands, as topic:partition:position, and what is wrong with it.
FROM = "ce_quarantinedfrom"
REASON = "ce_quarantinereason"
_MAX_REASON_BYTES = 2_000
_BATCH = 100


class Quarantine:
    """Puts each quarantined record of a projection on the topic once; what others put there counts."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._there: set[str] = set()
        self._read_upto = 0

    def announce(self, connection: duckdb.DuckDBPyConnection) -> bool:
        """Append what is in quarantine and not on the topic yet: all of it, and say so."""
        (count,) = connection.execute("select count(*) from base.quarantine").fetchone() or (0,)
        if count <= len(self._there):
            return True
        self._look()
        places = connection.execute(
            "select topic, partition, position from base.quarantine order by all"
        ).fetchall()
        missing = [place for place in places if _written(place) not in self._there]
        for first in range(0, len(missing), _BATCH):
            self._append([_record(connection, place) for place in missing[first : first + _BATCH]])
        self._there.update(_written(place) for place in missing)
        return True

    def _look(self) -> None:
        """Take in what is on the topic by now."""
        while records := self._log.read(QUARANTINE, 0, self._read_upto):
            self._there.update(
                dict(record.headers).get(FROM, b"").decode(errors="replace") for record in records
            )
            self._read_upto = records[-1].position + 1

    def _append(self, records: list[NewRecord]) -> None:
        """Append records; of one that is larger than what this log takes, where it stands must do."""
        try:
            self._log.append(QUARANTINE, records)
        except InvalidInput:
            if len(records) == 1:
                self._log.append(QUARANTINE, [NewRecord(b"", b"", records[0].headers[-2:])])
                return
            for record in records:
                self._append([record])


def _record(connection: duckdb.DuckDBPyConnection, place: tuple[str, int, int]) -> NewRecord:
    """Return a record as it came, with where it stands and what is wrong with it."""
    row = connection.execute(
        "select key, map_entries(headers), value, reason from base.quarantine "
        "where topic = ? and partition = ? and position = ?",
        list(place),
    ).fetchone()
    key, headers, value, reason = row or (b"", [], b"", "")
    kept = tuple((header["key"], header["value"] or b"") for header in headers or ())
    why = (
        (FROM, _written(place).encode()),
        (REASON, reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore").encode()),
    )
    return NewRecord(value or b"", key or b"", (*kept, *why))


def _written(place: tuple[str, int, int]) -> str:
    return ":".join(str(part) for part in place)
