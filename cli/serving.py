"""How a registry is put together to be served: its live state, the way to write, who may do what."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from deedbook.cli.wiring import Registry
from deedbook.service.access.access import Access
from deedbook.service.bindings import Bindings
from deedbook.service.context import Service
from deedbook.service.live import Live
from deedbook.service.measuring import Measures
from deedbook.service.snapshots import HeldSnapshots
from deedbook.service.sql import SqlRunner
from deedbook.service.writing import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deedbook.projector.store import Store
    from deedbook.service.settings import ServiceSettings

TOKENS_FILE = "tokens.json"


@contextmanager
def live_service(
    registry: Registry,
    settings: ServiceSettings,
    *,
    tokens: Path | None = None,
    remind_seconds: float = 5.0,
) -> Iterator[Service]:
    """Begin to fold a registry, and hand out all that its front ends need; ends with the last fold.

    ``tokens``: the file that they are kept in, else the folder's. Raises InvalidInput.
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
            waits=registry.place.kafka is not None,
        )
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
            access=Access(tokens or settings.folder / TOKENS_FILE),
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
