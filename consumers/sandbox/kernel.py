"""The few Linux calls that Python has no name for, through the C library."""

from __future__ import annotations

import ctypes
import os

# <linux/sched.h>
NEW_MOUNTS, NEW_HOST_NAME, NEW_IPC = 0x00020000, 0x04000000, 0x08000000
NEW_USERS, NEW_PROCESSES, NEW_NETWORK = 0x10000000, 0x20000000, 0x40000000
# <linux/mount.h>
READ_ONLY, NO_SETUID, NO_DEVICES, NO_EXECUTE = 1, 2, 4, 8
REMOUNT, BIND, RECURSIVE, PRIVATE, RELATIVE_TIMES = 1 << 5, 1 << 12, 1 << 14, 1 << 18, 1 << 21
_DETACH = 2
# <linux/prctl.h>
_PARENT_DEATH_SIGNAL, _DUMPABLE, _CHILD_SUBREAPER, _NO_NEW_PRIVILEGES = 1, 4, 36, 38
# <linux/capability.h>
_CAPABILITY_VERSION_3 = 0x20080522

_library: ctypes.CDLL | None = None


def _call(name: str, *arguments: object) -> None:
    """Call a function of the C library; OSError with its errno, or if the library lacks it."""
    global _library  # noqa: PLW0603 (opening the C library is I/O, so it waits for the first call)
    if _library is None:
        _library = ctypes.CDLL(None, use_errno=True)
    try:
        function = getattr(_library, name)
    except AttributeError:
        raise OSError(0, f"this system has no {name}") from None
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def unshare(flags: int) -> None:
    """Leave the given namespaces for new ones."""
    _call("unshare", flags)


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """Mount a source, or change what is mounted at the target."""
    texts = [text.encode() if text is not None else None for text in (source, target, kind, options)]
    _call("mount", texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3])


def make_root(folder: str) -> None:
    """Make a mounted folder the root, and let go of the old root."""
    os.chdir(folder)
    # With both the same, the old root ends up on top of the new one, from where it is taken off.
    _call("pivot_root", b".", b".")
    unmount(".")
    os.chdir("/")


def unmount(folder: str) -> None:
    """Take a mount away, at once for newcomers and later for those who still use it."""
    _call("umount2", folder.encode(), _DETACH)


def die_with_parent(signal_number: int) -> None:
    """Get this signal when the parent thread ends."""
    _prctl(_PARENT_DEATH_SIGNAL, signal_number)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent has ended."""
    _prctl(_CHILD_SUBREAPER, 1)


def hide_memory() -> None:
    """Refuse ptrace and /proc/<pid>/mem to processes without privileges, also of the same user."""
    _prctl(_DUMPABLE, 0)


def renounce_privileges() -> None:
    """Never gain privileges from a program again, and give up every capability held now."""
    _prctl(_NO_NEW_PRIVILEGES, 1)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    _call("capset", header, nothing)


def _prctl(option: int, value: int) -> None:
    _call("prctl", *(ctypes.c_ulong(number) for number in (option, value, 0, 0, 0)))
