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
from collections.abc import Mapping, Sequence
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


class Ending:
    """What a signal asks for: an end, once the demo has ended."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self._demo: subprocess.Popen[bytes] | None = None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask)

    def _ask(self, number: int, _frame: types.FrameType | None) -> None:
        self.asked.set()
        # Ctrl-C has reached the demo already.
        if self._demo is not None and number != signal.SIGINT:
            self._demo.terminate()

    def tell(self, url: str, variables: Mapping[str, str], arguments: Sequence[str]) -> int:
        """Tell the story on the servers, and return its exit status."""
        program = Path(sys.executable).with_name("deedbook")
        command = [str(program), "demo", "--into", url, "--folder", FOLDER, *arguments]
        self._demo = subprocess.Popen(command, env={**os.environ, **variables})
        return self._demo.wait()


def main() -> int:
    """Start the servers, tell the story, say where to look, and end what was started."""
    ending = Ending()
    with own_leash() as (leash, folder), ExitStack() as after:
        cluster = KafkaCluster(folder, leash)
        server = S3Server(folder, leash)
        print("Starting Kafka and an S3 server …", flush=True)  # noqa: T201
        after.callback(server.stop)
        after.callback(cluster.stop)
        with ThreadPoolExecutor() as both:
            for started in [both.submit(cluster.start), both.submit(server.start)]:
                started.result()
        server.place.client().create_bucket(Bucket=BUCKET)
        url = f"kafka://{cluster.servers}/demo"
        variables = {"DEEDBOOK_ARTIFACTS": server.place.url(BUCKET), **server.place.environment()}
        if ending.asked.is_set():
            return 130
        watched = sys.stdin.isatty() and sys.stdout.isatty()
        if watched:
            exports = {"DEEDBOOK_URL": url, "DEEDBOOK_FOLDER": f"{FOLDER}/registry", **variables}
            lines = [f'    export {name}="{value}"' for name, value in exports.items()]
            print("They stay until Ctrl-C. For commands of your own, in another terminal:\n")  # noqa: T201
            print("\n".join(lines), flush=True)  # noqa: T201
        status = ending.tell(url, variables, sys.argv[1:])
        if status == 0 and not watched:
            print("\nThe servers end now; on a terminal they and the pages would stay until Ctrl-C.")  # noqa: T201
    return status


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RuntimeError as error:
        sys.exit(str(error))
