"""Tokens: who may come in to the service, as what, and for how long."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from deedbook.cli.documents import print_document
from deedbook.cli.moments import datetime_of, moment, shown
from deedbook.cli.options import AsJson, settings_of
from deedbook.cli.plain_text import plain
from deedbook.cli.tables import Column, note, print_table, say
from deedbook.events.clock import now_micros
from deedbook.events.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from datetime import datetime

    from deedbook.cli.settings import Settings
    from deedbook.service.access.roles import Role
    from deedbook.service.access.token_file import TokenFile
    from deedbook.service.access.tokens import Token

_LASTING = re.compile(r"([1-9][0-9]{0,3})([dh])")

commands = typer.Typer(help="Make, list and end the tokens of the service.", no_args_is_help=False)


@commands.command("create")
def create(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(help="Who is to hold it: the actor of what they write.", metavar="NAME")
    ],
    role: Annotated[
        list[str],
        typer.Option(
            help="What they are: trainer, validator, deployer, reviewer, host, analyst, admin; repeat it for more.",
            metavar="ROLE",
        ),
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(help="Let them write for this model alone; repeat it for more.", metavar="NAME"),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            help="When it ends: 90d, 12h, or a time (ISO-8601, UTC); else it has no end.", metavar="WHEN"
        ),
    ] = None,
) -> None:
    """Make a token and print it, this once: only its hash is kept."""
    file = _file_of(settings_of(ctx), make_folder=True)
    made, secret = file.create(
        name,
        frozenset(map(_role, role)),
        frozenset(model or ()),
        expires_at=None if expires is None else _end(expires),
    )
    # The token alone goes to standard output, so that it can go into a file or a variable unseen.
    say(secret)
    note(f"Its id is {made.id}. It is not shown again; `deedbook token revoke {made.id}` ends it.")


@commands.command("list")
def list_tokens(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List all tokens there were, without their secrets."""
    now = datetime_of(now_micros())
    found = _file_of(settings_of(ctx)).tokens()
    if as_json:
        print_document([_shown_to_programs(token, now) for token in found])
    elif found:
        columns = [
            Column("id", whole=True),
            Column("name"),
            Column("roles"),
            Column("models", narrow="below"),
            Column("created", narrow="drop"),
            Column("expires", narrow="drop"),
            Column("state", whole=True),
        ]
        print_table(columns, [_shown_to_people(token, now) for token in found])
    else:
        say("There are no tokens: whoever reaches the service, from this machine, may do everything.")


def _shown_to_programs(token: Token, now: datetime) -> dict[str, object]:
    return {
        "id": token.id,
        "name": token.name,
        "roles": sorted(token.roles),
        "models": sorted(token.models),
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
        "good": token.ended(now) is None,
    }


def _shown_to_people(token: Token, now: datetime) -> tuple[str, ...]:
    ended = "revoked" if token.revoked_at else "expired"
    return (
        token.id,
        token.name,
        ", ".join(sorted(token.roles)),
        ", ".join(sorted(token.models)) or "all",
        shown(token.created_at),
        shown(token.expires_at) or "never",
        "good" if token.ended(now) is None else ended,
    )


@commands.command("revoke")
def revoke(
    ctx: typer.Context,
    token_id: Annotated[str, typer.Argument(help="The token's id, as `list` shows it.", metavar="ID")],
) -> None:
    """End a token, at once and for good: a running server lets it in no more."""
    ended = _file_of(settings_of(ctx)).revoke(token_id)
    say(f"The token {ended.id} of {ended.name} is revoked.")


def _file_of(settings: Settings, *, make_folder: bool = False) -> TokenFile:
    """Return the file that the tokens are in, or will be. Raises NotFound where there is no registry."""
    from deedbook.service.access.token_file import TokenFile

    path = settings.tokens_path()
    if make_folder and not path.parent.is_dir():
        if settings.tokens or settings.place().kafka is None:
            raise NotFound(f"there is no folder {path.parent}: `deedbook init` makes a registry")
        path.parent.mkdir(parents=True, exist_ok=True)
    return TokenFile(path)


def _role(name: str) -> Role:
    from deedbook.service.access.roles import Role

    try:
        return Role(name)
    except ValueError:
        raise InvalidInput(f"--role {plain(name, 40)!r} is none of {', '.join(Role)}") from None


def _end(text: str) -> datetime:
    if (found := _LASTING.fullmatch(text.strip())) is None:
        return moment(text, "--expires")
    return datetime_of(now_micros()) + int(found[1]) * (
        timedelta(days=1) if found[2] == "d" else timedelta(hours=1)
    )
