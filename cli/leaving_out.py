"""Leaving pandas out: the command's process is as if it were not installed, unless it trains models itself."""

from __future__ import annotations

import sys


def leave_out_pandas() -> None:
    """Have every import of pandas fail from now on, as where it is not installed.

    DuckDB imports it, where it can, to know one of its values when it is handed one: that takes each command a third of
    a second, and a service 40 MB, for values that are never there.
    """
    sys.modules.setdefault("pandas", None)  # type: ignore[arg-type]  # what import takes for not there


def bring_back_pandas() -> None:
    """Let it be imported again, for what was left out."""
    if sys.modules.get("pandas", "there") is None:
        del sys.modules["pandas"]
