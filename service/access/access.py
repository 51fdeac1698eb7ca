"""Who a caller is, and whether they may do what they ask for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from datetime import datetime
from typing import TYPE_CHECKING, Final

from deedbook.events.errors import InvalidInput, NotAuthenticated, PermissionRefused
from deedbook.events.names import name_problem, normalise, shown
from deedbook.service.access.roles import GRANTED, WRITING, Caller, Permission, Role
from deedbook.service.access.sessions import parse_session
from deedbook.service.access.token_file import TokenFile, now

if TYPE_CHECKING:
    from pathlib import Path

# Whom a fact names that was written, on an open server, by somebody who gave no name.
NOBODY: Final = "anonymous"
# How many sessions that somebody signed out of are remembered; by themselves they end within hours.
_MAX_ENDED = 100_000


class Access:
    """The one judge of who may do what; every door asks it.

    Without a token file, and unless `required`, everybody may do everything, under the name they claim. As soon as
    there is a token file, everybody needs one of its tokens; that stays so while this process runs, whatever becomes
    of the file.

    Raises InvalidInput where there is a file that can't be trusted: damaged, or open to others.
    """

    def __init__(
        self, tokens: Path | None = None, *, required: bool = False, clock: Callable[[], datetime] = now
    ) -> None:
        self._file = TokenFile(tokens, clock=clock) if tokens is not None else None
        self._required = required
        self._ended: OrderedDict[str, None] = OrderedDict()
        if self._file is not None:
            self._file.tokens()
            self._required |= self._file.exists()

    @property
    def required(self) -> bool:
        """Whether a caller needs a token."""
        if not self._required and self._file is not None:
            self._required = self._file.exists()
        return self._required

    def caller_of(self, token: str | None, *, claimed: str = "") -> Caller:
        """Return who holds a token; without tokens, whoever they claim to be.

        Raises NotAuthenticated for a token that is missing, unknown, expired or revoked, and for every token while
        the file can't be trusted; InvalidInput for a claimed name that is none.
        """
        if not self.required:
            return _claimed(claimed)
        if not token:
            raise NotAuthenticated("this needs a token: `deedbook token create` makes one")
        if self._file is None:
            raise NotAuthenticated("nobody has a token here")
        return self._file.caller_of(token)

    def caller_of_session(self, cookie: str) -> Caller:
        """Return who is signed in with a cookie. Raises NotAuthenticated."""
        if self._file is None:
            raise NotAuthenticated("nobody has a token here")
        session = parse_session(cookie)
        if session is None or session.nonce in self._ended:
            raise NotAuthenticated("you are signed in no longer")
        return self._file.caller_of_session(session)

    def new_session(self, token: str) -> tuple[Caller, str]:
        """Return who holds a token, and the cookie that signs them in. Raises NotAuthenticated."""
        if self._file is None:
            raise NotAuthenticated("nobody has a token here")
        return self._file.new_session(token)

    def end_session(self, cookie: str) -> None:
        """End a session before its time, in this process."""
        if (session := parse_session(cookie)) is not None:
            self._ended[session.nonce] = None
            if len(self._ended) > _MAX_ENDED:
                self._ended.popitem(last=False)

    def check(self, caller: Caller, permission: Permission, models: Collection[str] = ()) -> None:
        """Refuse what a caller may not do; `models`: those that what they ask for would write about.

        Raises PermissionRefused, with the role or the model that is missing.
        """
        if not caller.may(permission):
            raise PermissionRefused(
                f"{caller.name} may not do this: it needs the role {_or(_roles_with(permission))}"
            )
        if permission in WRITING and caller.models and (others := set(models) - caller.models):
            named = ", ".join(shown(model) for model in sorted(others)[:3])
            raise PermissionRefused(f"{caller.name}'s token does not hold for the model {named}")

    def anybody(self) -> bool:
        """Tell whether at least one token is good now. Raises InvalidInput where the file can't be trusted."""
        return self._file is not None and self._file.has_any()

    def still_valid(self, caller: Caller) -> bool:
        """Tell whether a caller would be let in again; cheap enough for every open stream, every second."""
        if not caller.authenticated:
            return not self.required
        return self._file is not None and self._file.holds(caller)


def actor_of(caller: Caller, claimed: str = "") -> str:
    """Return in whose name a caller writes: the token's; on an open server what they claim. Raises InvalidInput."""
    return caller.name if caller.authenticated or not claimed else _claimed(claimed).name


def _claimed(name: str) -> Caller:
    written = normalise(name) or NOBODY
    if (problem := name_problem(written)) is not None:
        raise InvalidInput(f"the actor's name {problem}")
    return Caller(written, frozenset(Role))


def _roles_with(permission: Permission) -> list[str]:
    return [role.value for role, granted in GRANTED.items() if permission in granted]


def _or(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
