"""The jars Kafka is made of: fetched from a Maven repository, and held against committed hashes.

`python tests/servers/jars.py --pin` writes the list anew, from what the coordinates below ask for.
"""

from __future__ import annotations

import hashlib
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

if TYPE_CHECKING:
    from jgo.maven import MavenContext

LIST = Path(__file__).parents[2] / "requirements" / "kafka-jars.txt"
# Kafka, and what turns its log lines into text on standard error.
WANTED = ("org.apache.kafka:kafka_2.13:4.3.0", "org.slf4j:slf4j-simple:1.7.36")
ABOUT = """\
# The jars of a real Kafka for the tests, as group:artifact:version and SHA-256 of the jar.
# Written by `python tests/servers/jars.py --pin`.
"""


def pinned() -> dict[str, str]:
    """The SHA-256 of each jar, by its coordinate."""
    lines = LIST.read_text(encoding="utf-8").splitlines()
    return dict(line.split() for line in lines if line and not line.startswith("#"))


def class_path() -> str:
    """The class path of Kafka: every pinned jar, fetched if it isn't in the local Maven repository yet.

    Raises RuntimeError where a jar can't be had, or isn't the one that was pinned.
    """
    from jgo.maven import MavenContext

    context = MavenContext(timeout=60)
    context.repo_cache.mkdir(parents=True, exist_ok=True)
    with (
        FileLock(context.repo_cache / ".deedbook.lock", timeout=300),
        ThreadPoolExecutor(8) as pool,
    ):
        paths = list(pool.map(lambda pin: verified(context, *pin), pinned().items()))
    return ":".join(str(path) for path in paths)


def verified(context: MavenContext, coordinate: str, sha256: str) -> Path:
    """The jar's path; one that was damaged on the way or in the cache is fetched a second time."""
    group, name, version = coordinate.split(":")
    artifact = context.project(group, name).at_version(version).artifact()
    for _attempt in range(2):
        try:
            path: Path = artifact.resolve()
        except Exception as error:  # whatever the network or jgo raises
            raise RuntimeError(f"Kafka's jar {coordinate} can't be fetched: {error}") from error
        if digest(path) == sha256:
            return path
        path.unlink()
    raise RuntimeError(f"Kafka's jar {coordinate} isn't the one that requirements/kafka-jars.txt names.")


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pin() -> None:
    """Write the list anew."""
    import jgo

    artifacts = {str(artifact): artifact for wanted in WANTED for artifact in jgo.resolve(wanted)}
    lines = [
        f"{artifact.groupId}:{artifact.artifactId}:{artifact.version} {digest(artifact.resolve())}\n"
        for artifact in artifacts.values()
    ]
    LIST.write_text(ABOUT + "".join(sorted(lines)), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] != ["--pin"]:
        sys.exit("Say --pin to write requirements/kafka-jars.txt anew.")
    pin()
