"""What a browser keeps while somebody is signed in, and what a form must bring back.

A session's cookie holds no token. It holds what was derived from the token's secret for this alone, and a signature
of when it began, by a key that neither the browser nor a thief of its cookie knows: the hash of the secret. So a
stolen cookie opens the pages for some hours and the gRPC interface never, a stolen list of tokens opens nothing, and
every replica that has the list knows the session.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from deedbook.service.access.tokens import Token, has_hash, pages_secret

MAX_SESSION_SECONDS: Final = 12 * 3600
# How far the clocks of two replicas may be apart.
_CLOCK_SECONDS = 60
_COOKIE = re.compile(r"([0-9a-f]{12})\.([0-9]{1,12})\.([0-9a-f]{32})\.([0-9a-f]{64})\.([0-9a-f]{64})")
_FORM_KEY = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Session:
    """What a session's cookie says; `began_at` in seconds since 1970. Whether it is true, `signed_for` tells."""

    token_id: str
    began_at: int
    nonce: str
    secret: str = field(repr=False)
    signature: str = field(repr=False)

    def signed_for(self, token: Token, now: datetime) -> bool:
        """Tell whether this session began by this token, and not too long ago."""
        expected = _signature(token, self.began_at, self.nonce)
        age_seconds = now.timestamp() - self.began_at
        return (
            has_hash(token.pages_sha256, self.secret)
            and hmac.compare_digest(expected, self.signature)
            and -_CLOCK_SECONDS <= age_seconds < MAX_SESSION_SECONDS
        )


def new_session_cookie(token: Token, secret: str, now: datetime) -> str:
    """Return the cookie of a session that begins now."""
    began_at, nonce = int(now.timestamp()), secrets.token_hex(16)
    return f"{token.id}.{began_at}.{nonce}.{pages_secret(secret)}.{_signature(token, began_at, nonce)}"


def parse_session(cookie: str) -> Session | None:
    """Return what a cookie says, or None where it is no session's."""
    found = _COOKIE.fullmatch(cookie)
    return Session(found[1], int(found[2]), found[3], found[4], found[5]) if found else None


def new_form_key() -> str:
    """Return what ties a browser that is not signed in to the forms it was given."""
    return secrets.token_hex(32)


def is_form_key(cookie: str) -> bool:
    """Tell whether a cookie can be what `new_form_key` made."""
    return _FORM_KEY.fullmatch(cookie) is not None


def form_token(cookie: str) -> str:
    """Return what a form must bring back from a browser with this cookie: a session's, or a form key."""
    return hmac.new(cookie.encode(), b"deedbook form", hashlib.sha256).hexdigest()


def is_form_token(cookie: str, token: str) -> bool:
    """Tell, in a time that says nothing, whether a form brought back what it was given."""
    return hmac.compare_digest(form_token(cookie).encode(), token.encode())


def _signature(token: Token, began_at: int, nonce: str) -> str:
    text = f"{token.id}.{began_at}.{nonce}".encode()
    return hmac.new(token.sha256.encode(), text, hashlib.sha256).hexdigest()
