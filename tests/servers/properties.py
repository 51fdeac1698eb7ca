"""What a broker's `server.properties` say: where it listens, what it keeps, and whom it lets in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.ports import HOST
from tests.servers.tls import Certificates


@dataclass(frozen=True, slots=True)
class Security:
    """Who may come in through the CLIENT listener, and how.

    `plain` and `scram` give users and their passwords; with either, SASL is asked for, and the standard authorizer
    lets nobody but `super_user` do anything that no ACL allows. `tls` encrypts with a certificate of a CA made for
    this cluster alone.
    """

    plain: Mapping[str, str] = field(default_factory=dict)
    scram: Mapping[str, str] = field(default_factory=dict)
    super_user: str = "admin"
    tls: bool = False

    @property
    def sasl(self) -> bool:
        """Whether clients must say who they are."""
        return bool(self.plain or self.scram)

    @property
    def protocol(self) -> str:
        """The listener's protocol, by Kafka's name."""
        match self.sasl, self.tls:
            case True, True:
                return "SASL_SSL"
            case True, False:
                return "SASL_PLAINTEXT"
            case False, True:
                return "SSL"
            case _:
                return "PLAINTEXT"

    def client_options(self, user: str | None, mechanism: str | None) -> dict[str, str]:
        """What librdkafka has to be told about a listener of this kind, and about one of its users."""
        options: dict[str, str] = {}
        if self.protocol != "PLAINTEXT":
            options["security.protocol"] = self.protocol
        if user is not None:
            options["sasl.mechanism"] = mechanism or ("PLAIN" if user in self.plain else "SCRAM-SHA-256")
            options["sasl.username"] = user
            options["sasl.password"] = {**self.scram, **self.plain}[user]
        return options

    def properties(self) -> dict[str, str]:
        """What the brokers have to be told, but for the certificates."""
        if not self.sasl:
            return {}
        offered = {"PLAIN": self.plain, "SCRAM-SHA-256": self.scram}
        properties = {"sasl.enabled.mechanisms": ",".join(name for name, users in offered.items() if users)}
        jaas = "listener.name.client.{}.sasl.jaas.config"
        module = "org.apache.kafka.common.security.{} required"
        if self.plain:
            users = " ".join(f'user_{name}="{password}"' for name, password in self.plain.items())
            login = module.format("plain.PlainLoginModule")
            properties[jaas.format("plain")] = f"{login} {users};"
        if self.scram:
            login = module.format("scram.ScramLoginModule")
            properties[jaas.format("scram-sha-256")] = f"{login};"
        # Nobody is anonymous on the CLIENT listener: whoever is, is a broker, or looks after them.
        properties["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
        properties["super.users"] = f"User:ANONYMOUS;User:{self.super_user}"
        return properties


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of one broker; `advertised` is what clients are told to connect to, a proxy's port perhaps."""

    client: int
    internal: int
    controller: int
    advertised: int


def broker_properties(
    broker: int,
    every: Mapping[int, Ports],
    data: Path,
    security: Security,
    certificates: Certificates | None,
) -> dict[str, str]:
    """One broker's properties, of a cluster whose brokers have these ports; small, since tests send little."""
    ports = every[broker]
    listening = {"CLIENT": ports.client, "INTERNAL": ports.internal, "CONTROLLER": ports.controller}
    advertised = {"CLIENT": ports.advertised, "INTERNAL": ports.internal}
    voters = [f"{number}@{HOST}:{other.controller}" for number, other in every.items()]
    copies = str(min(3, len(every)))
    in_sync = str(min(2, len(every)))
    return {
        "process.roles": "broker,controller",
        "node.id": str(broker),
        "controller.quorum.voters": ",".join(voters),
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "INTERNAL",
        "listeners": ",".join(f"{name}://{HOST}:{port}" for name, port in listening.items()),
        "advertised.listeners": ",".join(f"{name}://{HOST}:{port}" for name, port in advertised.items()),
        "listener.security.protocol.map": (
            f"CLIENT:{security.protocol},INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT"
        ),
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "default.replication.factor": copies,
        "offsets.topic.num.partitions": "4",
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.num.partitions": "4",
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.num.partitions": "1",
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": in_sync,
        # A broker that was killed is given up, or may come back, after four seconds instead of nine.
        "broker.session.timeout.ms": "4000",
        "broker.heartbeat.interval.ms": "500",
        "group.initial.rebalance.delay.ms": "0",
        "log.cleaner.dedupe.buffer.size": "4194304",
        "num.network.threads": "2",
        "num.io.threads": "4",
        **security.properties(),
        **(certificates.properties() if certificates is not None else {}),
    }
