"""A registry behind a service: where it is, who speaks to it, and what happens when it is away."""

import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import deedbook
from deedbook.client.place import Surroundings, place_of
from deedbook.client.registry import Registry
from deedbook.client.remote import calling
from deedbook.client.training import MAX_POINTS
from deedbook.events.errors import (
    ArtifactDamaged,
    InvalidInput,
    LogUnavailable,
    NotAuthenticated,
    NotFound,
    PermissionRefused,
)
from deedbook.events.facts import METRICS
from deedbook.service.access.roles import Role
from deedbook.service.access.token_file import TokenFile
from tests.logged_facts import facts_on
from tests.reached import GRPC, log_folder, reached
from tests.serving.in_process import live_registry
from tests.serving.over_grpc import listening, listening_to
from tests.serving.program import served

NOBODY_LISTENS = "grpc://127.0.0.1:9"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry behind a service, without an event."""
    with reached(tmp_path / "registry", GRPC) as found:
        yield found


def tokens_of(folder: Path, *roles: Role, models: frozenset[str] = frozenset()) -> str:
    """Make a token for a service of the registry in a folder, and return it."""
    folder.mkdir(exist_ok=True)
    _, text = TokenFile(folder / "tokens.json").create("the pipeline", roles=frozenset(roles), models=models)
    return text


# --- where it is -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "written"),
    [
        ("grpc://registry.example:9000", "grpc://registry.example:9000"),
        ("grpcs://registry.example", "grpcs://registry.example:8471"),
        ("GRPC://Registry.example:9000/", "grpc://registry.example:9000"),
        ("grpc://[::1]:9000", "grpc://[::1]:9000"),
    ],
)
def test_a_url_names_a_service(url: str, written: str) -> None:
    """A host and a port, 8471 where none is given; TLS by the scheme."""
    assert written == place_of(url, Surroundings()).url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("grpc://", "names no host"),
        ("grpc://host:port", "is none"),
        ("grpc://host:99999", "is none"),
        ("grpc://host/registry", "more than a host"),
        ("grpc://host?tls=1", "more than a host"),
        ("grpcs://ana:secret@host", "read from DEEDBOOK_TOKEN"),
    ],
)
def test_a_url_that_names_no_service_is_refused(url: str, said: str) -> None:
    """In one sentence, without the password that it may hold."""
    with pytest.raises(InvalidInput, match=said) as refused:
        place_of(url, Surroundings())

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "insecure"),
    [("grpc://127.0.0.1", ""), ("grpc://localhost", ""), ("grpcs://host", ""), ("grpc://host", "1")],
)
def test_a_token_is_sent_where_nobody_reads_it(url: str, insecure: str) -> None:
    """On this machine, by TLS, or where somebody said that the way is safe."""
    surroundings = Surroundings.read({"DEEDBOOK_TOKEN": "db_1_secret\n", "DEEDBOOK_INSECURE_TOKEN": insecure})
    service = place_of(url, surroundings).service

    assert service is not None
    assert "db_1_secret" == service.token


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("db_1_secret", "is not sent to grpc://host:8471"),
        ("db_1\nsecret", "is no token"),
        ("gehéim", "is no token"),
    ],
)
def test_a_token_that_others_could_read_is_not_sent(token: str, said: str) -> None:
    """Nor is it said in the sentence."""
    with pytest.raises(InvalidInput, match=said) as refused:
        place_of("grpc://host", Surroundings(token=token))

    assert token not in str(refused.value)


def test_a_token_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the settings nor in anything made of them, as a traceback may show them."""
    monkeypatch.setenv("DEEDBOOK_TOKEN", "db_1_secret")
    registry = deedbook.connect(NOBODY_LISTENS)

    for shown in (registry.settings, Surroundings.read(os.environ), registry, vars(registry)):
        assert "secret" not in repr(shown)


