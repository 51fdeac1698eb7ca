"""What stands behind a registry, and what a serving host asks, by where the registry is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deedbook.client.embedded import Embedded
from deedbook.client.preparing import Preparer
from deedbook.client.recording import Recorder

if TYPE_CHECKING:
    from deedbook.client.backend import Backend
    from deedbook.client.place import Place
    from deedbook.client.source import Source


def backend_at(place: Place, *, actor: str) -> Backend:
    """Return what stands behind a registry, in the name of an actor; nothing is opened yet.

    Raises MissingExtra where what calling a service takes is not installed.
    """
    if place.service is None:
        return Embedded(Recorder(place, actor=actor))
    from deedbook.client.remote.needed import check_can_call

    check_can_call()
    from deedbook.client.remote.backend import Remote
    from deedbook.client.remote.calling import Service

    return Remote(Service(place.service, actor), Preparer(actor), place.folder / "artifact-copies")


def source_at(place: Place, service: str, environment: str, *, actor: str) -> Source:
    """Return what tells a serving host what it is bound to; nothing is opened yet. Raises MissingExtra."""
    from deedbook.client.source import FolderSource, KafkaSource

    if place.service is not None:
        from deedbook.client.remote.needed import check_can_call

        check_can_call()
        from deedbook.client.remote.calling import Service
        from deedbook.client.remote.source import ServiceSource

        return ServiceSource(
            Service(place.service, actor),
            Preparer(actor),
            place.folder / "artifact-copies",
            service,
            environment,
        )
    recorder = Recorder(place, actor=actor)
    if place.kafka is not None:
        return KafkaSource(recorder, service, environment)
    return FolderSource(recorder, service, environment)
