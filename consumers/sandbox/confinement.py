"""What a child gives up before it touches a model: files, network, processes, privileges, resources.

Prepared once by the fork server, applied by each child in a few hundred microseconds. Each layer
stands alone, so that a system that lacks some still has the others.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import resource
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from deedbook.consumers.sandbox import kernel
from deedbook.consumers.sandbox.surroundings import library_folders, readable_files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_NOBODY = 65534
_MAX_OPEN_FILES = 64
_CLONE_THREAD = 0x00010000

# Refused with EPERM, so that a model's attempt ends as an exception with a reason. A list of what is
# denied, not of what is allowed: numerical libraries use hundreds of harmless calls, and the folders,
# users and namespaces around this layer don't depend on it.
_DENIED_CALLS = {
    "network": "socket socketpair",
    "programs and processes": "execve execveat fork vfork",
    "namespaces and mounts": "unshare setns mount umount2 pivot_root chroot fsopen fsconfig fsmount fspick"
    " open_tree move_mount mount_setattr",
    "other processes": "ptrace process_vm_readv process_vm_writev process_madvise kcmp pidfd_open pidfd_getfd"
    " pidfd_send_signal tkill rt_sigqueueinfo rt_tgsigqueueinfo",
    "changing files": "creat truncate rename renameat renameat2 link linkat symlink symlinkat unlink unlinkat"
    " mkdir mkdirat rmdir mknod mknodat",
    "what is known of files": "chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes"
    " utimensat futimesat setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr",
    "files without names": "name_to_handle_at open_by_handle_at memfd_create memfd_secret",
    "shared memory and queues": "shmget msgget semget mq_open",
    "much of the kernel": "io_uring_setup io_uring_enter io_uring_register bpf perf_event_open userfaultfd"
    " fanotify_init add_key request_key keyctl personality quotactl acct swapon swapoff reboot"
    " kexec_load kexec_file_load init_module finit_module delete_module",
    "other users and priorities": "setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid"
    " setgroups capset setpriority sched_setscheduler sched_setattr ioprio_set",
}
# Answered as if the kernel were older: the C library then uses a call that can be looked into.
_UNKNOWN_CALLS = ("clone3", "openat2")
# SECCOMP_RET_ERRNO with EPERM.
_REFUSED = 0x00050000 | errno.EPERM
_OPEN_FLAGS_ARGUMENT = {"open": 1, "openat": 2}


@dataclass(frozen=True, slots=True)
class Confinement:
    """What this system offers, looked up once."""

    landlock: Any
    seccomp: Any
    calls: Any
    user: int | None
    base_address_space_bytes: int
    missing: Mapping[str, str]

    def apply(self, cpu_seconds: int, memory_bytes: int, threads: int) -> None:
        """Give everything up, for good; OSError if a layer fails that held when it was tried at the start.

        Called in a fresh child, with only the job's descriptors open.
        """
        for name, step in self._steps(cpu_seconds, memory_bytes, threads).items():
            if name not in self.missing:
                step()

    def tried(self) -> Confinement:
        """Apply it in a child that does nothing else, and return it with the layers that fail as missing."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            missing = {}
            try:
                for name, step in self._steps(1, 1 << 30, 1).items():
                    if name not in self.missing:
                        try:
                            step()
                        except (OSError, ValueError) as error:
                            missing[name] = getattr(error, "strerror", None) or str(error)
                os.write(writing, json.dumps(missing).encode())
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as file:
            found = json.loads(file.read())
        os.waitpid(child, 0)
        return replace(self, missing={**self.missing, **found})

    def _steps(self, cpu_seconds: int, memory_bytes: int, threads: int) -> dict[str, Callable[[], None]]:
        """The layers, in the order in which each leaves what the next needs."""
        return {
            "Landlock": self._restrict_files,
            "another user": self._change_user,
            "no privileges": kernel.renounce_privileges,
            "hidden memory": kernel.hide_memory,
            "memory limit": lambda: self._limit_memory(memory_bytes),
            "limits": lambda: self._limit(cpu_seconds, threads),
            "seccomp": self._filter_calls,
        }

    def _restrict_files(self) -> None:
        """Deny everything that Landlock knows of, except reading libraries; nothing can be executed either."""
        landlock = self.landlock
        scopes = landlock.Scope.SIGNAL | landlock.Scope.ABSTRACT_UNIX_SOCKET
        with landlock.Ruleset(scoped=scopes) as ruleset:
            for folder in library_folders():
                ruleset.allow_path(folder, landlock.AccessFS.READ_FILE | landlock.AccessFS.READ_DIR)
            for file in readable_files():
                ruleset.allow_path(file, landlock.AccessFS.READ_FILE)
            ruleset.restrict()

    def _change_user(self) -> None:
        assert self.user is not None  # noqa: S101 (else the layer is among the missing)
        _become(self.user)

    def _limit_memory(self, memory_bytes: int) -> None:
        most = self.base_address_space_bytes + memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

    def _limit(self, cpu_seconds: int, threads: int) -> None:
        limits = {
            # One second more for the hard limit: the soft one says by its signal that it was the processor.
            resource.RLIMIT_CPU: (cpu_seconds, cpu_seconds + 1),
            resource.RLIMIT_NOFILE: (_MAX_OPEN_FILES, _MAX_OPEN_FILES),
            resource.RLIMIT_FSIZE: (0, 0),
            resource.RLIMIT_CORE: (0, 0),
            # Counts the threads of all processes of the same user and user namespace, the server among them.
            resource.RLIMIT_NPROC: (threads + 1, threads + 1),
        }
        for limit, values in limits.items():
            resource.setrlimit(limit, values)

    def _filter_calls(self) -> None:
        """Complete the filter with what only the child knows, and switch it on."""
        seccomp = self.seccomp
        for name in ("kill", "tgkill"):
            _add(self.calls, _REFUSED, name, seccomp.Arg(0, seccomp.NE, os.getpid()))
        self.calls.load()


