"""A real Kafka or a real S3 server for a person to play with: `make kafka`, `make s3`.

It stays until Ctrl-C, and keeps its data, so that a second start goes on where the first one ended.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import types
from pathlib import Path

if __name__ == "__main__":  # other people's packages are called `tests`, too: this one is found by its folder
    tests = sys.modules["tests"] = types.ModuleType("tests")
    tests.__path__ = [str(Path(__file__).parents[1])]

from tests.servers.kafka import LASTING_JVM, KafkaCluster
from tests.servers.leash import Leash, own_leash
from tests.servers.ports import GRPC_ABOVE, free_ports, is_free
from tests.servers.s3 import S3Server

BUCKET = "deedbook"


def kafka(folder: Path, leash: Leash, port: int) -> tuple[KafkaCluster, str]:
    """One broker, and what to tell the person."""
    cluster = KafkaCluster(folder, leash, ports=[port], jvm=LASTING_JVM)
    cluster.start()
    return cluster, f"export DEEDBOOK_URL=kafka://{cluster.servers}/demo"


def s3(folder: Path, leash: Leash, port: int) -> tuple[S3Server, str]:
    """One server with a bucket, and what to tell the person."""
    server = S3Server(folder, leash, port=port)
    server.start()
    client = server.place.client()
    if BUCKET not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=BUCKET)
    variables = {"DEEDBOOK_ARTIFACTS": f'"{server.place.url(BUCKET)}"', **server.place.environment()}
    return server, "\n".join(f"export {name}={value}" for name, value in variables.items())


def port_of(folder: Path, wanted: int) -> int:
    """The port wanted, else the one of the last time if it is free, else any that is."""
    remembered = folder / "port"
    port = wanted
    if not port and remembered.exists():
        port = int(remembered.read_text(encoding="ascii"))
        port = port if is_free(port) else 0
    if not port:
        (port,) = free_ports(1, beside=GRPC_ABOVE)
    folder.mkdir(parents=True, exist_ok=True)
    remembered.write_text(str(port), encoding="ascii")
    return port


def main() -> None:
    """Start one server, say where it is, and end it in order when told to end."""
    parser = argparse.ArgumentParser(description="A real server to play with.")
    parser.add_argument("kind", choices=["kafka", "s3"])
    parser.add_argument("--folder", type=Path, help="where its data is kept")
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    folder = (given.folder or Path(f".deedbook-{given.kind}")).absolute()

    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: ended.set())
    with own_leash(folder) as (leash, _):
        start = kafka if given.kind == "kafka" else s3
        server, told = start(folder, leash, port_of(folder, given.port))
        print(f"# The data is kept in {folder}. Ctrl-C ends the server.\n{told}", flush=True)  # noqa: T201
        ended.wait()
        server.stop()


if __name__ == "__main__":
    try:
        main()
    except BlockingIOError:
        sys.exit("It runs already, in this folder.")
    except RuntimeError as error:
        sys.exit(str(error))
