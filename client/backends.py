"""What stands behind a registry, and what a serving host asks, by where the registry is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deedbook.client.embedded import Embedded
from deedbook.client.recording import Recorder

if TYPE_CHECKING:
    from deedbook.client.backend import Backend
    from deedbook.client.place import Place
    from deedbook.client.source import Source


def backend_at(place: Place, *, actor: str) -> Backend:
    """Return what stands behind a registry, in the name of an actor; nothing is opened yet."""
    return Embedded(Recorder(place, actor=actor))


def source_at(place: Place, service: str, environment: str, *, actor: str) -> Source:
    """Return what tells a serving host what it is bound to; nothing is opened yet."""
    from deedbook.client.source import FolderSource, KafkaSource

    recorder = Recorder(place, actor=actor)
    if place.kafka is not None:
        return KafkaSource(recorder, service, environment)
    return FolderSource(recorder, service, environment)
