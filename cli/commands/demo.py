"""`deedbook demo`: the whole story on real data."""

from __future__ import annotations

import typer

from deedbook.cli.options import settings_of
from deedbook.cli.wiring import missing


def demo(ctx: typer.Context) -> None:
    """Tell the whole story on real data."""
    try:
        from deedbook.cli.demo.story import main
    except ModuleNotFoundError as error:
        raise missing(error, "demo") from error

    main(settings_of(ctx))
