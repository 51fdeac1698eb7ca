"""Serving hosts: each loads what its own release is bound to, and boots also when the registry is away."""

import json
import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from deedbook.cli.settings import Settings
from deedbook.cli.wiring import opened
from deedbook.client.registry import Registry
from deedbook.client.serving import Host
from deedbook.events.errors import ArtifactDamaged, InvalidInput, NotFound, RequestRejected
from tests.command import Command
from tests.reached import EMBEDDED, either_way, log_folder, reached

T = TypeVar("T")


@pytest.fixture
def registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Registry]:
    """An empty registry, named by the environment, and a cache folder of the test's own."""
    monkeypatch.setenv("DEEDBOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with reached(tmp_path / "registry", getattr(request, "param", EMBEDDED), actor=None) as found:
        monkeypatch.setenv("DEEDBOOK_URL", found.settings.url)
        yield found


def trained(registry: Registry, slope: float, model: str = "home-price", format: str | None = None) -> str:  # noqa: A002
    """Log a model that multiplies by a slope, let it be deployable, and return its training's id."""
    with registry.training(model, git_sha="") as training:
        training.save(Ridge(alpha=0.0).fit([[0.0], [1.0]], [0.0, slope]), format)
    registry.override(training.training_id, reason="a model of the test")
    return training.training_id


@pytest.fixture(scope="module")
def bound_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry's folder, in which release A of pricing is bound to a home-price model of slope 1."""
    folder = tmp_path_factory.mktemp("bound") / "registry"
    with reached(folder, EMBEDDED) as registry:
        registry.request_deployment("pricing", "A", {"home-price": trained(registry, 1.0)})
    return folder


@pytest.fixture
def bound(bound_once: Path, tmp_path: Path) -> None:
    """The registry isn't empty, but a copy of that one."""
    shutil.copytree(bound_once, tmp_path / "registry")


of_release_a = pytest.mark.usefixtures("bound", "registry")


def slope_of(model: Any) -> float:  # noqa: ANN401 - the framework's own object
    """The slope that a loaded model multiplies by."""
    return float(np.round(model.predict([[1.0]])[0], 6))


@of_release_a
@either_way
def test_a_host_loads_what_its_own_release_is_bound_to(registry: Registry) -> None:
    """Not the latest: an older release keeps its model when a newer one is deployed."""
    registry.request_deployment("pricing", "B", {"home-price": trained(registry, 2.0)})
    trained(registry, 3.0)

    assert 1.0 == slope_of(Host("pricing", "A").load("home-price"))
    assert 2.0 == slope_of(Host("pricing", "B").load("home-price"))


@of_release_a
def test_a_restarted_instance_loads_the_same_model_as_the_other(registry: Registry) -> None:
    """Whatever was trained and deployed in between."""
    first = Host("pricing", "A", instance="one")
    first.load("home-price")
    registry.request_deployment("pricing", "B", {"home-price": trained(registry, 2.0)})
    second = Host("pricing", "A", instance="two")
    second.load("home-price")

    assert first.deployment.models == second.deployment.models
    assert {("one", "A"), ("two", "A")} == set(registry.sql("select instance, release from model_loads").rows)


@either_way
def test_a_host_knows_its_models(registry: Registry) -> None:
    """Those that its release is bound to, and no other can be loaded."""
    models = {"home-price": trained(registry, 1.0), "rent": trained(registry, 2.0, "rent")}
    made = registry.request_deployment("pricing", "A", models)
    host = Host("pricing", "A")

    assert (("home-price", "rent"), made) == (host.models(), host.deployment)
    with pytest.raises(NotFound, match="not bound to a model 'churn': it is bound to home-price, rent"):
        host.load("churn")


@of_release_a
@either_way
def test_an_unbound_release_is_told_what_is_bound() -> None:
    """A host that finds nothing for its release stops, and says why."""
    with pytest.raises(NotFound, match=r"release B of pricing in production .*bound, newest first: A"):
        Host("pricing", "B").load("home-price")
    with pytest.raises(NotFound, match="none of its releases is"):
        Host("pricing", "A", "staging").load("home-price")


def test_the_release_comes_from_the_environment_or_from_git(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is given counts first, then DEEDBOOK_RELEASE, then the commit that is checked out."""
    assert not registry.settings.place.folder.exists()
    checkout = tmp_path / "checkout"
    subprocess.run(["git", "init", "-q", checkout], check=True)
    commit = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"]
    subprocess.run(commit, cwd=checkout, check=True)
    monkeypatch.chdir(checkout)
    sha = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout

    assert sha.strip() == Host("pricing").release
    monkeypatch.setenv("DEEDBOOK_RELEASE", "v7")
    assert ("v7", "v8") == (Host("pricing").release, Host("pricing", "v8").release)


def test_a_host_without_a_release_says_how_to_give_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It never guesses."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)

    with pytest.raises(InvalidInput, match="set DEEDBOOK_RELEASE"):
        Host("pricing")


@pytest.mark.parametrize("format", ["pickle", "joblib"])
def test_a_pickle_is_loaded_only_where_the_host_allows_it(registry: Registry, format: str) -> None:  # noqa: A002
    """That it was deployed isn't enough: it runs whatever code its author wrote."""
    registry.request_deployment("pricing", "A", {"home-price": trained(registry, 1.0, format=format)})
    host = Host("pricing", "A")

    with pytest.raises(InvalidInput, match=f"{format} are not allowed here"):
        host.load("home-price")
    assert 1.0 == slope_of(host.load("home-price", allow_pickle=True))
    assert 1 == len(registry.sql("from model_loads"))


@either_way
def test_a_training_without_an_artifact_cannot_be_loaded(registry: Registry) -> None:
    """The sentence says which training that is."""
    training_id = registry.log_training("home-price")
    registry.override(training_id, reason="a mistake")
    registry.request_deployment("pricing", "A", {"home-price": training_id})

    with pytest.raises(NotFound, match=f"training {training_id} of home-price has no artifact"):
        Host("pricing", "A").load("home-price")


def eventually(ask: Callable[[], T]) -> T:
    """What is answered as soon as there is anything: a service folds the word of another program in a moment."""
    until = time.monotonic() + 60
    while not (found := ask()):
        assert time.monotonic() < until
        time.sleep(0.01)
    return found


def damage(folder: Path) -> None:
    """Change one byte of the only artifact under a folder."""
    (file,) = [path for path in (folder / "artifacts" / "sha256").rglob("*") if path.is_file()]
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.chmod(0o644)
    file.write_bytes(data)


@of_release_a
@either_way
def test_a_damaged_artifact_is_not_loaded(registry: Registry) -> None:
    """And nobody reports that it was."""
    damage(log_folder(registry))

    with pytest.raises(ArtifactDamaged):
        Host("pricing", "A").load("home-price")
    (found,) = registry.search("home-price")
    assert () == registry.training_info(found.training_id).model_loads


@of_release_a
def test_a_host_boots_from_its_copy_when_the_registry_is_away(registry: Registry) -> None:
    """With a warning; what it can't report stops nobody from serving."""
    first = Host("pricing", "A")
    first.load("home-price")
    registry.close()
    first.close()
    shutil.move(registry.settings.place.folder, registry.settings.place.folder.with_name("away"))

    again = Host("pricing", "A")
    with (
        pytest.warns(UserWarning, match="boots from its local copy"),
        pytest.warns(UserWarning, match="could not be reported"),
    ):
        model = again.load("home-price")
    assert 1.0 == slope_of(model)
    assert first.deployment == again.deployment
    assert not registry.settings.place.folder.exists()


def test_a_host_without_a_copy_says_what_keeps_it_from_booting(registry: Registry) -> None:
    """Also for another release than the one that was copied."""
    with pytest.raises(NotFound, match="no log in"):
        Host("pricing", "A").load("home-price")
    registry.request_deployment("pricing", "A", {"home-price": trained(registry, 1.0)})
    Host("pricing", "A").load("home-price")
    registry.close()
    shutil.move(registry.settings.place.folder, registry.settings.place.folder.with_name("away"))

    for other in (Host("pricing", "B"), Host("pricing", "A", "staging"), Host("other", "A")):
        with pytest.raises(NotFound, match="no log in"):
            other.load("home-price")


@of_release_a
@pytest.mark.parametrize("text", ["", "{}", "[]", '{"models": 3}', '{"service": "pricing", "models": []}'])
def test_a_broken_copy_counts_as_none(registry: Registry, text: str) -> None:
    """The registry is asked, and its answer kept; without it the host says that it is away."""
    Host("pricing", "A").load("home-price")
    cache = Path(os.environ["DEEDBOOK_CACHE"])
    (copy,) = (cache / "deployments").iterdir()
    whole = copy.read_text(encoding="utf-8")
    copy.write_text(text, encoding="utf-8")
    damage(cache)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert 1.0 == slope_of(Host("pricing", "A").load("home-price"))
    assert json.loads(whole) == json.loads(copy.read_text(encoding="utf-8"))
    copy.write_text(text, encoding="utf-8")
    registry.close()
    shutil.move(registry.settings.place.folder, registry.settings.place.folder.with_name("away"))
    with pytest.raises(NotFound, match="no log in"):
        Host("pricing", "A").load("home-price")


@of_release_a
def test_a_copy_of_another_deployment_is_not_taken_for_this_one(registry: Registry) -> None:
    """A copy says for whom it is, whatever its file is called."""
    registry.request_deployment("pricing", "B", {"home-price": trained(registry, 2.0)})
    folder = Path(os.environ["DEEDBOOK_CACHE"]) / "deployments"
    Host("pricing", "A").load("home-price")
    (copy_a,) = folder.iterdir()
    Host("pricing", "B").load("home-price")
    (copy_b,) = set(folder.iterdir()) - {copy_a}
    shutil.copy(copy_a, copy_b)
    registry.close()
    shutil.move(registry.settings.place.folder, registry.settings.place.folder.with_name("away"))

    with pytest.raises(NotFound, match="no log in"):
        Host("pricing", "B").load("home-price")


@of_release_a
def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host serves; it says that it can't boot without the registry."""
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setenv("DEEDBOOK_CACHE", str(tmp_path / "file"))

    with pytest.warns(UserWarning, match="can't boot without the registry"):
        assert 1.0 == slope_of(Host("pricing", "A").load("home-price"))


def test_copies_are_kept_in_the_persons_cache_folder(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where DEEDBOOK_CACHE says nothing, and nothing is made before it is needed."""
    monkeypatch.delenv("DEEDBOOK_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / ".cache"))
    registry.request_deployment("pricing", "A", {"home-price": trained(registry, 1.0)})
    host = Host("pricing", "A")
    assert not (tmp_path / "home").exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        host.load("home-price")

    (copies,) = (tmp_path / "home").rglob("deployments")
    assert "deedbook" == copies.parent.name


def announce(registry: Registry) -> None:
    """Fold the log and announce what follows, as any command does, and a service all the time."""
    if registry.settings.place.service is None:
        with opened(Settings.read(os.environ)) as found, found.reading():
            pass


@of_release_a
@either_way
def test_a_host_is_told_of_releases_and_rollbacks(registry: Registry) -> None:
    """From when it follows on, each once, as soon as somebody has folded."""
    announce(registry)
    news = Host("pricing", "A").follow(timeout_seconds=20)
    registry.request_deployment("pricing", "B", {"home-price": trained(registry, 2.0)})
    registry.activate_release("pricing", "A")
    announce(registry)

    assert [("B", "A"), ("A", "B")] == [(told.release, told.previous) for told in islice(news, 2)]  # type: ignore[union-attr]


def test_what_a_client_had_folded_is_told_by_whoever_follows_the_log(registry: Registry) -> None:
    """A client folds in its turn, and announces nothing; the projector does so when it has its turn again."""
    training_id = trained(registry, 1.0)
    news = Host("pricing", "A").follow(timeout_seconds=60)
    with Command(registry.settings.place.folder).running("project"):
        for release in "ABCD":
            registry.request_deployment("pricing", release, {"home-price": training_id})

        assert ["A", "B", "C", "D"] == [told.release for told in islice(news, 4)]


@either_way
def test_the_example_tells_what_was_decided(registry: Registry) -> None:
    """A line for each release that was bound or refused."""
    training_id = trained(registry, 1.0)
    registry.request_deployment("progression-api", "A", {"home-price": training_id})
    with pytest.raises(RequestRejected):
        registry.request_deployment("progression-api", "A", {"home-price": training_id})
    announce(registry)
    example = Path(__file__).parent.parent / "examples" / "follow_deployments.py"
    with subprocess.Popen([sys.executable, "-u", example], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(2)]
        process.kill()

    assert "A is current, with home-price@1 (before: nothing)\n" == said[0]
    assert "A was refused: " in said[1]


def test_a_host_that_follows_no_registry_says_so(registry: Registry) -> None:
    """A misspelt URL is noticed at once, and makes nothing."""
    with pytest.raises(NotFound, match="no log in"):
        Host("pricing", "A").follow()
    assert not registry.settings.place.folder.exists()


@either_way
def test_what_was_loaded_is_on_the_log(registry: Registry) -> None:
    """Who runs what: service, environment, release, instance, training and digest."""
    training_id = trained(registry, 1.0)
    registry.request_deployment("pricing", "A", {"home-price": training_id}, environment="staging")
    Host("pricing", "A", "staging", instance="host-1:1").load("home-price")

    (found,) = eventually(lambda: registry.training_info(training_id).model_loads)
    digest = registry.training_info(training_id).artifact_sha256
    assert ("pricing", "staging", "A", "host-1:1", "home-price", digest, "registry") == (
        found.service,
        found.environment,
        found.release,
        found.instance,
        found.model,
        found.artifact_sha256,
        found.source,
    )


@pytest.mark.parametrize(
    "given",
    [
        {"service": ""},
        {"service": 3},
        {"service": "s", "url": "ftp://host"},
        {"service": "s", "release": "\ud800"},
    ],
)
def test_a_host_that_is_not_well_formed_is_refused(registry: Registry, given: dict[str, Any]) -> None:
    """Before anything is asked or made."""
    with pytest.raises(InvalidInput):
        Host(**{"release": "A", **given}).load("home-price")

    assert not registry.settings.place.folder.exists()
