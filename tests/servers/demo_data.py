"""The demo's story, told once for a whole run of the tests: real data, for whoever needs a registry with a history."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from tests.servers.shared import folder_of_run

URL = "sqlite:///.deedbook-demo/registry"


@dataclass(frozen=True)
class DemoTold:
    """What the demo printed, and the folder it was started in; a copy of one's own may be written to."""

    folder: Path
    printed: str

    @property
    def registry(self) -> Path:
        """The folder of the registry it left."""
        return self.folder / ".deedbook-demo" / "registry"

    def copied_to(self, folder: Path) -> DemoTold:
        """A copy in a folder that doesn't exist yet."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return DemoTold(folder, self.printed)


@pytest.fixture(scope="session")
def demo_told(pytestconfig: pytest.Config) -> DemoTold:
    """The story, told once without a terminal, in its short form. Not to be written to."""
    folder = folder_of_run(pytestconfig) / "demo"
    printed = folder / "printed.txt"
    with FileLock(folder.with_suffix(".lock"), timeout=600):
        if not printed.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            environment = {
                name: value for name, value in os.environ.items() if not name.startswith("DEEDBOOK_")
            }
            done = subprocess.run(
                [sys.executable, "-m", "deedbook.cli", "demo", "--fast"],
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
                env=environment,
            )
            assert ("", 0) == (done.stderr, done.returncode)
            printed.write_text(done.stdout, encoding="utf-8")
    return DemoTold(folder, printed.read_text(encoding="utf-8"))
