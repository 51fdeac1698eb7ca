"""Where a service is, and what opens its door: `grpc://host:port`, `grpcs://host:port`, a token."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from deedbook.events.errors import InvalidInput
from deedbook.events.names import shown

SCHEMES: Final = ("grpc", "grpcs")
DEFAULT_PORT: Final = 8471
_WRITTEN = "a service is at grpc://host:port, or with TLS at grpcs://host:port"


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """A service: `ca_file` holds the certificates it is known by, None for those that the machine trusts."""

    host: str
    port: int
    tls: bool
    token: str = field(default="", repr=False)
    ca_file: Path | None = None

    @property
    def target(self) -> str:
        """The host and port, as addresses are written."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL, however it was written."""
        return f"{'grpcs' if self.tls else 'grpc'}://{self.target}"

    @property
    def on_loopback(self) -> bool:
        """Whether what is sent there stays on this machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def service_address(url: str, *, token: str, ca_file: str, insecure_token: bool) -> ServiceAddress:
    """Return the address that a URL names; raises InvalidInput, without a word of what is secret.

    ``insecure_token``: the token may also go to another machine without TLS.
    """
    host, port = _host_and_port(url)
    address = ServiceAddress(
        host=host,
        port=port,
        tls=url.partition("://")[0].lower() == "grpcs",
        token=_checked_token(token),
        ca_file=Path(ca_file).absolute() if ca_file else None,
    )
    if address.token and not (address.tls or address.on_loopback or insecure_token):
        raise InvalidInput(
            f"DEEDBOOK_TOKEN is not sent to {address.url}, where everybody on the way could read it: use grpcs://, or "
            "set DEEDBOOK_INSECURE_TOKEN=1 where the way itself is safe"
        )
    return address


def _host_and_port(url: str) -> tuple[str, int]:
    # What stands before an @ may be a password: it is in no message.
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise InvalidInput(f"the port or host of the service's URL is none: {_WRITTEN}") from None
    if parts.username is not None or parts.password is not None:
        raise InvalidInput(
            f"the service's URL holds a user or password: the token is read from DEEDBOOK_TOKEN; {_WRITTEN}"
        )
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise InvalidInput(f"{shown(url)} says more than a host and port: {_WRITTEN}")
    if not host or any(character.isspace() for character in host) or port == 0:
        raise InvalidInput(f"{shown(url)} names no host and port: {_WRITTEN}")
    return host, DEFAULT_PORT if port is None else port


def _checked_token(token: str) -> str:
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise InvalidInput("DEEDBOOK_TOKEN is no token: `deedbook token create` prints one, on one line")
    return token
