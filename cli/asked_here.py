"""A registry whose log is reached from here: what commands ask of it is asked of the projection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deedbook.cli.asking import Decided
from deedbook.cli.ids import short_ids
from deedbook.client.embedded import Embedded
from deedbook.events.errors import ProjectionBusy
from deedbook.events.facts import REGISTRY
from deedbook.projector import queries
from deedbook.projector.queries import MetricName

if TYPE_CHECKING:
    from datetime import datetime

    import duckdb

    from deedbook.cli.sql_query import Answer
    from deedbook.cli.wiring import Registry
    from deedbook.client.backend import Recording
    from deedbook.client.preparing import Envelope, Prepared
    from deedbook.client.searching import Search, SeriesWanted

_POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class QuestionsHere:
    """Asks a connection to the projection."""

    connection: duckdb.DuckDBPyConnection

    def training(self, text: str) -> queries.TrainingDetail:
        """Return all that is known of a training."""
        return queries.training_detail(self.connection, self.training_id(text))

    def training_id(self, text: str) -> str:
        """Return a training's id."""
        return queries.training_id_of(self.connection, text)

    def versions(self, training_ids: Sequence[str]) -> Mapping[str, int]:
        """Return the versions of those of these trainings that are there."""
        rows = self.connection.execute(
            "select training_id, version from main.trainings where training_id in (select unnest(?::varchar[]))",
            [list(training_ids)],
        ).fetchall()
        return dict(rows)

    def search(self, wanted: Search) -> Sequence[queries.TrainingSummary]:
        """Return the trainings that meet all conditions."""
        return queries.search_for(self.connection, wanted.query, limit=wanted.limit, offset=wanted.offset)

    def with_metrics(self, found: Sequence[queries.TrainingSummary]) -> Sequence[queries.TrainingSummary]:
        """Return the trainings with all their metrics over all data."""
        positions = [training.position for training in found]
        rows = self.connection.execute(
            "select distinct n.term from base.metric m join base.term n on n.term_key = m.name_key "
            "join base.term s on s.term_key = m.slice_key and s.term = '' "
            "where m.training_key in (select unnest(?::bigint[])) order by 1",
            [positions],
        ).fetchall()
        return queries.summaries(self.connection, positions, [MetricName(name) for (name,) in rows])

    def has_trainings(self) -> bool:
        """Say whether there is any training at all."""
        return self.connection.execute("select 1 from main.trainings limit 1").fetchone() is not None

    def short_ids(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Return each training's id as short as a person can give it."""
        return short_ids(self.connection, ids)

    def compare(self, trainings: Sequence[str]) -> queries.Comparison:
        """Return trainings side by side."""
        return queries.compare(self.connection, [self.training_id(text) for text in trainings])

    def metric_series(self, wanted: SeriesWanted) -> queries.MetricSeries:
        """Return a metric of a model's trainings over time."""
        return queries.metric_series(
            self.connection,
            wanted.model,
            wanted.metric,
            by=wanted.by,
            created_after=wanted.created_after,
            created_before=wanted.created_before,
        )

    def metric_names(self, model: str) -> Sequence[str] | None:
        """Return the first metrics, by name, that trainings of a model have."""
        names = self.connection.execute(
            "select distinct name from main.metric_history where model = ? order by name limit 20", [model]
        ).fetchall()
        known = (
            names
            or self.connection.execute(
                "select 1 from main.trainings where model = ? limit 1", [model]
            ).fetchall()
        )
        return [name for (name,) in names] if known else None

    def failures(
        self, *, model: str | None, include_superseded: bool, limit: int
    ) -> Sequence[queries.Failure]:
        """Return the verdicts that are no pass, newest first."""
        return queries.failures(
            self.connection, model=model, include_superseded=include_superseded, limit=limit
        )

    def policies(self, model: str) -> Sequence[queries.PublishedPolicy]:
        """Return a model's published policies, oldest version first."""
        return queries.policies(self.connection, model)

    def standing(self, training_id: str) -> queries.Standing:
        """Return where a training stands."""
        return queries.standing(self.connection, training_id)

    def deployment(self, deployment_id: str) -> queries.Deployment:
        """Return a requested deployment."""
        return queries.deployment_with_id(self.connection, deployment_id)

    def deployments(
        self, *, service: str | None, environment: str | None, decision: str | None, limit: int
    ) -> Sequence[queries.Deployment]:
        """Return requested deployments, newest first."""
        return queries.deployments(
            self.connection, service=service, environment=environment, decision=decision, limit=limit
        )

    def live(self, service: str, environment: str, at: datetime | None) -> queries.LiveRelease | None:
        """Return what is live, or was at a time; None for nothing."""
        found = queries.live(self.connection, service=service, environment=environment, at=at)
        return found[0] if found else None

    def explain(self, subject: str) -> queries.Story:
        """Return the whole story of a training, a run or a deployment."""
        return queries.explain(self.connection, subject)

    def events(
        self, topic: str | None, *, after: int, types: Sequence[str], newest: bool, limit: int
    ) -> Sequence[queries.Event]:
        """Return events of a topic, of all for None: the first ones after a position, or the newest."""
        return queries.events(
            self.connection, topic=topic, after=after, types=types, newest=newest, limit=limit
        )


class Here:
    """A registry opened by `deedbook.cli.wiring`."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    @property
    def recording(self) -> Recording:
        """What prepares trainings and stores their artifacts."""
        return Embedded(self._registry.recorder)

    def envelope(self) -> Envelope:
        """Return what a new fact carries."""
        return self._registry.envelope()

    @contextmanager
    def asking(self) -> Iterator[QuestionsHere]:
        """Fold what is new, and hand out what can be asked; raises what `Registry.reading` raises."""
        with self._registry.reading() as connection:
            yield QuestionsHere(connection)

    @contextmanager
    def deciding(self, facts: Sequence[Prepared]) -> Iterator[tuple[Sequence[Decided], QuestionsHere]]:
        """Append facts to the registry topic, all or none; hand out what was decided on each, and what can be asked."""
        records = [prepared.record for prepared in facts]
        positions = [position for _, position in self._registry.recorder.append_records(REGISTRY, records)]
        try:
            with self._registry.reading() as connection:
                rows = connection.execute(
                    "select position, decision, reason from main.events where topic = ? and position between ? and ?",
                    [REGISTRY, positions[0], positions[-1]],
                ).fetchall()
                found = {position: Decided(position, word, reason or "") for position, word, reason in rows}
                yield [found[position] for position in positions], QuestionsHere(connection)
        except ProjectionBusy as error:
            where = f"at position {positions[0]}"
            raise ProjectionBusy(f"it is on the log, {where}, but not decided here yet: {error}") from None

    def answered(self, query: str) -> AbstractContextManager[Answer]:
        """Ask the snapshot one SQL statement."""
        from deedbook.cli.sql_query import answered

        return answered(self._registry.projection.snapshot(), query)

    def snapshot(self) -> Path:
        """Bring the snapshot up to date, and return its file."""
        return self._registry.projection.snapshot().absolute()

    def wait_for_news(self, places: Mapping[str, int]) -> bool:
        """Wait for the log; the projection is to be opened only when there is something new."""
        log = self._registry.log
        if any(log.end(topic) > place + 1 for topic, place in places.items()):
            return True
        topic, place = next(iter(places.items()))
        log.read(topic, 0, place + 1, max_records=1, timeout_seconds=_POLL_SECONDS)
        return False
