"""Why a model is refused: what it tried, as Python itself reports it.

These are givers of reasons, not the boundary: native code can get round them, and then finds the
layers of `confinement`. But a model that hides the exception it got is still seen to have tried.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING

from deedbook.consumers.sandbox.surroundings import library_folders, readable_files

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_ATTEMPTS = 8
MAX_ATTEMPT_CHARACTERS = 200

_EVENTS = {
    "socket.__new__": "open a network connection",
    "socket.connect": "open a network connection",
    "socket.bind": "listen on the network",
    "socket.sendto": "send to the network",
    "socket.getaddrinfo": "look up a network name",
    "socket.gethostbyname": "look up a network name",
    "subprocess.Popen": "start a program",
    "os.system": "start a program",
    "os.exec": "start a program",
    "os.posix_spawn": "start a program",
    "os.fork": "start a process",
    "os.forkpty": "start a process",
    "os.kill": "send a signal",
    "os.killpg": "send a signal",
    "os.remove": "change files",
    "os.rename": "change files",
    "os.mkdir": "change files",
    "os.rmdir": "change files",
    "os.link": "change files",
    "os.symlink": "change files",
    "os.truncate": "change files",
    "os.chmod": "change files",
    "os.chown": "change files",
}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# What libraries look at, to learn of the processor and the system.
_HARMLESS = re.compile(
    r"/(sys|usr|dev)/.*|/etc/(localtime|timezone|mime\.types|os-release|ld\.so.*)"
    r"|/proc/(cpuinfo|meminfo|stat|version|sys/.*|self/(stat|statm|status|cgroup|mountinfo|maps))"
)

# Modules through which an environment variable is asked for on somebody else's behalf.
_PASSING = (
    "/os.py",
    "<frozen os>",
    "/_collections_abc.py",
    "<frozen _collections_abc>",
    "/sandbox/attempts.py",
)


def watch(report: Callable[[str], None]) -> None:
    """Report attempts from now on, each once: the network, processes, files, the environment."""
    seen: set[str] = set()
    libraries = (*library_folders(), *(entry for entry in sys.path if entry), *readable_files())

    def note(attempt: str) -> None:
        if attempt not in seen and len(seen) < MAX_ATTEMPTS:
            seen.add(attempt)
            report(attempt[:MAX_ATTEMPT_CHARACTERS])

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in _EVENTS:
            note(f"{_EVENTS[event]} ({event})")
        elif event == "open":
            attempt = _opening(arguments, libraries)
            if attempt:
                note(attempt)

    sys.addaudithook(hook)
    # What Python shows of the environment; the C library's own is empty but for the server's thread counts.
    setattr(os, "environ", _Environment(note))  # noqa: B010 (its type is private to Python)


def _opening(arguments: tuple[object, ...], libraries: tuple[str, ...]) -> str | None:
    """Say what opening a file attempts, or None for what libraries do."""
    path, _, flags = arguments
    if not isinstance(path, (str, bytes, os.PathLike)):
        return None
    name = os.path.normpath(os.fsdecode(path))
    if isinstance(flags, int) and flags & _WRITING:
        return None if name == os.devnull else f"write the file {name!r}"
    if _HARMLESS.fullmatch(name) or any(
        name == folder or name.startswith(folder + "/") for folder in libraries
    ):
        return None
    return f"read the file {name!r}"


class _Environment(MutableMapping[str, str]):
    """An empty environment that notes who asks; libraries may, from their own folders."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._set: dict[str, str] = {}
        self._libraries = tuple(folder + "/" for folder in library_folders())
        # deedbook's own frames are those that call the model's code: they don't count as a library's.
        self._own = f"{Path(__file__).parents[2]}/"

    def __getitem__(self, name: str) -> str:
        self._asked(f"{name!r}")
        return self._set[name]

    def __setitem__(self, name: str, value: str) -> None:
        self._set[name] = value

    def __delitem__(self, name: str) -> None:
        del self._set[name]

    def __iter__(self) -> Iterator[str]:
        self._asked("all of it")
        return iter(self._set)

    def __len__(self) -> int:
        self._asked("all of it")
        return len(self._set)

    def copy(self) -> dict[str, str]:
        """Do what `os.environ` does."""
        self._asked("all of it")
        return dict(self._set)

    def _asked(self, what: str) -> None:
        frame = sys._getframe(2)  # noqa: SLF001 (the only way to see who asks)
        while frame.f_back and frame.f_code.co_filename.endswith(_PASSING):
            frame = frame.f_back
        file = frame.f_code.co_filename
        library = file.startswith(self._libraries) and not file.startswith(self._own)
        if not library and not file.startswith("<frozen importlib"):
            self._note(f"read the environment ({what[:80]})")
