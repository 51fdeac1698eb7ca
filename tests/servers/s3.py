"""A real S3 server from a package alone: SeaweedFS, on the loopback address, with one identity that may do all."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sysconfig
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.servers.leash import Leash, leave_nothing, own_leash, stop
from tests.servers.ports import GRPC_ABOVE, HOST, free_ports, is_free, is_open

if TYPE_CHECKING:
    from botocore.client import BaseClient

START_SECONDS = 120.0
REGION = "us-east-1"
WEED = Path(sysconfig.get_path("scripts")) / "weed"


@dataclass(frozen=True, slots=True)
class S3Place:
    """Where an S3 server is, and the keys that it knows."""

    endpoint: str
    access_key: str
    secret_key: str
    region: str = REGION

    def client(self) -> BaseClient:
        """A boto3 client that needs nothing from the environment."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=Config(
                connect_timeout=5,
                read_timeout=20,
                retries={"total_max_attempts": 2},
                s3={"addressing_style": "path"},
            ),
        )

    def answers(self) -> bool:
        """Whether a bucket can be made, an object written, and both be removed again: all parts are there then."""
        from botocore.exceptions import BotoCoreError, ClientError

        client = self.client()
        bucket = f"start-up-{os.getpid()}"
        try:
            client.create_bucket(Bucket=bucket)
            client.put_object(Bucket=bucket, Key="probe", Body=b"probe")
            client.delete_object(Bucket=bucket, Key="probe")
            client.delete_bucket(Bucket=bucket)
        except (BotoCoreError, ClientError):
            return False
        return True

    def environment(self) -> dict[str, str]:
        """The variables from which boto3 takes the keys and the region."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
        }

    def url(self, bucket: str) -> str:
        """A bucket as deedbook names it."""
        return f"s3://{bucket}?endpoint={self.endpoint}&region={self.region}"


def sockets_of(ports: Sequence[int], s3_port: int) -> list[Path]:
    """The files through which SeaweedFS's parts talk to each other, of which it leaves most behind.

    `ports`: of master, volume, filer and admin, and the one that far below S3's for gRPC.
    """
    *above, s3_grpc = (port + GRPC_ABOVE for port in ports)
    named = zip(("master", "volume", "filer", "admin"), above, strict=True)
    names = [*(f"{part}-grpc-{port}" for part, port in named), f"filer-{ports[2]}"]
    names += [f"s3-grpc-{s3_grpc}", f"s3-{s3_port}"]
    return [Path("/tmp") / f"seaweedfs-{name}.sock" for name in names]  # noqa: S108 - its choice


class S3Server:
    """SeaweedFS: its master, volume, filer and S3 gateway in one process.

    The folder keeps data: a server that is started on it again has the buckets it had.
    """

    def __init__(
        self,
        folder: Path,
        leash: Leash,
        *,
        keys: tuple[str, str] = ("deedbook", "deedbook-secret"),
        port: int = 0,
    ) -> None:
        self.folder = folder
        self.log_path = folder / "weed.log"
        self._leash = leash
        self._keys = keys
        self._ports = free_ports(5, beside=GRPC_ABOVE, without=[port])
        self._port = port or self._ports[-1]
        self._grpc_port = self._ports[-1] + GRPC_ABOVE
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def place(self) -> S3Place:
        """Where it is."""
        return S3Place(f"http://{HOST}:{self._port}", *self._keys)

    def start(self) -> None:
        """Start the server, and wait until it answers its own identity."""
        if not is_free(self._port):  # SeaweedFS would listen on another
            raise RuntimeError(f"The S3 server can't start: port {self._port} is taken.")
        (self.folder / "data").mkdir(exist_ok=True)
        self._configure()
        leave_nothing(self.folder, sockets_of(self._ports, self._port))
        # Of a new bucket's files it would make seven at once.
        environment = {"HOME": str(self.folder), "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}
        self._process = self._leash.start(self._command(), self.log_path, environment)
        self._await()

    def stop(self) -> None:
        """End the server in order (SIGTERM)."""
        if self._process is not None and self._process.poll() is None:
            stop(self._process)

    def kill(self) -> None:
        """End the server as a power failure would (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def is_running(self) -> bool:
        """Whether the server's process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def process_id(self) -> int:
        """The number of the server's process."""
        if self._process is None:
            raise RuntimeError("The S3 server was not started.")
        return self._process.pid

    def _command(self) -> list[str | Path]:
        """SeaweedFS's all-in-one mode: `weed server` with the same parts takes 4 s to start and 15 s to end."""
        master, volume, filer, admin, _ = self._ports
        return [
            WEED,
            "-logtostderr=true",
            "mini",
            f"-dir={self.folder / 'data'}",
            f"-ip={HOST}",
            f"-ip.bind={HOST}",
            f"-master.port={master}",
            "-master.volumeSizeLimitMB=256",
            "-master.telemetry=false",
            f"-volume.port={volume}",
            "-volume.max=100000",
            "-volume.preStopSeconds=0",
            f"-filer.port={filer}",
            f"-admin.port={admin}",
            "-admin.ui=false",
            "-webdav=false",
            f"-s3.port={self._port}",
            f"-s3.port.grpc={self._grpc_port}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.config={self.folder / 'identity.json'}",
        ]

    def _configure(self) -> None:
        """Write the one identity; SeaweedFS lets anybody in without it."""
        access_key, secret_key = self._keys
        identity = {
            "name": "deedbook",
            "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        path = self.folder / "identity.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({"identities": [identity]}), encoding="utf-8")

    def _await(self) -> None:
        """Wait until a bucket can be made, an object written, and both be removed again: all parts are there then."""
        ends_at = time.monotonic() + START_SECONDS
        while time.monotonic() < ends_at:
            if not self.is_running():
                raise RuntimeError(self._complaint("ended"))
            if is_open(self._port) and self.place.answers():
                return
            time.sleep(0.05)
        raise RuntimeError(self._complaint(f"isn't up after {START_SECONDS:.0f} s"))

    def _complaint(self, what: str) -> str:
        """One error that says what went wrong, with the end of the log."""
        lines = self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join([f"The S3 server {what}. The end of its log:", *lines[-20:]])


@contextlib.contextmanager
def own_s3() -> Iterator[S3Server]:
    """A server of this process's own in a temporary folder, up and running; gone afterwards, whatever happens."""
    with own_leash() as (leash, folder):
        server = S3Server(folder, leash)
        server.start()
        yield server
