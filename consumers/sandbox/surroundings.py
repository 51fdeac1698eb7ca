"""The fork server's own surroundings: namespaces, and a root that holds Python's libraries and nothing else.

Entered once, before the server loads anything; every child is born into them. Each layer that this
system does not allow is noted with its reason, and the others still stand.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import site
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from deedbook.consumers.sandbox import kernel

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES = ("own network", "own processes", "own root")
_SPACES = (
    kernel.NEW_MOUNTS | kernel.NEW_PROCESSES | kernel.NEW_NETWORK | kernel.NEW_IPC | kernel.NEW_HOST_NAME
)
_SYSTEM_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo")
_SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/localtime", "/dev/null", "/dev/urandom")
# What a mount has that a user namespace must keep when it is made read-only: nosuid, nodev, noexec, times.
_KEPT_FLAGS = kernel.NO_SETUID | kernel.NO_DEVICES | kernel.NO_EXECUTE | (1 << 10) | (1 << 11)
_STATVFS_RELATIVE_TIMES = 1 << 12


@functools.cache
def library_folders() -> tuple[str, ...]:
    """Where Python and the system keep libraries: what a model may read, besides itself.

    The folders are those of the installation, not all of `sys.path`: a development path may hold
    a project's data and secrets.
    """
    found = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    found |= {*site.getsitepackages(), *_SYSTEM_LIBRARIES, os.path.join(sys.base_prefix, "lib")}  # noqa: PTH118
    folders = sorted(folder for folder in found if Path(folder).is_dir())
    return tuple(folder for folder in folders if not any(folder.startswith(other + "/") for other in folders))


@functools.cache
def readable_files() -> tuple[str, ...]:
    """Single files and devices that libraries read while they load."""
    return tuple(name for name in _SYSTEM_FILES if Path(name).exists())


def enter(shown: Mapping[str, str] | None = None) -> tuple[bool, dict[str, str]]:
    """Enter all of it; say whether this is now the first process of a process namespace, and which layers are missing.

    ``shown``: more folders to show in the own root, read-only, and where.
    """
    if not sys.platform.startswith("linux"):
        return False, dict.fromkeys(_NAMES, "only on Linux")
    missing: dict[str, str] = {}
    refused = enter_namespaces()
    if refused:
        missing |= dict.fromkeys(_NAMES, refused)
    else:
        _become_first_process()
        rootless = enter_library_root(shown)
        if rootless:
            missing["own root"] = rootless
    with contextlib.suppress(OSError):
        kernel.hide_memory()
        kernel.adopt_orphans()
    return refused is None, missing


def _become_first_process() -> None:
    """Go on as the first process of the new process namespace; what stays outside only waits for it.

    When the first process ends, by whatever means, the kernel ends all others in the namespace.
    """
    first = os.fork()
    if first == 0:
        kernel.die_with_parent(signal.SIGKILL)
        return
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    _, status = os.waitpid(first, 0)
    os._exit(1 if status else 0)


def enter_namespaces() -> str | None:
    """Get namespaces of this process's own, as root or through a user namespace; the reason why not.

    A child forked afterwards is the first process of the new process namespace.
    """
    user, group = os.getuid(), os.getgid()
    try:
        kernel.unshare(_SPACES)
    except OSError:
        try:
            kernel.unshare(_SPACES | kernel.NEW_USERS)
        except OSError as error:
            return f"namespaces are not allowed here ({error.strerror})"
        with contextlib.suppress(OSError):  # without a map the process is nobody inside, which does as well
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
            Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    return None


def enter_library_root(shown: Mapping[str, str] | None = None) -> str | None:
    """Make a read-only root of Python's and the system's libraries; the reason why not.

    ``shown``: more folders to have in it, and where.

    After it nothing else can be opened by name: no artifact, no home, no /proc. Needs `enter_namespaces`.
    """
    places = {path: path for path in (*library_folders(), *readable_files())} | dict(shown or {})
    # Opened first, because the new root is put together on top of a folder that may hold some of them.
    sources = {place: os.open(path, os.O_PATH | os.O_CLOEXEC) for path, place in places.items()}
    base = "/tmp"  # noqa: S108 (only a place to mount on, inside a namespace of our own)
    try:
        kernel.mount("none", "/", None, kernel.RECURSIVE | kernel.PRIVATE)
        kernel.mount("tmpfs", base, "tmpfs", kernel.NO_SETUID | kernel.NO_DEVICES, "mode=755,size=1m")
        for place, descriptor in sources.items():
            _bind(f"/proc/self/fd/{descriptor}", base + place)
        kernel.make_root(base)
        Path("/tmp").mkdir(exist_ok=True)  # noqa: S108 (libraries look for it; nothing can be written there)
        kernel.mount(
            "none",
            "/",
            None,
            kernel.REMOUNT | kernel.BIND | kernel.READ_ONLY | kernel.NO_SETUID | kernel.NO_DEVICES,
        )
    except OSError as error:
        with contextlib.suppress(OSError):
            kernel.unmount(base)
        return f"a root of its own is not allowed here ({error.strerror})"
    finally:
        for descriptor in sources.values():
            os.close(descriptor)
    return None


def _bind(source: str, target: str) -> None:
    """Mount a folder or file at the target, read-only."""
    place = Path(target)
    place.parent.mkdir(parents=True, exist_ok=True)
    device = not Path(source).is_dir() and not Path(source).is_file()
    if Path(source).is_dir():
        place.mkdir(exist_ok=True)
    else:
        place.touch()
    # With what is mounted below it: a user namespace may not uncover what a mount hides.
    kernel.mount(source, target, None, kernel.BIND | kernel.RECURSIVE)
    if device:
        return
    flags = os.statvfs(target).f_flag
    kept = flags & _KEPT_FLAGS | (kernel.RELATIVE_TIMES if flags & _STATVFS_RELATIVE_TIMES else 0)
    kernel.mount(
        "none", target, None, kernel.REMOUNT | kernel.BIND | kernel.READ_ONLY | kernel.NO_SETUID | kept
    )
