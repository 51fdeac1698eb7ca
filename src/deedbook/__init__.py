"""deedbook: a machine-learning model registry kept as an event log.

registry = deedbook.connect()
host = deedbook.serving.Host(service="pricing-api")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deedbook.client import serving as serving
    from deedbook.client.registry import Registry as Registry
    from deedbook.client.registry import connect as connect
    from deedbook.events.errors import DeedbookError as DeedbookError
    from deedbook.events.errors import InvalidInput as InvalidInput
    from deedbook.events.errors import NotFound as NotFound
    from deedbook.events.errors import RequestRejected as RequestRejected
    from deedbook.events.facts import AcceptanceReport as AcceptanceReport
    from deedbook.events.facts import Artifact as Artifact
    from deedbook.events.facts import Direction as Direction
    from deedbook.events.facts import Feature as Feature
    from deedbook.events.facts import Metric as Metric
    from deedbook.projector.queries.filters import MetricFilter as MetricFilter
    from deedbook.projector.queries.filters import MetricName as MetricName

__version__ = "0.1.0"

# Looked up when first used: a program that only asks for the version, or for help, pays for nothing else.
_HOMES = {
    "AcceptanceReport": "deedbook.events.facts",
    "Artifact": "deedbook.events.facts",
    "DeedbookError": "deedbook.events.errors",
    "Direction": "deedbook.events.facts",
    "Feature": "deedbook.events.facts",
    "InvalidInput": "deedbook.events.errors",
    "Metric": "deedbook.events.facts",
    "MetricFilter": "deedbook.projector.queries.filters",
    "MetricName": "deedbook.projector.queries.filters",
    "NotFound": "deedbook.events.errors",
    "Registry": "deedbook.client.registry",
    "RequestRejected": "deedbook.events.errors",
    "connect": "deedbook.client.registry",
}

__all__ = [
    "AcceptanceReport",
    "Artifact",
    "DeedbookError",
    "Direction",
    "Feature",
    "InvalidInput",
    "Metric",
    "MetricFilter",
    "MetricName",
    "NotFound",
    "Registry",
    "RequestRejected",
    "connect",
    "serving",
]


if not TYPE_CHECKING:  # a type checker sees the imports above, and notices a name that is not there

    def __getattr__(name: str) -> object:
        if name == "serving":
            return importlib.import_module("deedbook.client.serving")
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module 'deedbook' has no attribute {name!r}")
        return getattr(importlib.import_module(home), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
