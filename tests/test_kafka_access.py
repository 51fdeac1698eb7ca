"""The ACLs of docs/operations.md, on a real broker with SASL and the standard authorizer: what each role can do."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import threading
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

import deedbook
from deedbook.events.codec import Codec
from deedbook.events.errors import AccessDenied
from deedbook.events.facts import (
    DEPLOYMENTS,
    REGISTRY,
    TOPICS,
    DeployedModel,
    DeploymentCreated,
    Fact,
    TrainingLogged,
    VerdictIssued,
)
from deedbook.events.kafka.client import Reports
from deedbook.events.kafka.log import KafkaLog
from deedbook.events.kafka.settings import kafka_settings
from tests.command import PROGRAM, Ended, next_line, run
from tests.facts_by_hand import Pen, id_of, training
from tests.golden.write_bodies import SAMPLES
from tests.servers.kafka import KafkaCluster, own_kafka
from tests.servers.properties import Security

PAGE = (Path(__file__).parent.parent / "docs/operations.md").read_text(encoding="utf-8")
ROLES = ["trainer", "validator", "deployer", "reviewer", "host", "analyst", "service"]
MODES = ["open", "guarded"]
PASSWORDS = {role: f"word-of-{role}-7351" for role in [*ROLES, "admin"]}
PATIENCE_SECONDS = 30.0
OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
    "All": AclOperation.ALL,
}


# --- what the page says --------------------------------------------------------------------------


def commands(heading: str) -> str:
    """The shell commands that stand under a bold heading of the page."""
    (block,) = re.findall(rf"^\*\*{heading}\*\*.*\n\n((?: {{4}}.*\n)+)", PAGE, flags=re.MULTILINE)
    return re.sub("^    ", "", block, flags=re.MULTILINE)


def arguments_of(script: str, prefix: str) -> list[list[str]]:
    """The arguments of each `kafka-acls.sh` in a script, as a shell hands them over."""
    stand_in = "kafka-acls.sh() { printf '%s\\0' \"$@\"; printf '\\n'; }\n"
    settings = {"KAFKA": "broker:9092", "P": prefix, "PATH": "/nowhere"}
    done = subprocess.run(
        ["/bin/bash", "-eu", "-c", stand_in + script],
        env=settings,
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.rstrip("\0").split("\0") for line in done.stdout.splitlines()]


def bindings_of(arguments: list[str]) -> Iterator[AclBinding]:
    """The ACLs that one `kafka-acls.sh --add` makes, by the meaning that Kafka gives its options."""
    parser = ArgumentParser(allow_abbrev=False)
    for name in ("--bootstrap-server", "--command-config"):
        parser.add_argument(name, required=True)
    for name in ("--allow-principal", "--operation"):
        parser.add_argument(name, action="append", required=True)
    for name in ("--topic", "--group"):
        parser.add_argument(name, action="append", default=[])
    parser.add_argument("--add", action="store_true", required=True)
    parser.add_argument("--cluster", action="store_true")
    parser.add_argument("--resource-pattern-type", choices=["literal", "prefixed"], default="literal")
    given = parser.parse_args(arguments)
    resources = [
        *((ResourceType.TOPIC, name) for name in given.topic),
        *((ResourceType.GROUP, name) for name in given.group),
        *([(ResourceType.BROKER, "kafka-cluster")] if given.cluster else []),
    ]
    pattern = ResourcePatternType[given.resource_pattern_type.upper()]
    for principal, operation, (kind, name) in itertools.product(
        given.allow_principal, given.operation, resources
    ):
        yield AclBinding(kind, name, pattern, principal, "*", OPERATIONS[operation], AclPermissionType.ALLOW)


def acls(mode: str) -> set[AclBinding]:
    """All ACLs of a mode, for the registry with the mode's name as its prefix."""
    scripts = [commands("Everybody"), commands("Both modes:")]
    scripts += [commands("Open mode, as well:")] if mode == "open" else []
    return {
        binding
        for script in scripts
        for arguments in arguments_of(script, f"{mode}.")
        for binding in bindings_of(arguments)
    }


