"""Where a log on Kafka is and how it is talked to: URLs, properties files, and what is not for other eyes."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from deedbook.events.errors import InvalidInput, LogUnavailable
from deedbook.events.facts import METRICS
from deedbook.events.kafka.client import Reports
from deedbook.events.kafka.log import KafkaLog
from deedbook.events.kafka.properties import read_properties
from deedbook.events.kafka.settings import kafka_settings

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "open-sesame-4711"  # noqa: S105 - opens nothing


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    """A properties file with this text."""
    path = folder / "client.properties"
    path.write_bytes(text.encode())
    path.chmod(mode)
    return path


# --- URLs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "servers", "topic"),
    [
        ("kafka://broker:9093", "broker:9093", "metrics"),
        ("kafka://broker", "broker:9092", "metrics"),
        ("KAFKA://a:1,b.example.org:2/", "a:1,b.example.org:2", "metrics"),
        ("kafka://127.0.0.1:9092/team-a", "127.0.0.1:9092", "team-a.metrics"),
        ("kafka://[::1]:9092/team_a.prod", "[::1]:9092", "team_a.prod.metrics"),
    ],
)
def test_a_url_names_brokers_and_the_prefix_of_topics(url: str, servers: str, topic: str) -> None:
    """The port is Kafka's own where none is given."""
    settings = kafka_settings(url)

    assert (servers, topic) == (settings.servers, settings.topic(METRICS))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("sqlite:///folder", "no URL of a log on Kafka"),
        ("kafka:/broker", "no URL of a log on Kafka"),
        ("kafka://", "no host and port"),
        ("kafka:///prefix", "no host and port"),
        ("kafka://a:9092,", "no host and port"),
        ("kafka://a:0", "no host and port"),
        ("kafka://a:99999", "no host and port"),
        ("kafka://a b:9092", "no host and port"),
        ("kafka://a:9092/team/a", "cannot begin topics' names"),
        ("kafka://a:9092/team?acks=1", "cannot begin topics' names"),
        ("kafka://a:9092/..", "cannot begin topics' names"),
        ("kafka://a:9092/" + "x" * 240, "over the limit"),
    ],
)
def test_what_is_no_such_url_is_refused(url: str, why: str) -> None:
    """One sentence, before anything is connected to."""
    with pytest.raises(InvalidInput, match=why):
        kafka_settings(url)


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    """URLs end up in logs and process lists."""
    with pytest.raises(InvalidInput, match="properties file that DEEDBOOK_KAFKA_CONFIG names") as refused:
        kafka_settings(f"kafka://ada:{SECRET}@broker:9092")

    assert SECRET not in str(refused.value)


# --- properties files --------------------------------------------------------------------------------


