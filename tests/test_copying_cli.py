"""`deedbook copy` as people run it: what it prints, how it ends, and what becomes of the artifacts."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from deedbook.artifacts.s3.address import s3_address
from deedbook.artifacts.s3.store import S3ArtifactStore
from deedbook.artifacts.store import LocalArtifactStore
from deedbook.events import facts
from deedbook.events.sqlite_log import SqliteLog
from tests.command import PROGRAM, Command
from tests.copied_logs import many, story
from tests.facts_by_hand import Pen, training
from tests.folded import Registry
from tests.servers.shared import Bucket

MISSING = "a" * 64  # what every training by hand refers to, and no store has


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """A registry with a training, whose artifacts are in its folder; nothing is added to it."""
    command = Command(tmp_path_factory.mktemp("logged") / "registry")
    command.deployable(metrics={"mse": 0.5}, parameters={"city": "Austin"})
    return command


@pytest.fixture
def here(logged: Command, tmp_path: Path) -> Command:
    """A registry of the test's own with a training, whose artifacts are in its folder."""
    return logged.copied(tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> Command:
    """The place to copy to."""
    return Command(tmp_path / "there")


def with_artifacts(folder: Path, *bodies: bytes) -> list[str]:
    """A registry of one training and one request set for each body; returns their digests."""
    registry = Registry(folder)
    store = LocalArtifactStore(folder / "artifacts")
    pen = Pen()
    digests = []
    for number, body in enumerate(bodies):
        kept = store.put(body)
        artifact = facts.Artifact(uri=kept.uri, sha256=kept.sha256, size_bytes=kept.size_bytes)
        registry.append(
            facts.TrainingLogged(**pen.envelope(), training=training(f"t{number}", artifact=artifact))
        )
        digests.append(kept.sha256)
    registry.log.close()
    return digests


# --- a copy, well or badly ended -----------------------------------------------------------------


def test_a_copy_has_the_state_hash_that_the_registry_had(here: Command, there: Command) -> None:
    """It is printed, and it is what either says of itself."""
    before = here.json("state-hash")["state_hash"]

    told = here.json("copy", here.url, there.url)

    assert before == told["state_hash"] == there.json("state-hash")["state_hash"]
    assert told["records"] == told["carried"] > 0
    assert "All is well." in there.done("check")


def test_a_person_is_told_what_was_carried(here: Command, there: Command) -> None:
    """The hash, the numbers, the time; given again, that there was nothing to do."""
    first, second = here.done("copy", here.url, there.url), here.done("copy", here.url, there.url)

    assert "before and after" in first
    assert "0 copied, 0 already there" in first
    assert ", of them 0 carried now" in second


def test_a_registry_goes_to_kafka_by_the_command(here: Command, kafka_url: str) -> None:
    """With a place for the artifacts, or leaving them where they are."""
    before = here.json("state-hash")["state_hash"]

    ended = here("copy", here.url, kafka_url)
    told = here.json("copy", here.url, kafka_url, "--artifacts", "leave", "--partitions", "2")

    assert (2, True) == (ended.status, "--artifacts-to, or leave them" in ended.err)
    assert before == told["state_hash"]


def test_a_place_in_use_is_refused_in_one_sentence(here: Command, there: Command) -> None:
    """Status 2, and nothing was written."""
    there.log({"metrics": {"mse": 1.0}})
    before = there.json("state-hash")

    ended = here("copy", here.url, there.url)

    assert (2, "") == (ended.status, ended.out)
    assert ended.err.startswith("deedbook: the registry to copy to holds registry:0:0, which is no copy")
    assert before == there.json("state-hash")


@pytest.mark.parametrize("target", ["{folder}", "{folder}/../here"])
def test_a_registry_is_not_copied_into_itself(here: Command, target: str) -> None:
    """By whatever URL."""
    ended = here("copy", here.url, f"sqlite:///{target.format(folder=here.folder)}")

    assert (2, True) == (ended.status, "cannot be copied into itself" in ended.err)


def test_there_has_to_be_something_to_copy(there: Command, tmp_path: Path) -> None:
    """Nothing is made in its place, on either side."""
    ended = there("copy", f"sqlite:///{tmp_path}/nowhere", there.url)

    assert (2, True) == (ended.status, "there is no log in" in ended.err)
    assert [] == list(tmp_path.iterdir())


def test_a_copy_that_is_not_the_same_stays_closed(here: Command, there: Command) -> None:
    """A record that was changed on its way, with a digest that holds: the tables that differ are named."""
    here.json("copy", here.url, there.url)
    here.log({"metrics": {"mse": 2.0}, "parameters": {"city": "Dallas"}})
    end = SqliteLog(here.folder).end(facts.REGISTRY)
    falsified(here, there, end - 1)

    ended = here("copy", here.url, there.url)

    assert 1 == ended.status
    assert "the copy holds every record, and yet folds to another state (" in ended.err
    assert "is an unfinished copy" in there("state-hash").err


def falsified(here: Command, there: Command, position: int) -> None:
    """Put the record at a position of here's registry into the copy with another time than it had."""
    from deedbook.events.copied_from import CopiedFrom, stamped
    from deedbook.events.copying import Restored
    from deedbook.events.sqlite_restoring import SqliteTarget

    with closing(SqliteLog(here.folder)) as log, closing(SqliteTarget(there.folder)) as target:
        (record,) = log.read(facts.REGISTRY, 0, position, max_records=1)
        target.begin()
        headers = stamped(record.headers, CopiedFrom(0, position, record.recorded_at))
        target.restore(
            facts.REGISTRY, [Restored(record.value, record.key, headers, record.recorded_at + 5_000_000)]
        )


@contextmanager
def copying(here: Command, there: Command) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own, once it has begun to write."""
    with subprocess.Popen(
        [*PROGRAM, "copy", here.url, there.url, "--artifacts", "leave"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ.copy(),
    ) as process:
        while not (there.folder / "log.db").exists() and process.poll() is None:
            time.sleep(0.001)
        yield process


def test_an_interrupted_copy_says_how_to_go_on(tmp_path: Path) -> None:
    """Ctrl-C ends it with status 130, nobody opens what is there, and the same command finishes it."""
    here, there = Command(tmp_path / "here"), Command(tmp_path / "there")
    with closing(SqliteLog.create(here.folder)) as log:
        many(log, 12_000, facts.VALIDATIONS, facts.DEPLOYMENTS)
    with copying(here, there) as process:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()

    assert (130, True) == (process.returncode, "was whole: the same command goes on with it." in err)
    assert (2, True) == ((ended := there("state-hash")).status, "is an unfinished copy" in ended.err)
    assert 12_000 == here.json("copy", here.url, there.url)["records"]
    assert [] == [path.name for path in there.folder.iterdir() if path.name.startswith("copy-")]


@pytest.mark.soak
def test_a_command_killed_at_any_time_can_be_given_again(tmp_path: Path) -> None:
    """Reading, writing, folding, comparing: after forty kills the copy is whole, once."""
    here, there = Command(tmp_path / "here"), Command(tmp_path / "there")
    registry = story(here.folder)
    many(registry.log, 12_000, facts.VALIDATIONS, facts.DEPLOYMENTS)
    before = here.json("state-hash")["state_hash"]
    for number in range(40):
        with copying(here, there) as process:
            time.sleep(number * 0.05)
            process.kill()

    told = here.json("copy", here.url, there.url, "--artifacts", "leave")

    assert before == told["state_hash"] == there.json("state-hash")["state_hash"]


# --- artifacts -----------------------------------------------------------------------------------


def test_artifacts_are_copied_with_the_log(tmp_path: Path) -> None:
    """Each one that the log refers to, once; what the place has already is not copied again."""
    here, there = Command(tmp_path / "here"), Command(tmp_path / "there")
    digests = with_artifacts(here.folder, b"one", b"two", b"three")
    kept = LocalArtifactStore(there.folder / "artifacts")
    kept.put(b"two")

    told = here.json("copy", here.url, there.url)

    assert (2, [], []) == (
        told["artifacts_copied"],
        told["artifacts_missing"],
        told["artifacts_damaged"],
    )
    assert [b"one", b"two", b"three"] == [kept.fetch(digest) for digest in digests]


def test_artifacts_go_where_the_setting_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting is for the place one goes to; what is in the folder that one comes from is found there."""
    here, there = Command(tmp_path / "here"), Command(tmp_path / "there")
    (digest,) = with_artifacts(here.folder, b"one")
    monkeypatch.setenv("DEEDBOOK_ARTIFACTS", str(tmp_path / "shared"))

    assert 1 == here.json("copy", here.url, there.url)["artifacts_copied"]
    assert b"one" == LocalArtifactStore(tmp_path / "shared").fetch(digest)


def test_missing_and_damaged_artifacts_are_told(tmp_path: Path) -> None:
    """Status 1 and their digests; the log is copied all the same, and so is what is whole."""
    here, there = Command(tmp_path / "here"), Command(tmp_path / "there")
    missing, damaged, whole = with_artifacts(here.folder, b"one", b"two", b"three")
    files = here.folder / "artifacts" / "sha256"
    (files / missing[:2] / missing).unlink()
    (files / damaged[:2] / damaged).chmod(0o600)
    (files / damaged[:2] / damaged).write_bytes(b"TWO")

    ended = here("copy", here.url, there.url)

    assert 1 == ended.status
    assert [["damaged", damaged], ["missing", missing]] == sorted(
        line.split() for line in ended.out.splitlines() if line.startswith(("missing", "damaged"))
    )
    assert here.json("state-hash") == there.json("state-hash")
    assert b"three" == LocalArtifactStore(there.folder / "artifacts").fetch(whole)


def test_artifacts_may_stay_where_they_are(tmp_path: Path) -> None:
    """By choice, and where both registries have them in the same place anyway."""
    here, there = Command(tmp_path / "here"), Command(tmp_path / "there")
    with_artifacts(here.folder, b"one")
    registry = Registry(here.folder)
    registry.append(Pen("ana").logged("without"))
    registry.log.close()

    same = ("--artifacts-to", str(here.folder / "artifacts"))
    left = [here("copy", here.url, there.url, *choice) for choice in (("--artifacts", "leave"), same)]

    assert [0, 0] == [ended.status for ended in left]
    assert not (there.folder / "artifacts").exists()
    assert [MISSING] == Command(here.folder)("copy", here.url, there.url).out.split()[-1:]


def test_artifacts_go_to_s3_and_back(tmp_path: Path, s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verified on both ways; local copies on the way are not left behind."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.place.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.place.secret_key)
    here, there, back = (Command(tmp_path / name) for name in ("here", "there", "back"))
    (digest,) = with_artifacts(here.folder, b"one")

    assert 1 == here.json("copy", here.url, there.url, "--artifacts-to", s3.url)["artifacts_copied"]
    assert b"one" == S3ArtifactStore(s3_address(s3.url)).fetch(digest)
    assert 1 == here.json("copy", there.url, back.url, "--artifacts-from", s3.url)["artifacts_copied"]

    assert b"one" == LocalArtifactStore(back.folder / "artifacts").fetch(digest)
    assert not (back.folder / "copy-artifacts").exists()