def table(mode: str) -> Mapping[tuple[str, str], set[str]]:
    """What the page's table says a role may do with a topic."""
    rows = re.findall(r"^\| `(\w+)` \|((?: (?:[a-z]+(?:, [a-z]+)?|\u2013) \|){7})$", PAGE, flags=re.MULTILINE)
    rights: dict[tuple[str, str], set[str]] = {}
    for role, cells in rows:
        in_open, guarded, *others = [set(re.findall("[a-z]+", cell)) for cell in cells.split("|")[:-1]]
        rights |= {
            (role, topic): words
            for topic, words in zip(TOPICS, [in_open if mode == "open" else guarded, *others], strict=True)
        }
    return rights


@pytest.mark.parametrize("mode", MODES)
def test_the_table_says_what_the_commands_give(mode: str) -> None:
    """Rights to read and write, for each role and topic, and no others."""
    given: dict[tuple[str, str], set[str]] = {(role, topic): set() for role in ROLES for topic in TOPICS}
    for acl in acls(mode):
        role = acl.principal.removeprefix("User:")
        if (
            role in ROLES
            and acl.operation in {AclOperation.READ, AclOperation.WRITE}
            and acl.restype == ResourceType.TOPIC
        ):
            given[role, acl.name.removeprefix(f"{mode}.")].add(acl.operation.name.lower())

    assert table(mode) == given


def test_guarded_mode_is_open_mode_without_what_is_removed() -> None:
    """In it nobody but the service writes the registry."""
    writers = {
        mode: {
            acl.principal
            for acl in acls(mode)
            if acl.name == f"{mode}.registry" and acl.operation == AclOperation.WRITE
        }
        for mode in MODES
    }

    assert {"User:service"} == writers["guarded"]
    assert {"User:service", "User:trainer", "User:validator", "User:deployer", "User:reviewer"} == writers[
        "open"
    ]


