"""`deedbook serve`: the service, for other people's programs and for people."""

from __future__ import annotations

import logging
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deedbook.cli.options import settings_of
from deedbook.cli.tables import say
from deedbook.cli.wiring import missing

if TYPE_CHECKING:
    from deedbook.service.running import Serving

_MIB = 1 << 20


class Level(StrEnum):
    """What is worth a line."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def serve(
    ctx: typer.Context,
    *,
    web: Annotated[
        str, typer.Option(help="Where the pages listen; port 0 is any free one.", metavar="HOST:PORT")
    ] = "127.0.0.1:8470",
    grpc: Annotated[
        str, typer.Option(help="Where the gRPC interface listens.", metavar="HOST:PORT")
    ] = "127.0.0.1:8471",
    certificate: Annotated[
        Path | None,
        typer.Option(help="Speak TLS with this certificate (PEM, with its chain).", metavar="FILE"),
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="The certificate's private key (PEM).", metavar="FILE")
    ] = None,
    plaintext: Annotated[
        bool,
        typer.Option("--plaintext", help="Listen for other machines without TLS: a proxy in front encrypts."),
    ] = False,
    public_name: Annotated[
        list[str] | None,
        typer.Option(
            help="A name or origin by which browsers reach the pages; may be given often.", metavar="NAME"
        ),
    ] = None,
    validation: Annotated[
        bool | None,
        typer.Option(
            "--validation/--no-validation",
            help="Judge trainings here; by default on the embedded log, where nobody else does.",
        ),
    ] = None,
    max_message: Annotated[
        int, typer.Option(help="A gRPC message has at most so many MiB.", metavar="MIB", min=1, max=512)
    ] = 8,
    max_artifact: Annotated[
        int, typer.Option(help="An uploaded artifact has at most so many MiB.", metavar="MIB", min=1)
    ] = 8 << 10,
    max_streams: Annotated[
        int, typer.Option(help="At most so many streams are open at once.", metavar="NUMBER", min=1)
    ] = 1_000,
    max_lag: Annotated[
        int,
        typer.Option(
            help="Not ready while more events than so many are not folded.", metavar="NUMBER", min=0
        ),
    ] = 10_000,
    drain: Annotated[
        float,
        typer.Option(
            help="When it ends, requests have so many seconds to be answered.", metavar="SECONDS", min=0.0
        ),
    ] = 10.0,
    log_level: Annotated[Level, typer.Option(help="What is worth a line on standard error.")] = Level.INFO,
) -> None:
    """Serve the registry's pages and its gRPC interface, until Ctrl-C or SIGTERM."""
    settings = settings_of(ctx)
    try:
        from deedbook.cli.serving import serving
        from deedbook.service.logs import logging_to_standard_error
        from deedbook.service.settings import Limits, ServiceSettings, address_of
    except ModuleNotFoundError as error:
        raise missing(error, "server") from error

    place = settings.place()
    served = ServiceSettings(
        registry=place.url,
        folder=place.folder,
        web=address_of(web),
        grpc=address_of(grpc),
        certificate=certificate,
        key=key,
        plaintext=plaintext,
        public_hosts=tuple(public_name or ()),
        limits=Limits(
            message_bytes=max_message * _MIB, artifact_bytes=max_artifact * _MIB, streams=max_streams
        ),
        max_lag=max_lag,
        validation=place.kafka is None if validation is None else validation,
        drain_seconds=drain,
    )
    with logging_to_standard_error(getattr(logging, log_level.name)):
        serving(settings, served, told=_say_where)


def _say_where(where: Serving) -> None:
    """Print the addresses: what asked for any free port reads them here, or in the folder."""
    say(f"The pages are at {where.web}, the gRPC interface at {where.grpc}; Ctrl-C ends it.")
    sys.stdout.flush()
