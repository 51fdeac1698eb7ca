"""What the command leaves out although it is installed."""

import subprocess
import sys
from pathlib import Path

from deedbook.cli import leaving_out
from tests.command import Command

PROGRAM = """
import sys
from deedbook.cli.main import main
try:
    main()
except SystemExit as ended:
    print(ended.code, "pandas" in sys.modules)
"""


def test_a_command_that_asks_does_without_pandas(tmp_path: Path) -> None:
    """DuckDB would import it with the first value that it is handed."""
    Command(tmp_path).log({"metrics": {"mse": 1}})
    command = [
        sys.executable,
        "-c",
        PROGRAM,
        "--url",
        f"sqlite:///{tmp_path}",
        "trainings",
        "--where",
        "mse < 2",
    ]

    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "home-price@1" in said
    assert "0 False" == said.splitlines()[-1]


def test_who_needs_pandas_brings_it_back() -> None:
    """In a process of its own: what is left out stays so for all in it."""
    module = leaving_out.__name__
    program = (
        f"from {module} import *; leave_out_pandas(); bring_back_pandas(); import pandas; bring_back_pandas()"
    )

    subprocess.run([sys.executable, "-c", f"{program}; pandas.DataFrame()"], check=True)