def test_a_file_of_certificates_that_is_not_there_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the service is first called."""
    monkeypatch.setenv("DEEDBOOK_CA_FILE", "/nowhere/ca.pem")

    with pytest.raises(InvalidInput, match="DEEDBOOK_CA_FILE cannot be read"):
        deedbook.connect("grpcs://127.0.0.1:9").search()


def test_a_service_without_its_extra_says_what_to_install() -> None:
    """When the registry is connected to."""
    program = (
        "import sys, deedbook\n"
        "sys.modules['grpc'] = None\n"
        "try:\n"
        f"    deedbook.connect({NOBODY_LISTENS!r})\n"
        "except deedbook.DeedbookError as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert ("MissingExtra a service needs grpc: pip install 'deedbook[grpc]'\n", "") == (
        done.stdout,
        done.stderr,
    )


def test_a_client_of_a_service_loads_none_of_what_the_service_needs(registry: Registry) -> None:
    """A training job logs, searches and deploys without DuckDB or Arrow."""
    program = (
        "import sys, deedbook\n"
        f"registry = deedbook.connect({registry.settings.url!r})\n"
        "training_id = registry.log_training('m', metrics={'mse': 0.5}, git_sha='')\n"
        "registry.override(training_id, reason='seen to')\n"
        "registry.request_deployment('s', 'A', {'m': training_id})\n"
        "print(len(registry.search('m', metrics=['mse < 1'])), registry.live('s').release)\n"
        "heavy = {'duckdb', 'pyarrow', 'pyruhvro', 'faust', 'typer', 'rich', 'numpy', 'starlette'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert ("1 A\n[]\n", "") == (done.stdout, done.stderr)


# --- who speaks --------------------------------------------------------------------------------


def test_the_actor_is_the_one_who_is_known_by_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever name is claimed; and what the token's roles and models don't allow is refused in a sentence."""
    token = tokens_of(tmp_path / "registry", Role.TRAINER, models=frozenset({"mine"}))
    with listening(tmp_path / "registry") as url:
        with pytest.raises(NotAuthenticated):
            deedbook.connect(url).search()
        monkeypatch.setenv("DEEDBOOK_TOKEN", "db_0_wrong")
        with pytest.raises(NotAuthenticated) as refused:
            deedbook.connect(url).log_training("mine")
        monkeypatch.setenv("DEEDBOOK_TOKEN", token)
        with deedbook.connect(url, actor="the head of it all") as registry:
            training_id = registry.log_training("mine", git_sha="")
            with pytest.raises(PermissionRefused, match="reviewer"):
                registry.override(training_id, reason="seen to")
            with pytest.raises(PermissionRefused, match="others"):
                registry.log_training("others", git_sha="")
            assert "the pipeline" == registry.training_info(training_id).actor

    assert "wrong" not in str(refused.value)


def test_an_open_service_takes_the_actor_at_its_word(registry: Registry) -> None:
    """Also one whose name is not of ASCII letters."""
    with deedbook.connect(registry.settings.url, actor="änä@büro") as other:
        training_id = other.log_training("m", git_sha="")

    assert "änä@büro" == registry.training_info(training_id).actor


def test_a_service_with_tls_is_known_by_its_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token goes through, and comes out in nothing that the service writes; nobody else's certificate will do."""
    monkeypatch.setattr(calling, "AWAY_SECONDS", 0.1)
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    named = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    try:
        subprocess.run(
            [*made, *named, "-keyout", str(key), "-out", str(certificate)], capture_output=True, check=True
        )
    except FileNotFoundError:
        pytest.skip("openssl makes the certificate, and is not here")
    token = tokens_of(tmp_path / "registry", Role.TRAINER)
    monkeypatch.setenv("DEEDBOOK_TOKEN", token)
    with served(tmp_path / "registry", "--certificate", str(certificate), "--key", str(key)) as service:
        with pytest.raises(LogUnavailable, match=service.grpc):
            deedbook.connect(service.grpc).search()
        monkeypatch.setenv("DEEDBOOK_CA_FILE", str(certificate))
        with deedbook.connect(service.grpc) as registry:
            training_id = registry.log_training("m", git_sha="")
            assert "the pipeline" == registry.training_info(training_id).actor

        assert token.rpartition("_")[2] not in service.written.read_text(encoding="utf-8")


