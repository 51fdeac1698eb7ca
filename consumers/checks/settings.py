"""The settings of a check: declared once, then held against a policy file and against the log."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from deedbook.consumers.checks.sentences import spelled
from deedbook.events.errors import InvalidInput
from deedbook.events.facts import Parameter
from deedbook.events.names import MAX_NAME_CHARACTERS, name_problem, normalise, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Kind: TypeAlias = Literal["number", "whole number", "text", "true or false"]
SettingValue: TypeAlias = float | int | str | bool

_KIND_WORDS: dict[Kind, str] = {
    "number": "a number",
    "whole number": "a whole number",
    "text": "a text",
    "true or false": "true or false",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting: its kind, its bounds (both included), and one sentence on what it means.

    Without a default, a setting that is not `required` may be left out, and then holds nothing.
    A text is a name (at most 200 printable characters), or one of `choices`. With a `method`, the setting
    belongs to that value of the check's setting `method`, and means nothing with another.
    """

    name: str
    kind: Kind
    meaning: str
    default: SettingValue | None = None
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    method: str = ""

    def checked(self, value: object) -> SettingValue:
        """Return the value in its own type; InvalidInput, naming the setting, if it is none or out of bounds."""
        match self.kind, value:
            case "true or false", bool():
                return value
            case "text", str():
                return self._checked_text(value)
            case "whole number", int() if not isinstance(value, bool):
                return int(self._bounded(value))
            case "number", int() | float() if not isinstance(value, bool):
                return self._bounded(value)
            case _:
                raise InvalidInput(f"{self.name} must be {_KIND_WORDS[self.kind]}, not {_described(value)}")

    def parameter(self, value: SettingValue) -> Parameter:
        """Return the value as a policy on the log holds it."""
        match value:
            case bool():
                return Parameter(name=self.name, text=str(value).lower())
            case str():
                return Parameter(name=self.name, text=value)
            case int() | float():
                return Parameter(name=self.name, text=f"{value!r}", number=float(value))

    def recorded(self, parameter: Parameter) -> object:
        """Return what a policy on the log says, ready to be `checked`."""
        match self.kind:
            case "text":
                return parameter.text
            case "true or false":
                return {"true": True, "false": False}.get(parameter.text, parameter.text)
            case "number":
                return parameter.text if parameter.number is None else parameter.number
            case "whole number":
                number = parameter.number
                return int(number) if number is not None and number.is_integer() else parameter.text

    def _checked_text(self, value: str) -> str:
        text = normalise(value)
        if self.choices and text not in self.choices:
            allowed = _either(shown(choice) for choice in self.choices)
            raise InvalidInput(f"{self.name} must be {allowed}, not {shown(text)}{near(text, self.choices)}")
        problem = name_problem(text)
        if problem and (text or self.required):
            raise InvalidInput(f"{self.name} {problem}")
        return text

    def _bounded(self, value: float) -> float:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise InvalidInput(f"{self.name} must be a finite number, not {spelled(number)}")
        if self.minimum is not None and number < self.minimum:
            raise InvalidInput(f"{self.name} must be at least {self.minimum:g}, not {spelled(number)}")
        if self.maximum is not None and number > self.maximum:
            raise InvalidInput(f"{self.name} must be at most {self.maximum:g}, not {spelled(number)}")
        return number


class Settings:
    """The settings of one check in one policy, each checked, with the defaults filled in."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, SettingValue]) -> None:
        """Hold values that `checked_settings` has passed."""
        self._values = dict(values)

    def number(self, name: str) -> float:
        """Return a number that is required or has a default."""
        return float(self._values[name])

    def number_or_none(self, name: str) -> float | None:
        """Return a number, or None where the policy says nothing."""
        return self.number(name) if name in self._values else None

    def whole(self, name: str) -> int:
        """Return a whole number that is required or has a default."""
        return int(self._values[name])

    def text(self, name: str) -> str:
        """Return a text; empty where the policy says nothing."""
        return str(self._values.get(name, ""))

    def flag(self, name: str) -> bool:
        """Return whether a setting that has a default is true."""
        return self._values[name] is True

    def parameters(self, declared: Sequence[Setting]) -> tuple[Parameter, ...]:
        """Return every setting as a policy on the log holds it, defaults included."""
        return tuple(s.parameter(self._values[s.name]) for s in declared if s.name in self._values)


def checked_settings(declared: Sequence[Setting], given: Mapping[str, object]) -> Settings:
    """Return the settings with defaults filled in; InvalidInput names the first one that is wrong."""
    names = [setting.name for setting in declared]
    for name in given:
        if name not in names:
            known = f"its settings: {', '.join(names)}" if names else "it has none"
            raise InvalidInput(
                f"{shown(name)} is not one of its settings{near(name, names) or f' ({known})'}"
            )
    values: dict[str, SettingValue] = {}
    for setting in declared:
        applies = not setting.method or values.get("method") == setting.method
        if setting.name in given:
            if not applies:
                # Refused, not ignored: whoever wrote it believes that it guards something.
                raise InvalidInput(f"{setting.name} has no effect unless method is {shown(setting.method)}")
            values[setting.name] = setting.checked(given[setting.name])
        elif not applies:
            continue
        elif setting.default is not None:
            values[setting.name] = setting.default
        elif setting.required:
            raise InvalidInput(
                f"{setting.name} is missing: {setting.meaning[0].lower()}{setting.meaning[1:]}"
            )
    return Settings(values)


def recorded_settings(declared: Sequence[Setting], parameters: Iterable[Parameter]) -> Settings:
    """Return the settings that a policy on the log holds; InvalidInput as for a file."""
    by_name = {setting.name: setting for setting in declared}
    given: dict[str, object] = {}
    for parameter in parameters:
        if parameter.name in given:
            raise InvalidInput(f"{shown(parameter.name)} is there twice")
        setting = by_name.get(parameter.name)
        given[parameter.name] = setting.recorded(parameter) if setting else parameter.text
    return checked_settings(declared, given)


def near(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean …?` with up to three names that look like this one, else nothing."""
    matches = difflib.get_close_matches(name[:MAX_NAME_CHARACTERS], list(known), n=3, cutoff=0.6)
    return f"; did you mean {_either(shown(match) for match in matches)}?" if matches else ""


def _either(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def _described(value: object) -> str:
    match value:
        case bool():
            return f"the truth value {str(value).lower()}"
        case str():
            return f"the text {shown(value)}"
        case int() | float():
            return f"the number {spelled(value)}"
        case list() | tuple():
            return "a list"
        case dict():
            return "a table"
        case _:
            return f"a {type(value).__name__}"
