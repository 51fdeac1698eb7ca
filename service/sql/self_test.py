"""The self-test: what is forbidden is tried, with DuckDB's guard on and off, and every promise that holds is told."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deedbook.consumers.sandbox.outcome import Isolation
from deedbook.events.errors import DeadlineExceeded, DeedbookError, InvalidInput
from deedbook.service.sql import frames
from deedbook.service.sql.asking import Order, ask
from deedbook.service.sql.keeper import Child, Keeper
from deedbook.service.sql.limits import Limits

# What is promised: the probe's name, the sentence for people, the layers that can keep it.
_PROMISES: Final = {
    "network": ("a query can't use the network", ("own network", "seccomp", "Landlock")),
    "files": (
        "a query can't read any file but its snapshot, nor the live tables",
        ("own root", "Landlock", "another user"),
    ),
    "environment": (
        "a query can't read the service's environment or memory",
        ("own root", "own processes", "Landlock", "another user", "no privileges"),
    ),
    "writing": (
        "a query can't write anything, beside its snapshot either",
        ("own root", "Landlock", "seccomp", "limits"),
    ),
    "signals": (
        "a query can't signal other processes",
        ("own processes", "Landlock", "seccomp", "another user"),
    ),
    "memory": ("a query can't use more memory than its limit", ("memory limit",)),
    "time": ("a query is ended at its deadline, whatever it does", ()),
    "programs": ("a query leaves no process behind", ("own processes", "seccomp")),
    "statements": ("one statement is run, and only one that asks", ()),
}
_HOW: Final = {"time": "its process is killed", "statements": "DuckDB's parser, a read-only snapshot"}
_SECONDS: Final = 20.0
_ENDLESS_SECONDS: Final = 0.3
_ENDLESS: Final = "select count(*) from range(1000000000) a, range(1000000000) b where a.range * b.range = -1"
# One text as large as all that a query may use: what DuckDB's own limit does not count.
_HOG: Final = "select length(repeat('x', {}))"
_CHANGING: Final = (
    "create temp table t as select 1",
    "set memory_limit = '1TB'",
    "pragma database_list",
    "call pragma_version()",
    "install json",
    "explain analyze copy (select 1) to 'x'",
    "select 1; select 2",
)


@dataclass(frozen=True, slots=True)
class _Tested:
    keeper: Keeper
    snapshot: str
    limits: Limits


def isolation_of(keeper: Keeper, snapshot: str, projection: Path, limits: Limits) -> tuple[Isolation, ...]:
    """Have every promise tried by children that are confined as a query's is, on a snapshot by its name.

    `projection`: the live tables' file. Takes about a second.
    """
    tested = _Tested(keeper, snapshot, limits)
    try:
        missing = keeper.missing_layers()
        with _bait(projection, limits) as bait:
            worked = _tried(tested, "probe", bait.order())
            statements = bait.statements + [("statements", statement) for statement in _CHANGING]
            for what, answered in _tried(tested, "guarded", {"statements": statements}).items():
                worked[what] = worked.get(what, False) or answered
            worked["network"] |= bait.reached()
            worked["writing"] |= bait.written()
    except (DeedbookError, frames.Gone, frames.Late, frames.Malformed, OSError, ValueError) as error:
        why = f"the self-test failed: {str(error) or type(error).__name__}"
        return tuple(Isolation(what, isolated=False, how=why) for what, _ in _PROMISES.values())
    worked["memory"] |= _answered(tested, _HOG.format(limits.memory_bytes))
    worked["time"] = not _ends(tested, _ENDLESS)
    return _promises(worked, missing)


def _promises(worked: Mapping[str, bool], missing: Mapping[str, str]) -> tuple[Isolation, ...]:
    promises = []
    for name, (what, layers) in _PROMISES.items():
        held = [layer for layer in layers if layer not in missing]
        lacking = [f"{layer}: {missing[layer]}" for layer in layers if layer in missing]
        how = _HOW.get(name) or ", ".join(held) or "by this system's own rules"
        if worked[name]:
            alone = [f"{layer} alone does not prevent it" for layer in held]
            how = "; ".join(lacking + alone) or "it was tried, and worked"
        promises.append(Isolation(what, isolated=not worked[name], how=how))
    return tuple(promises)


def _tried(tested: _Tested, kind: str, order: dict[str, Any]) -> dict[str, bool]:
    """What worked for a child: "probe" is one whose DuckDB refuses nothing, and that tries by itself as well."""
    child = tested.keeper.child(tested.snapshot, kind)
    deadline = time.monotonic() + _SECONDS
    try:
        frames.receive(child.channel, deadline)
        frames.send(child.channel, frames.QUERY, json.dumps(order).encode())
        answer, payload = frames.receive(child.channel, deadline)
        if answer != frames.PROBES:
            raise frames.Malformed(payload.decode("utf-8", "backslashreplace")[:200] or "no answer came")
        worked: dict[str, bool] = json.loads(payload)
        if kind == "probe":
            worked["programs"] = not _alone(child, deadline)
    finally:
        child.end()
    return worked


def _alone(child: Child, deadline: float) -> bool:
    """Let go of a child, and say whether nobody is left who holds its channel."""
    child.leash.close()
    try:
        frames.receive(child.channel, min(deadline, time.monotonic() + 5.0))
    except frames.Gone:
        return True
    except (frames.Late, frames.Malformed):
        return False
    return False


def _answered(tested: _Tested, query: str, timeout_seconds: float = _SECONDS) -> bool:
    """Say whether a query is answered, as anybody's would be."""
    child = tested.keeper.child(tested.snapshot)
    order = Order(query, 1, 1 << 20, timeout_seconds, time.monotonic() + timeout_seconds)
    try:
        ask(child, order, tested.limits.memory_bytes)
    except InvalidInput:
        return False
    finally:
        child.end()
    return True


