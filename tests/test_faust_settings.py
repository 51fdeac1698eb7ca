"""What Faust is told and what it says: librdkafka's options in its words, its words in ours; what was answered."""

from __future__ import annotations

import logging
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from faust.auth import SASLCredentials, SSLCredentials

from deedbook.consumers.faust.answers import AnswersOnLog, Interrupted
from deedbook.consumers.faust.app import faust_settings, group_of
from deedbook.consumers.faust.logging import AWAY, Translated, in_our_words
from deedbook.consumers.faust.settings import credentials, timing
from deedbook.events.codec import Codec
from deedbook.events.errors import InvalidInput
from deedbook.events.facts import (
    REGISTRY,
    VALIDATIONS,
    CheckResult,
    CheckSpec,
    Outcome,
    Policy,
    Training,
    ValidationRequested,
    VerdictIssued,
)
from deedbook.events.ids import new_id
from deedbook.events.kafka.settings import KafkaSettings
from deedbook.events.log import Record
from deedbook.events.sqlite_log import SqliteLog

SASL = {"security.protocol": "SASL_PLAINTEXT", "sasl.username": "ana", "sasl.password": "secret"}

# --- who one is, and whom one trusts -------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"security.protocol": "PLAINTEXT"}, {"linger.ms": "5"}])
def test_a_plain_connection_takes_no_credentials(options: dict[str, str]) -> None:
    """Options that tune librdkafka alone are none of the worker's."""
    assert credentials(options) is None


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("name", ["sasl.mechanism", "sasl.mechanisms"])
def test_sasl_is_translated(name: str, mechanism: str) -> None:
    """By either of the names that librdkafka has for the mechanism."""
    found = credentials({**SASL, name: mechanism})

    assert isinstance(found, SASLCredentials)
    assert ("ana", "secret", mechanism) == (found.username, found.password, found.mechanism.value)
    assert "SASL_PLAINTEXT" == found.protocol.value


@pytest.mark.parametrize(
    ("options", "checks_name", "mode"),
    [
        ({}, True, ssl.CERT_REQUIRED),
        ({"ssl.ca.location": "probe"}, True, ssl.CERT_REQUIRED),
        ({"ssl.endpoint.identification.algorithm": "none"}, False, ssl.CERT_REQUIRED),
        ({"enable.ssl.certificate.verification": "false"}, False, ssl.CERT_NONE),
    ],
)
def test_tls_trusts_whom_librdkafka_would_trust(
    options: dict[str, str], mode: ssl.VerifyMode, *, checks_name: bool
) -> None:
    """Certificates are verified and names compared unless an option says otherwise."""
    found = credentials({"security.protocol": "ssl", **options})

    assert isinstance(found, SSLCredentials)
    assert (checks_name, mode) == (found.context.check_hostname, found.context.verify_mode)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"security.protocol": "tls"}, "security.protocol is 'tls': it must be one of plaintext, ssl"),
        (
            {"security.protocol": "sasl_ssl"},
            "sasl.mechanism is GSSAPI: the worker's Kafka client can PLAIN, ",
        ),
        (
            {**SASL, "sasl.mechanism": "OAUTHBEARER"},
            "sasl.mechanism is OAUTHBEARER: the worker's Kafka client",
        ),
        (
            {**SASL, "sasl.mechanism": "PLAIN", "sasl.password": ""},
            "sasl.password is missing: PLAIN needs it",
        ),
        ({**SASL, "sasl.oauthbearer.method": "oidc"}, "nothing for the option sasl.oauthbearer.method"),
        ({"ssl.keystore.location": "x.p12"}, "nothing for the option ssl.keystore.location: leave it out"),
        (
            {"security.protocol": "ssl", "ssl.ca.location": "/nowhere/ca.pem"},
            "ssl.ca.location /nowhere/ca.pem",
        ),
        ({"security.protocol": "ssl", "ssl.key.location": "k.pem"}, "without ssl.certificate.location"),
        (
            {"security.protocol": "ssl", "ssl.certificate.location": "/nowhere/c.pem"},
            "ssl.certificate.location /nowhere/c.pem and its key could not be read: No such file",
        ),
    ],
)
def test_what_can_not_be_honoured_is_refused(options: dict[str, str], sentence: str) -> None:
    """An option of security that did nothing would be worse than an error; no secret is in the sentence."""
    with pytest.raises(InvalidInput) as refused:
        credentials(options)

    assert sentence in str(refused.value)
    assert "secret" not in str(refused.value)


