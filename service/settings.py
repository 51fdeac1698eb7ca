"""What the person running the service has set, in one frozen object; nothing in the service looks further."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deedbook.events.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

_MAX_PORT = 65_535


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port to listen on; port 0 is any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address_of(text: str) -> Address:
    """Return the address that ``HOST:PORT`` or ``[IPv6]:PORT`` names. Raises InvalidInput."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > _MAX_PORT:
        raise InvalidInput(f"{text[:80]!r} is no address: write HOST:PORT, such as 127.0.0.1:8470")
    return Address(host, int(port))


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one caller can take: sizes in bytes, times in seconds.

    ``stalled_seconds``: a stream that nothing is taken from, or an upload that nothing comes of, for so long ends.
    """

    message_bytes: int = 8 << 20
    artifact_bytes: int = 8 << 30
    page_size: int = 1_000
    streams: int = 1_000
    query_seconds: float = 10.0
    request_seconds: float = 60.0
    stalled_seconds: float = 20.0


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Where to listen, with which certificate, within which limits.

    ``registry``: the registry's URL, to be shown. ``folder``: what is folded here. ``public_hosts``: names under
    which browsers reach the pages besides the address itself. ``plaintext``: something in front encrypts.
    ``max_lag``: so many events behind is still ready. ``validation``: trainings are judged here.
    """

    registry: str
    folder: Path
    web: Address = Address("127.0.0.1", 8470)
    grpc: Address = Address("127.0.0.1", 8471)
    certificate: Path | None = None
    key: Path | None = None
    public_hosts: tuple[str, ...] = ()
    plaintext: bool = False
    limits: Limits = Limits()
    max_lag: int = 10_000
    validation: bool = False
    drain_seconds: float = 10.0

    @property
    def secure(self) -> bool:
        """Whether both front ends speak TLS."""
        return self.certificate is not None
