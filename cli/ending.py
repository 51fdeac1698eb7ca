"""How a command ends: the sentence on standard error and the exit status."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from deedbook.cli.plain_text import plain
from deedbook.events.errors import AccessDenied, DeedbookError, InvalidInput, RequestRejected

OK = 0
FAILED = 1
BAD_INPUT = 2
REJECTED = 3
INTERRUPTED = 130
BROKEN_PIPE = 141


def say_error(sentence: str) -> None:
    """Write one line on standard error."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    with suppress(OSError):
        sys.stderr.write(f"deedbook: {plain(sentence)}\n")


def status_of(error: DeedbookError) -> int:
    """Return 2 for what a user gave, 3 for what the registry decided against, 1 for all that is not theirs."""
    match error:
        case InvalidInput() | AccessDenied():
            return BAD_INPUT
        case RequestRejected():
            return REJECTED
        case _:
            return FAILED


def end_unexpected(error: Exception, *, debug: bool) -> int:
    """Say what nobody foresaw in one sentence; the traceback is for whoever asks."""
    if debug:
        import traceback

        traceback.print_exception(error)
    hint = "" if debug else " (set DEEDBOOK_DEBUG=1 to see where)"
    say_error(f"something unexpected went wrong: {type(error).__name__}: {error}{hint}")
    return FAILED


def end_broken_pipe() -> int:
    """End without a word: whoever read us has read enough."""
    # Python flushes standard output once more at exit; there must be somewhere for it to go.
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    return BROKEN_PIPE
