"""Ids as a person reads them: the beginning of each that no other has."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

# An id minted by its time begins with it: eleven hexadecimal digits and a dash say the millisecond.
_SHOWN_CHARACTERS = 13


def short_ids(connection: duckdb.DuckDBPyConnection, ids: Sequence[str]) -> dict[str, str]:
    """Return for each training's id its shortest beginning, of 13 characters or more, that no other has."""
    near = connection.execute(
        "select training_id from base.training where left(training_id, $1) in "
        "(select left(unnest($2::varchar[]), $1))",
        [_SHOWN_CHARACTERS, list(ids)],
    ).fetchall()
    known = sorted({*ids, *(id_ for (id_,) in near)})
    length = dict.fromkeys(known, _SHOWN_CHARACTERS)
    for left, right in pairwise(known):
        same = takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False))
        differing = len(list(same)) + 1
        length[left], length[right] = max(length[left], differing), max(length[right], differing)
    return {id_: id_[: length[id_]] for id_ in ids}