def _ends(tested: _Tested, query: str) -> bool:
    """Say whether an endless query has no process any more soon after its deadline."""
    child = tested.keeper.child(tested.snapshot)
    order = Order(query, 1, 1 << 20, _SECONDS, time.monotonic() + _SECONDS)
    try:
        frames.receive(child.channel, order.deadline)
        order = Order(query, 1, 1 << 20, _ENDLESS_SECONDS, time.monotonic() + _ENDLESS_SECONDS)
        wanted = {"query": query, "max_rows": 1, "max_bytes": 1 << 20}
        frames.send(child.channel, frames.QUERY, json.dumps(wanted).encode())
        while True:
            kind, _ = frames.receive(child.channel, order.deadline)
            if kind != frames.COLUMNS:
                return False
    except frames.Late:
        return _alone(child, time.monotonic() + _SECONDS)
    except (frames.Gone, frames.Malformed, OSError, DeadlineExceeded):
        return False
    finally:
        child.end()


@dataclass(frozen=True, slots=True)
class _Bait:
    """Listeners on loopback, a readable secret, and a folder that anybody may write to."""

    tcp: socket.socket
    udp: socket.socket
    folder: Path
    projection: Path
    memory_bytes: int

    @property
    def statements(self) -> list[tuple[str, str]]:
        """What is forbidden, as SQL."""
        host = f"http://127.0.0.1:{self.tcp.getsockname()[1]}"
        forbidden = {
            "files": [
                *_reading(self.folder / "secret"),
                *_reading(self.projection),
                *_reading("/etc/passwd"),
            ],
            "environment": [*_reading(f"/proc/{os.getpid()}/environ"), "select getenv('PATH')"],
            "writing": [
                f"copy (select 1) to {_quoted(self.folder / 'copied')}",
                f"attach {_quoted(self.folder / 'attached')} as other",
                f"export database {_quoted(self.folder / 'exported')}",
            ],
            "network": [*_reading(f"{host}/"), f"install httpfs from '{host}'", "load httpfs"],
        }
        return [(what, statement) for what, statements in forbidden.items() for statement in statements]

    def order(self) -> dict[str, Any]:
        """What a probing child is told."""
        return {
            "tcp_port": self.tcp.getsockname()[1],
            "udp_port": self.udp.getsockname()[1],
            "secret_file": str(self.folder / "secret"),
            "target_file": str(self.folder / "written"),
            "worker_pid": os.getpid(),
            "memory_bytes": self.memory_bytes + 1,
            "statements": self.statements,
        }

    def reached(self) -> bool:
        """Say whether anything arrived, whatever the child says."""
        with contextlib.suppress(BlockingIOError):
            self.tcp.accept()[0].close()
            return True
        with contextlib.suppress(BlockingIOError):
            self.udp.recv(1)
            return True
        return False

    def written(self) -> bool:
        """Say whether anything was written, whatever the child says."""
        return {found.name for found in self.folder.iterdir()} != {"secret"}


@contextlib.contextmanager
def _bait(projection: Path, limits: Limits) -> Iterator[_Bait]:
    with contextlib.ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        for listener in (tcp, udp):
            listener.settimeout(0)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="deedbook-")))
        folder.chmod(0o777)
        (folder / "secret").write_bytes(b"secret")
        (folder / "secret").chmod(0o644)
        yield _Bait(tcp, udp, folder, projection, limits.memory_bytes)


def _reading(path: Path | str) -> list[str]:
    """Ways of reading a file in SQL."""
    return [
        f"from read_blob({_quoted(path)})",
        f"from read_csv({_quoted(path)})",
        f"attach {_quoted(path)} (read_only)",
    ]


def _quoted(path: Path | str) -> str:
    return "'" + str(path).replace("'", "''") + "'"
