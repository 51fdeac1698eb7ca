"""`deedbook project`: the process that keeps a projection at the log's end and announces what follows."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Annotated

import typer

from deedbook.cli.options import settings_of
from deedbook.cli.stopping import stopping
from deedbook.cli.tables import note
from deedbook.cli.wiring import Registry, opened, watched

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from deedbook.projector.store import Store

_LOG = logging.getLogger(__name__)
_AWAY_SECONDS = 1.0
_REMIND_SECONDS = 5.0


def project(
    ctx: typer.Context,
    *,
    patience: Annotated[
        float,
        typer.Option(
            help="After so many seconds, ask again for a verdict that nobody gave.",
            metavar="SECONDS",
            min=0.1,
        ),
    ] = 3600.0,
    attempts: Annotated[
        int,
        typer.Option(help="Ask so often; then a verdict says that nobody answered.", metavar="NUMBER", min=1),
    ] = 3,
) -> None:
    """Keep this machine's projection at the log's end, until Ctrl-C or SIGTERM."""
    from deedbook.consumers.announcer import Patience

    with (
        stopping() as stop,
        opened(settings_of(ctx), patience=Patience(patience, attempts), must_announce=True) as registry,
        watched(registry.place) as look,
    ):
        note(f"Folding {registry.place.url} in {registry.place.folder}; Ctrl-C ends it.")
        _follow(registry, stop, look, remind_seconds=min(_REMIND_SECONDS, patience / 2))
        note("Ended; what comes is folded when this starts again.")


def _follow(
    registry: Registry,
    stop: threading.Event,
    look: Callable[[], object] | None,
    *,
    remind_seconds: float,
) -> None:
    """Follow the log; while it is away, or others are at the projection, wait and go on."""
    from deedbook.events.errors import LogUnavailable, ProjectionBusy
    from deedbook.projector.following import Following
    from deedbook.projector.owner import Owner

    def remind(store: Store) -> None:
        registry.announcer.remind(store.connection)

    def told(position: int) -> None:
        if said:
            _LOG.warning("going on: folded up to %s", position)
            said.clear()

    said: list[str] = []
    following = Following(
        registry.projection,
        registry.log,
        remind=remind,
        told=told,
        remind_seconds=remind_seconds,
        look=look,
    )
    owner = Owner(
        registry.place.folder,
        who=lambda: f"deedbook project, process {os.getpid()}",
        identity=registry.log.identity(),
        snapshot=lambda ends, seconds: following.snapshots.holding(ends, timeout_seconds=seconds),
        lend=following.lend,
    )
    while not stop.is_set():
        try:
            with owner:
                following.run(stop.is_set)
        except (LogUnavailable, ProjectionBusy) as error:
            if not said:
                _LOG.warning("%s; going on as soon as that changes", error)
            said[:] = [str(error)]
            stop.wait(_AWAY_SECONDS)
