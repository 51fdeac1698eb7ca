"""Pandas, which DuckDB looks for: where it is not, that is found out once."""

import subprocess
import sys

import duckdb
import pandas as pd

from deedbook.projector.without_pandas import settle_pandas

# Counts how often pandas is looked for, and has it not found.
WITHOUT = """
import sys
from importlib.abc import MetaPathFinder

looked_for = []

class Absent(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "pandas":
            looked_for.append(name)
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Absent())
from deedbook.projector.without_pandas import settle_pandas
import duckdb
"""
VALUES = "duckdb.execute('select ?, unnest(?::bigint[])', ['a', [1, 2, 3]])"


def looked_for(program: str) -> int:
    """How often pandas is looked for once a program has begun to hand out values."""
    program = f"{WITHOUT}\n{program}\nbefore = len(looked_for)\n{VALUES}\nprint(len(looked_for) - before)"
    return int(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)


def test_where_pandas_is_not_duckdb_does_not_look_for_it_at_every_value() -> None:
    """Nor is anything left behind that others would take for pandas."""
    settled = "settle_pandas()\nassert 'pandas' not in sys.modules"

    assert 0 == looked_for(settled)
    assert looked_for("") > 0


def test_where_pandas_is_duckdb_knows_its_values() -> None:
    """In a process that has it, nothing changes."""
    settle_pandas()

    assert [(None,)] == duckdb.execute("select ?", [pd.NaT]).fetchall()
    assert [(3,)] == duckdb.from_df(pd.DataFrame({"a": [1, 2]})).sum("a").fetchall()