def prepare(base_address_space_bytes: int, seccomp: Any | str) -> Confinement:  # noqa: ANN401 (pyseccomp)
    """Look up what this system offers; `seccomp` is what `load_seccomp` returned."""
    missing: dict[str, str] = {}
    if not sys.platform.startswith("linux"):
        missing |= dict.fromkeys(("Landlock", "no privileges", "hidden memory"), "only on Linux")
    if isinstance(seccomp, str):
        missing["seccomp"] = seccomp
    landlock = None if "Landlock" in missing else _landlock(missing)
    user = _other_user(missing)
    calls = None if "seccomp" in missing else _denied_calls(seccomp)
    return Confinement(landlock, seccomp, calls, user, base_address_space_bytes, missing)


def load_seccomp() -> Any | str:  # noqa: ANN401 (pyseccomp)
    """Return the pyseccomp module, or why it can't be had; call it before the root is left."""
    if not sys.platform.startswith("linux"):
        return "only on Linux"
    try:
        return importlib.import_module("pyseccomp")
    except ImportError:
        return "pyseccomp is not installed"
    except (RuntimeError, OSError):
        return "the system's libseccomp is not installed"


def _denied_calls(seccomp: Any) -> Any:  # noqa: ANN401 (pyseccomp, its SyscallFilter)
    """The filter: the calls above, new processes, and opening named files to write are refused."""
    calls = seccomp.SyscallFilter(defaction=seccomp.ALLOW)
    for name in " ".join(_DENIED_CALLS.values()).split():
        _add(calls, _REFUSED, name)
    for name in _UNKNOWN_CALLS:
        _add(calls, seccomp.ERRNO(errno.ENOSYS), name)
    _add(calls, _REFUSED, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, _CLONE_THREAD, 0))
    for name, argument in _OPEN_FLAGS_ARGUMENT.items():
        for flag in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC):
            _add(calls, _REFUSED, name, seccomp.Arg(argument, seccomp.MASKED_EQ, flag, flag))
    return calls


def _landlock(missing: dict[str, str]) -> Any:  # noqa: ANN401 (the landlockpy module)
    try:
        landlock = importlib.import_module("landlockpy")
        landlock.abi_version()
    except ImportError:
        missing["Landlock"] = "landlockpy is not installed"
        return None
    except OSError as error:
        missing["Landlock"] = f"not in this kernel, or switched off ({error.strerror})"
        return None
    return landlock


def _other_user(missing: dict[str, str]) -> int | None:
    """Choose the user to become, tried in a child: it must exist here and be able to read the libraries."""
    if os.geteuid() != 0:
        missing["another user"] = "only root can change its user"
        return None
    folders = library_folders()
    child = os.fork()
    if child == 0:
        status = 2
        try:
            _become(_NOBODY)
            status = 0 if all(os.access(folder, os.R_OK | os.X_OK) for folder in folders) else 1
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    reasons = {
        1: "another user can't read Python's libraries",
        2: "this system does not let root change its user",
    }
    if status:
        missing["another user"] = reasons.get(os.waitstatus_to_exitcode(status), "trying it failed")
        return None
    return _NOBODY


def _become(user: int) -> None:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def _add(calls: Any, action: int, name: str, *conditions: Any) -> None:  # noqa: ANN401 (pyseccomp's)
    """Add a rule, unless this processor or library has no such call: then nobody can make it."""
    try:
        calls.add_rule(action, name, *conditions)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.EDOM, errno.EFAULT}:
            raise
