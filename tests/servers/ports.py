"""Free ports on the loopback address."""

import os
import random
import socket
from collections.abc import Collection

HOST = "127.0.0.1"
# Below the ranges from which Linux and macOS take the ports of outgoing connections: what is free now isn't
# taken by somebody's connection before the server listens.
LOWEST, HIGHEST = 20_000, 32_000
# Every service of SeaweedFS listens a second time, for gRPC, on the port this far above its own.
GRPC_ABOVE = 10_000


def is_free(port: int) -> bool:
    """Whether a server could listen on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def is_open(port: int) -> bool:
    """Whether somebody listens on the port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0


def free_ports(count: int, *, beside: int = 0, without: Collection[int] = ()) -> list[int]:
    """So many different free ports, none of those `without`; with `beside`, the port that far above each is as well."""
    found: list[int] = []
    candidates = [port for port in range(LOWEST, HIGHEST + 1 - beside) if _is_own(port)]
    random.shuffle(candidates)
    for port in candidates:
        if without and {port, port + beside} & {*without}:
            continue
        if is_free(port) and is_free(port + beside):
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError(f"There are no {count} free ports between {LOWEST} and {HIGHEST}.")


def _is_own(port: int) -> bool:
    """Whether no other process of the same test run looks at the port: two would find it free at the same time."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    return port % GRPC_ABOVE % workers == worker % workers
