"""The self-test: a confined child tries what a hostile model would, and says what worked.

The worker puts the bait out (a listener, a file with a secret) and looks at it afterwards, too.
"""

from __future__ import annotations

import mmap
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def run(bait: dict[str, Any]) -> dict[str, bool]:
    """Try each forbidden thing once; return {what: whether it worked}.

    `bait`: tcp_port, udp_port, secret_file, target_file, worker_pid, memory_bytes.
    """
    tries: dict[str, Callable[[], object]] = {
        "network": lambda: _connect(bait["tcp_port"], bait["udp_port"]),
        "files": lambda: Path(bait["secret_file"]).read_bytes(),
        "environment": lambda: Path(f"/proc/{bait['worker_pid']}/environ").read_bytes(),
        "writing": lambda: Path(bait["target_file"]).write_bytes(b"x"),
        "signals": lambda: os.kill(bait["worker_pid"], 0),
        "memory": lambda: _touch(bait["memory_bytes"]),
        "programs": _start_process,
    }
    return {what: _works(attempt) for what, attempt in tries.items()}


def _works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except (OSError, MemoryError):
        return False
    return True


def _connect(tcp_port: int, udp_port: int) -> None:
    """Connect, or at least send: one of them working is enough."""
    try:
        with socket.create_connection(("127.0.0.1", tcp_port), timeout=1):
            return
    except OSError:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", ("127.0.0.1", udp_port))


def _touch(memory_bytes: int) -> None:
    with mmap.mmap(-1, memory_bytes):
        pass


def _start_process() -> None:
    """Leave a process behind that keeps the answer's pipe open: the worker sees whether it is ended."""
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(3600)
        os._exit(0)
    os.waitpid(child, 0)
