"""A registry of the test's own, reached in its folder or through a service: the same in all that a client sees."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import deedbook
from tests.serving.over_grpc import listening

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deedbook.client.registry import Registry

EMBEDDED, GRPC = "embedded", "grpc"

# For tests that hold whichever way the fixture `registry` reaches it.
either_way = pytest.mark.parametrize("registry", [EMBEDDED, GRPC], indirect=True)

# Of a registry that is served: the folder of its log, by the service's URL.
_FOLDERS: dict[str, Path] = {}


@contextmanager
def url_of(folder: Path, way: str) -> Iterator[str]:
    """The URL by which the registry in a folder is reached."""
    if way == EMBEDDED:
        yield f"sqlite:///{folder}"
        return
    with listening(folder) as url:
        _FOLDERS[url] = folder
        yield url
        del _FOLDERS[url]


@contextmanager
def reached(folder: Path, way: str, *, actor: str | None = "ana") -> Iterator[Registry]:
    """The registry in a folder; where it is embedded, it is not there yet."""
    with url_of(folder, way) as url, deedbook.connect(url, actor=actor) as registry:
        yield registry


def log_folder(registry: Registry) -> Path:
    """The folder that a registry's log is in."""
    place = registry.settings.place
    return _FOLDERS.get(place.url, place.folder)
