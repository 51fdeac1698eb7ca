"""Options that many commands share, and what they mean."""

from __future__ import annotations

from typing import Annotated

import typer

from deedbook.cli.settings import Settings

PRODUCTION = "production"

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Environment = Annotated[str, typer.Option(help="The environment of the service.", metavar="NAME")]
Limit = Annotated[int, typer.Option(help="At most so many.", metavar="NUMBER", min=1, max=100_000)]
Since = Annotated[
    str | None, typer.Option(help="Created at this time or later (ISO-8601, UTC; or now).", metavar="TIME")
]
Until = Annotated[str | None, typer.Option(help="Created before this time.", metavar="TIME")]
TrainingId = Annotated[
    str, typer.Argument(help="The training: its id, the beginning of it, or MODEL@VERSION.", metavar="ID")
]


def settings_of(ctx: typer.Context) -> Settings:
    """Return the settings that the root of the command line left for its commands."""
    settings = ctx.obj
    if not isinstance(settings, Settings):
        raise TypeError("the command line has no settings: it was not started at its root")
    return settings
