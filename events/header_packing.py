"""A record's headers as two small blobs: what most records share, and what is a record's own.

The *shape* holds every header's name, the values of the headers that hardly ever change, and the
lengths of the others, which lie end to end in the second blob. Shapes repeat, so each is packed and
unpacked once; yet every row stands alone, with nothing but this module needed to read it.
"""

from __future__ import annotations

import functools
import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHARED = frozenset({"ce_specversion", "ce_type", "ce_source", "content-type", "ce_dataschema"})
_MAX_SHAPE_BYTES = 1 << 20
# Part of the file's format 1: shapes are deflated against these bytes, so they never change.
_DICTIONARY = (
    b'[["ce_specversion","1.0"],["ce_id",36],["ce_type","deedbook.TrainingLogged.v1"],'
    b'["ce_source","/deedbook"],["ce_time",27],["content-type","application/avro"],'
    b'["ce_dataschema","urn:sha256:0123456789abcdef"],["ce_valuesha256",64]]'
)


@dataclass(frozen=True, slots=True)
class _Plan:
    """How to put headers together again: a template, and (index, name, from, to) of each varying value."""

    template: tuple[tuple[str, bytes], ...]
    varying: tuple[tuple[int, str, int, int], ...]
    varying_bytes: int


def pack_headers(headers: Sequence[tuple[str, bytes]]) -> tuple[bytes, bytes]:
    """Return the headers' shape and their varying values."""
    if not headers:
        return b"", b""
    layout = tuple([(name, value if name in _SHARED else len(value)) for name, value in headers])
    return _packed_shape(layout), b"".join([value for name, value in headers if name not in _SHARED])


def unpack_headers(shape: bytes, varying: bytes) -> tuple[tuple[str, bytes], ...]:
    """Return the headers packed into two blobs; raises ValueError (or zlib.error) where they are none."""
    plan = _plan(shape)
    if plan.varying_bytes != len(varying):
        raise ValueError("the headers are not as long as their shape says")
    headers = list(plan.template)
    for index, name, start, end in plan.varying:
        headers[index] = (name, varying[start:end])
    return tuple(headers)


@functools.lru_cache(maxsize=1024)
def _packed_shape(layout: tuple[tuple[str, bytes | int], ...]) -> bytes:
    plain = [[name, value if isinstance(value, int) else value.decode("latin-1")] for name, value in layout]
    packer = zlib.compressobj(level=9, wbits=-15, zdict=_DICTIONARY)
    return packer.compress(json.dumps(plain, separators=(",", ":")).encode()) + packer.flush()


@functools.lru_cache(maxsize=1024)
def _plan(shape: bytes) -> _Plan:
    template: list[tuple[str, bytes]] = []
    varying: list[tuple[int, str, int, int]] = []
    at = 0
    for index, (name, value) in enumerate(_layout(shape)):
        if isinstance(value, str):
            template.append((name, value.encode("latin-1")))
        else:
            template.append((name, b""))
            varying.append((index, name, at, at + value))
            at += value
    return _Plan(tuple(template), tuple(varying), at)


def _layout(shape: bytes) -> list[tuple[str, str | int]]:
    if not shape:
        return []
    unpacker = zlib.decompressobj(wbits=-15, zdict=_DICTIONARY)
    text = unpacker.decompress(shape, _MAX_SHAPE_BYTES)
    if not unpacker.eof or unpacker.unused_data:
        raise ValueError("the shape of the headers is not whole")
    layout: list[tuple[str, str | int]] = []
    for name, value in json.loads(text):
        if type(name) is not str or type(value) not in (str, int) or (type(value) is int and value < 0):
            raise ValueError("the shape of the headers is not one")
        layout.append((name, value))
    return layout
