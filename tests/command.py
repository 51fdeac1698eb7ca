"""The `deedbook` command as tests run it: in this process, or as a program of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from deedbook.cli.program import app
from deedbook.cli.settings import Settings

PATIENCE_SECONDS = 120.0
PROGRAM = (sys.executable, "-m", "deedbook.cli")
# Made once: making all commands takes longer than to run most of them.
COMMANDS = typer.main.get_command(app)

THRESHOLD_POLICY = """
model = "home-price"
group_by = ["city"]

[[checks]]
check = "metric_threshold"
metric = "mse"
max = 1.0
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status and what it wrote."""

    status: int
    out: str
    err: str


def run(*arguments: str, given: str | bytes = "", env: Mapping[str, str] | None = None) -> Ended:
    """Run the command in this process; `given` is its standard input, `env` is put into the environment."""
    with CliRunner().isolation(input=given, env=env) as (out, err, _):
        with pytest.raises(SystemExit) as end:
            COMMANDS.main(args=arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        status = end.value.code
        assert isinstance(status, int)
        return Ended(status, out.getvalue().decode(), err.getvalue().decode())


def judge_pending(settings: Settings) -> None:
    """Judge what is pending as `deedbook validate --once` does; a sandbox begins only where a model is to run."""
    from deedbook.cli.commands.validate import Worker
    from deedbook.cli.wiring import opened
    from deedbook.consumers.sandbox import Sandbox
    from deedbook.consumers.validation import Validator

    sandbox = Sandbox()
    try:
        with opened(settings) as registry:
            recorder = registry.recorder
            validator = Validator(recorder.artifacts, sandbox, recorder.actor, recorder.clock)
            Worker(registry, validator, threading.Event()).judge_pending()
    finally:
        sandbox.close()


def next_line(process: subprocess.Popen[str]) -> str:
    """Wait for the next line of a program's standard output."""
    assert process.stdout is not None
    return process.stdout.readline()


def ended(process: subprocess.Popen[str]) -> Ended:
    """Wait for a program's end."""
    out, err = process.communicate()
    return Ended(process.returncode, out, err)


@dataclass(frozen=True)
class Command:
    """`deedbook`, on the registry in a folder, in Ana's name."""

    folder: Path

    @property
    def url(self) -> str:
        """The registry's URL."""
        return f"sqlite:///{self.folder}"

    def __call__(self, *arguments: str, given: str | bytes = "") -> Ended:
        """Run a command in this process; `given` is its standard input."""
        return run("--url", self.url, "--actor", "ana", *arguments, given=given)

    def done(self, *arguments: str, given: str = "") -> str:
        """Run a command that must succeed, and return what it wrote."""
        ended = self(*arguments, given=given)
        assert (0, "") == (ended.status, ended.err if ended.status else ""), ended
        return ended.out

    def json(self, *arguments: str, given: str = "") -> Any:  # noqa: ANN401 - any JSON
        """Run a command with --json that must succeed, and return its document."""
        return json.loads(self.done(*arguments, "--json", given=given))

    def copied(self, folder: Path) -> Command:
        """The command on a registry of its own, in a new folder, that begins with all that this one holds."""
        shutil.copytree(self.folder, folder)
        return Command(folder)

    def judge(self) -> None:
        """Judge what is pending, where what judging says is not what is tested."""
        judge_pending(Settings.read({"DEEDBOOK_URL": self.url, "DEEDBOOK_ACTOR": "ana"}))

    @contextmanager
    def running(self, *arguments: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command as a program of its own; whatever becomes of the test, the program ends."""
        process = subprocess.Popen(
            [*PROGRAM, "--url", self.url, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "DEEDBOOK_ACTOR": "ana", **settings},
        )
        # A test that waits for a line that never comes must fail, not hang.
        watchdog = threading.Timer(PATIENCE_SECONDS, process.kill)
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            process.kill()
            process.communicate()

    def program(self, *arguments: str, **settings: str) -> Ended:
        """Run a command as a program of its own."""
        with self.running(*arguments, **settings) as process:
            return ended(process)

    def log(self, *trainings: dict[str, Any]) -> list[str]:
        """Log trainings of home-price, and return their ids."""
        text = json.dumps([{"model": "home-price", **training} for training in trainings])
        return [logged["training_id"] for logged in self.json("log-training", "-", given=text)]

    def deployable(self, **training: Any) -> str:  # noqa: ANN401 - any JSON
        """Log a training, have a person make it deployable, and return its id."""
        (training_id,) = self.log(training)
        self.done("override", training_id, "--deployable", "--reason", "seen by me")
        return training_id
