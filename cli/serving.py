"""How a registry is put together to be served: its live state, the way to write, who may do what."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from deedbook.cli.wiring import Registry, opened, watched
from deedbook.projector.owner import Owner
from deedbook.service.access.access import Access
from deedbook.service.bindings import Bindings
from deedbook.service.context import Service
from deedbook.service.live import Live
from deedbook.service.measuring import Measures
from deedbook.service.snapshots import HeldSnapshots
from deedbook.service.sql import SqlRunner
from deedbook.service.writing import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from deedbook.cli.settings import Settings
    from deedbook.projector.store import Store
    from deedbook.service.running import Serving
    from deedbook.service.settings import ServiceSettings


def serving(settings: Settings, served: ServiceSettings, *, told: Callable[[Serving], None]) -> None:
    """Serve a registry until the end is asked for; on the embedded log it is made where there is none.

    Raises ProjectionBusy where another process keeps the folder, InvalidInput, and what has ended the folding.
    """
    from deedbook.service.judging import Judging
    from deedbook.service.running import serve

    where: list[Serving] = []

    def who() -> str:
        reached = f" at {where[0].web} and {where[0].grpc}" if where else ""
        return f"deedbook serve{reached}, process {os.getpid()}"

    def tell(serving: Serving) -> None:
        where.append(serving)
        told(serving)

    with opened(settings, create=True) as registry, ExitStack() as stack:
        service = stack.enter_context(live_service(registry, served, tokens=settings.tokens_path(), who=who))
        if served.validation:
            judging = Judging(
                service.live, service.log, service.codec, service.artifacts, clock=registry.recorder.clock
            )
            stack.callback(judging.close)
            judging.start()
        serve(service, told=tell)


@contextmanager
def live_service(
    registry: Registry,
    settings: ServiceSettings,
    *,
    tokens: Path,
    who: Callable[[], str],
    remind_seconds: float = 5.0,
) -> Iterator[Service]:
    """Begin to fold a registry, and hand out all that its front ends need; ends with the last fold.

    ``tokens``: the file that they are kept in. ``who``: what this process is, for others in the folder. Raises
    ProjectionBusy where another process keeps the folder, InvalidInput for a token file that can't be trusted.
    """
    recorder, log = registry.recorder, registry.log

    def remind(store: Store) -> None:
        registry.announcer.remind(store.connection)

    def begin() -> None:
        from deedbook.client.schemas import publish_schemas
        from deedbook.events.facts import REGISTRY

        if log.end(REGISTRY) == 0:
            publish_schemas(log, recorder.codec)

    with ExitStack() as stack:
        live = Live(
            registry.projection,
            log,
            clock=recorder.clock,
            remind=remind,
            remind_seconds=remind_seconds,
            look=stack.enter_context(watched(registry.place)),
        )
        owner = Owner(
            registry.place.folder,
            who=who,
            identity=log.identity(),
            snapshot=lambda ends, seconds: live.following.snapshots.holding(ends, timeout_seconds=seconds),
            lend=live.following.lend,
        )
        stack.enter_context(owner)
        stack.callback(live.close)
        measures = Measures(live)
        writer = Writer(
            live,
            log,
            recorder.codec,
            recorder.artifacts,
            clock=recorder.clock,
            begin=begin,
            appended=measures.append,
        )
        stack.callback(writer.close)
        sql = SqlRunner.of(live, settings.folder)
        stack.callback(sql.close)
        service = Service(
            live=live,
            writer=writer,
            artifacts=recorder.artifacts,
            access=Access(tokens),
            bindings=Bindings(live),
            snapshots=HeldSnapshots(live),
            sql=sql,
            measures=measures,
            settings=settings,
            log=log,
            codec=recorder.codec,
        )
        live.start()
        yield service
