"""Where a copied record was first recorded: the one header that a copy adds to what it carries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER = "ce_copiedfrom"
# A partition, a position and a time of 64 bits take no more; an identity is a few words.
_MAX_BYTES = 512


@dataclass(frozen=True, slots=True)
class CopiedFrom:
    """The source's partition and position, and its recorded time (microseconds UTC).

    ``source`` is the source's identity; only the first record of each partition names it.
    """

    partition: int
    position: int
    recorded_at: int
    source: str = ""


def stamped(headers: Sequence[tuple[str, bytes]], origin: CopiedFrom) -> tuple[tuple[str, bytes], ...]:
    """Return the headers with where the record comes from as the last one, in place of what an older copy said."""
    value = f"{origin.partition} {origin.position} {origin.recorded_at}"
    if origin.source:
        value = f"{origin.source} {value}"
    return (*without_stamp(headers), (HEADER, value.encode()))


def without_stamp(headers: Sequence[tuple[str, bytes]]) -> tuple[tuple[str, bytes], ...]:
    """Return the headers that are not a copy's."""
    return tuple([header for header in headers if header[0] != HEADER])


def copied_from(headers: Sequence[tuple[str, bytes]]) -> CopiedFrom | None:
    """Return where a record was copied from: None where it was not, or where the header says no such thing."""
    if not headers or headers[-1][0] != HEADER or len(headers[-1][1]) > _MAX_BYTES:
        return None
    parts = headers[-1][1].rsplit(b" ", 3)
    try:
        partition, position, recorded_at = (int(part) for part in parts[-3:])
        source = parts[0].decode() if len(parts) > 3 else ""
    except ValueError:
        return None
    return CopiedFrom(partition, position, recorded_at, source)
