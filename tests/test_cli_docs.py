"""docs/cli.md is held to the code: every command, argument, option, setting, status and JSON key, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from deedbook.cli import ending, settings
from deedbook.cli.program import app
from deedbook.client import place
from tests.command import THRESHOLD_POLICY, Command

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
# Every command has it, so the page says it once.
HELP = {"--help", "-h"}
Commands = dict[str, Any]


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - Typer's own types
    """A command and all below it that do something, by the words one types."""
    children = getattr(command, "commands", {})
    if not children or name == "deedbook":
        yield name, command
    for word, child in children.items():
        yield from commands(child, f"{name} {word}")


COMMANDS: Commands = dict(commands(typer.main.get_command(app), "deedbook"))
SECTIONS = {
    section.partition("`\n")[0]: section for section in re.split(r"^### `", PAGE, flags=re.MULTILINE)[1:]
}


def options_of(command: Any) -> set[str]:  # noqa: ANN401 - Typer's own type
    """All ways to write a command's options."""
    return {
        written
        for parameter in command.params
        for written in (*parameter.opts, *parameter.secondary_opts)
        if written.startswith("-")
    }


def documented_options(section: str) -> set[str]:
    """The options that a section's table has a row for."""
    cells = re.findall(r"^\| (`-.*?) \|", section, flags=re.MULTILINE)
    return {written for cell in cells for written in re.findall(r"`(--?[a-z-]+)", cell)}


def test_every_command_has_its_section_and_no_other() -> None:
    """A command that is gone leaves nothing behind."""
    assert sorted(COMMANDS) == sorted(SECTIONS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_its_row_and_no_other(name: str) -> None:
    """Nothing hidden, nothing invented."""
    assert options_of(COMMANDS[name]) - HELP == documented_options(SECTIONS[name]) - HELP


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "deedbook"])
def test_arguments_are_shown_as_help_shows_them(name: str) -> None:
    """A command with arguments has a line that says how it is typed."""
    arguments = [p for p in COMMANDS[name].params if p.param_type_name == "argument"]
    words = [(p.metavar or p.name.upper()) for p in arguments]
    shown = [word if p.required else f"[{word}]" for p, word in zip(arguments, words, strict=True)]

    if words:
        assert f"\n    {name} {' '.join(shown)}" in SECTIONS[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_default_is_named(name: str) -> None:
    """What holds where nothing is said is written beside the option."""
    for parameter in COMMANDS[name].params:
        default = parameter.default
        if isinstance(default, str | int | Path) and not isinstance(default, bool) and default != "":
            (row,) = re.findall(rf"^\| `{parameter.opts[0]}(?![a-z-]).*", SECTIONS[name], flags=re.MULTILINE)
            assert str(default) in row


def test_the_settings_are_those_that_are_read() -> None:
    """Each variable that the code asks for, with what holds without it."""
    modules = [settings.__file__, place.__file__]
    read = {
        name
        for module in modules
        for name in re.findall(r"(?<=\")DEEDBOOK_[A-Z_]+(?=\")", Path(module).read_text(encoding="utf-8"))
    }
    rows = dict(re.findall(r"^\| `(DEEDBOOK_[A-Z_]+)` \| .* \| (.*) \|$", PAGE, flags=re.MULTILINE))

    assert read == set(rows)
    assert f"`{settings.DEFAULT_URL}`" == rows["DEEDBOOK_URL"]
    assert f"{settings.DEFAULT_TIMEOUT_SECONDS:g}" == rows["DEEDBOOK_TIMEOUT_SECONDS"]


def test_the_exit_statuses_are_those_there_are() -> None:
    """Each status that a command may end with."""
    known = {value for name, value in vars(ending).items() if name.isupper() and isinstance(value, int)}

    assert known == {int(number) for number in re.findall(r"^\| (\d+) \| ", PAGE, flags=re.MULTILINE)}


# --- JSON ----------------------------------------------------------------------------------------


def documented_keys(name: str) -> set[str]:
    """The keys that a section's JSON paragraph names first: those of the object, or of each in the list."""
    (told,) = re.findall(
        r"^JSON: (?:an object|a list of objects) with ([^.;(]*)", SECTIONS[name], flags=re.MULTILINE
    )
    return set(re.findall(r"`(\w+)`", told))


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """A registry in which everything has happened once."""
    command = Command(tmp_path_factory.mktemp("docs") / "registry")
    command.done("policy", "publish", "-", given=THRESHOLD_POLICY)
    command.deployable(metrics={"mse": 0.5}, parameters={"city": "Austin"})
    command.log({"metrics": {"mse": 3}, "parameters": {"city": "Dallas"}})
    command.judge()
    command.done("deploy", "pricing", "r0", "--model", "home-price=home-price@1")
    command.done("deploy", "pricing", "r1", "--model", "home-price=home-price@1")
    command.done("token", "create", "ci", "--role", "deployer")
    return command


IN_TWO_WORDS = {"policy", "token"}
READING = {
    "log-training -": '{"model": "home-price"}',
    "trainings": "",
    "training home-price@1": "",
    "metrics home-price mse --by city": "",
    "compare home-price@1 home-price@2": "",
    "failures": "",
    "policy publish -": THRESHOLD_POLICY,
    "policy show home-price": "",
    "revalidate home-price@1": "",
    "override home-price@1 --deployable --reason again": "",
    "deployments": "",
    "live pricing": "",
    "explain home-price@1": "",
    "events": "",
    "token list": "",
    "sql values(1)": "",
    "snapshot": "",
    "rebuild": "",
    "state-hash": "",
    "check": "",
    "copy URL URL-copy": "",
}


@pytest.mark.parametrize("line", READING)
def test_json_has_the_documented_keys(story: Command, line: str) -> None:
    """Programs find what the page says, and nothing that it doesn't."""
    words = line.split()
    name = f"deedbook {' '.join(words[:2]) if words[0] in IN_TWO_WORDS else words[0]}"

    found = story.json(*[word.replace("URL", story.url) for word in words], given=READING[line])

    first = found[0] if isinstance(found, list) else found
    assert documented_keys(name) == set(first)
    assert isinstance(found, list) is ("JSON: a list of objects" in SECTIONS[name])


def test_every_command_with_json_is_looked_at() -> None:
    """Nothing that prints JSON is left out above; two say that theirs is another command's."""
    with_json = {name for name, command in COMMANDS.items() if "--json" in options_of(command)}
    looked_at = {
        f"deedbook {' '.join(line.split()[: 2 if line.split()[0] in IN_TWO_WORDS else 1])}"
        for line in READING
    }

    assert with_json - looked_at == {
        name for name, section in SECTIONS.items() if "\nJSON: an object as in " in section
    }


@pytest.mark.parametrize(
    ("line", "other"),
    [
        ("deploy pricing r2 --model home-price=home-price@1", "deedbook deployments"),
        ("rollback pricing r0", "deedbook live"),
    ],
)
def test_json_is_that_of_another_command(story: Command, line: str, other: str) -> None:
    """What was decided is shown as the lists show it."""
    name = f"deedbook {line.split(maxsplit=1)[0]}"

    assert f"JSON: an object as in `{other}`." in SECTIONS[name]
    assert documented_keys(other) == set(story.json(*line.split()))
