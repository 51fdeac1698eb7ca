"""`deedbook token`: made, printed once, listed, revoked."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deedbook.service.access.access import Access
from deedbook.service.access.roles import Role
from tests.command import Command

TOKEN = re.compile(r"db_([0-9a-f]{12})_[0-9a-f]{64}\n")


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """`deedbook`, on a registry that has its folder."""
    (tmp_path / "registry").mkdir()
    return Command(tmp_path / "registry")


def test_a_token_is_printed_once_and_alone(command: Command) -> None:
    """It goes to standard output, what a person should know goes elsewhere; nothing shows it again."""
    ended = command("token", "create", "ci", "--role", "deployer")
    found = TOKEN.fullmatch(ended.out)

    assert found is not None
    assert ended.err.startswith(f"Its id is {found[1]}. It is not shown again")
    secret = ended.out.strip().rpartition("_")[2]
    listed = command.done("token", "list") + command.done("token", "list", "--json")
    assert found[1] in listed
    assert secret not in listed


def test_a_token_is_what_it_was_made_to_be(command: Command) -> None:
    """Its name, roles, models and end."""
    text = command.done(
        *("token", "create", "ci", "--role", "trainer", "--role", "deployer"),
        *("--model", "home-price", "--expires", "2100-01-31T12:00:00"),
    ).strip()

    caller = Access(command.folder / "tokens.json").caller_of(text)
    (listed,) = command.json("token", "list")

    assert ("ci", frozenset({Role.TRAINER, Role.DEPLOYER}), frozenset({"home-price"})) == (
        caller.name,
        caller.roles,
        caller.models,
    )
    assert ["deployer", "trainer"] == listed["roles"]
    assert ("2100-01-31T12:00:00.000000Z", None, True) == (
        listed["expires_at"],
        listed["revoked_at"],
        listed["good"],
    )


@pytest.mark.parametrize(("written", "lasts"), [("90d", timedelta(days=90)), ("12h", timedelta(hours=12))])
def test_a_token_lasts_as_long_as_it_is_told(command: Command, written: str, lasts: timedelta) -> None:
    """In days, or in hours."""
    command.done("token", "create", "ci", "--role", "host", "--expires", written)
    (listed,) = command.json("token", "list")

    made, ends = (datetime.fromisoformat(listed[name]) for name in ("created_at", "expires_at"))
    assert lasts == ends - made
    assert abs(made - datetime.now(UTC)) < timedelta(hours=1)


def test_a_revoked_token_is_listed_as_such(command: Command) -> None:
    """Who once had it is not forgotten; revoking it again changes nothing."""
    text = command.done("token", "create", "ci", "--role", "host")
    token_id = text.split("_")[1]

    assert command.done("token", "revoke", token_id) == f"The token {token_id} of ci is revoked.\n"
    (first,) = command.json("token", "list")
    command.done("token", "revoke", token_id)

    assert [first] == command.json("token", "list")
    assert first["good"] is False
    assert "revoked" in command.done("token", "list")


def test_an_empty_list_says_what_that_means(command: Command) -> None:
    """The service is open, to its own machine."""
    assert "may do everything" in command.done("token", "list")
    assert [] == command.json("token", "list")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["create", "ci", "--role", "root"], "--role 'root' is none of trainer, validator,"),
        (["create", "ci"], "--role"),
        (["create", "", "--role", "host"], "the token's name is empty"),
        (["create", "a\x1b[31m", "--role", "host"], "the token's name"),
        (["create", "ci", "--role", "host", "--expires", "soon"], "--expires 'soon' is not a time"),
        (["create", "ci", "--role", "host", "--expires", "2001-01-01"], "would have expired already"),
        (["create", "ci", "--role", "host", "--expires", "0d"], "--expires '0d' is not a time"),
        (["create", "ci", "--role", "host", "--expires", "99999d"], "is not a time"),
        (["create", "ci", "--role", "host", "--model", ""], "the model's name is empty"),
        (["revoke", "nobody"], "there is no token 'nobody'"),
    ],
)
def test_what_is_not_understood_is_refused_in_a_sentence(
    command: Command, arguments: list[str], sentence: str
) -> None:
    """And nothing is kept."""
    ended = command("token", *arguments)

    assert (2, "") == (ended.status, ended.out)
    assert sentence in ended.err
    assert ended.err.count("\n") == 1
    assert not (command.folder / "tokens.json").exists()


def test_a_file_that_others_can_read_is_refused(command: Command) -> None:
    """By every command, with what mends it."""
    command.done("token", "create", "ci", "--role", "host")
    (command.folder / "tokens.json").chmod(0o644)

    for arguments in (["list"], ["create", "x", "--role", "host"], ["revoke", "0" * 12]):
        ended = command("token", *arguments)
        assert ended.status == 2
        assert "is open to others (its mode is 0644): chmod 600 mends that" in ended.err


def test_tokens_may_be_kept_elsewhere(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where DEEDBOOK_TOKENS says: several replicas share one list."""
    monkeypatch.setenv("DEEDBOOK_TOKENS", str(tmp_path / "shared.json"))
    command.done("token", "create", "ci", "--role", "host")

    assert (tmp_path / "shared.json").exists()
    assert not (command.folder / "tokens.json").exists()


def test_no_registry_gets_no_tokens(tmp_path: Path) -> None:
    """A wrong folder is noticed, and not made."""
    ended = Command(tmp_path / "nowhere")("token", "create", "ci", "--role", "host")

    assert ended.status == 2
    assert "`deedbook init` makes a registry" in ended.err
    assert not (tmp_path / "nowhere").exists()


def test_the_tokens_of_a_service_are_made_where_it_runs() -> None:
    """Not through it."""
    from typer.testing import CliRunner

    from deedbook.cli.program import app

    ended = CliRunner().invoke(
        app, ["--url", "grpc://127.0.0.1:1", "token", "create", "ci", "--role", "host"]
    )

    assert ended.exit_code == 2
    assert "tokens are made where the service runs" in ended.stderr
