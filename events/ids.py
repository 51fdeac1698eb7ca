"""Identifiers: minted once by whoever writes an event, or derived from what it follows from."""

from __future__ import annotations

from uuid_utils import UUID, uuid5, uuid7

# deedbook's own: what is derived here can't meet what others derive from the same words.
_NAMESPACE = UUID("4ad0b2fe-6f0c-5d6b-8f4e-2c1f6d1c9b37")


def new_id() -> str:
    """Return a new UUID (version 7): ids minted later sort later, to the millisecond."""
    return str(uuid7())


def derived_id(*parts: str) -> str:
    """Return the UUID (version 5) of these parts, always the same; ("a", "bc") is not ("ab", "c")."""
    return str(uuid5(_NAMESPACE, "".join([f"{len(part)}:{part}" for part in parts])))
