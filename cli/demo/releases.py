"""The chapters about releases: bound to models that passed, refused, rolled back, and asked about later."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from deedbook.cli.demo.data import CITIES
from deedbook.cli.demo.models import MODEL
from deedbook.cli.demo.scene import SERVICES, SHA_A, SHA_B, WRONG_CITY, Scene
from deedbook.cli.demo.stage import chapter, progress, tell
from deedbook.cli.moments import shown
from deedbook.cli.tables import Column, print_table
from deedbook.events.errors import DeedbookError, RequestRejected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deedbook.projector.queries import LiveRelease, TrainingSummary

# The two services that are asked about at the end: one whose new model passed, and the one whose new model did not.
ASKED_ABOUT = ("Dallas", WRONG_CITY)


@dataclass(slots=True)
class Moments:
    """The moments that are asked about at the end, each with what had just happened."""

    taken: list[tuple[datetime, str]] = field(default_factory=list)

    def take(self, what: str) -> None:
        """Note the time now."""
        self.taken.append((datetime.now(UTC), what))


def first_release(scene: Scene, moments: Moments) -> None:
    """Bind commit A, for every city's service, to the newest model that passed."""
    chapter(f"3. Release {SHA_A[:7]} is bound to the models that passed")
    _bind(scene, SHA_A, expected_previous="", reason="nightly release")
    moments.take("release A")


def refusal(scene: Scene) -> None:
    """Try to deploy the model that failed, as somebody in a hurry would."""
    chapter(f"7. {WRONG_CITY}'s new model is deployed all the same, by hand")
    try:
        scene.somebody.request_deployment(
            SERVICES[WRONG_CITY],
            SHA_B,
            {MODEL: scene.trainings[WRONG_CITY]},
            git_sha=SHA_B,
            reason="its error is a million times smaller",
        )
    except RequestRejected as refused:
        tell("Refused, and that is on the log, too:")
        tell(str(refused), style="red", indent=4)
        return
    raise DeedbookError("the registry let a model be deployed that had failed its validation")


def second_release(scene: Scene, moments: Moments) -> None:
    """Bind commit B to the new models, where they passed; where not, to the newest that did."""
    chapter(f"8. Release {SHA_B[:7]} gets the new models")
    _bind(scene, SHA_B, expected_previous=SHA_A, reason="nightly release")
    moments.take("release B")


def rollback(scene: Scene, moments: Moments) -> None:
    """Make commit A the current release of every service again."""
    chapter(f"9. {SHA_B[:7]} is rolled back to {SHA_A[:7]}")
    with progress("Rolled back", len(CITIES)) as advance:
        for service in SERVICES.values():
            scene.pipeline.activate_release(
                service,
                SHA_A,
                expected_previous=SHA_B,
                reason="customers report slow answers since the release",
            )
            advance(service)
    moments.take("the rollback")
    tell("Nothing was copied and nothing was decided anew: the old binding is the current one again.")


def incident(scene: Scene, moments: Moments) -> None:
    """Answer, for each moment, what was live then and why it was allowed."""
    chapter("10. What was live at that moment, and why?")
    for at, what in moments.taken:
        tell(f"{shown(at)} UTC, after {what}:", style="bold")
        for city in ASKED_ABOUT:
            _tell_live(scene, scene.pipeline.live(SERVICES[city], at=at))


def _bind(scene: Scene, sha: str, *, expected_previous: str, reason: str) -> None:
    """Do what a release pipeline does: for each service, take the newest deployable model, and ask for it."""
    rows, kept = [], []
    with progress("Deployed", len(CITIES)) as advance:
        for city, service in SERVICES.items():
            newest = _newest_deployable(scene, city)
            deployment = scene.pipeline.request_deployment(
                service,
                sha,
                {MODEL: newest.training_id},
                git_sha=sha,
                expected_previous=expected_previous,
                reason=reason,
            )
            if newest.training_id != scene.trainings[city]:
                kept.append(f"{service} keeps {MODEL}@{newest.version}, the newest that passed.")
            month = f"{newest.created_at:%B %Y}"
            rows.append((service, f"{MODEL}@{newest.version}", month, deployment.decision))
            advance(service)
    print_table([Column(name, whole=True) for name in ("service", "model", "trained", "decision")], rows)
    for sentence in kept:
        tell(sentence)


def _newest_deployable(scene: Scene, city: str) -> TrainingSummary:
    found: Sequence[TrainingSummary] = scene.pipeline.search(
        MODEL, parameters={"city": city}, deployable=True, limit=1
    )
    if not found:
        raise DeedbookError(f"no model of {city} passed its validation, so there is nothing to deploy")
    return found[0]


def _tell_live(scene: Scene, release: LiveRelease) -> None:
    model = release.models[0]
    month = scene.pipeline.training_info(model.training_id).created_at
    tell(
        f"{release.service}: {release.release[:7]} with {model.model}@{model.version}, trained {month:%B %Y}.",
        indent=4,
    )
    tell(
        f"Live since position {release.from_position}, by {release.actor}: {release.reason or 'no reason given'}. "
        f"Allowed because it {model.outcome}: {model.reason}.",
        indent=6,
    )
