"""Requests as programs make them: what is given becomes a fact, on which the fold decides, and its answer comes back.

A request that the fold rejects stays on the log, with the reason: it is part of the record.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from deedbook.artifacts import requests as request_sets
from deedbook.client.values import Metrics, id_of, metrics_of, name_of, parameters_of, tags_of
from deedbook.events.errors import InvalidInput
from deedbook.events.facts import (
    AcceptanceReport,
    Artifact,
    DeploymentRequested,
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
    from collections.abc import Iterable, Mapping
    from uuid import UUID

    from deedbook.client.backend import Backend
    from deedbook.projector.queries import Deployment, LiveRelease, Standing

Place = tuple[str, str, str]
"""A service, an environment, a release."""


class Requests:
    """What one person asks of a registry."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._envelope = backend.preparer.envelope

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
            **self._envelope(),
            training_id=training_id,
            reason=name_of(reason, "the reason"),
            metrics=metrics_of(metrics),
            parameters=parameters_of(parameters),
            tags=tags_of(tags),
        )
        return self._backend.amend(fact)

    def revalidate(self, training_id: str, reason: str) -> int:
        """Ask for a new verdict, and return the position of the request."""
        fact = RevalidationRequested(
            **self._envelope(), training_id=training_id, reason=name_of(reason, "the reason")
        )
        return self._backend.revalidate(fact)

    def override(self, training_id: str, *, reason: str, deployable: bool) -> Standing:
        """Decide otherwise than the verdict, and return where the training stands then."""
        fact = VerdictOverridden(
            **self._envelope(),
            training_id=training_id,
            deployable=bool(deployable),
            reason=name_of(reason, "the reason"),
        )
        return self._backend.override(fact)

    def publish_policy(self, policy: Policy, source: str) -> int:
        """Publish a policy, and return the version it was given."""
        if not isinstance(policy, Policy):
            raise InvalidInput(
                "give a Policy: the command `deedbook policy publish` reads one from a TOML file"
            )
        fact = PolicyPublished(**self._envelope(), policy=policy, source=source)
        return self._backend.publish_policy(fact)

    def publish_requests(
        self,
        model: str,
        rows: Iterable[Mapping[str, object]],
        parameters: Mapping[str, object],
    ) -> str:
        """Store past requests, publish that they are there, and return the set's id."""
        self._backend.check_can_answer()
        kept = [dict(row) for row in rows]
        data = request_sets.encode(kept)
        draft = RequestSet(
            requests_id=new_id(), model=model, parameters=parameters_of(parameters), count=len(kept)
        )
        self._backend.preparer.prepared(RequestsPublished(**self._envelope(), requests=draft))
        stored = self._backend.artifacts.put(data)
        artifact = Artifact(
            uri=stored.uri, sha256=stored.sha256, size_bytes=stored.size_bytes, format="requests"
        )
        published = replace(draft, artifact=artifact)
        self._backend.publish_requests(RequestsPublished(**self._envelope(), requests=published))
        return published.requests_id

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
            **self._envelope(),
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
        return self._backend.request_deployment(fact)

    def activate_release(self, place: Place, *, expected_previous: str | None, reason: str) -> LiveRelease:
        """Make an already bound release the current one again, and return what is live from then on."""
        service, environment, release = _names(place)
        fact = ReleaseActivated(
            **self._envelope(),
            service=service,
            environment=environment,
            release=release,
            expected_previous=_release(expected_previous),
            reason=name_of(reason, "the reason"),
        )
        return self._backend.activate_release(fact)


def _names(place: Place) -> Place:
    service, environment, release = place
    return (
        name_of(service, "the service"),
        name_of(environment, "the environment"),
        name_of(release, "the release"),
    )


def _release(expected_previous: str | None) -> str | None:
    return None if expected_previous is None else name_of(expected_previous, "the expected release")