# --- what is the same --------------------------------------------------------------------------


def test_answers_are_those_of_the_embedded_registry(registry: Registry) -> None:
    """Class by class and value by value: trainings, series, what is live, and the rows of a query."""
    ids = registry.log_trainings(
        {
            "model": "home-price",
            "metrics": {"mse": mse},
            "parameters": {"city": city} if city else {},
            "created_at": datetime(2024, month, 1, tzinfo=UTC),
            "tags": {"team": "pricing"},
            "features": ["rooms"],
        }
        for month, (city, mse) in enumerate((("Austin", 0.5), ("Dallas", float("inf")), ("", 0.25)), start=1)
    )
    registry.override(ids[0], reason="seen to")
    made = registry.request_deployment("pricing", "A", {"home-price": ids[0]})
    requests_id = registry.publish_requests("home-price", [{"rooms": 3}], parameters={"city": "Austin"})
    query = (
        "select model, created_at, parameters, artifact_size_bytes, {'a': [position::hugeint, null]} as nested, "
        "1.5::decimal(4, 2) as exact from trainings order by position"
    )
    series = registry.metric_series("home-price", "mse", by="city")

    with deedbook.connect(f"sqlite:///{log_folder(registry)}") as embedded:
        assert embedded.training_info(ids[0]) == registry.training_info(ids[0])
        assert embedded.search(show=["mse"]) == registry.search(show=["mse"])
        assert embedded.deployment("pricing", "A") == registry.deployment("pricing", "A") == made
        assert embedded.live("pricing") == registry.live("pricing")
        same = embedded.metric_series("home-price", "mse", by="city")
        assert same.table.equals(series.table)
        assert (same.lines(), same.direction, same.unit) == (series.lines(), series.direction, series.unit)
        assert embedded.sql(query) == registry.sql(query)
        assert embedded.artifacts.has(embedded.sql("select artifact_sha256 from request_sets").rows[0][0])
        assert requests_id


