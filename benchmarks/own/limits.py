"""The limits deedbook is held against: the least that any program must do to get the same bytes to the same disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import measure
from measure import Measure

from own.records import records

RAW_SQLITE = "raw SQLite"
APPENDS = 500
WARM_UP = 20


def raw_append_seconds(folder: Path, bodies: list[bytes]) -> list[float]:
    """How long each body takes to be inserted into a bare table and synced: one commit each, no index, no headers."""
    connection = sqlite3.connect(folder / "raw.db", isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE raw (position INTEGER PRIMARY KEY, body BLOB NOT NULL)")
        samples = []
        for body in bodies:
            began = perf_counter()
            connection.execute("INSERT INTO raw (body) VALUES (?)", (body,))
            samples.append(perf_counter() - began)
    finally:
        connection.close()
    return samples[WARM_UP:]


def limits(folder: Path, *, quick: bool) -> Iterator[Measure]:
    """The limit of logging one training: the event's body, inserted and synced."""
    count = 100 if quick else APPENDS
    bodies = [record.value for record in records(count + WARM_UP)]
    samples = raw_append_seconds(folder, bodies)
    route = "INSERT of the event's bytes"
    yield measure.of_samples(
        RAW_SQLITE, "log_training", 0, samples, route=route, note="WAL, synchronous=FULL"
    )
