"""The demo's story on a real Kafka and a real S3 server: `make demo-kafka`.

Both are started for it, and end with it. On a terminal they stay until Ctrl-C, to be looked at.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

if __name__ == "__main__":  # other people's packages are called `tests`, too: this one is found by its folder
    tests = sys.modules["tests"] = types.ModuleType("tests")
    tests.__path__ = [str(Path(__file__).parents[1])]

from tests.servers.kafka import KafkaCluster
from tests.servers.leash import own_leash
from tests.servers.s3 import S3Server

BUCKET = "deedbook"
FOLDER = ".deedbook-demo-kafka"


def told(url: str, variables: dict[str, str], arguments: list[str]) -> int:
    """Tell the story on the servers, and return its exit status; Ctrl-C is its own affair."""
    program = Path(sys.executable).with_name("deedbook")
    command = [program, "demo", "--into", url, "--folder", FOLDER, *arguments]
    return subprocess.run(command, env={**os.environ, **variables}, check=False).returncode


def main() -> int:
    """Start the servers, tell the story, say where to look, and end what was started."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: ended.set())
    with own_leash() as (leash, folder), ExitStack() as ending:
        cluster = KafkaCluster(folder / "kafka", leash)
        server = S3Server(folder / "s3", leash)
        print("Starting Kafka and an S3 server …", flush=True)  # noqa: T201
        with ThreadPoolExecutor() as both:
            started = [both.submit(one.start) for one in (cluster, server)]
            for one, start in zip((cluster, server), started, strict=True):
                start.result()
                ending.callback(one.stop)
        server.place.client().create_bucket(Bucket=BUCKET)
        url = f"kafka://{cluster.servers}/demo"
        variables = {"DEEDBOOK_ARTIFACTS": server.place.url(BUCKET), **server.place.environment()}
        status = 130 if ended.is_set() else told(url, variables, sys.argv[1:])
        if status == 0 and sys.stdin.isatty() and sys.stdout.isatty() and not ended.is_set():
            exports = {"DEEDBOOK_URL": url, "DEEDBOOK_FOLDER": f"{FOLDER}/registry", **variables}
            lines = [f'    export {name}="{value}"' for name, value in exports.items()]
            print("\nThe servers stay until Ctrl-C. For any other command, in another terminal:\n")  # noqa: T201
            print("\n".join(lines), flush=True)  # noqa: T201
            ended.wait()
    return status


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RuntimeError as error:
        sys.exit(str(error))
