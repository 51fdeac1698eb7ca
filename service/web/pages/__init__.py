"""The pages' addresses, collected from this folder's modules; each says what a caller must be allowed to do."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from deedbook.service.access.roles import Permission

Endpoint: TypeAlias = Callable[[Request], Response] | Callable[[Request], Awaitable[Response]]

# What anybody may open, signed in or not: the way in, the pages' looks, and whether the process is alive.
OPEN: Final = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One address: what answers there, and what that needs.

    `permission` has no default: what is open to everybody says so, by `OPEN`. A synchronous endpoint runs in a
    thread of its own and may wait for the tables; an asynchronous one must never block.
    """

    path: str
    endpoint: Endpoint
    permission: Permission | None
    methods: tuple[str, ...] = ("GET",)


def collected() -> tuple[Page, ...]:
    """Return the pages of all modules of this folder, in the order of the modules' names."""
    found: list[Page] = []
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        found += importlib.import_module(f"{__name__}.{module.name}").PAGES
    return tuple(found)
