"""How much one query may use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What a query's process may use; whatever goes beyond is refused, or ends it.

    `memory_bytes` is on top of the libraries, and holds for everything in the process; DuckDB itself is told to
    keep to `duckdb_memory_bytes`, so that most queries end with a sentence. `cpu_seconds` counts all threads.
    `max_seconds` is the longest that a query may be given, `queued` how many may wait for their turn. After
    `idle_seconds` without a query the processes end; the next one starts them again, which takes about a second.
    """

    at_once: int = 2
    queued: int = 64
    queued_by_one: int = 16
    threads: int = 2
    memory_bytes: int = 1 << 30
    duckdb_memory_bytes: int = 512 << 20
    cpu_seconds: int = 120
    max_seconds: float = 60.0
    idle_seconds: float = 300.0
    max_rows: int = 1_000_000
    max_bytes: int = 64 << 20
    max_query_characters: int = 100_000
