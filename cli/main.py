"""The `deedbook` command's front door."""

from __future__ import annotations

import sys

from deedbook.cli.ending import FAILED, INTERRUPTED, say_error
from deedbook.cli.leaving_out import leave_out_pandas


def main() -> None:
    """Run the command line and exit with its status."""
    leave_out_pandas()
    # Imported here: where the base install is all there is, that takes a sentence, and Ctrl-C may come already.
    try:
        from deedbook.cli.program import app
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "deedbook":
            raise
        say_error(f"the command needs {error.name}: pip install 'deedbook[server]'")
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    app()
