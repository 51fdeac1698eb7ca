"""Requests: a fact is appended, the fold decides, and the answer comes back.

A request that the fold rejects stays on the log, with the reason: it is part of the record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from deedbook.artifacts import requests as request_sets
from deedbook.client.reading import check_can_read
from deedbook.client.values import Metrics, id_of, metrics_of, name_of, parameters_of, tags_of
from deedbook.events.errors import DeedbookError, InvalidInput, RequestRejected
from deedbook.events.facts import (
    AcceptanceReport,
    Artifact,
    DeploymentRequested,
    Fact,
    ModelBinding,
    Policy,
    PolicyPublished,
    ReleaseActivated,
    RequestSet,
    RequestsPublished,
    RevalidationRequested,
    TrainingAmended,
    VerdictOverridden,
)
from deedbook.events.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from uuid import UUID

    import duckdb

    from deedbook.client.reading import Answer, Reader
    from deedbook.client.recording import Recorder
    from deedbook.projector.queries import Deployment, LiveRelease, Standing

T = TypeVar("T")
Place = tuple[str, str, str]
"""A service, an environment, a release."""


class Requests:
    """What one person asks of a registry."""

    def __init__(self, recorder: Recorder, reader: Reader) -> None:
        self._recorder = recorder
        self._reader = reader

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

    def amend(
        self,
        training_id: str,
        *,
        reason: str,
        metrics: Metrics,
        parameters: Mapping[str, object],
        tags: Mapping[str, str],
    ) -> Standing:
        """Correct values of a training, and return where it stands then."""
        fact = TrainingAmended(
            **self._recorder.envelope(),
            training_id=training_id,
            reason=name_of(reason, "the reason"),
            metrics=metrics_of(metrics),
            parameters=parameters_of(parameters),
            tags=tags_of(tags),
        )
        return self._decided(fact, lambda connection, _: _standing(connection, training_id))

    def revalidate(self, training_id: str, reason: str) -> int:
        """Ask for a new verdict, and return the position of the request."""
        fact = RevalidationRequested(
            **self._recorder.envelope(), training_id=training_id, reason=name_of(reason, "the reason")
        )
        return self._decided(fact, lambda _, answer: answer.position)

    def override(self, training_id: str, *, reason: str, deployable: bool) -> Standing:
        """Decide otherwise than the verdict, and return where the training stands then."""
        fact = VerdictOverridden(
            **self._recorder.envelope(),
            training_id=training_id,
            deployable=bool(deployable),
            reason=name_of(reason, "the reason"),
        )
        return self._decided(fact, lambda connection, _: _standing(connection, training_id))

    def publish_policy(self, policy: Policy, source: str) -> int:
        """Publish a policy, and return the version it was given."""
        if not isinstance(policy, Policy):
            raise InvalidInput(
                "give a Policy: the command `deedbook policy publish` reads one from a TOML file"
            )
        fact = PolicyPublished(**self._recorder.envelope(), policy=policy, source=source)
        return self._decided(fact, _policy_version, first=True)

    def publish_requests(
        self,
        model: str,
        rows: Iterable[Mapping[str, object]],
        parameters: Mapping[str, object],
    ) -> str:
        """Store past requests, publish that they are there, and return the set's id."""
        check_can_read()
        kept = [dict(row) for row in rows]
        data = request_sets.encode(kept)
        draft = RequestSet(
            requests_id=new_id(), model=model, parameters=parameters_of(parameters), count=len(kept)
        )
        self._recorder.prepared(RequestsPublished(**self._recorder.envelope(), requests=draft))
        stored = self._recorder.artifacts.put(data)
        artifact = Artifact(
            uri=stored.uri, sha256=stored.sha256, size_bytes=stored.size_bytes, format="requests"
        )
        published = RequestSet(
            requests_id=draft.requests_id,
            model=draft.model,
            parameters=draft.parameters,
            artifact=artifact,
            count=draft.count,
        )
        fact = RequestsPublished(**self._recorder.envelope(), requests=published)
        return self._decided(fact, lambda *_: published.requests_id, first=True)

    def request_deployment(
        self,
        place: Place,
        models: Mapping[str, str | UUID],
        *,
        git_sha: str,
        expected_previous: str | None,
        acceptance: AcceptanceReport | None,
        reason: str,
    ) -> Deployment:
        """Bind a release to trainings, and return the deployment."""
        service, environment, release = _names(place)
        fact = DeploymentRequested(
            **self._recorder.envelope(),
            deployment_id=new_id(),
            service=service,
            environment=environment,
            release=release,
            models=tuple(
                ModelBinding(model=name_of(model, "a model"), training_id=id_of(training_id))
                for model, training_id in models.items()
            ),
            git_sha=name_of(git_sha, "git_sha"),
            expected_previous=_release(expected_previous),
            acceptance=acceptance,
            reason=name_of(reason, "the reason"),
        )
        from deedbook.projector.queries import deployment_with_id

        return self._decided(fact, lambda connection, _: deployment_with_id(connection, fact.deployment_id))

    def activate_release(self, place: Place, *, expected_previous: str | None, reason: str) -> LiveRelease:
        """Make an already bound release the current one again, and return what is live from then on."""
        service, environment, release = _names(place)
        fact = ReleaseActivated(
            **self._recorder.envelope(),
            service=service,
            environment=environment,
            release=release,
            expected_previous=_release(expected_previous),
            reason=name_of(reason, "the reason"),
        )
        from deedbook.projector.queries import releases

        def activated(connection: duckdb.DuckDBPyConnection, answer: Answer) -> LiveRelease:
            found = releases(connection, service, environment)
            return next(live for live in found if live.from_position == answer.position)

        return self._decided(fact, activated)


def _names(place: Place) -> Place:
    service, environment, release = place
    return (
        name_of(service, "the service"),
        name_of(environment, "the environment"),
        name_of(release, "the release"),
    )


def _release(expected_previous: str | None) -> str | None:
    return None if expected_previous is None else name_of(expected_previous, "the expected release")


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
