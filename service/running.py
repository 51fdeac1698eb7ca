"""The running service: both front ends on one event loop, from the first request to the last."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import uvicorn

from deedbook.events.errors import DeedbookError, InvalidInput
from deedbook.service.access.connections import BoundedConnection
from deedbook.service.access.origins import check_listening
from deedbook.service.observed_web import ObservedWeb
from deedbook.service.rpc.server import rpc_server, server_credentials
from deedbook.service.settings import Address
from deedbook.service.sharing import short_turns
from deedbook.service.web.app import web_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from deedbook.service.context import Service

SERVING_NAME = "serving.json"
_LOG = logging.getLogger(__name__)
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_BACKLOG = 1_024
_WATCH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Serving:
    """Where the service is reached: two URLs."""

    web: str
    grpc: str


def serve(service: Service, *, told: Callable[[Serving], None]) -> None:
    """Serve until SIGTERM or SIGINT; the second one ends the process at once.

    ``told`` is called once both front ends listen. Raises InvalidInput where they can't or may not, and what has
    ended the folding.
    """
    check_settings(service)
    with short_turns():
        asyncio.run(_Run(service, told).run())
    if service.live.ended_by is not None:
        raise service.live.ended_by


def check_settings(service: Service) -> None:
    """Refuse what would be open to whom it should not, or can't work. Raises InvalidInput."""
    settings = service.settings
    if (settings.certificate is None) != (settings.key is None):
        raise InvalidInput(
            "a certificate needs its key, and a key its certificate: give --certificate and --key"
        )
    for address in (settings.web, settings.grpc):
        check_listening(
            address.host,
            service.access,
            settings.secure,
            plaintext=settings.plaintext,
            public=settings.public_hosts,
        )


class _Web(uvicorn.Server):
    """uvicorn without a will of its own: signals are the whole service's."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ending = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def main_loop(self) -> None:
        """Look up once a second, not ten times: what ends it is waited for."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.ending.wait(), _WATCH_SECONDS)

    def end(self) -> None:
        """Take no more connections, and end when what was asked is answered."""
        self.should_exit = True
        self.ending.set()


def _leave_alone_what_stays() -> None:
    """Keep the garbage collector from what was made to start: looking through that stops everybody for 50 ms."""
    gc.collect()
    gc.freeze()


class _Run:
    """One run of the service, from listening to the last answer."""

    def __init__(self, service: Service, told: Callable[[Serving], None]) -> None:
        self._service = service
        self._settings = service.settings
        self._told = told
        self._ending = asyncio.Event()

    async def run(self) -> None:
        """Listen, serve, drain."""
        self._heed_signals()
        with contextlib.closing(_listening(self._settings.web, "--web")) as listening:
            rpc, rpc_address = self._rpc()
            await rpc.start()
            web = self._web()
            serving_web = asyncio.create_task(web.serve(sockets=[listening]))
            serving = self._serving(Address(self._settings.web.host, listening.getsockname()[1]), rpc_address)
            with _announced(self._settings.folder, serving):
                self._told(serving)
                self._service.sql.begin()
                _leave_alone_what_stays()
                await self._until_end(serving_web)
            self._service.live.end_streams()
            web.end()
            await asyncio.gather(rpc.stop(self._settings.drain_seconds), serving_web, return_exceptions=True)

    def _heed_signals(self) -> None:
        loop = asyncio.get_running_loop()

        def end() -> None:
            _LOG.info("ending: what was asked before is still answered")
            self._ending.set()
            for each in _STOP_SIGNALS:
                loop.remove_signal_handler(each)
                signal.signal(each, signal.SIG_DFL)

        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, end)

    async def _until_end(self, serving_web: asyncio.Task[None]) -> None:
        """Wait for a signal, for the end of the folding, or for that of the pages."""
        while not self._ending.is_set() and not serving_web.done():
            if self._service.live.ended_by is not None:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), _WATCH_SECONDS)

    def _web(self) -> _Web:
        settings = self._settings
        app = web_app(self._service)
        config = uvicorn.Config(
            ObservedWeb(app, app.routes, self._service.measures),
            log_config=None,
            access_log=False,
            http=BoundedConnection,
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            ws="none",
            timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
            ssl_certfile=str(settings.certificate) if settings.certificate else None,
            ssl_keyfile=str(settings.key) if settings.key else None,
        )
        try:
            config.load()
        except (OSError, ValueError) as error:
            raise InvalidInput(
                f"the certificate {settings.certificate} can't be used with its key: {error}"
            ) from None
        return _Web(config)

    def _rpc(self) -> tuple[grpc.aio.Server, Address]:
        """Return the gRPC server, bound, and its address."""
        address = self._settings.grpc
        server = rpc_server(self._service)
        try:
            port = self._bound(server)
        except (RuntimeError, ValueError, OSError) as error:
            said = str(error).partition(":")[0] or type(error).__name__
            raise InvalidInput(
                f"{address} can't be listened on ({said}): give another address by --grpc HOST:PORT"
            ) from None
        return server, Address(address.host, port)

    def _bound(self, server: grpc.aio.Server) -> int:
        address = str(self._settings.grpc)
        if (credentials := server_credentials(self._settings)) is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)

    def _serving(self, web: Address, rpc: Address) -> Serving:
        suffix = "s" if self._settings.secure else ""
        return Serving(f"http{suffix}://{web}", f"grpc{suffix}://{rpc}")


def _listening(address: Address, option: str) -> socket.socket:
    """Return a socket that is bound to an address. Raises InvalidInput."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InvalidInput(f"{address} can't be listened on: {error.strerror or error}") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise InvalidInput(
            f"{address} can't be listened on ({error.strerror or error}): give another address by {option} HOST:PORT"
        ) from None
    return listening


@contextlib.contextmanager
def _announced(folder: Path, serving: Serving) -> Iterator[None]:
    """Leave a file that says where the service is reached, for as long as it is."""
    path = folder / SERVING_NAME
    told: dict[str, Any] = {
        "pid": os.getpid(),
        "web": serving.web,
        "grpc": serving.grpc,
        "started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    draft = folder / f".{SERVING_NAME}.{os.getpid()}"
    try:
        draft.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise DeedbookError(f"{path} can't be written: {error.strerror or error}") from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
