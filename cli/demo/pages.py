"""The end of the demo where somebody is watching: the pages, served on the demo's data until Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from deedbook.cli.demo.place import environment_of

if TYPE_CHECKING:
    from deedbook.cli.settings import Settings

_WEB_PORT: Final = 8470
_GRPC_PORT: Final = 8471


def somebody_watches() -> bool:
    """Say whether a terminal is attached: where none is, nobody could end what waits for Ctrl-C."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def serve_pages(settings: Settings) -> None:
    """Serve the registry that the settings name, by the command anybody would use, until Ctrl-C ends it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DEEDBOOK_")}
    command = [sys.executable, "-m", "deedbook.cli", "--url", settings.url, "serve", "--log-level", "warning"]
    command += ["--web", _address(_WEB_PORT), "--grpc", _address(_GRPC_PORT)]
    # Ctrl-C reaches the server, which ends, and then so does the demo. A handler, unlike SIG_IGN, is not inherited.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        with subprocess.Popen(command, env=environment | environment_of(settings)) as process:  # noqa: S603 - our own
            process.wait()
    finally:
        signal.signal(signal.SIGINT, before)


def _address(port: int) -> str:
    """Return an address of this machine: the usual port, or any where another program has that."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", port))
        except OSError:
            return "127.0.0.1:0"
    return f"127.0.0.1:{port}"