# --- how long things take ------------------------------------------------------------------------


def test_the_group_s_timing_is_what_the_options_say() -> None:
    """In librdkafka's milliseconds."""
    found = timing(
        {
            "session.timeout.ms": "9000",
            "heartbeat.interval.ms": "500",
            "max.poll.interval.ms": "60000",
            "auto.commit.interval.ms": "250",
        }
    )

    assert (9.0, 0.5, 60.0, 0.25) == (
        found.session_seconds,
        found.heartbeat_seconds,
        found.busy_seconds,
        found.commit_seconds,
    )


@pytest.mark.parametrize("text", ["0", "-5", "soon", "", "1.5"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    """In a sentence that names the option."""
    with pytest.raises(InvalidInput, match=r"session\.timeout\.ms is .*: it must be a whole number"):
        timing({"session.timeout.ms": text})


def test_heartbeats_fit_into_a_session_three_times() -> None:
    """One that is late must not cost a worker its place."""
    with pytest.raises(InvalidInput, match=r"heartbeat\.interval\.ms is 3,000: it must be at most a third"):
        timing({"session.timeout.ms": "6000"})


def test_each_registry_on_a_cluster_has_a_group_of_its_own() -> None:
    """By the prefix of its topics."""
    assert "deedbook-validation" == group_of(KafkaSettings("h:9092"))
    assert "deedbook-validation-prices" == group_of(KafkaSettings("h:9092", "prices"))


def test_the_environment_has_no_say_in_faust_s_settings() -> None:
    """Nor does Faust open a web server, declare topics or wait for the check in hand when it is regrouped."""
    found = faust_settings(KafkaSettings("a:9092,b:9092", "prices"))

    assert {} == found["env"]
    assert ["kafka://a:9092", "kafka://b:9092"] == found["broker"]
    switched_off = ("web_enabled", "topic_allow_declare", "stream_wait_empty", "autodiscover")
    assert [False] * 4 == [found[name] for name in switched_off]


# --- what Faust says -----------------------------------------------------------------------------


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What deedbook logs."""
    caplog.set_level(logging.INFO, logger="deedbook")
    return caplog


def test_what_faust_logs_is_one_line_in_our_words(said: pytest.LogCaptureFixture) -> None:
    """Tables, tracebacks and the name of whichever service speaks are left out."""
    logger = logging.getLogger("aiokafka.consumer.group_coordinator")
    with in_our_words():
        logger.error("Failed fetch messages from %s: %s", 1, "NodeNotReadyError")
        logger.error("[^--Consumer]: Commit Offsets\n+----+----+\n| TP | 1  |")
        logger.info("Joined group")

    assert [AWAY, "Kafka's client says: Commit Offsets"] == said.messages
    assert {"deedbook.consumers.faust.logging"} == {record.name for record in said.records}


def test_the_same_is_said_once_a_minute(said: pytest.LogCaptureFixture) -> None:
    """However often it is logged."""
    times = iter([0.0, 1.0, 59.0, 61.0])
    handler = Translated(lambda: next(times))
    record = logging.LogRecord("aiokafka", logging.ERROR, "", 0, "Something went wrong", (), None)

    for _ in range(4):
        handler.handle(record)

    assert ["Kafka's client says: Something went wrong"] * 2 == said.messages


def test_a_refusal_is_kept(said: pytest.LogCaptureFixture) -> None:
    """Faust itself says no more than that it could not connect."""
    with in_our_words() as words:
        logging.getLogger("aiokafka").error(
            "Unable connect to %s: %s", "h:1", "[Error 58] SaslAuthenticationFailed"
        )

    assert "Kafka's client says: Unable connect to h:1: [Error 58] SaslAuthenticationFailed" == words.refusal
    assert [words.refusal] == said.messages


def test_afterwards_faust_s_loggers_are_what_they_were() -> None:
    """A program that uses Faust itself keeps its own set-up."""
    logger = logging.getLogger("faust")
    before = logger.handlers, logger.propagate, logger.level
    with in_our_words():
        assert before != (logger.handlers, logger.propagate, logger.level)

    assert before == (logger.handlers, logger.propagate, logger.level)


def test_faust_is_imported_by_a_worker_on_kafka_alone() -> None:
    """Neither by the command's help nor by a worker on the embedded log."""
    program = (
        "import sys, deedbook.cli.program, deedbook.cli.commands.validate, deedbook.consumers.worker; "
        "print(sorted({'faust', 'mode', 'aiokafka', 'confluent_kafka'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert ("[]\n", "") == (done.stdout, done.stderr)


# --- what was answered ---------------------------------------------------------------------------

ORDER = ValidationRequested(
    event_id=new_id(),
    occurred_at=1,
    actor="a",
    training=Training(training_id=new_id(), model="home-price"),
    requested_at_position=0,
    policy=Policy(model="home-price", version=1, checks=(CheckSpec(check="metric_threshold"),)),
)
LONG_AFTER = 3_600_000_000


class Clock:
    """A clock that a test puts forward."""

    now = 1_000_000

    def __call__(self) -> int:
        """Return the time, which is later each time."""
        self.now += 1
        return self.now


@dataclass
class Desk:
    """An embedded registry with its clock, and what stands on it."""

    log: SqliteLog
    clock: Clock
    stopped: bool = False
    codec: Codec = field(default_factory=Codec)

    def order(self, fact: ValidationRequested = ORDER) -> Record:
        """Announce an order, and return its record."""
        (_, position), *_ = self.log.append(VALIDATIONS, [self.codec.encode(fact)])
        return self.log.read(VALIDATIONS, 0, position)[0]

    def verdict(
        self, outcome: Outcome = Outcome.PASSED, training_id: str = ORDER.training.training_id
    ) -> None:
        """Append a verdict on a training."""
        fact = VerdictIssued(
            event_id=new_id(),
            occurred_at=1,
            actor="w",
            verdict_id=new_id(),
            training_id=training_id,
            requested_at_position=0,
            policy_version=1,
            outcome=outcome,
            validator_version="1",
            checks=(CheckResult(check="metric_threshold", outcome=outcome, reason="r"),),
        )
        self.log.append(REGISTRY, [self.codec.encode(fact)])

    def answers(self) -> AnswersOnLog:
        """What a worker that starts long after would ask."""
        return AnswersOnLog(self.log, self.codec, clock=lambda: LONG_AFTER, stop=lambda: self.stopped)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A registry without any event."""
    clock = Clock()
    with closing(SqliteLog(tmp_path, create=True, clock=clock)) as log:
        yield Desk(log, clock)


def test_an_order_whose_verdict_followed_is_not_judged_again(desk: Desk) -> None:
    """A worker without offsets meets every order that ever was."""
    record, other = desk.order(), replace(ORDER, training=Training(training_id=new_id(), model="m"))
    other_record = desk.order(other)
    desk.verdict()
    answers = desk.answers()

    assert not answers.is_pending(ORDER, record)
    assert answers.is_pending(other, other_record)
    desk.verdict(training_id=other.training.training_id)
    assert not answers.is_pending(other, other_record)


def test_an_order_announced_after_a_verdict_waits_for_a_new_one(desk: Desk) -> None:
    """It is announced again because the one before did not count."""
    desk.order()
    desk.verdict()
    again = desk.order()

    assert desk.answers().is_pending(ORDER, again)


def test_a_verdict_that_is_an_error_is_no_answer(desk: Desk) -> None:
    """It may pass with the next attempt."""
    record = desk.order()
    desk.verdict(Outcome.ERROR)

    assert desk.answers().is_pending(ORDER, record)


def test_answers_before_the_first_order_that_was_asked_about_are_found_as_well(desk: Desk) -> None:
    """Partitions bring their orders independently of each other."""
    record = desk.order()
    desk.verdict()
    for _ in range(3):
        desk.verdict(training_id=new_id())
    later = replace(ORDER, requested_at_position=3, training=Training(training_id=new_id(), model="m"))
    answers = desk.answers()

    assert answers.is_pending(later, desk.order(later))
    assert not answers.is_pending(ORDER, record)


def test_a_fresh_order_is_judged_without_reading_the_registry(desk: Desk) -> None:
    """Nobody else can have had it for long; even a closed log is not asked."""
    record = desk.order()
    answers = AnswersOnLog(desk.log, desk.codec, clock=desk.clock, stop=lambda: False)
    desk.log.close()

    assert answers.is_pending(ORDER, record)


def test_reading_what_was_answered_breaks_off_when_the_worker_is_to_end(desk: Desk) -> None:
    """Then nothing is known of the order, and it does not count as done."""
    record = desk.order()
    desk.verdict()
    desk.stopped = True

    with pytest.raises(Interrupted):
        desk.answers().is_pending(ORDER, record)
