"""The demo's story, told once for a whole run of the tests: real data, for whoever needs a registry with a history.

Once in a folder; and once on a real Kafka and a real S3 server, for the tests that take minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from filelock import FileLock

from deedbook.client.registry import Registry, connect
from tests.servers.shared import Bucket, delete_topics, folder_of_run

if TYPE_CHECKING:
    from botocore.client import BaseClient

    from tests.servers.s3 import S3Place

URL = "sqlite:///.deedbook-demo/registry"


@dataclass(frozen=True)
class DemoTold:
    """What the demo printed, and the folder it was started in; a copy of one's own may be written to.

    ``url`` is where the registry is, for whoever is in that folder; ``settings`` the variables that lead there.
    """

    folder: Path
    printed: str
    url: str = URL
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def registry(self) -> Path:
        """The folder of the registry it left; of one on Kafka, where that is folded."""
        return self.folder / ".deedbook-demo" / "registry"

    @property
    def address(self) -> str:
        """The registry's URL, for whoever is anywhere."""
        return f"sqlite:///{self.registry}" if self.url == URL else self.url

    @contextmanager
    def connected(self) -> Iterator[Registry]:
        """The registry, as other people's programs have it."""
        with pytest.MonkeyPatch.context() as environment:
            for name, value in self.settings.items():
                environment.setenv(name, value)
            with connect(self.address) as registry:
                yield registry

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line in the demo's folder, as somebody in a shell does."""
        return _deedbook(*arguments, folder=self.folder, **self.settings)

    def ask(self, *command: str) -> Any:  # noqa: ANN401 - whatever a command says in JSON
        """Return what a reading command says about the registry."""
        from tests.command import run

        done = run("--url", self.address, *command, "--json", env=self.settings)
        assert ("", 0) == (done.err, done.status)
        return json.loads(done.out)

    def sql(self, query: str) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        with self.connected() as registry:
            found = registry.sql(query)
        return [dict(zip(found.columns, row, strict=True)) for row in found.rows]

    def copied_to(self, folder: Path) -> DemoTold:
        """A copy in a folder that doesn't exist yet; of a registry on Kafka on topics of its own."""
        if self.url == URL:
            shutil.copytree(self.folder, folder, symlinks=True)
            return replace(self, folder=folder)
        copy = replace(self, folder=folder, url=f"{self.url.rpartition('/')[0]}/t{uuid4().hex[:12]}")
        copy.registry.mkdir(parents=True)
        copy = replace(copy, settings={**self.settings, "DEEDBOOK_FOLDER": str(copy.registry)})
        done = copy.run("copy", "--artifacts", "leave", self.url, copy.url)
        assert ("", 0) == (done.stderr, done.returncode)
        return copy

    def remove(self) -> None:
        """Remove what a copy has outside its folder."""
        if self.url != URL:
            servers, _, prefix = self.url.removeprefix("kafka://").rpartition("/")
            delete_topics(servers, prefix)


def _deedbook(*arguments: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DEEDBOOK_")}
    command = [sys.executable, "-m", "deedbook.cli", *arguments]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=environment | settings
    )


@pytest.fixture(scope="session")
def demo_told(pytestconfig: pytest.Config) -> DemoTold:
    """The story, told once without a terminal, in its short form. Not to be written to."""
    folder = folder_of_run(pytestconfig) / "demo"
    printed = folder / "printed.txt"
    with FileLock(folder.with_suffix(".lock"), timeout=600):
        if not printed.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            done = _deedbook("demo", "--fast", folder=folder)
            assert ("", 0) == (done.stderr, done.returncode)
            printed.write_text(done.stdout, encoding="utf-8")
    return DemoTold(folder, printed.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def demo_told_on_kafka(
    kafka: str, s3_place: S3Place, s3_client: BaseClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DemoTold]:
    """The same story on a real Kafka and a real S3 server. Not to be written to; it takes a minute."""
    folder = tmp_path_factory.mktemp("told-on-kafka")
    bucket = Bucket(s3_place, f"demo{uuid4().hex[:12]}", s3_client)
    url = f"kafka://{kafka}/{bucket.name}"
    s3_client.create_bucket(Bucket=bucket.name)
    settings = {"DEEDBOOK_ARTIFACTS": bucket.url, **s3_place.environment()}
    done = _deedbook("demo", "--fast", "--into", url, folder=folder, **settings)
    assert ("", 0) == (done.stderr, done.returncode)
    told = DemoTold(folder, done.stdout, url, settings)
    yield replace(told, settings={**settings, "DEEDBOOK_FOLDER": str(told.registry)})
    told.remove()
    for key in bucket.keys():  # noqa: SIM118 - no dictionary
        s3_client.delete_object(Bucket=bucket.name, Key=key)
    s3_client.delete_bucket(Bucket=bucket.name)
