"""Systems that allow less, each a real one: what a process is to run first, so that it has things taken away."""

from __future__ import annotations

LANDLOCK_CREATE_RULESET = 444  # on every processor; older libseccomps have no name for it
# Takes a system call away from this process and its descendants, as a container or an old kernel does.
WITHOUT = """
import errno, pyseccomp
calls = pyseccomp.SyscallFilter(defaction=pyseccomp.ALLOW)
for name in {names!r}:
    calls.add_rule(pyseccomp.ERRNO(errno.EPERM), name)
if {no_filters!r}:
    calls.add_rule(pyseccomp.ERRNO(errno.EINVAL), "prctl", pyseccomp.Arg(0, pyseccomp.EQ, 22))
    calls.add_rule(pyseccomp.ERRNO(errno.EINVAL), "seccomp")
calls.load()
"""
# Becomes a user without privileges; where Python lives in root's home, it is shown to others, for this process only.
ORDINARY_USER = """
import os, sys
from deedbook.consumers.sandbox import kernel
home = next((p for p in [*__import__('pathlib').Path(sys.base_prefix).parents][::-1] if not p.stat().st_mode & 1), None)
kernel.unshare(kernel.NEW_MOUNTS)
kernel.mount("none", "/", None, kernel.RECURSIVE | kernel.PRIVATE)
if home:
    python = os.open(sys.base_prefix, os.O_PATH)
    kernel.mount("tmpfs", str(home), "tmpfs", 0, "mode=755")
    os.makedirs(sys.base_prefix)
    kernel.mount(f"/proc/self/fd/{python}", sys.base_prefix, None, kernel.BIND)
os.setgroups([]); os.setresgid(1234, 1234, 1234); os.setresuid(1234, 1234, 1234)
"""


def without(*names: str | int, no_filters: bool = False) -> str:
    """A preparation that takes system calls away."""
    return WITHOUT.format(names=names, no_filters=no_filters)
