"""A registry whose log is reached from here: appended to, and folded in a folder of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from deedbook.client.reading import Reader, check_can_read
from deedbook.events.errors import DeedbookError, RequestRejected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    import duckdb

    from deedbook.artifacts.store import ArtifactStore
    from deedbook.client.preparing import Prepared, Preparer
    from deedbook.client.reading import Answer
    from deedbook.client.recording import Recorder
    from deedbook.client.searching import Search, SeriesWanted
    from deedbook.events.facts import (
        DeploymentRequested,
        Fact,
        PolicyPublished,
        ReleaseActivated,
        RequestsPublished,
        RevalidationRequested,
        TrainingAmended,
        VerdictOverridden,
    )
    from deedbook.projector.queries import (
        Deployment,
        LiveRelease,
        MetricSeries,
        Rows,
        Standing,
        TrainingDetail,
        TrainingSummary,
    )

T = TypeVar("T")


class Embedded:
    """The backend of a log in a folder or on Kafka. Safe to use from several threads.

    Appending returns once that is durable, and needs the base install alone. All else folds what is new first,
    which needs `deedbook[server]`; so it sees everything appended before, by anybody.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._reader = Reader(recorder)

    @property
    def preparer(self) -> Preparer:
        """What makes facts ready, in the name of whoever speaks."""
        return self._recorder.preparer

    @property
    def artifacts(self) -> ArtifactStore:
        """The store of the models and request sets; raises InvalidInput where none is named."""
        return self._recorder.artifacts

    def append(self, facts: Sequence[Prepared]) -> None:
        """Append facts of one topic; makes the log of a folder where there is none."""
        self._recorder.append_records(facts[0].fact.topic, [prepared.record for prepared in facts])

    def check_can_answer(self) -> None:
        """Raise MissingExtra where what folding takes is not installed."""
        check_can_read()

    # --- requests ----------------------------------------------------------------------------------

    def _decided(
        self, fact: Fact, then: Callable[[duckdb.DuckDBPyConnection, Answer], T], *, first: bool = False
    ) -> T:
        """Append a request, and return what ``then`` makes of the fold's answer.

        ``first``: it may be the first thing in a registry, which is then made. Raises InvalidInput,
        NotFound (no registry there), RequestRejected with the fold's reason.
        """
        check_can_read()
        record = self._recorder.prepared(fact)
        self._recorder.log(create=first)
        ((partition, position),) = self._recorder.append_records(fact.topic, [record])

        def accepted(connection: duckdb.DuckDBPyConnection, answer: Answer) -> T:
            if answer.decision == "rejected":
                raise RequestRejected(answer.reason)
            return then(connection, answer)

        return self._reader.answer((fact.topic, partition, position), accepted)

    def amend(self, fact: TrainingAmended) -> Standing:
        """Correct values of a training, and return where it stands then."""
        return self._decided(fact, lambda connection, _: _standing(connection, fact.training_id))

    def revalidate(self, fact: RevalidationRequested) -> int:
        """Ask for a new verdict, and return the position of the request."""
        return self._decided(fact, lambda _, answer: answer.position)

    def override(self, fact: VerdictOverridden) -> Standing:
        """Decide otherwise than the verdict, and return where the training stands then."""
        return self._decided(fact, lambda connection, _: _standing(connection, fact.training_id))

    def publish_policy(self, fact: PolicyPublished) -> int:
        """Publish a policy, and return the version it was given."""
        return self._decided(fact, _policy_version, first=True)

    def publish_requests(self, fact: RequestsPublished) -> None:
        """Publish that a set of requests is there."""
        self._decided(fact, lambda *_: None, first=True)

    def request_deployment(self, fact: DeploymentRequested) -> Deployment:
        """Bind a release to trainings, and return the deployment."""

        def bound(connection: duckdb.DuckDBPyConnection, _: Answer) -> Deployment:
            from deedbook.projector.queries import deployment_with_id

            return deployment_with_id(connection, fact.deployment_id)

        return self._decided(fact, bound)

    def activate_release(self, fact: ReleaseActivated) -> LiveRelease:
        """Make an already bound release the current one again, and return what is live from then on."""

        def activated(connection: duckdb.DuckDBPyConnection, answer: Answer) -> LiveRelease:
            from deedbook.projector.queries import releases

            found = releases(connection, fact.service, fact.environment)
            return next(live for live in found if live.from_position == answer.position)

        return self._decided(fact, activated)

    # --- reading -----------------------------------------------------------------------------------

    def deployment(self, service: str, release: str, environment: str) -> Deployment:
        """Return what a release is bound to; raises NotFound, which says what is bound."""
        from deedbook.projector.queries import binding

        with self._reader.connection() as connection:
            return binding(connection, service, release, environment)

    def live(self, service: str, environment: str, at: datetime | None) -> LiveRelease | None:
        """Return what is live, or was at a time; None for nothing."""
        from deedbook.projector.queries import live

        with self._reader.connection() as connection:
            found = live(connection, service=service, environment=environment, at=at)
        return found[0] if found else None

    def search(self, wanted: Search) -> list[TrainingSummary]:
        """Return the trainings that meet all conditions."""
        from deedbook.projector.queries import search_for

        with self._reader.connection() as connection:
            return list(search_for(connection, wanted.query, limit=wanted.limit, offset=wanted.offset))

    def training_detail(self, training_id: str) -> TrainingDetail:
        """Return all that is known of a training; raises NotFound."""
        from deedbook.projector.queries import training_detail

        with self._reader.connection() as connection:
            return training_detail(connection, training_id)

    def metric_series(self, wanted: SeriesWanted) -> MetricSeries:
        """Return a metric of a model's trainings over time."""
        from deedbook.projector.queries import metric_series

        with self._reader.connection() as connection:
            return metric_series(
                connection,
                wanted.model,
                wanted.metric,
                by=wanted.by,
                created_after=wanted.created_after,
                created_before=wanted.created_before,
                deployable=wanted.deployable,
            )

    def sql(self, query: str) -> Rows:
        """Return what one SQL statement answers, on a snapshot; raises InvalidInput where it can't."""
        from deedbook.projector.queries import sql

        with self._reader.snapshot() as connection:
            return sql(connection, query)

    def close(self) -> None:
        """Let go of all files; closing twice is harmless."""
        self._reader.close()
        self._recorder.close()


def _standing(connection: duckdb.DuckDBPyConnection, training_id: str) -> Standing:
    from deedbook.projector.queries import standing

    return standing(connection, training_id)


def _policy_version(connection: duckdb.DuckDBPyConnection, answer: Answer) -> int:
    row = connection.execute(
        "select version from main.policies where position = ?", [answer.position]
    ).fetchone()
    if row is None:
        raise DeedbookError(f"the policy at position {answer.position} could not be read back")
    return int(row[0])
