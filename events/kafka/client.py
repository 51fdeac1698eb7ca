"""What all clients of a Kafka cluster have in common: their options, where they report trouble, what errors mean.

librdkafka's clients are threads and connections of one process. After a fork the child must neither use nor
destroy those of its parent: `keep_for_ever` sees to the second.
"""

from __future__ import annotations

import ctypes
import logging
import time
from typing import TYPE_CHECKING, Any, TypeVar

from deedbook.events.errors import (
    AccessDenied,
    DeedbookError,
    InvalidInput,
    LogReplaced,
    LogUnavailable,
    MissingExtra,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future
    from types import ModuleType

    from confluent_kafka import KafkaError
    from confluent_kafka.admin import AdminClient

    from deedbook.events.kafka.settings import KafkaSettings

LOGGER = logging.getLogger("deedbook.kafka")
# Without a handler of its own, Python prints a library's warnings to stderr when a program has set up none.
LOGGER.addHandler(logging.NullHandler())

_PATIENCE_SECONDS = 0.02
_RETRY_SECONDS = 0.05
_REPEATING_SECONDS = 30.0
Key = TypeVar("Key")


def native() -> ModuleType:
    """Return confluent_kafka; raises MissingExtra where it is not installed."""
    try:
        import confluent_kafka
        import confluent_kafka.admin
    except ModuleNotFoundError as error:
        raise MissingExtra("a log on Kafka needs confluent-kafka: pip install 'deedbook[kafka]'") from error
    return confluent_kafka


class Reports:
    """Where one client's log lines and troubles go: into `logging`, without secrets; the last trouble is kept."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self.trouble = ""
        self.denied = False
        self.fatal: KafkaError | None = None
        self.quiet = False
        self._said: dict[str, float] = {}

    def log(self, level: int, message: str, *arguments: object) -> None:
        """Take one line of librdkafka's: what it says again and again while a broker is away is told now and then."""
        # None of it is an error of this program's: whoever called gets those.
        level = min(level, logging.WARNING)
        line = self._settings.redacted(message % arguments if arguments else message)
        what = line.partition(" (after ")[0]
        now = time.monotonic()
        # A lost connection is told of by whoever needed it, in one sentence with the reason. A new cluster's first
        # producer has to wait a moment, and does.
        if (
            self.quiet
            or "CONFWARN" in line
            or line.startswith("FAIL ")
            or "Coordinator load in progress: retrying" in line
            or now < self._said.get(what, 0.0) + _REPEATING_SECONDS
        ):
            level = logging.DEBUG
        elif level >= logging.WARNING:
            self._said = {text: at for text, at in self._said.items() if now < at + _REPEATING_SECONDS}
            self._said[what] = now
        LOGGER.log(level, "%s", line)

    def on_error(self, error: KafkaError) -> None:
        """Take a trouble that belongs to no single call: a broker out of reach, a password refused."""
        if error.fatal():
            self.fatal = error
        if error.name() == "_ALL_BROKERS_DOWN" and self.trouble:
            return
        self.denied = error.name() in {"_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED"}
        self.trouble = self._settings.redacted(error.str())

    def told(self) -> str:
        """Return the last trouble as the end of a sentence."""
        return f" (last trouble: {self.trouble})" if self.trouble else ""


def options(settings: KafkaSettings, reports: Reports, own: Mapping[str, object]) -> dict[str, Any]:
    """Return a client's configuration: defaults of ours, what the user said, and what no user may change."""
    return {
        "client.id": "deedbook",
        "socket.keepalive.enable": True,
        # An answer that was lost is asked for again after so long; librdkafka's own minute is longer than an append's.
        "socket.timeout.ms": 10_000,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1_000,
        **settings.options,
        **own,
        "bootstrap.servers": settings.servers,
        "error_cb": reports.on_error,
        "logger": reports,
    }


def keep_for_ever(client: object) -> None:
    """Make sure that a client which another process owns is never destroyed in this one, not even at exit."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(client))


def made(settings: KafkaSettings, factory: Any, configuration: dict[str, Any]) -> Any:  # noqa: ANN401 - any client
    """Return a client of a configuration; raises InvalidInput where librdkafka does not accept it."""
    kafka = native()
    try:
        return factory(configuration)
    except (kafka.KafkaException, ValueError, TypeError) as error:
        raise InvalidInput(
            f"the Kafka settings are not accepted: {settings.redacted(reason(error))}"
        ) from None


def reason(error: BaseException) -> str:
    """Return what an exception of the library says."""
    told = error.args[0] if error.args else error
    text = told.str() if hasattr(told, "str") else str(told)
    return str(text)


class Admin:
    """Questions to the cluster, on a connection that no waiting fetch is in the way of."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self.reports = Reports(settings)
        self.client: AdminClient = made(
            settings, native().admin.AdminClient, options(settings, self.reports, {})
        )

    def answers(
        self, futures: Mapping[Key, Future[Any]], deadline: float, *, at_once_if_denied: bool = False
    ) -> dict[Key, Any]:
        """Return each question's answer, or the KafkaError it was answered with.

        Raises LogUnavailable where one is still open at the deadline; with ``at_once_if_denied``,
        AccessDenied as soon as the cluster refuses who we say we are.
        """
        kafka = native()
        self.client.poll(0)
        found: dict[Key, Any] = {}
        for key, future in futures.items():
            while True:
                try:
                    found[key] = future.result(_PATIENCE_SECONDS)
                    break
                except kafka.KafkaException as error:
                    found[key] = error.args[0]
                    break
                except TimeoutError:
                    self.client.poll(0)
                    if at_once_if_denied and self.reports.denied:
                        raise AccessDenied(
                            f"{self.settings.servers} does not accept our credentials: {self.reports.trouble}"
                        ) from None
                    if time.monotonic() >= deadline:
                        raise self.unavailable("did not answer in time") from None
        return found

    def unavailable(self, what: str) -> LogUnavailable:
        """Return the error that says the cluster could not be asked."""
        return LogUnavailable(f"Kafka at {self.settings.servers} {what}{self.reports.told()}")


def pause_before_retry(deadline: float) -> bool:
    """Sleep a little and say whether there is time for another try."""
    left = deadline - time.monotonic()
    time.sleep(max(0.0, min(_RETRY_SECONDS, left)))
    return left > 0


def explained(error: KafkaError, topic: str, settings: KafkaSettings) -> DeedbookError:
    """Return what an error about a topic means to a caller: what is refused for good, and what may pass."""
    name, on = error.name(), settings.topic(topic)
    said = settings.redacted(error.str())
    match name:
        case "TOPIC_AUTHORIZATION_FAILED" | "CLUSTER_AUTHORIZATION_FAILED" | "GROUP_AUTHORIZATION_FAILED":
            return AccessDenied(f"the cluster's access rules do not allow this on topic {on} ({name})")
        case "MSG_SIZE_TOO_LARGE" | "RECORD_LIST_TOO_LARGE" | "INVALID_MSG_SIZE":
            return InvalidInput(
                f"the cluster refuses a record of this size on topic {on}: raise its max.message.bytes"
            )
        case "POLICY_VIOLATION" | "INVALID_RECORD" | "INVALID_TIMESTAMP":
            return InvalidInput(f"the cluster refuses a record on topic {on}: {said}")
        case "UNKNOWN_TOPIC_OR_PART" | "_UNKNOWN_TOPIC" | "_UNKNOWN_PARTITION" | "UNKNOWN_TOPIC_ID":
            return LogReplaced(f"topic {on} is gone: it was deleted while this program used it")
        case _:
            return LogUnavailable(f"Kafka at {settings.servers} failed on topic {on}: {said}")
