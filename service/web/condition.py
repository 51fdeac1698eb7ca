"""How the service does, in words that say what to do about it."""

from __future__ import annotations

import contextlib
import json
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import duckdb

from deedbook.consumers.announcer import Patience
from deedbook.events.codec import released_schemas
from deedbook.events.errors import DeedbookError
from deedbook.events.facts import VALIDATIONS
from deedbook.events.ids import derived_id
from deedbook.projector.orders import Request, due_requests
from deedbook.projector.queries.journal import QUARANTINED, Entries, journal
from deedbook.projector.queries.timeline import Event
from deedbook.projector.rules import RULES
from deedbook.projector.store import FORMAT_VERSION
from deedbook.service.measuring import readiness

if TYPE_CHECKING:
    from deedbook.events.log import Log
    from deedbook.service.context import Service
    from deedbook.service.live import Health
    from deedbook.service.web.asking_log import LogAsker

SHOWN: Final = 50
# So much of the orders' topic is looked through for how often something was asked for.
_LOOKED_BACK: Final = 1_000
_READ_SECONDS: Final = 2.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong, whether it keeps the service from being ready, and what to do."""

    sentence: str
    advice: str
    keeps_from_ready: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """A training that waits for its verdict; `attempts` is how often one was asked for, None where that is unknown."""

    training_id: str
    model: str
    policy_version: int
    since: datetime
    position: int
    attempts: int | None
    overdue: bool


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a partition is folded."""

    topic: str
    partition: int
    folded: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """All of it, at one moment."""

    ready: bool
    troubles: tuple[Trouble, ...]
    health: Health
    lags: tuple[Lag, ...]
    quarantined: tuple[Event, ...]
    waiting: tuple[Waiting, ...]
    versions: tuple[tuple[str, str], ...]
    snapshot_at: datetime | None
    snapshot_bytes: int | None
    started_at: datetime | None
    identity: str
    registry: str
    patience: Patience


def condition(service: Service, asker: LogAsker) -> Condition:
    """Look at everything; what the log itself would have to tell is left out where it can't be reached."""
    health = service.live.health()
    patience = Patience()
    with service.live.reading() as connection:
        quarantined = journal(connection, Entries(decision=QUARANTINED), limit=SHOWN)
        due = due_requests(connection, limit=SHOWN)
        published = connection.execute("select count(*) from base.schema_published").fetchone()
    announced = _announced(asker) if due and health.log_reachable else None
    waiting = _waiting(due, patience, announced)
    snapshot = service.live.following.projection.snapshot_path
    changed_at, size = _file(snapshot)
    ready, _ = readiness(service.live, service.settings)
    return Condition(
        ready=ready,
        troubles=tuple(_troubles(service, health, waiting)),
        health=health,
        lags=tuple(
            Lag(*where, health.folded.get(where, 0), end) for where, end in sorted(health.ends.items())
        ),
        quarantined=quarantined,
        waiting=waiting,
        versions=_versions(health, published[0] if published else 0),
        snapshot_at=changed_at,
        snapshot_bytes=size,
        started_at=_started_at(service.settings.folder),
        identity=_identity(service),
        registry=service.settings.registry,
        patience=patience,
    )


def _troubles(service: Service, health: Health, waiting: tuple[Waiting, ...]) -> Iterator[Trouble]:
    yield from _in_the_way(service, health)
    if health.quarantined:
        yield Trouble(
            f"{health.quarantined:,} record{'' if health.quarantined == 1 else 's'} on the log can't be read",
            "Below is which and why. They count for nothing; whoever wrote them sends the events again.",
        )
    overdue = sum(one.overdue for one in waiting)
    if overdue:
        yield Trouble(
            f"{overdue} training{' has' if overdue == 1 else 's have'} waited too long for a verdict",
            "See that a validator runs: `deedbook validate`, or `deedbook serve --validation`.",
        )
    if service.sql.off:
        yield Trouble(
            service.sql.off,
            "Run the service where its queries can be isolated: the list below says what is missing.",
        )


