"""Java-style properties files, as Kafka's own tools read them: what librdkafka is to be told beside the URL."""

from __future__ import annotations

import logging
import re
import stat
from typing import TYPE_CHECKING

from deedbook.events.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_LOGGER = logging.getLogger("deedbook.kafka")
_MAX_BYTES = 1 << 20
# Whatever is named like this is not for other people's eyes; ssl.ca and certificates are public, keys are not.
_SECRET = re.compile(
    r"password|secret|token|credential|jaas|passphrase|\.userinfo|oauthbearer\.(config|assertion)|"
    r"(^|\.)(ssl|private)\.key\.(pem|pass)",
    re.IGNORECASE,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f"}
_NAME = re.compile(r"[A-Za-z0-9._-]+")
SHORTEST_SECRET = 3
HIDDEN = "[hidden]"


def read_properties(path: Path) -> dict[str, str]:
    """Return what a file sets; warns where it holds secrets that every user of this machine can read.

    Raises InvalidInput, with the line's number, never with what stands in it.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
            mode = path.stat().st_mode
    except OSError as error:
        raise InvalidInput(f"the Kafka settings {path} cannot be read: {error.strerror}") from error
    if len(raw) > _MAX_BYTES:
        raise InvalidInput(f"the Kafka settings {path} are over the limit of {_MAX_BYTES:,} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the Kafka settings {path} are not UTF-8") from error
    found: dict[str, str] = {}
    for number, line in _logical_lines(text):
        try:
            name, value = _pair(line)
        except ValueError as error:
            raise InvalidInput(f"line {number} of the Kafka settings {path} {error}") from None
        if name in found:
            raise InvalidInput(f"line {number} of the Kafka settings {path} sets {name} a second time")
        found[name] = value
    if mode & stat.S_IROTH and any(is_secret(name) for name in found):
        _LOGGER.warning("%s holds secrets, and every user of this machine can read it: chmod 600 it", path)
    return found


def is_secret(name: str) -> bool:
    """Say whether an option's value is to be kept from logs, errors and screens."""
    return _SECRET.search(name) is not None


def redacted(text: str, options: Mapping[str, str]) -> str:
    """Return a text without the secrets among these options' values."""
    secrets = {
        value for name, value in options.items() if is_secret(name) and len(value.strip()) >= SHORTEST_SECRET
    }
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield each line that says something, with its number; one that ends in a backslash goes on in the next."""
    pending = ""
    first = 0
    for number, raw in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        line = raw.lstrip(" \t\f")
        if not pending and (not line or line[0] in "#!"):
            continue
        first = first if pending else number
        pending += line
        trailing = len(pending) - len(pending.rstrip("\\"))
        if trailing % 2:
            pending = pending[:-1] or "\0"
            continue
        yield first, pending.removeprefix("\0")
        pending = ""
    if pending:
        yield first, pending.removeprefix("\0")


def _pair(line: str) -> tuple[str, str]:
    """Return the name and value in a line; raises ValueError with what is wrong with it."""
    name, separator, value = _split(line)
    if not separator:
        raise ValueError("has no = after a name: write name=value")
    if not _NAME.fullmatch(name):
        raise ValueError("does not begin with an option's name: write name=value")
    return name, _unescaped(value).rstrip(" \t\f")


def _split(line: str) -> tuple[str, str, str]:
    found = re.match(r"([^=:\s]*)[ \t\f]*([=:])[ \t\f]*(.*)", line, re.DOTALL)
    return (found[1], found[2], found[3]) if found else (line, "", "")


def _unescaped(value: str) -> str:
    if "\\" not in value:
        return value

    def plain(found: re.Match[str]) -> str:
        if found[1]:
            return chr(int(found[1], 16))
        if found[2] == "u":
            raise ValueError("has a \\u without four hexadecimal digits")
        return _ESCAPES.get(found[2], found[2])

    return re.sub(r"\\(?:u([0-9A-Fa-f]{4})|(.))", plain, value, flags=re.DOTALL)
