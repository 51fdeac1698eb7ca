"""A serving host: it loads the models that its own release is bound to, and no others."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from deedbook.artifacts.formats import SAFE_FORMATS, load_model
from deedbook.client.backends import source_at
from deedbook.client.git import head_commit
from deedbook.client.local_copies import LocalCopies
from deedbook.client.patience import within
from deedbook.client.registry import read_settings
from deedbook.client.values import name_of
from deedbook.events.errors import (
    AccessDenied,
    DeadlineExceeded,
    DeedbookError,
    InvalidInput,
    LogDamaged,
    LogReplaced,
    LogUnavailable,
    NotAuthenticated,
    NotFound,
    PermissionRefused,
    ProjectionBusy,
    StorageFull,
    UnknownSchema,
)
from deedbook.events.facts import ModelLoaded
from deedbook.events.names import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deedbook.client.following import News
    from deedbook.projector.queries import BoundModel, Deployment

T = TypeVar("T")
REGISTRY_SOURCE = "registry"
COPY_SOURCE = "local copy"
_AWAY = (
    *(LogUnavailable, LogDamaged, LogReplaced, ProjectionBusy, StorageFull, UnknownSchema, DeadlineExceeded),
    # A token that has ended is for people to renew, and no reason for an outage.
    *(AccessDenied, NotAuthenticated, PermissionRefused),
)
# A cluster that is well answers in a tenth of a second, on a busy machine in a few. One that did not is left alone
# for a while.
_PATIENCE_SECONDS = 10.0
_AWAY_SECONDS = 30.0


class Host:
    """One instance of a service, running one release of it.

    ``release``: by default DEEDBOOK_RELEASE, else the commit checked out in the working directory.
    ``url``: by default DEEDBOOK_URL, else `sqlite:///./.deedbook`. ``instance``: by default host and
    process id. Copies are kept in DEEDBOOK_CACHE, else in the user's cache folder. A registry in a folder is
    folded to see what is bound; one on Kafka tells it in the topic `deployments`, and nothing is folded.
    Raises InvalidInput where no release is known.
    """

    def __init__(
        self,
        service: str,
        release: str | None = None,
        environment: str = "production",
        url: str | None = None,
        instance: str | None = None,
    ) -> None:
        self._settings = read_settings(url)
        self.service = name_of(service, "the service")
        self.environment = name_of(environment, "the environment")
        self.release = name_of(release or _own_release(), "the release")
        self.instance = name_of(instance or f"{socket.gethostname()}:{os.getpid()}", "the instance")
        self._source = source_at(
            self._settings.place, self.service, self.environment, actor=self._settings.actor
        )
        self._copies = LocalCopies(_cache_folder())
        self._deployment: Deployment | None = None
        self._booted_from = REGISTRY_SOURCE
        self._away_until = 0.0
        self._closed = threading.Event()

    @property
    def deployment(self) -> Deployment:
        """What this release is bound to: by the registry, or by the local copy when that is away.

        Raises NotFound, which says what is bound instead.
        """
        if self._deployment is None:
            self._deployment = self._looked_up()
        return self._deployment

    def models(self) -> tuple[str, ...]:
        """Return the names of the models that this release is bound to."""
        return tuple(model.model for model in self.deployment.models)

    def load(self, model: str, *, allow_pickle: bool = False) -> Any:  # noqa: ANN401 - the framework's own object
        """Return the model that this release is bound to, its digest verified, and report that it is loaded.

        ``allow_pickle``: also load pickle and joblib, which run whatever code their author wrote.
        Raises NotFound (not bound), ArtifactDamaged, InvalidInput (a format not allowed), MissingExtra.
        """
        bound = self._bound(name_of(model, "the model"))
        if not bound.artifact_sha256 or not bound.artifact_format:
            raise NotFound(f"training {bound.training_id} of {bound.model} has no artifact to load")
        allowed = SAFE_FORMATS | {"pickle", "joblib"} if allow_pickle else SAFE_FORMATS
        loaded = load_model(self._artifact(bound), bound.artifact_format, allowed=allowed)
        self._report(bound)
        return loaded

    def follow(
        self,
        *,
        since_position: int | None = None,
        stop: Callable[[], bool] | None = None,
        timeout_seconds: float | None = None,
    ) -> Iterator[News]:
        """Return what this service is told in this environment from now on, as it comes, for any of its releases.

        Each is a DeploymentCreated (a release was bound; or made the current one again: a rollback) or a
        DeploymentRejected, and comes once. While the registry is away nothing comes, and all that was missed comes
        when it is back. It ends when ``stop`` says so, asked several times a second, when nothing came for
        ``timeout_seconds``, and when this host is closed. ``since_position``: also what was decided before, at
        that position of the registry (a fact's ``requested_at_position``) or after it.

        Raises NotFound (no registry there), UnknownSchema (told by a newer release), and what reading raises.
        """
        return self._source.follow(
            since_position,
            lambda: self._closed.is_set() or (stop is not None and stop()),
            timeout_seconds,
        )

    def close(self) -> None:
        """Let go of all files and connections; closing twice is harmless."""
        self._closed.set()
        self._source.close()

    def _looked_up(self) -> Deployment:
        copy = self._copies.deployment(self._key(), self.service, self.environment, self.release)
        try:
            self._asked(self._source.open, in_haste=copy is not None)
        except DeedbookError as away:
            return self._copied(copy, away)
        try:
            found = self._asked(
                lambda: self._source.binding(self.release, known=copy is not None), in_haste=copy is not None
            )
        except _AWAY as away:
            return self._copied(copy, away)
        try:
            self._copies.keep_deployment(self._key(), found)
        except DeedbookError as error:
            _warn(f"{error}: this host can't boot without the registry")
        return found

    def _asked(self, ask: Callable[[], T], *, in_haste: bool) -> T:
        """Return an answer; across a network, in haste, it is not waited for longer than there is patience."""
        whom = self._source.across_a_network
        return within(_PATIENCE_SECONDS, ask, whom) if whom and in_haste else ask()

    def _copied(self, copy: Deployment | None, away: DeedbookError) -> Deployment:
        """Return the local copy of the deployment; raises what kept the registry away where there is none."""
        if copy is None:
            raise away
        self._booted_from = COPY_SOURCE
        if self._source.across_a_network and isinstance(away, LogUnavailable):
            self._away_until = time.monotonic() + _AWAY_SECONDS
        unheard = ", and does not report what it loads" if time.monotonic() < self._away_until else ""
        _warn(f"the registry is away ({away}): release {self.release} boots from its local copy{unheard}")
        return copy

    def _key(self) -> str:
        """Return what tells this registry's copies from another's: where it is, however that is written."""
        return self._settings.place.key()

    def _bound(self, model: str) -> BoundModel:
        for bound in self.deployment.models:
            if bound.model == model:
                return bound
        raise NotFound(
            f"release {self.release} of {self.service} in {self.environment} is not bound to a model "
            f"{shown(model)}: it is bound to {', '.join(self.models())}"
        )

    def _artifact(self, bound: BoundModel) -> bytes:
        """Return the artifact's verified bytes: the local copy, else the registry's, which is then kept here."""
        assert bound.artifact_sha256 is not None  # noqa: S101 - the caller has seen that there is one
        copied = self._copies.artifact(bound.artifact_sha256)
        if copied is not None:
            return copied
        data = self._source.artifacts.fetch(bound.artifact_sha256)
        try:
            self._copies.keep_artifact(data)
        except DeedbookError as error:
            _warn(f"{error}: this host can't boot without the registry")
        return data

    def _report(self, bound: BoundModel) -> None:
        """Put on the log that this instance runs the model; its absence stops nobody from serving."""
        if time.monotonic() < self._away_until:
            return  # which was said when it was found away
        preparer = self._source.preparer
        envelope = preparer.envelope()
        loaded = ModelLoaded(
            **envelope,
            service=self.service,
            environment=self.environment,
            release=self.release,
            instance=self.instance,
            model=bound.model,
            training_id=bound.training_id,
            artifact_sha256=bound.artifact_sha256 or "",
            source=self._booted_from,
            loaded_at=envelope["occurred_at"],
        )

        try:
            self._asked(lambda: self._source.report(preparer.prepared(loaded)), in_haste=True)
        except DeedbookError as error:
            _warn(f"that {bound.model} is loaded could not be reported: {error}")


def _own_release() -> str:
    release = os.environ.get("DEEDBOOK_RELEASE") or head_commit(Path.cwd())
    if not release:
        raise InvalidInput(
            "which release runs here is not known: give release=…, set DEEDBOOK_RELEASE, or run in a git checkout"
        )
    return release


def _cache_folder() -> Path:
    """Return where copies are kept: DEEDBOOK_CACHE, else the platform's folder for caches."""
    if given := os.environ.get("DEEDBOOK_CACHE"):
        return Path(given).absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "deedbook"
    # The XDG specification: a path that is not absolute does not count.
    shared = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(shared) if shared.startswith("/") else Path.home() / ".cache") / "deedbook"


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=4)
