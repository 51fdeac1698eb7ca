"""What both front ends are handed: the state, the way to write, who may do what, and the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deedbook.artifacts.store import ArtifactStore
    from deedbook.events.codec import Codec
    from deedbook.events.log import Log
    from deedbook.service.access.access import Access
    from deedbook.service.bindings import Bindings
    from deedbook.service.live import Live
    from deedbook.service.measuring import Measures
    from deedbook.service.settings import ServiceSettings
    from deedbook.service.snapshots import HeldSnapshots
    from deedbook.service.sql import SqlRunner
    from deedbook.service.writing import Writer


@dataclass(frozen=True, slots=True)
class Service:
    """A registry as it is served."""

    live: Live
    writer: Writer
    artifacts: ArtifactStore
    access: Access
    bindings: Bindings
    snapshots: HeldSnapshots
    sql: SqlRunner
    measures: Measures
    settings: ServiceSettings
    log: Log
    codec: Codec
