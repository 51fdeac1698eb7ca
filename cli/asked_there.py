"""A registry behind a service: what commands ask of it are calls."""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deedbook.api.v1 import registry_pb2 as pb
from deedbook.cli.asking import Decided
from deedbook.cli.sql_query import Answer
from deedbook.client.preparing import Preparer
from deedbook.client.remote.answers import rows_of
from deedbook.client.remote.backend import Remote
from deedbook.client.remote.calling import Service
from deedbook.client.remote.reading import Questions
from deedbook.client.remote.sending import Sender
from deedbook.client.searching import Search
from deedbook.events.errors import ArtifactDamaged
from deedbook.events.names import normalise
from deedbook.projector.queries.conditions import TrainingQuery

if TYPE_CHECKING:
    from deedbook.client.backend import Recording
    from deedbook.client.place import Place
    from deedbook.client.preparing import Envelope, Prepared
    from deedbook.client.remote.address import ServiceAddress
    from deedbook.projector.queries import Event, TrainingSummary

_POLL_SECONDS = 1.0
_SHOWN_CHARACTERS = 13
_TOPICS = ("registry", "metrics", "hosts")
# What Arrow calls otherwise than DuckDB.
_KINDS = {
    "int8": "TINYINT",
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "uint8": "UTINYINT",
    "uint16": "USMALLINT",
    "uint32": "UINTEGER",
    "uint64": "UBIGINT",
    "string": "VARCHAR",
    "large_string": "VARCHAR",
    "bool": "BOOLEAN",
    "binary": "BLOB",
    "date32[day]": "DATE",
    "time64[us]": "TIME",
    "decimal128(38, 0)": "HUGEINT",
    "timestamp[us, tz=UTC]": "TIMESTAMP WITH TIME ZONE",
}


