"""Page tokens: where a list goes on, sealed so that one made up, changed or of another question is refused.

A token says nothing that its holder may not know; the seal keeps honest mistakes from answering nonsense.
It depends on the registry alone, so each replica of a service takes the tokens of the others.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import TYPE_CHECKING, Final, TypeAlias

from deedbook.events.errors import InvalidInput

if TYPE_CHECKING:
    from google.protobuf.message import Message

Mark: TypeAlias = "tuple[int | bool | str, ...]"
"""Where a page ended, in plain values; each list has its own."""

MAX_TOKEN_CHARACTERS: Final = 1_000
_SEAL_BYTES: Final = 16
# What may differ from page to page of one list.
_NOT_THE_QUESTION: Final = ("page_token", "page_size", "min_position")
_REFUSED: Final = "the page token is not one that this list answered: start again without one"


class PageTokens:
    """Makes and reads the tokens of one registry."""

    def __init__(self, log_identity: str) -> None:
        self._key = hashlib.sha256(f"deedbook page tokens of {log_identity}".encode()).digest()

    def token(self, request: Message, mark: Mark) -> str:
        """Return the token with which the same question goes on after a mark."""
        plain = json.dumps(mark, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._seal(request, plain) + plain).decode().rstrip("=")

    def mark(self, request: Message, token: str, *, like: Mark) -> Mark:
        """Return the mark in a token; ``like`` has its types. Raises InvalidInput for a token of another question."""
        if len(token) > MAX_TOKEN_CHARACTERS or not token.isascii():
            raise InvalidInput(_REFUSED)
        try:
            data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise InvalidInput(_REFUSED) from None
        seal, plain = data[:_SEAL_BYTES], data[_SEAL_BYTES:]
        if seal != self._seal(request, plain):
            raise InvalidInput(_REFUSED)
        mark = tuple(json.loads(plain))
        if [type(value) for value in mark] != [type(value) for value in like]:
            raise InvalidInput(_REFUSED)
        return mark

    def _seal(self, request: Message, plain: bytes) -> bytes:
        """Return what binds a mark to the question it is the answer of."""
        question = type(request)()
        question.CopyFrom(request)
        for name in _NOT_THE_QUESTION:
            if name in question.DESCRIPTOR.fields_by_name:
                question.ClearField(name)
        asked = question.SerializeToString(deterministic=True)
        named = f"{question.DESCRIPTOR.full_name}:{len(asked)}:".encode()
        return hashlib.blake2b(named + asked + plain, key=self._key, digest_size=_SEAL_BYTES).digest()
