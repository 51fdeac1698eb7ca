"""What the person running a command has set, read once."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from deedbook.cli.plain_text import plain
from deedbook.client.place import Place, Surroundings, place_of
from deedbook.events.errors import InvalidInput

DEFAULT_URL = "sqlite:///./.deedbook"
DEFAULT_TIMEOUT_SECONDS = 30.0
MAX_TIMEOUT_SECONDS = 86_400.0
TOKENS_NAME = "tokens.json"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the registry is, who is speaking, and how long to wait for other processes.

    `debug`: what was not expected ends with its traceback.
    """

    url: str = DEFAULT_URL
    actor: str = ""
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    debug: bool = False
    tokens: str = ""
    surroundings: Surroundings = field(default_factory=Surroundings)

    @staticmethod
    def read(environment: Mapping[str, str]) -> Settings:
        """Return the settings of an environment; an empty variable counts as none. Raises InvalidInput."""
        return Settings(
            url=environment.get("DEEDBOOK_URL") or DEFAULT_URL,
            actor=environment.get("DEEDBOOK_ACTOR") or _person(),
            timeout_seconds=_timeout(environment.get("DEEDBOOK_TIMEOUT_SECONDS") or ""),
            debug=environment.get("DEEDBOOK_DEBUG", "") not in {"", "0"},
            tokens=environment.get("DEEDBOOK_TOKENS") or "",
            surroundings=Surroundings.read(environment),
        )

    def place(self) -> Place:
        """Return where the registry is; raises InvalidInput for a URL that names none."""
        return place_of(self.url, self.surroundings)

    def tokens_path(self) -> Path:
        """Return the file that tokens are kept in. Raises InvalidInput where the service is somebody else's."""
        if self.tokens:
            return Path(self.tokens).absolute()
        place = self.place()
        if place.service is not None:
            raise InvalidInput("tokens are made where the service runs, with the URL of its log")
        return place.folder / TOKENS_NAME

    def given(self, *, url: str | None, actor: str | None) -> Settings:
        """Return the settings with what the command line says instead."""
        return replace(self, url=url or self.url, actor=actor or self.actor)


def _timeout(text: str) -> float:
    if not text:
        return DEFAULT_TIMEOUT_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds <= MAX_TIMEOUT_SECONDS:
        raise InvalidInput(
            f"DEEDBOOK_TIMEOUT_SECONDS is {plain(text, 40)!r}: it must be a number of seconds from 0 to "
            f"{MAX_TIMEOUT_SECONDS:,.0f}"
        )
    return seconds


def _person() -> str:
    """Return who runs this process, and where: `ana@build-7`."""
    try:
        person = getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as containers have
        person = "unknown"
    return f"{person}@{os.uname().nodename}"
