"""The worker's side of the self-test: put bait out, let a confined child at it, and report what held."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deedbook.consumers.sandbox import frames
from deedbook.consumers.sandbox.fork_server import ServerGone
from deedbook.consumers.sandbox.outcome import Isolation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deedbook.consumers.sandbox.fork_server import ForkServer
    from deedbook.consumers.sandbox.outcome import Limits

# What is promised: the probe's name, the sentence for people, the layers that can keep it.
_PROMISES = {
    "network": ("a model can't use the network", ("own network", "seccomp", "Landlock")),
    "files": ("a model can't read other files or artifacts", ("own root", "Landlock", "another user")),
    "environment": (
        "a model can't read the worker's environment or memory",
        ("own root", "own processes", "Landlock", "another user", "no privileges"),
    ),
    "writing": ("a model can't write files", ("own root", "Landlock", "seccomp", "limits")),
    "signals": (
        "a model can't signal other processes",
        ("own processes", "Landlock", "seccomp", "another user"),
    ),
    "memory": ("a model can't use more memory than its limit", ("memory limit",)),
    "programs": ("a model leaves no process behind", ("own processes", "seccomp", "adopted orphans")),
}
_MAX_REPORT_BYTES = 65_536


def test_isolation(server: ForkServer, limits: Limits) -> tuple[Isolation, ...]:
    """Have every promise tried by a child that is confined as a model's is."""
    try:
        missing = server.missing_layers()
        with _Bait() as bait:
            order = {**bait.order, "memory_bytes": limits.memory_bytes + 1}
            ended = server.run("probe", limits, b"", json.dumps(order).encode(), _MAX_REPORT_BYTES)
            taken = bait.taken()
        report = _report(ended.answer)
    except (ServerGone, frames.Malformed, OSError) as error:
        why = f"the self-test failed: {error}"
        return tuple(Isolation(what, isolated=False, how=why) for what, _ in _PROMISES.values())
    worked = dict(report)
    worked["network"] |= taken["network"]
    worked["writing"] |= taken["writing"]
    # A process may have been started: what counts is that it is gone when the job is over.
    worked["programs"] = not ended.alone
    return _promises(worked, missing)


def _promises(worked: Mapping[str, bool], missing: Mapping[str, str]) -> tuple[Isolation, ...]:
    promises = []
    for name, (what, layers) in _PROMISES.items():
        held = [layer for layer in layers if layer not in missing]
        lacking = [f"{layer}: {missing[layer]}" for layer in layers if layer in missing]
        how = ", ".join(held) or "by this system's own rules"
        if worked[name]:
            how = "; ".join(lacking + [f"{layer} alone does not prevent it" for layer in held])
        promises.append(Isolation(what, isolated=not worked[name], how=how))
    return tuple(promises)


def _report(answer: bytes) -> dict[str, Any]:
    for kind, payload in frames.unpack(answer):
        if kind == frames.PROBES:
            report: dict[str, Any] = json.loads(payload)
            return report
    message = "the self-test's child did not answer"
    raise frames.Malformed(message)


class _Bait(contextlib.ExitStack):
    """A TCP and a UDP listener on loopback, a readable secret, and a folder that anybody may write to."""

    def __init__(self) -> None:
        super().__init__()
        self._tcp = self.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._udp = self.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._udp.bind(("127.0.0.1", 0))
        for listener in (self._tcp, self._udp):
            listener.settimeout(0)
        folder = Path(self.enter_context(tempfile.TemporaryDirectory(prefix="deedbook-")))
        folder.chmod(0o777)
        (folder / "secret").write_bytes(b"secret")
        (folder / "secret").chmod(0o644)
        self._target = folder / "written"
        self.order = {
            "tcp_port": self._tcp.getsockname()[1],
            "udp_port": self._udp.getsockname()[1],
            "secret_file": str(folder / "secret"),
            "target_file": str(self._target),
            "worker_pid": os.getpid(),
        }

    def taken(self) -> dict[str, bool]:
        """What arrived, whatever the child says."""
        arrived = False
        with contextlib.suppress(BlockingIOError):
            self._tcp.accept()[0].close()
            arrived = True
        with contextlib.suppress(BlockingIOError):
            self._udp.recv(1)
            arrived = True
        return {"network": arrived, "writing": self._target.exists()}
