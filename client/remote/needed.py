"""What calling a service takes, and whether it is installed."""

from __future__ import annotations

import importlib

from deedbook.events.errors import MissingExtra

_NEEDED = ("google.protobuf.message", "google.rpc.status_pb2", "grpc")


def check_can_call() -> None:
    """Raise MissingExtra where what calling takes is not installed."""
    for name in _NEEDED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise MissingExtra(f"a service needs {name}: pip install 'deedbook[grpc]'") from error
