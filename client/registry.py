"""A registry, as other people's programs use it: `deedbook.connect()` and what it returns."""

from __future__ import annotations

import getpass
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deedbook.client.backends import backend_at
from deedbook.client.git import RecentCommit, head_commit
from deedbook.client.place import Place, Surroundings, place_of
from deedbook.client.records import log_in_batches, prepared_training, training_record
from deedbook.client.requests import Requests
from deedbook.client.training import TrainingRun
from deedbook.client.values import id_of, name_of, zoned
from deedbook.events.errors import NotFound
from deedbook.events.facts import Training

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType
    from typing import Self
    from uuid import UUID

    from deedbook.artifacts.store import ArtifactStore
    from deedbook.client.records import ArtifactGiven
    from deedbook.client.values import Features, Metrics, Number
    from deedbook.events.facts import AcceptanceReport, Policy
    from deedbook.projector.queries import (
        Deployment,
        LiveRelease,
        MetricFilter,
        MetricName,
        MetricSeries,
        Rows,
        Standing,
        TrainingDetail,
        TrainingSummary,
    )

DEFAULT_URL = "sqlite:///./.deedbook"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the registry is, and who speaks to it."""

    url: str
    place: Place
    actor: str


def read_settings(url: str | None = None, actor: str | None = None) -> Settings:
    """Return the settings: what is given, else DEEDBOOK_URL and DEEDBOOK_ACTOR, else this folder and user.

    Raises InvalidInput for a URL that names no registry.
    """
    chosen = url or os.environ.get("DEEDBOOK_URL") or DEFAULT_URL
    who = actor or os.environ.get("DEEDBOOK_ACTOR") or _person()
    return Settings(chosen, place_of(chosen, Surroundings.read(os.environ)), name_of(who, "the actor"))


def connect(url: str | None = None, *, actor: str | None = None) -> Registry:
    """Return the registry at a URL, by default DEEDBOOK_URL, else `sqlite:///./.deedbook`.

    Nothing is opened before it is used, and a registry is made by what is first logged to it. `actor`
    says who speaks: by default DEEDBOOK_ACTOR, else the user and host. Raises InvalidInput for a URL
    that names no registry.
    """
    return Registry(read_settings(url, actor))


def _person() -> str:
    """Return who runs this process, and where: `ana@build-7`."""
    try:
        person = getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as containers have
        person = "unknown"
    return f"{person}@{socket.gethostname()}"


class Registry:
    """A registry: in a folder, on Kafka, or behind a service. Safe to use from several threads.

    Logging returns once the record is durable. In a folder it needs the base install alone; all else there reads
    what the log comes to, which needs `deedbook[server]`, and sees everything appended before. A service needs
    `deedbook[grpc]` here, and nothing else; it answers with all that was written through this registry.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._backend = backend_at(settings.place, actor=settings.actor)
        self._requests = Requests(self._backend)
        self._commit = RecentCommit()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of all files and connections; closing twice is harmless."""
        self._backend.close()

    @property
    def artifacts(self) -> ArtifactStore:
        """The store that holds this registry's models and request sets."""
        return self._backend.artifacts

    # --- logging ---------------------------------------------------------------------------------

    def training(
        self,
        model: str,
        *,
        parameters: Mapping[str, object] | None = None,
        training_id: str | UUID | None = None,
        git_sha: str | None = None,
        tags: Mapping[str, str] | None = None,
        features: Features | None = None,
        data_fingerprint: str = "",
        created_at: datetime | None = None,
    ) -> TrainingRun:
        """Return a training to run: `with registry.training("home-price") as training:`.

        ``git_sha``: by default the commit checked out in the working directory, where there is one.
        ``created_at``: by default when the block ends. Raises InvalidInput.
        """
        draft = training_record(
            model=model,
            parameters=parameters or {},
            training_id=training_id,
            git_sha=head_commit(Path.cwd()) if git_sha is None else git_sha,
            tags=tags or {},
            features=features or (),
            data_fingerprint=data_fingerprint,
            created_at=created_at,
        )
        return TrainingRun(self._backend, draft)

    def log_training(
        self,
        model: str,
        *,
        metrics: Metrics = (),
        parameters: Mapping[str, object] | None = None,
        artifact: ArtifactGiven | None = None,
        artifact_format: str | None = None,
        training_id: str | UUID | None = None,
        model_type: str = "",
        framework: str = "",
        features: Features = (),
        coefficients: Mapping[str, Number] | None = None,
        git_sha: str | None = None,
        data_fingerprint: str = "",
        created_at: datetime | None = None,
        started_at: datetime | None = None,
        finished_at: datetime | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Log a training that is over, and return its id once the record is durable.

        ``metrics``: values by name, or Metric objects with slice, direction and unit. ``artifact``: a
        model file, which is stored here, or an Artifact that was. Raises InvalidInput, StorageFull.
        """
        record = training_record(
            model=model,
            metrics=metrics,
            parameters=parameters or {},
            training_id=training_id,
            model_type=model_type,
            framework=framework,
            features=features,
            coefficients=coefficients or {},
            git_sha=self._commit.of(Path.cwd()) if git_sha is None else git_sha,
            data_fingerprint=data_fingerprint,
            created_at=created_at,
            started_at=started_at,
            finished_at=finished_at,
            tags=tags or {},
            now=self._backend.preparer.clock(),
        )
        self._backend.append([prepared_training(self._backend, record, artifact, artifact_format)])
        return record.training_id

    def log_trainings(self, trainings: Iterable[Mapping[str, Any] | Training]) -> list[str]:
        """Log many trainings in batches, and return their ids: for import from elsewhere.

        Each is a mapping of what `log_training` takes (no ``git_sha`` is looked up), or a Training. One with
        its own ``training_id`` can be imported again. InvalidInput says how many were logged before.
        """
        return log_in_batches(self._backend, trainings)

    # --- asking for something to be done -----------------------------------------------------------

    def amend(
        self,
        training_id: str | UUID,
        *,
        reason: str,
        metrics: Metrics = (),
        parameters: Mapping[str, object] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Standing:
        """Correct values of a training, keeping the originals, and return where it stands then.

        Raises InvalidInput, RequestRejected (no such training or value).
        """
        return self._requests.amend(
            id_of(training_id),
            reason=reason,
            metrics=metrics,
            parameters=parameters or {},
            tags=tags or {},
        )

    def revalidate(self, training_id: str | UUID, *, reason: str = "") -> int:
        """Ask for a new verdict, and return the position of the request; raises RequestRejected."""
        return self._requests.revalidate(id_of(training_id), reason)

    def override(self, training_id: str | UUID, *, reason: str, deployable: bool = True) -> Standing:
        """Decide otherwise than the verdict, by name and with a reason; raises RequestRejected."""
        return self._requests.override(id_of(training_id), reason=reason, deployable=deployable)

    def publish_policy(self, policy: Policy, *, source: str = "") -> int:
        """Publish what a model's next trainings must pass, and return the policy's version.

        ``source``: the file as written, kept beside it. Raises InvalidInput, RequestRejected.
        """
        return self._requests.publish_policy(policy, source)

    def publish_requests(
        self,
        model: str,
        rows: Iterable[Mapping[str, object]],
        *,
        parameters: Mapping[str, object] | None = None,
    ) -> str:
        """Publish past prediction requests to replay, and return the set's id.

        ``rows``: features by name. ``parameters``: the values of the trainings that they are for. Raises
        InvalidInput, RequestRejected.
        """
        return self._requests.publish_requests(name_of(model, "the model"), rows, parameters or {})

    def request_deployment(
        self,
        service: str,
        release: str,
        models: Mapping[str, str | UUID],
        *,
        environment: str = "production",
        git_sha: str = "",
        expected_previous: str | None = None,
        acceptance: AcceptanceReport | None = None,
        reason: str = "",
    ) -> Deployment:
        """Bind a release of a service to trainings, and make it the current one.

        ``models``: a training id by model. ``expected_previous``: the release that must be current
        (``""``: none). Raises InvalidInput, and RequestRejected with the fold's reason.
        """
        return self._requests.request_deployment(
            (service, environment, release),
            models,
            git_sha=git_sha,
            expected_previous=expected_previous,
            acceptance=acceptance,
            reason=reason,
        )

    def activate_release(
        self,
        service: str,
        release: str,
        *,
        environment: str = "production",
        expected_previous: str | None = None,
        reason: str = "",
    ) -> LiveRelease:
        """Make an already bound release the current one again: roll back. Raises RequestRejected."""
        return self._requests.activate_release(
            (service, environment, release),
            expected_previous=expected_previous,
            reason=reason,
        )

    # --- reading -----------------------------------------------------------------------------------

    def deployment(self, service: str, release: str, environment: str = "production") -> Deployment:
        """Return what a release is bound to; raises NotFound, which says what is bound."""
        service, release = name_of(service, "the service"), name_of(release, "the release")
        return self._backend.deployment(service, release, name_of(environment, "the environment"))

    def live(
        self, service: str, environment: str = "production", *, at: datetime | None = None
    ) -> LiveRelease:
        """Return what is live, or was at a time, and why it was allowed; raises NotFound for nothing."""
        moment = None if at is None else zoned(at, "the time asked about")
        service, environment = name_of(service, "the service"), name_of(environment, "the environment")
        found = self._backend.live(service, environment, moment)
        if found is None:
            then = "is" if at is None else f"was, at {at.isoformat()},"
            raise NotFound(f"no release of {service} in {environment} {then} live")
        return found

    def search(
        self,
        model: str | None = None,
        *,
        parameters: Mapping[str, str | float] | None = None,
        metrics: Sequence[str | MetricFilter] = (),
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        deployable: bool | None = None,
        outcome: str | None = None,
        order_by: str | MetricName | None = None,
        descending: bool | None = None,
        show: Sequence[str | MetricName] = (),
        limit: int = 50,
        offset: int = 0,
    ) -> list[TrainingSummary]:
        """Return the trainings that meet all conditions.

        ``parameters``: equal to these; a number is compared as one. ``metrics``: comparisons such as
        ``"mse < 0.2"`` or ``"mse[north] < 0.2"``. ``created_after`` is included, ``created_before`` not.
        ``order_by``: a metric, lowest first; None: newest first; ``descending`` decides for either.
        The metrics named anywhere, ``show`` included, are in each summary. Raises InvalidInput.
        """
        from deedbook.client.searching import search_of

        return self._backend.search(
            search_of(
                model=model,
                parameters=parameters or {},
                metrics=metrics,
                created=(created_after, created_before),
                deployable=deployable,
                outcome=outcome,
                order_by=order_by,
                descending=descending,
                show=show,
                limit=limit,
                offset=offset,
            )
        )

    def training_info(self, training_id: str | UUID) -> TrainingDetail:
        """Return all that is known of a training; raises NotFound."""
        return self._backend.training_detail(id_of(training_id))

    def metric_series(
        self,
        model: str,
        metric: str | MetricName,
        *,
        by: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        deployable: bool | None = None,
    ) -> MetricSeries:
        """Return a metric of all trainings of a model over time, told apart by a parameter's value."""
        from deedbook.client.searching import series_of

        created = (created_after, created_before)
        return self._backend.metric_series(
            series_of(model=model, metric=metric, by=by, created=created, deployable=deployable)
        )

    def sql(self, query: str) -> Rows:
        """Return what one SQL statement answers, on a snapshot; raises InvalidInput where it can't."""
        return self._backend.sql(query)
