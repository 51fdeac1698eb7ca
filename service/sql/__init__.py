"""Queries by others: each in a killable child of its own that can reach one snapshot and nothing else.

runner.py      the service's front door: a turn, a snapshot, a child, an answer
turns.py       who comes next, fairly; snapshots.py: the snapshot a query is asked of
keeper.py      the service's end of the keeper; answer.py reads what a child said
keeping.py     the keeper itself: a warm process, forked once for each query
child.py       one query's process: opens the snapshot, is confined, and only then reads the query
probes.py      what is forbidden, tried by such a child; self_test.py says which promises hold here
"""

from deedbook.service.sql.answer import Answer, Column
from deedbook.service.sql.limits import Limits
from deedbook.service.sql.runner import SqlRunner

__all__ = ["Answer", "Column", "Limits", "SqlRunner"]
