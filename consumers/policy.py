"""Policy files: TOML to `facts.Policy`, with everything that could be a mistake refused."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deedbook.artifacts.formats import FORMATS, SAFE_FORMATS
from deedbook.consumers.checks.catalogue import installed_checks
from deedbook.consumers.checks.settings import near
from deedbook.events.errors import InvalidInput, NotFound
from deedbook.events.facts import BaselineRole, CheckSpec, Policy
from deedbook.events.names import MAX_SOURCE_BYTES, name_problem, normalise, shown

if TYPE_CHECKING:
    from deedbook.consumers.checks.catalogue import Catalogue

MAX_CHECKS = 100
MAX_GROUPS = 20

_KEYS = ("model", "group_by", "baseline", "allowed_formats", "checks")
_ROLES = tuple(role.value for role in BaselineRole if role is not BaselineRole.UNSPECIFIED)


def read_policy(source: Path | str, catalogue: Catalogue | None = None) -> Policy:
    """Return the policy in a TOML file (a Path) or text; its version is assigned by the log.

    Every default is written out, so that a later release's defaults change no policy. Raises NotFound
    (no such file), and InvalidInput: one sentence that names the line or the key.
    """
    checks = catalogue or installed_checks()
    table = _parsed(_text_of(source))
    _known_keys(table)
    groups = _groups(_required(table, "group_by", 'write group_by = ["city"], [] for none, or "all"'))
    model = _name("model", _required(table, "model", "say which model this policy is for"))
    return Policy(
        model=model,
        group_by=groups or (),
        group_by_all=groups is None,
        baseline=_baseline(table.get("baseline", BaselineRole.LAST_DEPLOYABLE.value)),
        allowed_formats=_formats(table.get("allowed_formats", sorted(SAFE_FORMATS))),
        checks=_checks(table.get("checks", []), checks),
    )


def check_spec(name: str, settings: dict[str, object], catalogue: Catalogue) -> CheckSpec:
    """Return a check as a policy holds it: settings written out, and what it reads; or InvalidInput."""
    check = catalogue.find(name)
    given = check.settings_given(settings)
    return CheckSpec(check=name, settings=given.parameters(check.settings), reads=check.reads(given))


def _text_of(source: Path | str) -> str:
    if isinstance(source, str):
        text = source
    else:
        try:
            with source.open("rb") as file:
                text = file.read(MAX_SOURCE_BYTES + 1).decode("utf-8-sig")
        except FileNotFoundError:
            raise NotFound(f"there is no policy file {shown(str(source))}") from None
        except OSError as error:
            raise InvalidInput(
                f"cannot read the policy file {shown(str(source))}: {error.strerror}"
            ) from None
        except UnicodeDecodeError as error:
            raise InvalidInput(f"the policy file is not UTF-8 text (byte {error.start})") from None
    if len(text.encode("utf-8", "surrogatepass")) > MAX_SOURCE_BYTES:
        raise InvalidInput(f"the policy has more than {MAX_SOURCE_BYTES:,} bytes")
    return text


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        reason = str(error) if isinstance(error, tomllib.TOMLDecodeError) else type(error).__name__
        raise InvalidInput(f"the policy is not TOML: {reason}") from None


def _known_keys(table: dict[str, Any]) -> None:
    for key in table:
        if key not in _KEYS:
            hint = near(key, _KEYS) or f" (its keys: {', '.join(_KEYS)})"
            raise InvalidInput(f"{shown(key)} is not a key of a policy{hint}")


def _required(table: dict[str, Any], key: str, advice: str) -> object:
    if key not in table:
        raise InvalidInput(f"the policy has no {key}: {advice}")
    return table[key]


def _name(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"{key} must be a text")
    name = normalise(value)
    problem = name_problem(name)
    if problem:
        raise InvalidInput(f"{key} {problem}")
    return name


def _groups(value: object) -> tuple[str, ...] | None:
    """Return the names of the parameters to group by, None for all of them."""
    if value == "all":
        return None
    if not isinstance(value, list):
        raise InvalidInput('group_by must be a list of parameter names, or "all"')
    names = tuple(_name("a name in group_by", name) for name in value)
    if len(names) > MAX_GROUPS:
        raise InvalidInput(f"group_by names {len(names)} parameters; at most {MAX_GROUPS} are allowed")
    return _distinct("group_by", names)


def _baseline(value: object) -> BaselineRole:
    if isinstance(value, str) and value in _ROLES:
        return BaselineRole(value)
    hint = near(value, _ROLES) if isinstance(value, str) else ""
    raise InvalidInput(f"baseline must be {', '.join(_ROLES[:-1])} or {_ROLES[-1]}{hint}")


def _formats(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise InvalidInput(f"allowed_formats must be a list of formats, at least one of {', '.join(FORMATS)}")
    for name in value:
        if name not in FORMATS:
            seen = shown(name) if isinstance(name, str) else "a value that is no text"
            hint = near(name, FORMATS) if isinstance(name, str) else ""
            raise InvalidInput(f"allowed_formats holds {seen}, not one of {', '.join(FORMATS)}{hint}")
    return _distinct("allowed_formats", tuple(value))


def _distinct(key: str, names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if names.count(name) > 1:
            raise InvalidInput(f"{key} names {shown(name)} twice")
    return names


def _checks(value: object, catalogue: Catalogue) -> tuple[CheckSpec, ...]:
    if not isinstance(value, list) or not value:
        raise InvalidInput("the policy demands no checks, and so would pass nothing: write [[checks]] tables")
    if len(value) > MAX_CHECKS:
        raise InvalidInput(f"the policy has {len(value)} checks; at most {MAX_CHECKS} are allowed")
    specs = tuple(_check(table, number, catalogue) for number, table in enumerate(value, start=1))
    for number, spec in enumerate(specs, start=1):
        if spec in specs[: number - 1]:
            raise InvalidInput(f"check {number} ({spec.check}) is the same as check {specs.index(spec) + 1}")
    return specs


def _check(table: object, number: int, catalogue: Catalogue) -> CheckSpec:
    if not isinstance(table, dict) or not isinstance(table.get("check"), str):
        raise InvalidInput(f'check {number} has no name: write check = "artifact_intact", for example')
    name = table["check"]
    settings = {key: value for key, value in table.items() if key != "check"}
    try:
        return check_spec(name, settings, catalogue)
    except InvalidInput as error:
        named = f" ({name})" if name in catalogue.names else ""
        raise InvalidInput(f"check {number}{named}: {error}") from error