# --- on a broker ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Doors:
    """A cluster with a registry for each mode, and a properties file for each user."""

    cluster: KafkaCluster
    folder: Path

    def config(self, user: str, password: str = "") -> Path:
        """The properties file of a user; another password than the right one, if it is given."""
        options = self.cluster.client_options(user) | ({"sasl.password": password} if password else {})
        path = self.folder / f"{user}{password and '-wrong'}.properties"
        lines = [f"{name}={value}\n" for name, value in options.items() if name != "bootstrap.servers"]
        path.touch(mode=0o600)
        path.write_text("".join(lines), encoding="utf-8")
        return path

    def url(self, mode: str) -> str:
        """The URL of a mode's registry."""
        return f"kafka://{self.cluster.servers}/{mode}"

    def log(self, user: str, mode: str) -> KafkaLog:
        """The log of a mode's registry, opened by a user."""
        return KafkaLog(kafka_settings(self.url(mode), self.config(user)))

    def settings(self, user: str, mode: str, password: str = "") -> dict[str, str]:
        """What a user's environment says."""
        return {
            "DEEDBOOK_ACTOR": user,
            "DEEDBOOK_KAFKA_CONFIG": str(self.config(user, password)),
            "DEEDBOOK_FOLDER": str(self.folder / f"{user}-{mode}"),
            "DEEDBOOK_ARTIFACTS": str(self.folder / "artifacts"),
        }

    def command(self, user: str, mode: str, *arguments: str, password: str = "") -> Ended:
        """A command run by a user, in a folder of the user's own."""
        settings = self.settings(user, mode, password)
        return run("--url", self.url(mode), *arguments, env=settings)

    @contextmanager
    def running(self, user: str, mode: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """A command that a user runs as a program of its own, until the test is done with it."""
        settings = {"DEEDBOOK_URL": self.url(mode), **self.settings(user, mode)}
        process = subprocess.Popen(
            [*PROGRAM, *arguments], stdout=subprocess.PIPE, text=True, env={**os.environ, **settings}
        )
        watchdog = threading.Timer(PATIENCE_SECONDS, process.kill)
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            process.terminate()
            process.communicate()


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """A broker that asks everybody who they are, with the page's ACLs, and both registries made by `admin`."""
    with own_kafka(security=Security(plain=PASSWORDS, super_user="nobody")) as cluster:
        allow(cluster.admin, acls("open") | acls("guarded"))
        doors = Doors(cluster, tmp_path_factory.mktemp("doors"))
        for mode in MODES:
            made = doors.command("admin", mode, "init", "--partitions", "1")
            assert (0, "") == (made.status, made.err if made.status else "")
            with closing(doors.log("admin", mode)) as log:
                for fact in SAMPLES:
                    log.append(fact.topic, [Codec().encode(fact)])
                log.append("quarantine", [Codec().encode(SAMPLES[0])])
        yield doors


def allow(admin: AdminClient, wanted: set[AclBinding]) -> None:
    """Make ACLs, and wait until the broker goes by all of them."""
    for made in admin.create_acls(list(wanted)).values():
        made.result(PATIENCE_SECONDS)
    anything: Any = None  # which the library takes, and whose types don't say so
    everything = AclBindingFilter(
        ResourceType.ANY,
        anything,
        ResourcePatternType.ANY,
        anything,
        anything,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while set(admin.describe_acls(everything).result(PATIENCE_SECONDS)) != wanted:
        assert time.monotonic() < ends_at, "the broker does not take in the ACLs"


def may_write(log: KafkaLog, topic: str) -> bool:
    """Whether an append to a topic is let through; if not, nothing is on it that was not before."""
    before = log.ends([topic])
    try:
        log.append(topic, [Codec().encode(SAMPLES[0])], timeout_seconds=PATIENCE_SECONDS)
    except AccessDenied:
        assert before == log.ends([topic])
        return False
    return True


def may_read(log: KafkaLog, topic: str) -> bool:
    """Whether a topic's first record is handed out."""
    try:
        return bool(log.read(topic, 0, 0, max_records=1, timeout_seconds=PATIENCE_SECONDS))
    except AccessDenied:
        return False


@pytest.mark.parametrize(("mode", "role"), list(itertools.product(MODES, ROLES)))
def test_a_role_can_do_what_the_page_says_and_nothing_else(doors: Doors, mode: str, role: str) -> None:
    """Every topic is written and read as every role, in both modes."""
    with closing(doors.log(role, mode)) as log:
        found = {
            (role, topic): {
                *(["write"] if may_write(log, topic) else []),
                *(["read"] if may_read(log, topic) else []),
            }
            for topic in TOPICS
        }

    assert {where: words for where, words in table(mode).items() if where[0] == role} == found


def test_who_may_not_write_is_told_so_in_the_moment_in_which_the_producer_hears_of_it(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Librdkafka refuses what is handed over a little before it says why."""
    told, heard = Reports.on_error, threading.Event()

    def told_late(reports: Reports, error: KafkaError) -> None:
        heard.set()
        time.sleep(0.5)
        told(reports, error)

    monkeypatch.setattr(Reports, "on_error", told_late)
    with closing(doors.log("analyst", "guarded")) as log:
        log.end(REGISTRY)  # whoever opens a log begins to connect for writing
        assert heard.wait(PATIENCE_SECONDS)
        with pytest.raises(AccessDenied):
            log.append(REGISTRY, [Codec().encode(SAMPLES[0])], timeout_seconds=PATIENCE_SECONDS)


def test_in_open_mode_a_training_job_logs_a_training_with_the_rights_of_a_trainer(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Announced, step by step, and whole: nothing more is asked of the broker than the role allows."""
    training_id = log_a_training(doors, "open", monkeypatch)

    told = doors.command("service", "open", "explain", training_id)

    assert (0, "") == (told.status, told.err if told.status else "")


def log_a_training(doors: Doors, mode: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Log a training as a trainer does."""
    monkeypatch.setenv("DEEDBOOK_KAFKA_CONFIG", str(doors.config("trainer")))
    monkeypatch.setenv("DEEDBOOK_ARTIFACTS", str(doors.folder / "artifacts"))
    with deedbook.connect(doors.url(mode)) as registry:
        with registry.training("home-price") as training:
            training.log_metric("loss", 0.5, step=1)
            training.log_metric("mse", 0.25)
        return training.training_id


def test_in_guarded_mode_a_trainer_cannot_write_a_verdict(doors: Doors) -> None:
    """Nor anything else on the registry; the sentence names the topic, and no password."""
    verdict: Fact = next(fact for fact in SAMPLES if isinstance(fact, VerdictIssued))
    with closing(doors.log("trainer", "guarded")) as log:
        before = log.end(REGISTRY)

        with pytest.raises(AccessDenied) as refused:
            log.append(REGISTRY, [Codec().encode(verdict)])

        assert before == log.end(REGISTRY)
    assert "guarded.registry" in str(refused.value)
    assert PASSWORDS["trainer"] not in str(refused.value)


def test_an_analyst_looks_without_any_right_to_write(doors: Doors) -> None:
    """What follows from what is new, such as a work order, is for the service to announce."""
    with closing(doors.log("service", "guarded")) as log:
        logged = TrainingLogged(**Pen().envelope(), training=training("looked at"))
        log.append(REGISTRY, [Codec().encode(logged)])
        before = log.ends(TOPICS)

        looked = doors.command("analyst", "guarded", "trainings", "--json")

        assert (0, "") == (looked.status, looked.err if looked.status else "")
        assert logged.training.training_id in looked.out
        assert before == log.ends(TOPICS)


def test_a_host_boots_with_the_rights_of_a_host(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads what its own release is bound to, where nobody but the service writes that."""
    bound = DeploymentCreated(
        **Pen().envelope("news"),
        deployment_id=id_of("deployment"),
        service="pricing-api",
        environment="production",
        release="r7",
        requested_at_position=0,
        models=(DeployedModel(model="home-price", training_id=id_of("deployed"), version=1),),
    )
    with closing(doors.log("service", "guarded")) as log:
        log.append(DEPLOYMENTS, [Codec().encode(bound)])
    monkeypatch.setenv("DEEDBOOK_KAFKA_CONFIG", str(doors.config("host")))
    monkeypatch.setenv("DEEDBOOK_ARTIFACTS", str(doors.folder / "artifacts"))
    monkeypatch.setenv("DEEDBOOK_CACHE", str(doors.folder / "cache"))

    host = deedbook.serving.Host("pricing-api", "r7", url=doors.url("guarded"))

    assert ("home-price",) == host.models()
    host.close()


def test_in_open_mode_a_reviewer_overrides_and_a_pipeline_deploys(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with the rights of its role, each folding the log for itself."""
    training_id = log_a_training(doors, "open", monkeypatch)

    overridden = doors.command(
        "reviewer", "open", "override", training_id, "--deployable", "--reason", "seen by me"
    )
    deployed = doors.command(
        "deployer", "open", "deploy", "pricing", "r1", "--model", f"home-price={training_id}"
    )

    assert (0, "") == (overridden.status, overridden.err if overridden.status else "")
    assert (0, "") == (deployed.status, deployed.err if deployed.status else "")


def test_in_open_mode_a_worker_judges_with_the_rights_of_a_validator(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a member of its group: it reads orders, and writes a verdict."""
    training_id = log_a_training(doors, "open", monkeypatch)
    told = doors.command("service", "open", "trainings")
    assert (0, "") == (told.status, told.err if told.status else "")

    with doors.running("validator", "open", "validate") as worker:
        lines = iter(lambda: next_line(worker), "")
        judged = next((line for line in lines if training_id in line), "")

    assert "home-price" in judged


def test_a_wrong_password_is_one_sentence_without_it(doors: Doors) -> None:
    """What was typed may be the right password of something else."""
    wrong = "let-me-in-4711"
    ended = doors.command("analyst", "open", "trainings", password=wrong)

    assert 2 == ended.status
    assert "" == ended.out
    assert re.fullmatch(r"(deedbook: )?[^\n]+\n", ended.err), ended.err
    assert wrong not in ended.err
    assert PASSWORDS["analyst"] not in ended.err
