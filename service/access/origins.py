"""Under which names the service is reached, and on which address it may listen at all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from deedbook.events.errors import InvalidInput
from deedbook.events.names import shown
from deedbook.service.access.access import Access

_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]"
_HOST_HEADER = re.compile(rf"({_HOST})(?::([0-9]{{1,5}}))?")
_ORIGIN = re.compile(rf"(https?)://({_HOST})(?::([0-9]{{1,5}}))?/?")


@dataclass(frozen=True, slots=True)
class Origins:
    """The origins that the pages have, as browsers write them: `https://deeds.example.com`, `http://localhost:8470`.

    `names`: hosts that are right on the port where a request comes in. `public`: origins that are right wherever it
    comes in, since something in front has them.
    """

    names: frozenset[str] = _LOOPBACK_NAMES
    public: frozenset[str] = frozenset()

    @staticmethod
    def of(host: str, public: Sequence[str] = ()) -> Origins:
        """Return the origins of a server that listens on a host.

        `public`: more of them, as origins or as names alone; a name alone is right by https, and on the port where a
        request comes in. Raises InvalidInput for what is neither.
        """
        written = host.lower()
        own = f"[{written}]" if ":" in written else written
        wild = written in {"", "0.0.0.0", "::"}  # noqa: S104 - recognised, not listened on
        named = {text.strip().lower() for text in public}
        alone = {text for text in named if "://" not in text}
        names = _LOOPBACK_NAMES | (alone if wild else alone | {own})
        return Origins(
            frozenset(names),
            frozenset(_public(f"https://{text}" if text in alone else text) for text in named),
        )

    def origin_of(self, host_header: str, *, scheme: str, port: int | None) -> str | None:
        """Return the origin of a request to this host; None where the host is none of this service's.

        `scheme` and `port`: by which the request came in.
        """
        if (found := _HOST_HEADER.fullmatch(host_header.lower())) is None:
            return None
        name, named_port = found[1], found[2]
        for public_scheme in ("https", "http"):
            origin = _origin(public_scheme, name, named_port)
            if origin in self.public:
                return origin
        reached = port or _DEFAULT_PORTS[scheme]
        if name in self.names and int(named_port or _DEFAULT_PORTS[scheme]) == reached:
            return _origin(scheme, name, named_port)
        return None


def _public(text: str) -> str:
    if (found := _ORIGIN.fullmatch(text.strip().lower())) is None:
        raise InvalidInput(
            f"{shown(text)} is no address that browsers may use: write it as https://deeds.example.com, without a path"
        )
    return _origin(found[1], found[2], found[3])


def _origin(scheme: str, name: str, port: str | None) -> str:
    shown_port = "" if port is None or int(port) == _DEFAULT_PORTS[scheme] else f":{int(port)}"
    return f"{scheme}://{name}{shown_port}"


def _host_of(public: str) -> str:
    return re.sub(r":[0-9]+$", "", public.partition("://")[2] or public)


def is_loopback(host: str) -> bool:
    """Tell whether what listens on this host is reached from this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_listening(
    host: str,
    access: Access,
    tls: bool,  # noqa: FBT001 - as it is asked everywhere
    *,
    plaintext: bool = False,
    public: Sequence[str] = (),
) -> None:
    """Refuse to listen where others could come in unasked, or could read along.

    `tls`: connections are encrypted here. `plaintext`: somebody said that something in front encrypts them. `public`:
    names that the pages have elsewhere, by something in front of them.

    Raises InvalidInput, with what to do.
    """
    named = next((name for name in public if not is_loopback(_host_of(name))), None)
    if is_loopback(host) and named is None:
        return
    where = f"{shown(named if is_loopback(host) else host)} is reached from other machines"
    if not access.required:
        raise InvalidInput(
            f"{where}, and there are no tokens: make one by `deedbook token create NAME --role admin`, or listen on "
            "127.0.0.1 alone"
        )
    if not access.anybody():
        raise InvalidInput(
            f"{where}, and no token is good any more: make one by `deedbook token create NAME --role admin`"
        )
    if not tls and not plaintext and not is_loopback(host):
        raise InvalidInput(
            f"{where}, and tokens would cross the network for all to read: give a certificate and its key, or say "
            "--plaintext where a proxy in front encrypts"
        )
