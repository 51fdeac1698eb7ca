"""The headers by which a browser is told to trust nothing but the service itself."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import MutableHeaders

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS: Final = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not `no-referrer`: by that browsers would also hide from us where a form comes from.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_HSTS = "max-age=31536000"


def harden(headers: MutableHeaders, *, secure: bool) -> None:
    """Add to a response's headers; `secure`: the browser is to speak TLS for ever.

    What says nothing about caching is not kept.
    """
    for name, value in HEADERS.items():
        headers[name] = value
    if secure:
        headers["strict-transport-security"] = _HSTS
    headers.setdefault("cache-control", "no-store")
    del headers["server"]