class QuestionsThere(Questions):
    """What commands ask besides what every client asks."""

    def training_id(self, text: str) -> str:
        """Return a training's id."""
        return self.training(text).training_id

    def versions(self, training_ids: Sequence[str]) -> Mapping[str, int]:
        """Return the versions of trainings, which are all there."""
        return {found.training_id: found.version for found in self.trainings(training_ids)}

    def with_metrics(self, found: Sequence[TrainingSummary]) -> Sequence[TrainingSummary]:
        """Return the trainings with all their metrics over all data."""
        details = self.trainings([training.training_id for training in found])
        return [
            replace(training, metrics={m.name: m.value for m in detail.metrics if not m.slice})
            for training, detail in zip(found, details, strict=True)
        ]

    def has_trainings(self) -> bool:
        """Say whether there is any training at all."""
        return bool(self.search(Search(query=TrainingQuery(), limit=1, offset=0)))

    def short_ids(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Return the beginnings of ids, as long as it takes to tell these from each other."""
        length = _SHOWN_CHARACTERS
        while len({id_[:length] for id_ in ids}) < len(set(ids)):
            length += 1
        return {id_: id_[:length] for id_ in ids}

    def metric_names(self, model: str) -> Sequence[str] | None:
        """Return the metrics of a model's newest training."""
        newest = self.search(Search(query=TrainingQuery(model=model), limit=1, offset=0))
        return sorted({m.name for m in self.training(newest[0].training_id).metrics}) if newest else None

    def events(
        self, topic: str | None, *, after: int, types: Sequence[str], newest: bool, limit: int
    ) -> list[Event]:
        """Return events of a topic, of all for None: the first ones after a position, or the newest."""
        found = [
            event
            for one in ([topic] if topic else _TOPICS)
            for event in self.events_of_topic(
                one, after=after if after >= 0 else None, types=types, newest=newest, limit=limit
            )
        ]
        if topic is None:
            found.sort(key=lambda event: (event.recorded_at, event.topic, event.position))
        return found[-limit:] if newest else found[:limit]


class There:
    """A registry behind a service, in the name of an actor or of whoever the token is for."""

    def __init__(self, place: Place, address: ServiceAddress, actor: str) -> None:
        self._folder = place.folder
        actor = normalise(actor)
        self._service = Service(address, actor)
        self._preparer = Preparer(actor)
        self._remote = Remote(self._service, self._preparer, place.folder / "artifact-copies")
        self._questions = QuestionsThere(self._service)

    @property
    def recording(self) -> Recording:
        """What prepares trainings and stores their artifacts."""
        return self._remote

    def envelope(self) -> Envelope:
        """Return what a new fact carries."""
        return self._preparer.envelope()

    @contextmanager
    def asking(self) -> Iterator[QuestionsThere]:
        """Hand out what can be asked."""
        yield self._questions

    @contextmanager
    def deciding(self, facts: Sequence[Prepared]) -> Iterator[tuple[Sequence[Decided], QuestionsThere]]:
        """Send facts; hand out what was decided on each, in their order, and what can be asked."""
        answers = Sender(self._service).decided([prepared.fact for prepared in facts])
        decided = [Decided(answer.position, answer.decision, answer.reason) for answer in answers]
        yield decided, self._questions

    @contextmanager
    def answered(self, query: str) -> Iterator[Answer]:
        """Ask one SQL statement: the service does so on its own snapshot."""
        table = self._questions.table(query)
        yield Answer(
            names=tuple(table.column_names),
            types=tuple(_kind(field.type) for field in table.schema),
            rows=(tuple(_plain(value) for value in row) for row in rows_of(table)),
        )

    def snapshot(self) -> Path:
        """Copy the service's snapshot to this machine, and return the file; one that is here already stays."""
        return self._service.patiently(lambda _: self._downloaded())

    def _downloaded(self) -> Path:
        request = pb.DownloadSnapshotRequest()
        position = self._service.min_position()
        if position is not None:
            request.min_position = position
        parts = self._service.parts(lambda stub: stub.DownloadSnapshot, request)
        head = next(parts).head
        final = self._folder / "snapshots" / f"{head.sha256}.duckdb"
        if final.is_file():
            parts.close()
            return final
        final.parent.mkdir(parents=True, exist_ok=True)
        draft = final.with_name(f"{secrets.token_hex(8)}.part")
        digest = hashlib.sha256()
        try:
            with draft.open("xb") as file:
                for part in parts:
                    digest.update(part.chunk)
                    file.write(part.chunk)
                file.flush()
                os.fsync(file.fileno())
            if digest.hexdigest() != head.sha256:
                raise ArtifactDamaged("the snapshot was changed on its way: ask for it again")
            draft.replace(final)
        finally:
            draft.unlink(missing_ok=True)
        for other in final.parent.glob("*.duckdb"):
            if other != final:
                with suppress(OSError):
                    other.unlink()
        return final

    def wait_for_news(self, places: Mapping[str, int]) -> bool:
        """Wait a moment; whether there is anything is found out by asking."""
        del places
        time.sleep(_POLL_SECONDS)
        return True

    def close(self) -> None:
        """Let go of the connection."""
        self._remote.close()


def _kind(kind: Any) -> str:  # noqa: ANN401 (Arrow has no types)
    """Return DuckDB's name of an Arrow type."""
    text = str(kind)
    if text.startswith("map<"):
        return f"MAP({_kind(kind.key_type)}, {_kind(kind.item_type)})"
    if text.startswith("list<"):
        return f"{_kind(kind.value_type)}[]"
    if text.startswith("struct<"):
        return f"STRUCT({', '.join(f'{field.name} {_kind(field.type)}' for field in kind)})"
    if text.startswith("decimal128(") and text not in _KINDS:
        return f"DECIMAL({kind.precision},{kind.scale})"
    return _KINDS.get(text, text.partition("[")[0].upper())


def _plain(value: Any) -> object:  # noqa: ANN401 (any value of a row)
    return float(value) if isinstance(value, Decimal) else value
