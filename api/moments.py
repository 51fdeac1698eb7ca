"""Moments as messages: ``Timestamp`` holds seconds and nanoseconds, facts microseconds, answers datetimes in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from deedbook.events.errors import InvalidInput

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROS = 1_000_000
_MAX_NANOS = 999_999_999


def timestamp_of_micros(micros: int) -> Timestamp | None:
    """Return microseconds since 1970-01-01T00:00:00Z as a message; 0 is none."""
    if micros == 0:
        return None
    seconds, rest = divmod(micros, _MICROS)
    return Timestamp(seconds=seconds, nanos=rest * 1_000)


def timestamp_of_datetime(moment: datetime) -> Timestamp:
    """Return a time as a message; one without a zone is UTC, as all of ours are."""
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1_000)


def micros_of(timestamp: Timestamp, name: str) -> int:
    """Return a message's time in microseconds, 0 where it is not set; InvalidInput names the field ``name``."""
    if not 0 <= timestamp.nanos <= _MAX_NANOS:
        raise InvalidInput(f"{name} has {timestamp.nanos} nanoseconds: they are 0 to {_MAX_NANOS}")
    return timestamp.seconds * _MICROS + timestamp.nanos // 1_000


def datetime_of(timestamp: Timestamp, name: str) -> datetime:
    """Return a message's time in UTC, to the microsecond; InvalidInput names the field ``name``."""
    try:
        return _EPOCH + timedelta(microseconds=micros_of(timestamp, name))
    except OverflowError:
        raise InvalidInput(f"{name} is no time between the years 1 and 9999") from None
