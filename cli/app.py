"""The root of the command line: its own options, and how whatever is raised below it ends."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from deedbook import __version__
from deedbook.cli.ending import OK, end_broken_pipe, end_unexpected, say_error, status_of
from deedbook.cli.plain_text import plain
from deedbook.cli.settings import Settings
from deedbook.events.errors import DeedbookError


class Commands(TyperGroup):
    """All commands: an error of any of them is one sentence on standard error, and an exit status."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,  # noqa: ANN401 - likewise
    ) -> NoReturn:
        """Run a command line, and exit with its status."""
        del standalone_mode
        settings = Settings()
        try:
            settings = Settings.read(os.environ)
            extra["obj"] = settings
            ended = super().main(
                args=args,
                prog_name=prog_name or "deedbook",
                complete_var=complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                **extra,
            )
            status = ended if isinstance(ended, int) else OK
        except DeedbookError as error:
            say_error(str(error))
            status = status_of(error)
        except TyperException as error:
            say_error(_usage_sentence(error))
            status = error.exit_code
        except Exception as error:  # noqa: BLE001 - the last resort of a program
            status = end_unexpected(error, debug=settings.debug)
        sys.exit(status)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - Typer's own signature
        """Run one command; a reader that has gone away ends it without a word."""
        try:
            ended = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            raise typer.Exit(end_broken_pipe()) from None
        return ended


def _usage_sentence(error: TyperException) -> str:
    """Return what is wrong with a command line, and where to read how it is written."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "deedbook"
    return f"{error.format_message().rstrip('.')}: see {command} --help"


class _OneLine(logging.Formatter):
    """What is logged, on one line and with nothing in it that could steer a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return plain(super().format(record))


class _StandardError(logging.Handler):
    """Standard error as it is when something is logged; where it is closed, nobody is there to be told."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        with suppress(OSError, ValueError):
            sys.stderr.write(f"{self.format(record)}\n")


def _log_to_standard_error() -> None:
    handler = _StandardError()
    handler.setFormatter(_OneLine("deedbook: %(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"deedbook {__version__}")
        raise typer.Exit


def root(
    ctx: typer.Context,
    url: Annotated[
        str | None,
        typer.Option(
            help="Where the registry is; else DEEDBOOK_URL, else sqlite:///./.deedbook.", metavar="URL"
        ),
    ] = None,
    actor: Annotated[
        str | None,
        typer.Option(
            help="In whose name to write; else DEEDBOOK_ACTOR, else you@this-machine.", metavar="NAME"
        ),
    ] = None,
    version: Annotated[  # noqa: ARG001 - Typer calls _print_version with it
        bool,
        typer.Option("--version", help="Print the version and end.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """A machine-learning model registry kept as a log."""
    _log_to_standard_error()
    ctx.obj = ctx.obj.given(url=url, actor=actor)
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def new_app() -> typer.Typer:
    """Return the command line without any command."""
    return typer.Typer(
        callback=root,
        cls=Commands,
        name="deedbook",
        invoke_without_command=True,
        add_completion=False,
        # Plain help: Rich would cost half of the time that --help may take.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
