"""What a check is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from deedbook.consumers.checks.finding import Finding
from deedbook.consumers.checks.settings import Setting, Settings, checked_settings, recorded_settings
from deedbook.events.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deedbook.consumers.checks.evidence import Evidence
    from deedbook.events.facts import Parameter

_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")


Evaluate: TypeAlias = Callable[["Evidence", Settings], Finding | Sequence[Finding]]


def _nothing_more(_: Settings) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One kind of check, as policies name it.

    - `evaluate(evidence, settings)` returns one finding or several; whatever it raises ends as an error
    - `reads(settings)`: what of a training it looks at, in the words of `CheckSpec.reads`; an amendment
      of that withdraws the verdict; nothing means it may look at anything
    - `compares`: it looks at the baseline; a baseline that is the candidate itself ends as an error
      before `evaluate` is called
    - `problem(settings)`: what is wrong with settings that are each right, or nothing
    """

    name: str
    summary: str
    evaluate: Evaluate
    reads: Callable[[Settings], tuple[str, ...]]
    settings: tuple[Setting, ...] = ()
    compares: bool = False
    problem: Callable[[Settings], str] = _nothing_more

    def __post_init__(self) -> None:
        """Refuse a name that policies can't say."""
        if not _NAME.fullmatch(self.name):
            raise InvalidInput(
                f"{self.name[:80]!r} can't name a check: use snake_case, at most 100 characters"
            )

    def settings_given(self, given: Mapping[str, object]) -> Settings:
        """Return the settings of a policy file; InvalidInput says what is wrong."""
        return self._consistent(checked_settings(self.settings, given))

    def settings_recorded(self, parameters: Iterable[Parameter]) -> Settings:
        """Return the settings of a policy on the log; InvalidInput says what is wrong."""
        return self._consistent(recorded_settings(self.settings, parameters))

    def _consistent(self, settings: Settings) -> Settings:
        problem = self.problem(settings)
        if problem:
            raise InvalidInput(problem)
        return settings
