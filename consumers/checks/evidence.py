"""What a check may look at: one order, the artifacts it names, and the predictions made from them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from deedbook.artifacts.formats import SAFE_FORMATS
from deedbook.artifacts.requests import MAX_REQUESTS, MAX_SET_BYTES, Request, Value, decode, rows_for
from deedbook.consumers.checks.finding import Finding
from deedbook.consumers.checks.sentences import day, listed
from deedbook.events.errors import InvalidInput
from deedbook.events.facts import Baseline, BaselineRole, Outcome, Policy, Training, ValidationRequested
from deedbook.events.names import shown

if TYPE_CHECKING:
    from pathlib import Path

    from deedbook.artifacts.store import ArtifactStore
    from deedbook.consumers.sandbox import Failure, Predictions, Sandbox

_ROLE_WORDS = {
    BaselineRole.LAST_TRAINED: "the last training",
    BaselineRole.LAST_DEPLOYABLE: "the last deployable training",
    BaselineRole.LIVE: "the training that is live",
}
_NOTHING_WORDS = {
    BaselineRole.LAST_TRAINED: "no earlier training",
    BaselineRole.LAST_DEPLOYABLE: "no earlier deployable training",
    BaselineRole.LIVE: "no training in production",
}


class Evidence:
    """The candidate, its baseline, and what can be computed from them; computed at most once an order."""

    def __init__(self, order: ValidationRequested, artifacts: ArtifactStore, sandbox: Sandbox) -> None:
        """Look at one order; nothing is fetched or run before a check asks for it."""
        self.training: Training = order.training
        self.policy: Policy = order.policy
        self._order = order
        self._artifacts = artifacts
        self._sandbox = sandbox
        self._predictions: dict[tuple[str, str, tuple[str, ...]], Predictions | Failure] = {}

    @property
    def baseline(self) -> Training | None:
        """The training in the policy's baseline role; InvalidInput where the order names several."""
        return self._baseline.training if self._baseline else None

    @cached_property
    def _baseline(self) -> Baseline | None:
        found = [baseline for baseline in self._order.baselines if baseline.role is self._role]
        if len(found) > 1:
            raise InvalidInput(f"the order names {len(found)} trainings as {_ROLE_WORDS[self._role]}")
        return found[0] if found else None

    @property
    def baseline_words(self) -> str:
        """The baseline as a reviewer reads it: `the last deployable training (version 7, of 2014-03-01)`."""
        if self._baseline is None:
            return f"nothing ({self._nothing_words})"
        training, version = self._baseline.training, self._baseline.version
        created = day(training.created_at)
        of = f", of {created}" if created else ""
        named = f"version {version}" if version else training.training_id[:36]
        return f"{_ROLE_WORDS[self._role]} ({named}{of})"

    def nothing_to_compare(self, subject: str = "") -> Finding:
        """Return the pass of a training that has no baseline, with that as its reason."""
        reason = f"nothing to compare with, so it passes: there is {self._nothing_words}"
        return Finding(outcome=Outcome.PASSED, reason=reason, subject=subject)

    @property
    def allowed_formats(self) -> frozenset[str]:
        """The model formats that the policy allows; the safe ones where it names none."""
        return frozenset(self.policy.allowed_formats) or frozenset(SAFE_FORMATS)

    def artifact_file(self, training: Training) -> Path:
        """Return a local file with the training's artifact, verified.

        Raises NotFound, ArtifactDamaged, InvalidInput.
        """
        if not training.artifact.sha256:
            raise InvalidInput(f"training {training.training_id[:36]} has no artifact")
        return self._artifacts.path(training.artifact.sha256)

    @cached_property
    def requests(self) -> list[Request]:
        """The past requests of all the order's sets; empty if there are none. Raises as `artifact_file`."""
        requests: list[Request] = []
        for request_set in self._order.requests:
            requests += decode(self._artifacts.fetch(request_set.artifact.sha256, max_bytes=MAX_SET_BYTES))
            if len(requests) > MAX_REQUESTS:
                raise InvalidInput(f"the order's request sets hold more than {MAX_REQUESTS:,} requests")
        return requests

    def rows(self, training: Training) -> list[list[Value]]:
        """Return the past requests as the training's model takes them; InvalidInput if they lack a feature."""
        return rows_for(self.requests, [feature.name for feature in training.features])

    def predictions(self, training: Training) -> Predictions | Failure:
        """Return the training's predictions for the past requests, one each; made in the sandbox, once.

        Raises what `artifact_file` and `rows` raise.
        """
        names = tuple(feature.name for feature in training.features)
        artifact = training.artifact
        key = (artifact.sha256, artifact.format, names)
        if key not in self._predictions:
            rows = self.rows(training)
            self._predictions[key] = self._sandbox.predict(
                self.artifact_file(training),
                artifact.sha256,
                artifact.format,
                names,
                rows,
                allowed=self.allowed_formats,
            )
        return self._predictions[key]

    @property
    def _role(self) -> BaselineRole:
        # A role that a newer release knows is read as unspecified; the fold takes it as this one, too.
        role = self.policy.baseline
        return BaselineRole.LAST_DEPLOYABLE if role is BaselineRole.UNSPECIFIED else role

    @property
    def _nothing_words(self) -> str:
        words = f"{_NOTHING_WORDS[self._role]} of {shown(self.training.model)}"
        if self.policy.group_by_all:
            return f"{words} with the same parameters"
        if self.policy.group_by:
            return f"{words} with the same {listed(list(self.policy.group_by))}"
        return words