def test_a_file_is_read_as_kafkas_own_tools_read_it(tmp_path: Path) -> None:
    """Comments, blanks, both separators, escapes, lines that go on, values with = and #."""
    text = (
        "\ufeff# a comment\n! another\n\n"
        "security.protocol=SASL_SSL\r\n"
        "  sasl.mechanism :  PLAIN  \n"
        "sasl.username=ada#1=x\n"
        "client.id=one\\\n    two\n"
        "ssl.ca.pem=first\\nsecond\\u0041\\\\\n"
        "empty.one=\n"
    )

    assert {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "ada#1=x",
        "client.id": "onetwo",
        "ssl.ca.pem": "first\nsecondA\\",
        "empty.one": "",
    } == read_properties(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a=1\nsecurity.protocol\n", r"line 2 of .* has no = after a name"),
        ("=value\n", "line 1 of .* does not begin with an option's name"),
        ("sasl password=x\n", "line 1 of .* has no = after a name"),
        ("a=1\n# c\na=2\n", "line 3 of .* sets a a second time"),
        ("a=\\u12\n", "line 1 of .* four hexadecimal digits"),
        ("linger.ms=1\nqueue.buffering.max.ms=2\n", "linger.ms by another name, a second time"),
    ],
)
def test_a_line_that_says_nothing_clear_is_refused_by_its_number(tmp_path: Path, text: str, why: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(InvalidInput, match=why):
        kafka_settings("kafka://broker", written(tmp_path, text))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """Absent, or no text."""
    with pytest.raises(InvalidInput, match="cannot be read: No such file"):
        kafka_settings("kafka://broker", tmp_path / "absent")
    (tmp_path / "binary").write_bytes(b"a=\xff\xfe")
    with pytest.raises(InvalidInput, match="not UTF-8"):
        kafka_settings("kafka://broker", tmp_path / "binary")


@pytest.mark.parametrize(
    "line",
    [
        "acks=1",
        "request.required.acks=0",
        "enable.idempotence=false",
        "partitioner=random",
        "auto.offset.reset=latest",
        "enable.auto.commit=true",
        "isolation.level=read_uncommitted",
        "check.crcs=false",
        "transactional.id=mine",
        "bootstrap.servers=elsewhere:9092",
        "metadata.broker.list=elsewhere:9092",
        "message.timeout.ms=0",
        "delivery.timeout.ms=forever",
    ],
)
def test_an_option_that_would_undo_a_promise_is_refused(tmp_path: Path, line: str) -> None:
    """The sentence names the file and the option as it was written."""
    name = line.partition("=")[0].replace("delivery", "message")

    with pytest.raises(InvalidInput, match=rf"client\.properties sets {name}"):
        kafka_settings("kafka://broker", written(tmp_path, line))


def test_an_option_that_repeats_what_deedbook_does_anyway_is_taken(tmp_path: Path) -> None:
    """So that a file may be shared with other programs."""
    settings = kafka_settings("kafka://broker", written(tmp_path, "acks=ALL\nlinger.ms=3\ncheck.crcs=true"))

    assert {"linger.ms": "3"} == dict(settings.options)


def test_an_unknown_option_is_refused_when_the_log_is_opened(tmp_path: Path) -> None:
    """Librdkafka knows its own names; a secret beside the mistake is not repeated."""
    path = written(tmp_path, f"sasl.password={SECRET}\nsasl.mechansim={SECRET}\n")

    with pytest.raises(InvalidInput, match=r'not accepted: .*"sasl\.mechansim"') as refused:
        KafkaLog(kafka_settings("kafka://127.0.0.1:1", path))

    assert SECRET not in str(refused.value)


# --- secrets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "is_hidden"),
    [
        ("sasl.password", True),
        ("ssl.key.password", True),
        ("ssl.keystore.password", True),
        ("ssl.key.pem", True),
        ("sasl.oauthbearer.client.secret", True),
        ("sasl.oauthbearer.config", True),
        ("sasl.jaas.config", True),
        ("sasl.username", False),
        ("ssl.ca.location", False),
        ("ssl.key.location", False),
    ],
)
def test_secrets_are_known_by_their_names(tmp_path: Path, name: str, *, is_hidden: bool) -> None:
    """Neither the settings' repr nor a text they clean holds one."""
    settings = kafka_settings("kafka://broker", written(tmp_path, f"{name}={SECRET}"))

    assert is_hidden is (SECRET not in repr(settings))
    assert is_hidden is (SECRET not in settings.redacted(f"said {SECRET} aloud"))


@pytest.mark.parametrize(
    ("text", "mode", "warned"),
    [
        (f"sasl.password={SECRET}", 0o644, True),
        (f"sasl.password={SECRET}", 0o600, False),
        ("linger.ms=1", 0o644, False),
    ],
)
def test_a_file_of_secrets_that_everybody_can_read_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, mode: int, *, warned: bool
) -> None:
    """The warning says what to do, and no secret."""
    path = written(tmp_path, text, mode)

    kafka_settings("kafka://broker", path)

    assert warned is (f"{path} holds secrets, and every user of this machine can read it" in caplog.text)
    assert SECRET not in caplog.text


# --- without a cluster -------------------------------------------------------------------------------


def test_a_cluster_that_is_not_there_is_an_error_in_time() -> None:
    """The last trouble is said."""
    with pytest.raises(LogUnavailable, match=r"127\.0\.0\.1:1 did not answer in time \(last trouble: "):
        KafkaLog(kafka_settings("kafka://127.0.0.1:1"), timeout_seconds=1)


def test_without_its_library_the_log_names_what_to_install() -> None:
    """Everything but a log on Kafka works without it."""
    program = (
        "import sys\n"
        "sys.modules['confluent_kafka'] = None\n"
        "from deedbook.events.kafka.log import KafkaLog\n"
        "from deedbook.events.kafka.settings import kafka_settings\n"
        "from deedbook.events.errors import MissingExtra\n"
        "try:\n"
        "    KafkaLog(kafka_settings('kafka://127.0.0.1:1'))\n"
        "except MissingExtra as error:\n"
        "    print(error)\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert ("a log on Kafka needs confluent-kafka: pip install 'deedbook[kafka]'\n", "") == (
        done.stdout,
        done.stderr,
    )


def test_what_passes_by_itself_is_told_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """A new cluster lets its first producer wait for a moment: no warning, where another trouble is one."""
    caplog.set_level(logging.INFO, "deedbook.kafka")
    reports = Reports(kafka_settings("kafka://127.0.0.1:9092/prices", None))

    for why in ("Coordinator load in progress: retrying", "Cluster authorization failed"):
        reports.log(
            logging.WARNING, "%s", f"GETPID: Failed to acquire idempotence PID from broker 1: Broker: {why}"
        )

    assert ["Cluster authorization failed"] == [
        record.getMessage().rpartition("Broker: ")[2] for record in caplog.records
    ]
