"""Where a registry is: the URLs that `connect` takes."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from deedbook.events.errors import InvalidInput
from deedbook.events.names import shown

_SUPPORTED = (
    "a registry is at sqlite:///folder (in this folder), sqlite:////absolute/folder, kafka://host:9092, or behind a "
    "service at grpc://host:8471 or grpcs://host:8471"
)


def folder_of(url: str) -> Path:
    """Return the absolute folder of an embedded registry; raises InvalidInput for any other URL.

    `sqlite:///folder` counts from the working directory, `sqlite:////folder` from the root. Spaces may
    stand as they are; what is percent-encoded is decoded.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise InvalidInput(f"{shown(url)} is no URL: {_SUPPORTED}")
    if scheme.lower() != "sqlite":
        raise InvalidInput(f"the scheme of {shown(_without_secret(url))} is not known here: {_SUPPORTED}")
    if not rest.startswith("/"):
        raise InvalidInput(
            f"{shown(_without_secret(url))} names a host, which a folder has none of: {_SUPPORTED}"
        )
    if "?" in rest or "#" in rest:
        raise InvalidInput(f"{shown(url)} holds a ? or #: write %3F or %23 where the folder's name has one")
    try:
        path = unquote(rest.removeprefix("/"), errors="strict")
    except UnicodeDecodeError:
        raise InvalidInput(f"{shown(url)} is not UTF-8 where it is percent-encoded") from None
    if not path or "\0" in path:
        raise InvalidInput(f"{shown(url)} names no folder: {_SUPPORTED}")
    return Path(path).absolute()


def _without_secret(url: str) -> str:
    """Return the URL without the user and password it may hold: messages end up in logs."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
