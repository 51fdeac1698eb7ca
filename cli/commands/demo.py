"""`deedbook demo`: the whole story on real data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deedbook.cli.leaving_out import bring_back_pandas
from deedbook.cli.options import settings_of
from deedbook.cli.wiring import missing


def demo(
    ctx: typer.Context,
    *,
    folder: Annotated[
        Path,
        typer.Option(
            help="The demo's own folder; what an earlier demo left in it is made anew.", metavar="FOLDER"
        ),
    ] = Path(".deedbook-demo"),
    into: Annotated[
        str | None, typer.Option(help="An empty registry, instead of one in the folder.", metavar="URL")
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Six months of retrains, not twenty-four.")] = False,
    pages: Annotated[
        bool | None,
        typer.Option(
            "--pages/--no-pages",
            help="Serve the pages at the end, until Ctrl-C; by default where a terminal is attached.",
        ),
    ] = None,
) -> None:
    """Tell the whole story on real data."""
    bring_back_pandas()
    try:
        from deedbook.cli.demo.pages import somebody_watches
        from deedbook.cli.demo.story import main
    except ModuleNotFoundError as error:
        raise missing(error, "demo") from error

    wanted = somebody_watches() if pages is None else pages
    main(settings_of(ctx), folder=folder, url=into, fast=fast, pages=wanted)
