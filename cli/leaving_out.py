"""Leaving pandas out: the command's process is as if it were not installed, unless it trains models itself."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder


class _Absent(MetaPathFinder):
    """Says of a package that it is not there, before anybody looks for it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        """Find nothing; raises ModuleNotFoundError for the package."""
        del path, target
        if fullname == self._name:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


_PANDAS = _Absent("pandas")


def leave_out_pandas() -> None:
    """Have every import of pandas fail from now on, as where it is not installed.

    DuckDB and Arrow import it where they can, to know one of its values when they are handed one: that takes each
    command a third of a second, and a service 40 MB, for values that are never there.
    """
    if _PANDAS not in sys.meta_path:
        sys.meta_path.insert(0, _PANDAS)


def bring_back_pandas() -> None:
    """Let it be imported again, for what needs it."""
    if _PANDAS in sys.meta_path:
        sys.meta_path.remove(_PANDAS)
