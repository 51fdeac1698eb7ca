"""The file that the tokens are kept in: trusted only as this user's own, read again when it changes."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from deedbook.events.clock import now_micros
from deedbook.events.errors import DeedbookError, InvalidInput, NotAuthenticated, NotFound
from deedbook.events.names import name_problem, normalise, shown
from deedbook.service.access.roles import Caller, Role
from deedbook.service.access.sessions import Session, new_session_cookie
from deedbook.service.access.tokens import (
    MAX_MODELS,
    MAX_TOKENS,
    Token,
    from_json,
    has_hash,
    hash_of,
    new_secret,
    pages_secret,
    parted,
    to_json,
    written,
)

logger = logging.getLogger(__name__)

NAME: Final = "tokens.json"
MAX_BYTES: Final = 16 << 20
_LOCK_TIMEOUT_SECONDS = 10.0


def now() -> datetime:
    """Return the time by this machine's clock."""
    return datetime.fromtimestamp(now_micros() / 1_000_000, tz=UTC)


@dataclass(frozen=True, slots=True)
class _Read:
    """The file as it was read: what tells whether it changed since; its tokens, or why it can't be trusted."""

    stamp: tuple[int, ...] | None
    tokens: dict[str, Token]
    problem: str = ""


class TokenFile:
    """The tokens of a registry; a file that is not there holds none.

    May be asked by many threads; looks at the file's date each time, and reads it only when that has changed.
    """

    def __init__(self, path: Path, *, clock: Callable[[], datetime] = now) -> None:
        self.path = path
        self._clock = clock
        self._read: _Read | None = None

    def exists(self) -> bool:
        """Tell whether there is a file, whatever is in it."""
        return _stamp_of(self.path) is not None

    def tokens(self) -> tuple[Token, ...]:
        """Return all tokens there are. Raises InvalidInput where the file can't be trusted."""
        read = self._current()
        if read.problem:
            raise InvalidInput(read.problem)
        return tuple(read.tokens.values())

    def has_any(self) -> bool:
        """Tell whether at least one token is good now. Raises InvalidInput where the file can't be trusted."""
        time = self._clock()
        return any(token.ended(time) is None for token in self.tokens())

    def caller_of(self, text: str) -> Caller:
        """Return who holds a token. Raises NotAuthenticated."""
        token_id, secret = parted(text) or ("", "")
        token = self._token(token_id)
        if not has_hash(token.sha256 if token else None, secret) or token is None:
            raise NotAuthenticated("this token is not known here")
        return self._unless_ended(token)

    def caller_of_session(self, session: Session) -> Caller:
        """Return who began a session. Raises NotAuthenticated."""
        token = self._token(session.token_id)
        if token is None or not session.signed_for(token, self._clock()):
            raise NotAuthenticated("you are signed in no longer")
        return self._unless_ended(token)

    def new_session(self, text: str) -> tuple[Caller, str]:
        """Return who holds a token, and the cookie of a new session of theirs. Raises NotAuthenticated."""
        caller = self.caller_of(text)
        token = self._token(caller.token_id)
        found = parted(text)
        if token is None or found is None:  # the file was changed in this very moment
            raise NotAuthenticated("this token is not known here")
        return caller, new_session_cookie(token, found[1], self._clock())

    def holds(self, caller: Caller) -> bool:
        """Tell whether the token that a caller came with is still good, and still the same."""
        token = self._current().tokens.get(caller.token_id)
        return token is not None and token.ended(self._clock()) is None and token.caller() == caller

    def create(
        self,
        name: str,
        roles: frozenset[Role],
        models: frozenset[str] = frozenset(),
        *,
        expires_at: datetime | None = None,
    ) -> tuple[Token, str]:
        """Add a token; return it, and what its holder is given: this is the only time that it is known.

        Raises InvalidInput, and DeedbookError where the file can't be written.
        """
        name, models = normalise(name), frozenset(map(normalise, models))
        _refuse_what_no_token_has(name, roles, models)
        made_at = self._clock().replace(microsecond=0)
        if expires_at is not None and expires_at <= made_at:
            raise InvalidInput(f"the token would have expired already, at {expires_at.isoformat()}")
        token_id, secret = new_secret()
        token = Token(
            token_id, name, roles, models, hash_of(secret), hash_of(pages_secret(secret)), made_at, expires_at
        )
        with self._changing() as tokens:
            if len(tokens) >= MAX_TOKENS:
                raise InvalidInput(f"{self.path} holds {MAX_TOKENS:,} tokens, and takes no more")
            self._write((*tokens, token))
        return token, written(token_id, secret)

    def revoke(self, token_id: str) -> Token:
        """End a token; one that was revoked before stays as it was. Raises NotFound."""
        with self._changing() as tokens:
            found = next((token for token in tokens if token.id == token_id), None)
            if found is None:
                raise NotFound(f"there is no token {shown(token_id)}: `deedbook token list` shows their ids")
            if found.revoked_at is not None:
                return found
            revoked = replace(found, revoked_at=self._clock().replace(microsecond=0))
            self._write(tuple(revoked if token.id == token_id else token for token in tokens))
        return revoked

    def _token(self, token_id: str) -> Token | None:
        read = self._current()
        if read.problem:
            raise NotAuthenticated(
                "nobody is let in: the list of tokens can't be trusted; the server's log says why"
            )
        return read.tokens.get(token_id)

    def _unless_ended(self, token: Token) -> Caller:
        if (ended := token.ended(self._clock())) is not None:
            raise NotAuthenticated(ended)
        return token.caller()

    def _current(self) -> _Read:
        read = self._read
        if read is None or read.stamp != _stamp_of(self.path):
            read = self._read = _read(self.path)
            if read.problem:
                logger.error("nobody is let in: %s", read.problem)
        return read

    @contextmanager
    def _changing(self) -> Iterator[tuple[Token, ...]]:
        """Keep others from changing the file, and hand out what it holds now."""
        try:
            with FileLock(f"{self.path}.lock", timeout=_LOCK_TIMEOUT_SECONDS, mode=0o600):
                yield self.tokens()
        except Timeout:
            raise DeedbookError(f"somebody else is changing {self.path}; try again") from None
        except OSError as error:
            raise DeedbookError(f"{self.path} could not be written: {error.strerror}") from None

    def _write(self, tokens: tuple[Token, ...]) -> None:
        """Put a new file in the old one's place: whoever reads finds one or the other, whole."""
        # A link stays a link: what it points at is replaced.
        path = self.path.resolve()
        beside = path.with_name(f".{path.name}.{os.getpid()}.new")
        with suppress(FileNotFoundError):
            beside.unlink()
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - opened above, with its mode
                file.write(to_json(tokens))
                file.flush()
                os.fsync(descriptor)
            beside.replace(path)
            _sync_folder(path.parent)
        finally:
            beside.unlink(missing_ok=True)


