"""What a token is, and how the list of tokens is written: their secrets' hashes, never the secrets."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from deedbook.events.errors import InvalidInput
from deedbook.events.names import name_problem, sha256_problem, shown
from deedbook.service.access.roles import Caller, Role

VERSION: Final = 1
MAX_TOKENS: Final = 10_000
MAX_MODELS: Final = 1_000
_ID = re.compile("[0-9a-f]{12}")
_WRITTEN = re.compile("db_([0-9a-f]{12})_([0-9a-f]{64})")
_FIELDS = {
    *("id", "name", "roles", "models", "sha256", "pages_sha256"),
    *("created_at", "expires_at", "revoked_at"),
}


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is kept: who holds it, what it allows, until when, and how its secret is known again.

    `sha256`: of the secret. `pages_sha256`: of what is derived from the secret for a browser to keep.
    """

    id: str
    name: str
    roles: frozenset[Role]
    models: frozenset[str]
    sha256: str = field(repr=False)
    pages_sha256: str = field(repr=False)
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def caller(self) -> Caller:
        """Return whoever holds the token."""
        return Caller(self.name, self.roles, self.models, authenticated=True, token_id=self.id)

    def ended(self, now: datetime) -> str | None:
        """Return why the token is no longer good, or None."""
        if self.revoked_at is not None:
            return f"the token {self.id} was revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return f"the token {self.id} has expired"
        return None


def new_secret() -> tuple[str, str]:
    """Return a new token's id and its secret, 256 random bits as hexadecimal digits."""
    return secrets.token_hex(6), secrets.token_hex(32)


def hash_of(secret: str) -> str:
    """Return what of a secret is kept. It is random, so that one round of SHA-256 is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


def pages_secret(secret: str) -> str:
    """Return what a browser keeps in a secret's stead: it opens the pages, and nothing leads from it back."""
    return hmac.new(secret.encode(), b"deedbook pages", hashlib.sha256).hexdigest()


def written(token_id: str, secret: str) -> str:
    """Return a token as its holder has it: `db_<id>_<secret>`."""
    return f"db_{token_id}_{secret}"


def parted(text: str) -> tuple[str, str] | None:
    """Return the id and the secret of a token as its holder has it, or None."""
    found = _WRITTEN.fullmatch(text)
    return (found[1], found[2]) if found else None


def has_hash(kept: str | None, secret: str) -> bool:
    """Tell, in a time that says nothing, whether this is the hash of a secret; None is the hash of none."""
    return hmac.compare_digest(kept or "0" * 64, hash_of(secret)) and kept is not None


def to_json(tokens: Sequence[Token]) -> str:
    """Return the list as it is kept."""
    rows = [
        {
            "id": token.id,
            "name": token.name,
            "roles": sorted(token.roles),
            "models": sorted(token.models),
            "sha256": token.sha256,
            "pages_sha256": token.pages_sha256,
            "created_at": _time_text(token.created_at),
            "expires_at": _time_text(token.expires_at),
            "revoked_at": _time_text(token.revoked_at),
        }
        for token in tokens
    ]
    return json.dumps({"version": VERSION, "tokens": rows}, indent=1, ensure_ascii=False) + "\n"


def from_json(text: str) -> tuple[Token, ...]:
    """Return the tokens of a list. Raises InvalidInput for anything that is not exactly one."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidInput("it is no JSON") from None
    if not isinstance(document, dict) or set(document) != {"version", "tokens"}:
        raise InvalidInput("it holds something else than a version and tokens")
    if document["version"] != VERSION:
        raise InvalidInput(f"its version is {shown(document['version'])}, and this release reads {VERSION}")
    rows = document["tokens"]
    if not isinstance(rows, list) or len(rows) > MAX_TOKENS:
        raise InvalidInput(f"its tokens are no list of at most {MAX_TOKENS:,}")
    tokens = tuple(_token_of(row, number) for number, row in enumerate(rows, start=1))
    if len({token.id for token in tokens}) != len(tokens):
        raise InvalidInput("two of its tokens have one id")
    return tokens


def _token_of(row: object, number: int) -> Token:
    if not isinstance(row, dict) or set(row) != _FIELDS:
        raise InvalidInput(f"token {number} does not have the fields {', '.join(sorted(_FIELDS))}")
    token_id, hashes = row["id"], (row["sha256"], row["pages_sha256"])
    if not isinstance(token_id, str) or not _ID.fullmatch(token_id):
        raise InvalidInput(f"the id of token {number} is not 12 hexadecimal digits")
    if any(sha256_problem(found) is not None for found in hashes):
        raise InvalidInput(f"a hash of token {number} is no SHA-256")
    if (problem := name_problem(row["name"])) is not None:
        raise InvalidInput(f"the name of token {number} {problem}")
    created_at = _time_of(row["created_at"], number)
    if created_at is None:
        raise InvalidInput(f"token {number} does not say when it was made")
    return Token(
        id=token_id,
        name=row["name"],
        roles=_roles_of(row["roles"], number),
        models=_models_of(row["models"], number),
        sha256=hashes[0],
        pages_sha256=hashes[1],
        created_at=created_at,
        expires_at=_time_of(row["expires_at"], number),
        revoked_at=_time_of(row["revoked_at"], number),
    )


def _roles_of(names: object, number: int) -> frozenset[Role]:
    if not isinstance(names, list) or not names:
        raise InvalidInput(f"token {number} has no list of roles")
    try:
        return frozenset(Role(name) for name in names)
    except ValueError:
        raise InvalidInput(f"a role of token {number} is not known to this release") from None


def _models_of(names: object, number: int) -> frozenset[str]:
    if not isinstance(names, list) or len(names) > MAX_MODELS:
        raise InvalidInput(f"the models of token {number} are no list of at most {MAX_MODELS:,}")
    if any(name_problem(name) is not None for name in names):
        raise InvalidInput(f"a model of token {number} is no name")
    return frozenset(names)


def _time_text(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).isoformat(timespec="seconds")


def _time_of(text: object, number: int) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise InvalidInput(f"a time of token {number} is none: 2026-01-31T14:05:00+00:00 is one")
    return time