def test_a_search_goes_through_all_pages(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are wanted and left out."""
    monkeypatch.setattr("deedbook.client.remote.reading._PAGE_SIZE", 3)
    registry.log_trainings({"model": "m", "metrics": {"n": n}} for n in range(10))

    def found(limit: int, offset: int) -> list[float]:
        return [t.metrics["n"] for t in registry.search("m", order_by="n", limit=limit, offset=offset)]

    assert [*range(10)] == found(100, 0)
    assert [4, 5, 6, 7] == found(4, 4)
    assert [9] == found(4, 9)
    assert [] == found(4, 10)


def test_an_artifact_is_verified_on_its_way(registry: Registry, tmp_path: Path) -> None:
    """Larger than one message, from a file or from memory; what is not there is not found."""
    data = os.urandom((2 << 20) + 7)
    file = tmp_path / "model.bin"
    file.write_bytes(data)
    told: list[tuple[int, int]] = []
    stored = registry.artifacts.put(file, on_progress=lambda done, total: told.append((done, total)))

    assert stored == registry.artifacts.put(data)
    assert ((0, len(data)), (len(data), len(data))) == (told[0], told[-1])
    assert data == registry.artifacts.fetch(stored.sha256)
    assert data == registry.artifacts.path(stored.sha256).read_bytes()
    assert stored.sha256 == registry.artifacts.digest_of(stored.uri)
    assert (True, False) == (registry.artifacts.has(stored.sha256), registry.artifacts.has("ab" * 32))
    with pytest.raises(NotFound):
        registry.artifacts.fetch("ab" * 32)
    with pytest.raises(InvalidInput, match="at most 10 are read"):
        registry.artifacts.fetch(stored.sha256, max_bytes=10)
    (kept,) = [path for path in (log_folder(registry) / "artifacts" / "sha256").rglob("*") if path.is_file()]
    kept.chmod(0o644)
    kept.write_bytes(b"x" + data[1:])
    with pytest.raises(ArtifactDamaged):
        registry.artifacts.fetch(stored.sha256)


def test_a_training_whose_id_was_used_is_told_of(registry: Registry) -> None:
    """It is on the log and does not count, as in a folder; here that is known at once."""
    training_id = registry.log_training("m", metrics={"mse": 0.5}, git_sha="")

    with pytest.warns(UserWarning, match="does not count"):
        registry.log_training("m", metrics={"mse": 0.25}, training_id=training_id, git_sha="")
    assert [0.5] == [metric.value for metric in registry.training_info(training_id).metrics]


# --- when it is away ---------------------------------------------------------------------------


def test_a_service_that_is_not_there_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """After some patience, and without a word of the token."""
    monkeypatch.setattr(calling, "AWAY_SECONDS", 0.1)
    monkeypatch.setenv("DEEDBOOK_TOKEN", "db_1_secret")
    with deedbook.connect(NOBODY_LISTENS) as registry:
        for ask in (
            lambda: registry.log_training("m"),
            registry.search,
            lambda: registry.artifacts.put(b"x"),
        ):
            with pytest.raises(LogUnavailable, match=NOBODY_LISTENS) as away:
                ask()
            assert "secret" not in str(away.value)


def test_what_is_sent_again_is_done_once(tmp_path: Path) -> None:
    """A service that comes back while it is called for: the call goes through, and there is one event of it."""
    with live_registry(tmp_path / "registry") as service:
        with listening_to(service) as url:
            port = int(url.rpartition(":")[2])
            registry = deedbook.connect(url)
            first = registry.log_training("m", git_sha="")
        done: list[str] = []
        logging = threading.Thread(target=lambda: done.append(registry.log_training("m", git_sha="")))
        logging.start()
        with listening_to(service, port=port):
            logging.join()
            assert {first, *done} == {training.training_id for training in registry.search("m")}
            registry.close()


def test_a_training_goes_on_while_the_service_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it logs step by step waits with a warning, and is all there, once, when the service is back."""
    monkeypatch.setattr(calling, "AWAY_SECONDS", 0.05)
    folder = tmp_path / "registry"
    with listening(folder) as url:
        port = int(url.rpartition(":")[2])
        run = deedbook.connect(url).training("m", git_sha="")
        run.__enter__()
        run.log_metric("loss", 1.0, step=0)

    def train() -> None:
        for step in range(1, 2 * MAX_POINTS):
            run.log_metric("loss", 1.0, step=step)

    with pytest.warns(UserWarning, match="wait here"):
        train()
    monkeypatch.setattr(calling, "AWAY_SECONDS", 10.0)
    with listening(folder, port=port), warnings.catch_warnings():
        warnings.simplefilter("error")
        run.__exit__(None, None, None)

    with deedbook.connect(f"sqlite:///{folder}") as registry:
        (steps,) = registry.training_info(run.training_id).step_metrics
        assert (2 * MAX_POINTS, 2 * MAX_POINTS - 1) == (steps.count, steps.last_step)
        assert 2 == len(facts_on(registry, METRICS))


def test_a_training_that_ends_while_the_service_is_away_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record is nowhere: that is no warning."""
    monkeypatch.setattr(calling, "AWAY_SECONDS", 0.05)
    with listening(tmp_path / "registry") as url:
        run = deedbook.connect(url).training("m", git_sha="")
        run.__enter__()

    with pytest.raises(LogUnavailable):
        run.__exit__(None, None, None)


FORKING = """
import os, sys, deedbook
registry = deedbook.connect(sys.argv[1])
registry.log_training("before", git_sha="")
registry.search()
child = os.fork()
if child == 0:
    registry.log_training("child", git_sha="")
    print(len(registry.search()), flush=True)
    registry.close()
    os._exit(0)
assert 0 == os.waitpid(child, 0)[1]
registry.log_training("parent", git_sha="")
print(sorted(training.model for training in registry.search()))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_process_has_a_connection_of_its_own(registry: Registry) -> None:
    """Both sides log and read."""
    done = subprocess.run(
        [sys.executable, "-c", FORKING, registry.settings.url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (0, "2\n['before', 'child', 'parent']\n") == (done.returncode, done.stdout), done.stderr