def _refuse_what_no_token_has(name: str, roles: frozenset[Role], models: frozenset[str]) -> None:
    if (problem := name_problem(name)) is not None:
        raise InvalidInput(f"the token's name {problem}")
    if not roles:
        raise InvalidInput("a token needs a role")
    if len(models) > MAX_MODELS:
        raise InvalidInput(f"a token names at most {MAX_MODELS:,} models")
    for model in sorted(models):
        if (problem := name_problem(model)) is not None:
            raise InvalidInput(f"the model's name {problem}")


def _stamp(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _stamp_of(path: Path) -> tuple[int, ...] | None:
    """Return what changes with a file; None for no file, and something of its own where that can't be told."""
    try:
        return _stamp(path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return ()


def _read(path: Path) -> _Read:
    try:
        # Not to wait for ever where somebody put a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return _Read(None, {})
    except OSError as error:
        return _Read(_stamp_of(path), {}, f"{path} can't be read: {error.strerror}")
    try:
        found = os.fstat(descriptor)
        stamp = _stamp(found)
        if (problem := _distrusted(found)) is not None:
            return _Read(stamp, {}, f"{path} {problem}")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    try:
        tokens = from_json(content.decode("utf-8", errors="strict"))
    except UnicodeDecodeError:
        return _Read(stamp, {}, f"{path} is no list of tokens: it is not UTF-8")
    except InvalidInput as error:
        return _Read(stamp, {}, f"{path} is no list of tokens: {error}")
    return _Read(stamp, {token.id: token for token in tokens})


def _distrusted(found: os.stat_result) -> str | None:
    """Return what keeps a file from being trusted, or None."""
    if not stat.S_ISREG(found.st_mode):
        return "is no file"
    if stat.S_IMODE(found.st_mode) & 0o077:
        return f"is open to others (its mode is {stat.S_IMODE(found.st_mode):04o}): chmod 600 mends that"
    if found.st_uid not in {os.geteuid(), 0}:
        return "belongs to another user"
    if found.st_size > MAX_BYTES:
        return f"is larger than {MAX_BYTES >> 20} MiB"
    return None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
