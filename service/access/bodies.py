"""What a form sends, read within bounds: of size, of time, of kind."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from starlette.datastructures import FormData, UploadFile
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

MAX_BODY_BYTES: Final = 1 << 20
MAX_FIELDS: Final = 1_000
BODY_TIMEOUT_SECONDS: Final = 20.0
_FORM = "application/x-www-form-urlencoded"


class BodyRefused(Exception):
    """A body that is not taken: the status and the sentence to answer with."""

    def __init__(self, status_code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status_code = status_code
        self.sentence = sentence


async def read_body(receive: Receive, headers: Mapping[str, str], *, timeout_seconds: float) -> bytes:
    """Return a whole body. Raises BodyRefused where it is too large or too slow, ClientDisconnect where it ends."""
    too_large = BodyRefused(413, f"The form is larger than {MAX_BODY_BYTES >> 20} MiB.")
    said = headers.get("content-length", "0")
    if not said.isdecimal() or int(said) > MAX_BODY_BYTES:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_seconds):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > MAX_BODY_BYTES:
                    raise too_large
    except TimeoutError:
        raise BodyRefused(408, f"The form did not arrive within {timeout_seconds:.0f} seconds.") from None
    return bytes(body)


def parse_form(body: bytes, headers: Mapping[str, str]) -> FormData:
    """Return a form's fields, in order. Raises BodyRefused for what is no form."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _FORM:
        raise BodyRefused(415, f"This takes a form: {_FORM}, and nothing else.")
    try:
        fields: list[tuple[str, str | UploadFile]] = [
            *parse_qsl(
                body.decode("ascii"),
                keep_blank_values=True,
                max_num_fields=MAX_FIELDS,
                encoding="utf-8",
                errors="strict",
            )
        ]
    except ValueError:
        raise BodyRefused(400, f"The form is not UTF-8, or has more than {MAX_FIELDS:,} fields.") from None
    return FormData(fields)


def replayed(body: bytes, receive: Receive) -> Receive:
    """Return what gives a body that was read already, once, and then goes on as before."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
