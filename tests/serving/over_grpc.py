"""A registry's gRPC interface, listening in a thread of the test's own process."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deedbook.service.rpc.server import rpc_server
from tests.serving.in_process import PATIENCE_SECONDS, live_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deedbook.service.context import Service

ENDING_SECONDS = 0.1


@contextmanager
def listening(folder: Path, *, port: int = 0) -> Iterator[str]:
    """Serve the registry in a folder, made where there is none; hand out the service's URL."""
    with live_registry(folder) as service, listening_to(service, port=port) as url:
        yield url


@contextmanager
def listening_to(service: Service, *, port: int = 0) -> Iterator[str]:
    """Answer for a service until the end; hand out its URL."""
    began: list[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = []
    ready = threading.Event()

    async def answer() -> None:
        server = rpc_server(service)
        stop = asyncio.Event()
        bound = server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        began.append((asyncio.get_running_loop(), stop, bound))
        ready.set()
        await stop.wait()
        await server.stop(ENDING_SECONDS)

    thread = threading.Thread(target=lambda: asyncio.run(answer()), name="a test's service")
    thread.start()
    assert ready.wait(PATIENCE_SECONDS)
    ((loop, stop, bound),) = began
    try:
        yield f"grpc://127.0.0.1:{bound}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
