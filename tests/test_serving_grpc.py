"""Serving hosts that ask a service: they boot when it is down, and go on following when it is back."""

import threading
import warnings
from itertools import islice
from pathlib import Path

import pytest
from sklearn.linear_model import Ridge

import deedbook
from deedbook.client.registry import Registry
from deedbook.client.remote import calling
from deedbook.client.serving import Host
from deedbook.events.errors import LogUnavailable, NotAuthenticated
from deedbook.service.access.roles import Role
from deedbook.service.access.token_file import TokenFile
from tests.serving.in_process import live_registry
from tests.serving.over_grpc import listening, listening_to


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of the test's own for what hosts keep; and little patience."""
    monkeypatch.setenv("DEEDBOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(calling, "AWAY_SECONDS", 0.1)


def trained(registry: Registry) -> str:
    """Log a model, let it be deployable, and return its training's id."""
    with registry.training("home-price", git_sha="") as training:
        training.save(Ridge(alpha=0.0).fit([[0.0], [1.0]], [0.0, 2.0]))
    registry.override(training.training_id, reason="a model of the test")
    return training.training_id


def deployed(url: str, *releases: str) -> None:
    """Bind releases of the service pricing."""
    with deedbook.connect(url) as registry:
        training_id = trained(registry)
        for release in releases:
            registry.request_deployment("pricing", release, {"home-price": training_id})


def test_a_host_boots_when_the_service_is_down(tmp_path: Path) -> None:
    """From its local copy, with a warning; without a copy it says which service did not answer."""
    with listening(tmp_path / "registry") as url:
        deployed(url, "A")
        before = Host("pricing", "A", url=url)
        before.load("home-price")
    again = Host("pricing", "A", url=url)
    with pytest.warns(UserWarning, match="boots from its local copy"):
        model = again.load("home-price")

    assert 2.0 == pytest.approx(model.predict([[1.0]])[0])
    assert before.deployment == again.deployment
    with pytest.raises(LogUnavailable, match=url):
        Host("pricing", "B", url=url).load("home-price")


def test_a_host_whose_token_is_no_longer_good_boots_from_its_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody wants an outage for that; it is a warning, and a host without a copy is refused."""
    folder = tmp_path / "registry"
    folder.mkdir()
    tokens = TokenFile(folder / "tokens.json")
    _, all_of_it = tokens.create("all", roles=frozenset({Role.ADMIN}))
    token, host_only = tokens.create("pricing hosts", roles=frozenset({Role.HOST}))
    with listening(folder) as url:
        monkeypatch.setenv("DEEDBOOK_TOKEN", all_of_it)
        deployed(url, "A", "B")
        monkeypatch.setenv("DEEDBOOK_TOKEN", host_only)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            Host("pricing", "A", url=url).load("home-price")
        tokens.revoke(token.id)

        with (
            pytest.warns(UserWarning, match="boots from its local copy"),
            pytest.warns(UserWarning, match="could not be reported"),
        ):
            Host("pricing", "A", url=url).load("home-price")
        with pytest.raises(NotAuthenticated):
            Host("pricing", "B", url=url).load("home-price")


def test_following_goes_on_after_a_break(tmp_path: Path) -> None:
    """What was decided while nobody could be told is told when the service is back, and each thing once."""
    with live_registry(tmp_path / "registry") as service:
        with listening_to(service) as url:
            deployed(url, "A")
            news = Host("pricing", "A", url=url).follow(timeout_seconds=60)
            deployed(url, "B")
            assert "B" == next(news).release
        with listening_to(service) as other_url:
            deployed(other_url, "C")
        with listening_to(service, port=int(url.rpartition(":")[2])):
            deployed(url, "D")
            assert ["C", "D"] == [told.release for told in islice(news, 2)]
            news.close()  # type: ignore[attr-defined]


def test_following_begins_where_it_is_told_to(tmp_path: Path) -> None:
    """Also with what was decided before, and rejected."""
    with listening(tmp_path / "registry") as url:
        deployed(url, "A", "B")
        host = Host("pricing", "A", url=url)
        with deedbook.connect(url) as registry, pytest.raises(deedbook.RequestRejected):
            registry.request_deployment("pricing", "A", {"home-price": trained(registry)})
        told = [*islice(host.follow(since_position=0, timeout_seconds=60), 3)]
        again = next(host.follow(since_position=told[0].requested_at_position + 1, timeout_seconds=60))
        host.close()

    assert [("A", "DeploymentCreated"), ("B", "DeploymentCreated"), ("A", "DeploymentRejected")] == [
        (one.release, type(one).__name__) for one in told
    ]
    assert told[1] == again


def test_a_closed_host_follows_no_longer(tmp_path: Path) -> None:
    """Whoever waits for news is let go."""
    with listening(tmp_path / "registry") as url:
        host = Host("pricing", "A", url=url)
        found: list[object] = []
        news = host.follow()
        following = threading.Thread(target=lambda: found.extend(news))
        following.start()
        host.close()
        following.join(60)

    assert not following.is_alive()
    assert [] == found
