"""Which checks there are: deedbook's own, and those that other packages bring.

A package brings a check through an entry point in the group `deedbook.checks`, named like the check:

    [project.entry-points."deedbook.checks"]
    no_weekend_data = "acme.checks:NO_WEEKEND_DATA"
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from deedbook import __version__
from deedbook.consumers.checks.artifact_intact import ARTIFACT_INTACT
from deedbook.consumers.checks.check import Check
from deedbook.consumers.checks.coefficient_similarity import COEFFICIENT_SIMILARITY
from deedbook.consumers.checks.features_match import FEATURES_MATCH
from deedbook.consumers.checks.metric_regression import METRIC_REGRESSION
from deedbook.consumers.checks.metric_threshold import METRIC_THRESHOLD
from deedbook.consumers.checks.prediction_similarity import PREDICTION_SIMILARITY
from deedbook.consumers.checks.settings import near
from deedbook.events.errors import InvalidInput
from deedbook.events.names import MAX_NAME_CHARACTERS, shown

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.metadata import EntryPoint

GROUP = "deedbook.checks"
BUILT_IN: tuple[Check, ...] = (
    ARTIFACT_INTACT,
    FEATURES_MATCH,
    METRIC_THRESHOLD,
    METRIC_REGRESSION,
    COEFFICIENT_SIMILARITY,
    PREDICTION_SIMILARITY,
)


class Catalogue:
    """The checks that policies may name. A plugin is imported when a policy names it, and not before."""

    def __init__(self, checks: Iterable[Check] = BUILT_IN, plugins: Iterable[EntryPoint] = ()) -> None:
        """Offer these checks, and those behind the entry points."""
        self._checks: dict[str, list[Check | EntryPoint]] = {}
        offers: list[Check | EntryPoint] = [*checks, *plugins]
        for offer in offers:
            self._checks.setdefault(offer.name, []).append(offer)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name a policy may use, in alphabetical order."""
        return tuple(sorted(self._checks))

    def find(self, name: str) -> Check:
        """Return the check of that name; InvalidInput if there is none, more than one, or it can't be loaded."""
        offers = self._checks.get(name, [])
        if not offers:
            hint = near(name, self.names) or f" (known: {', '.join(self.names)})"
            raise InvalidInput(f"{shown(name)} is not a check{hint}")
        if len(offers) > 1:
            # Neither wins: a package must not take the place of another's check, or of deedbook's own.
            origins = " and ".join(_origin(offer) for offer in offers)
            raise InvalidInput(f"the check {shown(name)} is there {len(offers)} times: from {origins}")
        offer = offers[0]
        return offer if isinstance(offer, Check) else _loaded(offer)

    def version(self, names: Iterable[str]) -> str:
        """Return deedbook's version, and the version of each package that brings one of these checks."""
        offers = [offer for name in sorted(set(names)) for offer in self._checks.get(name, [])]
        origins = {_origin(offer) for offer in offers if not isinstance(offer, Check)}
        text = "; ".join([f"deedbook {__version__}", *sorted(origins)])
        if len(text) <= MAX_NAME_CHARACTERS:
            return text
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        return f"deedbook {__version__}; {len(origins)} packages with checks ({digest})"


@cache
def installed_checks() -> Catalogue:
    """Return deedbook's own checks and those of the packages installed here."""
    return Catalogue(BUILT_IN, entry_points(group=GROUP))


def _loaded(plugin: EntryPoint) -> Check:
    try:
        check = plugin.load()
    except Exception as error:  # importing somebody else's package may raise anything
        what = f"the check {shown(plugin.name)} of {_origin(plugin)}"
        raise InvalidInput(f"{what} can't be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(check, Check) or check.name != plugin.name:
        raise InvalidInput(
            f"{_origin(plugin)} offers a check {shown(plugin.name)} that is no Check of that name"
        )
    return check


def _origin(offer: Check | EntryPoint) -> str:
    if isinstance(offer, Check):
        return "deedbook itself"
    return f"{offer.dist.name} {offer.dist.version}" if offer.dist else offer.value
