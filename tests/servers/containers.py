"""The same servers in containers, where a Docker engine answers: a process of its own that holds them.

testcontainers' reaper removes them when that process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

KAFKA_IMAGE = "apache/kafka:4.3.0"
S3_IMAGE = "chrislusf/seaweedfs:4.48"
KEYS = ("deedbook", "deedbook-secret")
HOST = "127.0.0.1"


def engine_answers() -> bool:
    """Whether a Docker engine is there, and says so at once."""
    import docker  # type: ignore[import-untyped]
    from docker.errors import DockerException  # type: ignore[import-untyped]

    try:
        with contextlib.closing(docker.from_env(timeout=5)) as engine:
            return bool(engine.ping())
    except DockerException:
        return False


def kafka_container(port: int) -> DockerContainer:
    """One broker, reached on a port of this machine that it is told beforehand."""
    variables = {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_LISTENERS": "INTERNAL://:19092,HOST://:9092,CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"INTERNAL://localhost:19092,HOST://{HOST}:{port}",
        "KAFKA_INTER_BROKER_LISTENER_NAME": "INTERNAL",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT,HOST:PLAINTEXT",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_HEAP_OPTS": "-Xmx384m",
    }
    return _container(KAFKA_IMAGE, None, variables, {9092: port})


def s3_container(port: int) -> DockerContainer:
    """One S3 server; SeaweedFS takes the keys that it accepts from the environment."""
    variables = {"AWS_ACCESS_KEY_ID": KEYS[0], "AWS_SECRET_ACCESS_KEY": KEYS[1]}
    return _container(S3_IMAGE, "mini -dir=/data -webdav=false -admin.ui=false", variables, {8333: port})


def _container(
    image: str, command: str | None, variables: dict[str, str], ports: dict[int, int]
) -> DockerContainer:
    """A container whose ports are bound on the loopback address alone."""
    from testcontainers.core.container import DockerContainer

    bound = {f"{inside}/tcp": (HOST, outside) for inside, outside in ports.items()}
    container = DockerContainer(image, command=command, env=variables)
    container.ports.update(bound)  # type: ignore[arg-type]  # Docker takes an address, too
    return container


def hold(kind: str, port: int, started: Path) -> None:
    """Start a container, note that it was started, and hold it until this process is ended."""
    container = kafka_container(port) if kind == "kafka" else s3_container(port)
    with container:
        started.touch()
        signal.pause()


if __name__ == "__main__":
    hold(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
