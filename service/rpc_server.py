"""The gRPC server: the interface, its health and its description, behind the layers that every call passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from deedbook.service.access.rpc import AccessInterceptor
from deedbook.service.observed_rpc import ObservedRpc

if TYPE_CHECKING:
    from deedbook.service.context import Service

_MAX_METADATA_BYTES = 16 << 10
_MAX_CALLS = 2_000


def rpc_server(service: Service) -> grpc.aio.Server:
    """Return the server, not bound to any address yet; to be called in the event loop it will run in."""
    settings = service.settings
    server = grpc.aio.server(
        interceptors=[ObservedRpc(service.measures), AccessInterceptor(service.access)],
        options=[
            ("grpc.max_receive_message_length", settings.limits.message_bytes),
            ("grpc.max_metadata_size", _MAX_METADATA_BYTES),
            # Two servers on one port would share its calls out among them.
            ("grpc.so_reuseport", 0),
        ],
        maximum_concurrent_rpcs=_MAX_CALLS + settings.limits.streams,
    )
    healths = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healths, server)
    names = (health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    return server
