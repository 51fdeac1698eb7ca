"""The topics of a log on Kafka: made once with settings that lose nothing, and checked at every start.

Where there are three brokers each record is on three, and acknowledged once it is on two. With two it is on
both before it is acknowledged: one that only a single broker has would be lost with it. With one there is no choice.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deedbook.events.errors import InvalidInput, LogUnavailable, NotFound
from deedbook.events.facts import QUARANTINE, REGISTRY, TOPICS
from deedbook.events.kafka.client import (
    LOGGER,
    Admin,
    Reports,
    explained,
    made,
    native,
    options,
    pause_before_retry,
)
from deedbook.events.log import MAX_BODY_BYTES, MAX_HEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deedbook.events.kafka.settings import KafkaSettings

# The largest batch a producer of ours sends holds one largest record, and what Kafka puts around it.
LARGEST_BATCH_BYTES = MAX_BODY_BYTES + MAX_HEAD_BYTES + (1 << 14)
_MAX_MESSAGE_BYTES = 2 << 20
_MOST_PARTITIONS = 1_000
_CREATING_SECONDS = 60.0
_SINGLE = frozenset({REGISTRY, QUARANTINE})
_ABSENT = frozenset({"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "UNKNOWN_TOPIC_ID"})
_DENIED = frozenset({"TOPIC_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED"})
_SAFE = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "message.timestamp.type": "LogAppendTime",
    "unclean.leader.election.enable": "false",
}
# What a topic is told besides while a log is copied into it: the times are those the records had elsewhere, any.
COPYING = {
    "message.timestamp.type": "CreateTime",
    "message.timestamp.after.max.ms": str((1 << 63) - 1),
}
_WHY = {
    "cleanup.policy": "compaction erases events",
    "retention.ms": "events older than that would be deleted",
    "retention.bytes": "the oldest events would be deleted",
    "unclean.leader.election.enable": "acknowledged events could be lost with a broker",
    "message.timestamp.type": (
        "writers would choose when their events were recorded; if a copy is under way, finish it with `deedbook copy`"
    ),
    "max.message.bytes": "the largest events would be refused",
    "min.insync.replicas": "an event would be acknowledged when a single broker has it",
}


@dataclass(frozen=True, slots=True)
class Topics:
    """What the cluster says of our topics: their ids, partitions and replicas, and which we may not see."""

    cluster: str
    ids: Mapping[str, str]
    partitions: Mapping[str, int]
    replicas: Mapping[str, int]
    brokers: tuple[str, ...]
    denied: frozenset[str] = frozenset()

    def identity(self) -> str:
        """Return what tells this log from any other: the cluster's id and each topic's."""
        known = [f"{name}={self.ids[name]}" for name in TOPICS if name in self.ids]
        return " ".join([f"kafka={self.cluster}", *known])

    def changed_since(self, before: Topics) -> str:
        """Say which topic, or what else, is not what it was; empty where all is as before."""
        if self.cluster != before.cluster:
            return f"the cluster was {before.cluster}, and is {self.cluster}"
        for name, was in before.ids.items():
            now = self.ids.get(name)
            if now is None and name not in self.denied:
                return f"topic {name} is gone"
            if now is not None and now != was:
                return f"topic {name} was recreated (its id was {was}, and is {now})"
        return ""


def describe(admin: Admin, deadline: float, *, at_once_if_denied: bool = False) -> Topics:
    """Return what the cluster says of our topics; raises LogUnavailable, AccessDenied."""
    kafka = native()
    settings = admin.settings
    names = {settings.topic(name): name for name in TOPICS}
    while True:
        left = max(1.0, deadline - time.monotonic())
        asked = admin.client.describe_topics(kafka.TopicCollection(list(names)), request_timeout=left)
        futures = {"": admin.client.describe_cluster(request_timeout=left), **asked}
        answers = admin.answers(futures, deadline, at_once_if_denied=at_once_if_denied)
        passing = next((answer for answer in answers.values() if _may_pass(answer)), None)
        if passing is None:
            break
        if not pause_before_retry(deadline):
            timed_out = passing.name() == "_TIMED_OUT"
            raise admin.unavailable(
                "did not answer in time" if timed_out else f"could not describe its topics: {passing.str()}"
            )
    cluster = answers.pop("")
    known = {names[full]: answer for full, answer in answers.items() if not _is_error(answer)}
    return Topics(
        cluster=str(cluster.cluster_id),
        ids={name: str(known[name].topic_id) for name in TOPICS if name in known},
        partitions={name: len(answer.partitions) for name, answer in known.items()},
        replicas={
            name: min((len(one.replicas) for one in answer.partitions), default=0)
            for name, answer in known.items()
        },
        brokers=tuple(f"{node.host}:{node.port}" for node in cluster.nodes),
        denied=frozenset(
            names[full]
            for full, answer in answers.items()
            if _is_error(answer) and answer.name() not in _ABSENT
        ),
    )


def check(admin: Admin, topics: Topics, deadline: float, *, copying: bool = False) -> None:
    """Refuse a log that would lose events, with the setting and what mends it.

    What we may not see is not checked. Raises InvalidInput, NotFound, LogUnavailable.
    """
    settings = admin.settings
    if missing := [settings.topic(name) for name in TOPICS if name not in topics.denied | topics.ids.keys()]:
        url = f"kafka://{settings.servers}" + (f"/{settings.prefix}" if settings.prefix else "")
        raise NotFound(
            f"there is no log at {url}: topic {missing[0]} is missing; make it with `deedbook --url {url} init`"
        )
    for name in _SINGLE & topics.partitions.keys():
        if topics.partitions[name] != 1:
            raise InvalidInput(
                f"topic {settings.topic(name)} has {topics.partitions[name]} partitions and must have one, for its "
                "order is the order in which things happened: copy the log to a new prefix with `deedbook copy`"
            )
    resources = {name: _resource(settings.topic(name)) for name in topics.ids}
    futures = admin.client.describe_configs(list(resources.values())) if resources else {}
    answers = admin.answers({resource.name: future for resource, future in futures.items()}, deadline)
    for name in topics.ids:
        found = answers[settings.topic(name)]
        if _is_error(found):
            if found.name() not in _DENIED:
                raise explained(found, name, settings)
            continue
        _check_one(
            settings, name, topics, {key: entry.value for key, entry in found.items()}, copying=copying
        )


def _check_one(
    settings: KafkaSettings, name: str, topics: Topics, found: Mapping[str, str | None], *, copying: bool
) -> None:
    wanted = {key: value for key, value in _SAFE.items() if not (copying and key == "message.timestamp.type")}
    wrong = {key: value for key, value in wanted.items() if found.get(key, value) != value}
    if int(found.get("max.message.bytes") or _MAX_MESSAGE_BYTES) < LARGEST_BATCH_BYTES:
        wrong["max.message.bytes"] = str(_MAX_MESSAGE_BYTES)
    replicas = topics.replicas[name]
    if replicas >= 3 and int(found.get("min.insync.replicas") or 2) < 2:
        wrong["min.insync.replicas"] = "2"
    full = settings.topic(name)
    if wrong:
        key = next(iter(wrong))
        mend = ",".join(f"{one}={value}" for one, value in wrong.items())
        raise InvalidInput(
            f"topic {full} has {key}={found.get(key)}: {_WHY[key]}; mend it with `kafka-configs.sh --bootstrap-server "
            f"{settings.servers.split(',')[0]} --alter --entity-type topics --entity-name {full} --add-config {mend}`"
        )
    if replicas < min(3, len(topics.brokers)):
        LOGGER.warning(
            "topic %s is on %d of %d brokers: its events would be lost with %s (kafka-reassign-partitions.sh adds "
            "replicas)",
            full,
            replicas,
            len(topics.brokers),
            "it" if replicas == 1 else "them",
        )


def create_topics(settings: KafkaSettings, *, partitions: int = 6, copying: bool = False) -> None:
    """Make the topics a log needs, unless they are there, and wait until every broker knows them.

    ``copying``: new ones keep the times that a copy gives its records, until it is whole. What exists is left
    as it is, and checked. Any number may do so at once. Raises InvalidInput (unsafe settings, not allowed),
    LogUnavailable, MissingExtra.
    """
    if not 1 <= partitions <= _MOST_PARTITIONS:
        raise InvalidInput(f"a topic has 1 to {_MOST_PARTITIONS:,} partitions, not {partitions}")
    deadline = time.monotonic() + _CREATING_SECONDS
    admin = Admin(settings)
    before = describe(admin, deadline, at_once_if_denied=True)
    missing = [name for name in TOPICS if name not in before.ids]
    if missing:
        copies = min(3, max(1, len(before.brokers)))
        configuration = {
            **_SAFE,
            **(COPYING if copying else {}),
            "max.message.bytes": str(_MAX_MESSAGE_BYTES),
            "min.insync.replicas": str(min(2, copies)),
        }
        counts = {name: 1 if name in _SINGLE else partitions for name in missing}
        _create(admin, counts, copies, configuration, deadline)
    for broker in before.brokers:
        _await_topics(settings, broker, deadline)
    check(admin, describe(admin, deadline), deadline, copying=copying)


def _create(
    admin: Admin, counts: Mapping[str, int], copies: int, configuration: dict[str, str], deadline: float
) -> None:
    """Make topics of so many partitions each."""
    new = [
        native().admin.NewTopic(
            admin.settings.topic(name),
            num_partitions=partitions,
            replication_factor=copies,
            config=configuration,
        )
        for name, partitions in counts.items()
    ]
    answers = admin.answers(admin.client.create_topics(new, operation_timeout=30), deadline)
    for full, answer in answers.items():
        if _is_error(answer) and answer.name() != "TOPIC_ALREADY_EXISTS":
            if answer.name() in _DENIED:
                raise explained(answer, full.rpartition(".")[2], admin.settings)
            raise InvalidInput(f"topic {full} was not made: {admin.settings.redacted(answer.str())}")


def _await_topics(settings: KafkaSettings, broker: str, deadline: float) -> None:
    """Wait until one broker knows all topics and a leader for each partition."""
    configuration = options(settings, Reports(settings), {}) | {"bootstrap.servers": broker}
    client = made(settings, native().admin.AdminClient, configuration)
    wanted = {settings.topic(name) for name in TOPICS}
    while True:
        try:
            seen = client.list_topics(timeout=max(1.0, deadline - time.monotonic())).topics
        except native().KafkaException as error:
            raise LogUnavailable(f"broker {broker} does not answer: {error.args[0].str()}") from None
        ready = {
            full
            for full in wanted & seen.keys()
            if seen[full].error is None and all(one.leader >= 0 for one in seen[full].partitions.values())
        }
        if ready == wanted:
            return
        if not pause_before_retry(deadline):
            raise LogUnavailable(f"broker {broker} does not know topic {min(wanted - ready)} yet: try again")


def _resource(full: str) -> Any:  # noqa: ANN401 - the library is not imported before it is needed
    kafka_admin = native().admin
    return kafka_admin.ConfigResource(kafka_admin.ResourceType.TOPIC, full)


def _is_error(answer: object) -> bool:
    return isinstance(answer, native().KafkaError)


def _may_pass(answer: Any) -> bool:  # noqa: ANN401 - an answer or an error
    return _is_error(answer) and answer.name() not in _ABSENT | _DENIED
