"""What Faust is told about Kafka: librdkafka's options in its own words, and how long anything may take."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deedbook.events.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from faust.types.auth import CredentialsT

_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_PROTOCOLS = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")
# All that decides whom one trusts and who one is: nothing of it may be left out unnoticed.
_SECURITY = ("security.", "sasl.", "ssl.", "enable.ssl.", "enable.sasl.", "https.")
_TRANSLATED = frozenset(
    {
        *("security.protocol", "sasl.mechanism", "sasl.mechanisms", "sasl.username", "sasl.password"),
        *("ssl.ca.location", "ssl.certificate.location", "ssl.key.location", "ssl.key.password"),
        *("ssl.endpoint.identification.algorithm", "enable.ssl.certificate.verification"),
    }
)


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a worker's group waits, in seconds.

    `session_seconds` without a heartbeat, and a worker counts as gone. `busy_seconds` without asking for
    orders, and it gives its partitions away: it hangs. Heartbeats go on while a check takes its time, so the
    first may be short; the second is the announcer's own patience, after which an order is announced again.
    """

    session_seconds: float = 30.0
    heartbeat_seconds: float = 3.0
    busy_seconds: float = 3600.0
    commit_seconds: float = 1.0


def timing(options: Mapping[str, str]) -> Timing:
    """Return the timing that librdkafka's options of a group ask for. Raises InvalidInput."""
    usual = Timing()
    found = Timing(
        session_seconds=_seconds(options, "session.timeout.ms", usual.session_seconds),
        heartbeat_seconds=_seconds(options, "heartbeat.interval.ms", usual.heartbeat_seconds),
        busy_seconds=_seconds(options, "max.poll.interval.ms", usual.busy_seconds),
        commit_seconds=_seconds(options, "auto.commit.interval.ms", usual.commit_seconds),
    )
    if found.heartbeat_seconds * 3 > found.session_seconds:
        raise InvalidInput(
            f"heartbeat.interval.ms is {found.heartbeat_seconds * 1000:,.0f}: it must be at most a third of "
            f"session.timeout.ms, which is {found.session_seconds * 1000:,.0f}"
        )
    return found


def credentials(options: Mapping[str, str]) -> CredentialsT | None:
    """Return what Faust signs in with and whom it trusts, None for a plain connection.

    The options that only tune librdkafka are left to the log. Those of security all count: one that Faust
    can't honour is refused. Raises InvalidInput.
    """
    from faust.auth import SASLCredentials, SSLCredentials

    protocol = options.get("security.protocol", "plaintext").lower()
    if protocol not in _PROTOCOLS:
        raise InvalidInput(f"security.protocol is {protocol!r}: it must be one of {', '.join(_PROTOCOLS)}")
    for name in options:
        if name.startswith(_SECURITY) and name not in _TRANSLATED:
            raise InvalidInput(f"the worker's Kafka client has nothing for the option {name}: leave it out")
    trust = _trust(options) if protocol in {"ssl", "sasl_ssl"} else None
    if protocol in {"plaintext", "ssl"}:
        return SSLCredentials(trust) if trust is not None else None
    return SASLCredentials(
        mechanism=_mechanism(options),
        username=_needed(options, "sasl.username"),
        password=_needed(options, "sasl.password"),
        ssl_context=trust,
    )


def _mechanism(options: Mapping[str, str]) -> str:
    # librdkafka's own default.
    name = options.get("sasl.mechanism", options.get("sasl.mechanisms", "GSSAPI")).upper()
    if name not in _MECHANISMS:
        raise InvalidInput(
            f"sasl.mechanism is {name}: the worker's Kafka client can {', '.join(_MECHANISMS)}; other commands "
            "can more, `deedbook validate --once` among them"
        )
    return name


def _needed(options: Mapping[str, str], name: str) -> str:
    if not options.get(name):
        raise InvalidInput(f"{name} is missing: {_mechanism(options)} needs it")
    return options[name]


def _trust(options: Mapping[str, str]) -> ssl.SSLContext:
    """Return the TLS context that librdkafka would use with these options."""
    authority = options.get("ssl.ca.location", "")
    if authority == "probe":  # librdkafka's word for wherever this system keeps them
        authority = ""
    try:
        context = ssl.create_default_context(
            cafile=authority if authority and not Path(authority).is_dir() else None,
            capath=authority if authority and Path(authority).is_dir() else None,
        )
    except (OSError, ssl.SSLError) as error:
        raise InvalidInput(f"ssl.ca.location {authority} could not be read: {_said(error)}") from error
    if options.get("ssl.endpoint.identification.algorithm", "https").lower() == "none":
        context.check_hostname = False
    if options.get("enable.ssl.certificate.verification", "true").lower() == "false":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate = options.get("ssl.certificate.location", "")
    key = options.get("ssl.key.location", "")
    if key and not certificate:
        raise InvalidInput("ssl.key.location is given without ssl.certificate.location")
    if certificate:
        try:
            # A password even where none is given: OpenSSL would ask whoever sits at the terminal.
            context.load_cert_chain(certificate, key or None, options.get("ssl.key.password", ""))
        except (OSError, ssl.SSLError) as error:
            raise InvalidInput(
                f"ssl.certificate.location {certificate} and its key could not be read: {_said(error)}"
            ) from error
    return context


def _said(error: OSError) -> str:
    return error.strerror or getattr(error, "reason", "") or type(error).__name__


def _seconds(options: Mapping[str, str], name: str, otherwise: float) -> float:
    """Return an option of librdkafka's in milliseconds as seconds."""
    if name not in options:
        return otherwise
    text = options[name]
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise InvalidInput(f"{name} is {text[:40]!r}: it must be a whole number of milliseconds over 0")
    return int(text) / 1000
