"""DuckDB without pandas, which it looks for at every value that a statement is handed."""

from __future__ import annotations

import functools
import importlib.util
import sys
import types

import duckdb


@functools.cache
def settle_pandas() -> None:
    """Have DuckDB look for pandas no more, in a process where it is not installed; elsewhere nothing is done.

    For each value DuckDB 1.5.5 imports it twice, to know pandas' own nulls: where that fails every time, the values of
    one training of a hundred metrics take 45 ms, not one. What it has found once it keeps: so for one value it finds a
    module with two nulls that are nobody's, which nobody else sees.
    """
    if _is_there():
        return
    module = types.ModuleType("pandas")
    module.__dict__.update(NaT=object(), NA=object())
    sys.modules["pandas"] = module
    try:
        with duckdb.connect() as connection:
            connection.execute("select ?", [0])
    finally:
        del sys.modules["pandas"]


def _is_there() -> bool:
    try:
        return importlib.util.find_spec("pandas") is not None
    except ModuleNotFoundError:  # it was left out of this process
        return False
    except ValueError:  # it is imported already, in some way of its own
        return True
