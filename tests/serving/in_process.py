"""A served registry within the test's process: all that the front ends are handed, and nothing that listens."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from deedbook.cli.serving import live_service
from deedbook.cli.settings import Settings
from deedbook.cli.wiring import opened
from deedbook.client.place import Surroundings
from deedbook.service.settings import Address, ServiceSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deedbook.service.context import Service

PATIENCE_SECONDS = 60.0


@contextmanager
def live_registry(folder: Path, *, url: str = "") -> Iterator[Service]:
    """The service of a registry in a folder, made where there is none, once all in it is folded."""
    here = Surroundings(folder=str(folder), artifacts=str(folder / "artifacts")) if url else Surroundings()
    settings = Settings(url=url or f"sqlite:///{folder}", actor="the service", surroundings=here)
    free = Address("127.0.0.1", 0)
    place = settings.place()
    served = ServiceSettings(registry=place.url, folder=place.folder, web=free, grpc=free)
    with (
        opened(settings, create=True) as registry,
        live_service(
            registry, served, tokens=settings.tokens_path(), who=lambda: "a test's service"
        ) as service,
    ):
        assert service.live.wait_until_ready(timeout_seconds=PATIENCE_SECONDS)
        yield service