def _in_the_way(service: Service, health: Health) -> Iterator[Trouble]:
    """Yield what keeps the service from being ready."""
    behind = max(health.lag.values(), default=0)
    if service.live.ending:
        yield Trouble(
            "The service is being stopped",
            "Another replica answers, or this one a moment later.",
            keeps_from_ready=True,
        )
    if not health.log_reachable:
        yield Trouble(
            f"The log does not answer: {health.problem}",
            "What is folded is answered meanwhile, and nothing can be recorded. See that the log's disk or its brokers "
            "are there; nothing has to be restarted here.",
            keeps_from_ready=True,
        )
    elif not health.ready:
        yield Trouble(
            f"The log is being folded for the first time: {behind:,} records to go",
            "Wait until that is done; the pages show what is folded so far.",
            keeps_from_ready=True,
        )
    elif behind > service.settings.max_lag:
        yield Trouble(
            f"{behind:,} records are not folded yet",
            "If that grows, somebody writes more than this machine folds; if not, wait.",
            keeps_from_ready=True,
        )


def _waiting(due: list[Request], patience: Patience, announced: set[str] | None) -> tuple[Waiting, ...]:
    now = datetime.now(UTC)
    found = []
    for one in due:
        since = _EPOCH + timedelta(microseconds=one.recorded_at)
        position = str(one.requested_at_position)
        attempts = None
        if announced is not None:
            ids = (derived_id("order", one.training_id, position, str(attempt)) for attempt in range(1, 100))
            attempts = sum(order in announced for order in ids)
        overdue = (now - since).total_seconds() > patience.seconds
        found.append(
            Waiting(
                one.training_id,
                one.model,
                one.policy_version,
                since,
                one.requested_at_position,
                attempts,
                overdue,
            )
        )
    return tuple(found)


def _announced(asker: LogAsker) -> set[str] | None:
    """Return the ids of the last orders, None where the log does not tell in time."""
    try:
        return asker.ask(_last_orders, timeout_seconds=_READ_SECONDS)
    except DeedbookError:
        return None


def _last_orders(log: Log) -> set[str]:
    found: set[str] = set()
    for (_, partition), end in log.ends([VALIDATIONS]).items():
        start = max(0, end - _LOOKED_BACK)
        if start == end:  # nothing to read, and nothing to wait for
            continue
        records = log.read(
            VALIDATIONS, partition, start, max_records=_LOOKED_BACK, timeout_seconds=_READ_SECONDS
        )
        found |= {dict(record.headers).get("ce_id", b"").decode("utf-8", "replace") for record in records}
    return found


def _versions(health: Health, schemas_published: int) -> tuple[tuple[str, str], ...]:
    from deedbook import __version__

    schemas = sum(len(versions) for versions in released_schemas().values())
    return (
        ("deedbook", __version__),
        ("DuckDB", duckdb.__version__),
        ("Python", platform.python_version()),
        ("Rules in force", f"{health.rules_version}; this release knows up to {max(RULES)}"),
        ("Schemas", f"{schemas} in this release, {schemas_published} on the log"),
        ("Projection's format", FORMAT_VERSION),
    )


def _file(path: Path) -> tuple[datetime | None, int | None]:
    try:
        found = path.stat()
    except OSError:
        return None, None
    return datetime.fromtimestamp(found.st_mtime, UTC), found.st_size


def _started_at(folder: Path) -> datetime | None:
    from deedbook.service.running import SERVING_NAME

    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        told: dict[str, Any] = json.loads((folder / SERVING_NAME).read_text(encoding="utf-8"))
        return datetime.fromisoformat(told["started_at"])
    return None


def _identity(service: Service) -> str:
    try:
        return service.log.identity()
    except DeedbookError:
        return ""
