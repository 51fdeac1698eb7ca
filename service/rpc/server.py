"""The gRPC server: the interface, its health and its description, behind the layers that every call passes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from deedbook.api.v1 import registry_pb2_grpc
from deedbook.events.errors import InvalidInput, ServiceEnding
from deedbook.service.access.rpc import AccessInterceptor
from deedbook.service.measuring import readiness
from deedbook.service.observed_rpc import ObservedRpc
from deedbook.service.rpc.limits import MAX_METADATA_BYTES
from deedbook.service.rpc.means import Means
from deedbook.service.rpc.reading import Reading
from deedbook.service.rpc.registry import DESCRIPTOR, RegistryServicer

if TYPE_CHECKING:
    from deedbook.service.context import Service
    from deedbook.service.settings import ServiceSettings

_MAX_CALLS: Final = 2_000
_LOOK_SECONDS: Final = 1.0
# A connection whose other end is gone without a word is noticed after a minute.
_KEEPALIVE_MS: Final = 40_000
_KEEPALIVE_TIMEOUT_MS: Final = 20_000
_MIN_PING_MS: Final = 5_000


def rpc_server(service: Service) -> grpc.aio.Server:
    """Return the server, bound to no address yet; to be called in the event loop that it will run in.

    Its streams end once the live state says that the service ends. Raises LogUnavailable.
    """
    means = Means.of(service)
    limits = service.settings.limits
    server = grpc.aio.server(
        interceptors=[ObservedRpc(service.measures), AccessInterceptor(service.access), Reading(DESCRIPTOR)],
        options=[
            ("grpc.max_receive_message_length", limits.message_bytes),
            ("grpc.max_metadata_size", MAX_METADATA_BYTES),
            ("grpc.absolute_max_metadata_size", 2 * MAX_METADATA_BYTES),
            ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
            ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", _MIN_PING_MS),
            # Two servers on one port would share its calls out among them.
            ("grpc.so_reuseport", 0),
        ],
        maximum_concurrent_rpcs=_MAX_CALLS + limits.streams,
    )
    registry_pb2_grpc.add_RegistryServicer_to_server(RegistryServicer(service, means), server)
    healths = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healths, server)
    names = (DESCRIPTOR.full_name, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    _Watching(service, means, server, healths).begin()
    return server


def server_credentials(settings: ServiceSettings) -> grpc.ServerCredentials | None:
    """Return what the server speaks TLS with, None where no certificate is set. Raises InvalidInput."""
    if settings.certificate is None or settings.key is None:
        return None
    try:
        chain = (settings.key.read_bytes(), settings.certificate.read_bytes())
    except OSError as error:
        raise InvalidInput(f"the certificate or its key can't be read: {error.strerror or error}") from None
    return grpc.ssl_server_credentials([chain])


class _Watching:
    """Tells health checks how the service is, and ends the streams when it ends."""

    def __init__(
        self, service: Service, means: Means, server: grpc.aio.Server, healths: health.aio.HealthServicer
    ) -> None:
        self._service = service
        self._means = means
        self._server = server
        self._healths = healths
        self._watch: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Watch, for as long as the server lives."""
        self._watch = asyncio.create_task(self._watch_all())

    async def _watch_all(self) -> None:
        others = [asyncio.create_task(self._watch_end()), asyncio.create_task(self._watch_health())]
        try:
            await self._server.wait_for_termination()
        finally:
            for other in others:
                other.cancel()
            self._means.close()

    async def _watch_end(self) -> None:
        with contextlib.suppress(ServiceEnding):
            while True:
                # Past every position: what wakes this is the end alone.
                await self._service.live.changed(1 << 62, timeout_seconds=3_600.0)
        self._means.sinks.stop()

    async def _watch_health(self) -> None:
        last: bool | None = None
        while True:
            ready, _ = readiness(self._service.live, self._service.settings)
            if ready != last:
                status = (
                    health_pb2.HealthCheckResponse.SERVING
                    if ready
                    else health_pb2.HealthCheckResponse.NOT_SERVING
                )
                for name in ("", DESCRIPTOR.full_name):
                    await self._healths.set(name, status)
                last = ready
            await asyncio.sleep(_LOOK_SECONDS)
