"""The registry as other people's programs use it: connect to it, ask it for things, find them again."""

import inspect
import math
import os
import re
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deedbook
from deedbook.artifacts import requests as request_sets
from deedbook.client.registry import Registry
from deedbook.client.schemas import publish_schemas
from deedbook.client.serving import Host
from deedbook.client.training import TrainingRun
from deedbook.client.urls import folder_of
from deedbook.events.codec import Codec, released_schemas
from deedbook.events.errors import InvalidInput, NotFound, RequestRejected
from deedbook.events.facts import (
    CheckSpec,
    Policy,
)
from deedbook.events.sqlite_log import SqliteLog
from deedbook.projector.queries import MetricFilter, MetricName
from tests.logged_facts import facts_on
from tests.reached import EMBEDDED, either_way, log_folder, reached

THEN = datetime(2024, 5, 1, 14, 5, tzinfo=UTC)


@pytest.fixture
def registry(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Registry]:
    """A registry of the test's own, without an event; embedded, it is not yet there."""
    with reached(tmp_path / "registry", getattr(request, "param", EMBEDDED)) as found:
        yield found


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that many tests ask, and none adds to: it holds one training."""
    with reached(tmp_path_factory.mktemp("shared") / "registry", EMBEDDED) as found:
        found.log_training("m")
        yield found


# --- connecting --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("sqlite:///./.deedbook", ".deedbook"),
        ("sqlite:///models/registry", "models/registry"),
        ("sqlite:///my registry", "my registry"),
        ("sqlite:///my%20registry", "my registry"),
        ("sqlite:///caf%C3%A9", "café"),
        ("sqlite:///50%25%3F", "50%?"),
        ("SQLite:///registry", "registry"),
        ("sqlite:////srv/registry", "/srv/registry"),
        ("sqlite:///registry/", "registry"),
    ],
)
def test_a_url_names_a_folder(url: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three slashes count from the working directory, four from the root; what is encoded is decoded."""
    monkeypatch.chdir(tmp_path)

    assert tmp_path / folder == folder_of(url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mlflow://host:5000", "the scheme"),
        ("grpc://host:1234", "the scheme"),
        ("postgres://ana:secret@host/db", "the scheme"),
        ("sqlite://registry", "names a host"),
        ("sqlite:///", "names no folder"),
        ("sqlite:///a%00b", "names no folder"),
        ("sqlite:///a?mode=ro", "write %3F"),
        ("sqlite:///%ff", "UTF-8"),
        (".deedbook", "no URL"),
        ("", "no URL"),
    ],
)
def test_a_url_of_another_kind_is_refused_with_what_is_supported(url: str, said: str) -> None:
    """One sentence, without the password that the URL may hold."""
    with pytest.raises(InvalidInput, match=said) as refused:
        folder_of(url)

    assert "secret" not in str(refused.value)


def test_connecting_reads_the_environment_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DEEDBOOK_URL and DEEDBOOK_ACTOR count where nothing is given, as they were at the time."""
    monkeypatch.setenv("DEEDBOOK_URL", f"sqlite:///{tmp_path}/one")
    monkeypatch.setenv("DEEDBOOK_ACTOR", "nightly job")
    registry = deedbook.connect()
    monkeypatch.setenv("DEEDBOOK_URL", f"sqlite:///{tmp_path}/two")
    registry.log_training("m")
    registry.close()

    assert ["one"] == [path.name for path in tmp_path.iterdir()]
    assert ["nightly job"] == [fact.actor for fact in facts_on(registry)]
    assert tmp_path / "three" == deedbook.connect(f"sqlite:///{tmp_path}/three").settings.place.folder


def test_a_registry_without_url_is_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And stays there when the program moves on."""
    monkeypatch.chdir(tmp_path)
    with deedbook.connect() as registry:
        monkeypatch.chdir("/")
        registry.log_training("m")

    assert (tmp_path / ".deedbook" / "log.db").is_file()


def test_only_logging_makes_a_registry(registry: Registry) -> None:
    """Neither connecting nor asking leaves a trace: a misspelt URL is noticed."""
    for ask in (
        registry.search,
        lambda: registry.sql("select 1"),
        lambda: registry.training_info("x"),
        lambda: registry.override(str(uuid.uuid4()), reason="because"),
    ):
        with pytest.raises(NotFound, match="no log in"):
            ask()

    assert not registry.settings.place.folder.exists()


def test_a_new_log_explains_itself(registry: Registry) -> None:
    """The schemas it is written with come first, and publishing them again changes nothing."""
    registry.log_training("m")
    publish_schemas(SqliteLog(registry.settings.place.folder), Codec())

    shipped = sum(len(versions) for versions in released_schemas().values())
    assert ((shipped,),) == registry.sql("select count(*) from schemas").rows
    assert (("ignored", shipped),) == registry.sql(
        "select decision, count(*) from events where decision != 'accepted' group by all"
    ).rows


@either_way
def test_a_closed_registry_says_so(registry: Registry) -> None:
    """Closing twice is harmless; using it afterwards is one clear error."""
    registry.log_training("m")
    registry.close()
    registry.close()

    with pytest.raises(InvalidInput, match="closed"):
        registry.log_training("m")


def test_importing_and_logging_need_the_base_install_alone(tmp_path: Path) -> None:
    """A training job loads none of the libraries that reading takes."""
    program = (
        "import sys, deedbook\n"
        f"registry = deedbook.connect('sqlite:///{tmp_path}/registry')\n"
        "with registry.training('m', git_sha='') as training:\n"
        "    training.log_metric('loss', 1.0, step=1)\n"
        "registry.log_training('m', metrics={'mse': 0.5})\n"
        "heavy = {'duckdb', 'pyarrow', 'pyruhvro', 'grpc', 'faust', 'typer', 'rich', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert ("[]\n", "") == (done.stdout, done.stderr)


def test_reading_without_its_extra_says_what_to_install(tmp_path: Path) -> None:
    """And a request that could not be answered is not even appended."""
    program = (
        "import sys, deedbook\n"
        "sys.modules['duckdb'] = None\n"
        f"registry = deedbook.connect('sqlite:///{tmp_path}/registry')\n"
        "training_id = registry.log_training('m')\n"
        "for ask in (registry.search, lambda: registry.override(training_id, reason='because')):\n"
        "    try:\n"
        "        ask()\n"
        "    except deedbook.DeedbookError as error:\n"
        "        print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    expected = "MissingExtra reading a registry needs duckdb: pip install 'deedbook[server]'\n"
    assert (expected * 2, "") == (done.stdout, done.stderr)
    with deedbook.connect(f"sqlite:///{tmp_path}/registry") as registry:
        assert ["TrainingLogged"] == [type(fact).__name__ for fact in facts_on(registry)]


def test_the_names_of_the_package_are_there_when_asked_for() -> None:
    """Each that is listed can be had, and another is an AttributeError."""
    assert [] == [name for name in deedbook.__all__ if not hasattr(deedbook, name)]
    assert set(deedbook.__all__) <= set(dir(deedbook))
    with pytest.raises(AttributeError, match="nothing"):
        _ = deedbook.nothing  # type: ignore[attr-defined]


# --- asking for something to be done -----------------------------------------------------------


@either_way
def test_a_deployment_goes_through_the_gate(registry: Registry) -> None:
    """Refused with the fold's reason while the model is not deployable, accepted once it is."""
    training_id = registry.log_training("home-price")
    with pytest.raises(RequestRejected, match=r"home-price version 1 .* is not deployable: pending"):
        registry.request_deployment("pricing", "A", {"home-price": training_id})
    standing = registry.override(training_id, reason="seen to")
    made = registry.request_deployment("pricing", "A", {"home-price": uuid.UUID(training_id)}, git_sha="abc")

    assert (True, True, "overridden by ana: seen to") == (
        standing.deployable,
        standing.overridden,
        standing.reason,
    )
    assert ("accepted", True, None, "abc") == (made.decision, made.current, made.previous, made.git_sha)
    assert made == registry.deployment("pricing", "A")
    assert "A" == registry.live("pricing").release


@either_way
def test_a_release_is_bound_once_and_can_be_gone_back_to(registry: Registry) -> None:
    """A new model is a new release; rolling back says what must be current."""
    training_id = registry.log_training("m")
    registry.override(training_id, reason="seen to")
    registry.request_deployment("s", "A", {"m": training_id}, expected_previous="")
    with pytest.raises(RequestRejected, match="is bound since position"):
        registry.request_deployment("s", "A", {"m": training_id})
    with pytest.raises(RequestRejected, match="the current release is A, not none"):
        registry.request_deployment("s", "B", {"m": training_id}, expected_previous="")
    registry.request_deployment("s", "B", {"m": training_id})
    between = datetime.now(UTC)
    with pytest.raises(RequestRejected, match="not A as expected"):
        registry.activate_release("s", "A", expected_previous="A")
    live = registry.activate_release("s", "A", expected_previous="B", reason="B is slow")

    assert ("A", "B is slow") == (live.release, live.reason)
    assert live == registry.live("s")
    assert "B" == registry.live("s", at=between.astimezone(timezone(timedelta(hours=5)))).release
    with pytest.raises(NotFound, match="no release of s in production was, at 1999"):
        registry.live("s", at=datetime(1999, 1, 1, tzinfo=UTC))
    with pytest.raises(NotFound, match="no release of other in production is live"):
        registry.live("other")


@either_way
def test_an_amendment_keeps_the_original_and_withdraws_the_pass(registry: Registry) -> None:
    """The new value is what searches find, the old one is in the detail."""
    training_id = registry.log_training("m", metrics={"mse": 0.5}, parameters={"city": "Austin"})
    registry.publish_policy(Policy(model="m", checks=(CheckSpec(check="metric_threshold"),)))
    standing = registry.amend(
        training_id, reason="wrong unit", metrics={"mse": 0.25}, parameters={"city": "Dallas"}
    )

    assert "pending" == standing.outcome
    (found,) = registry.search("m", metrics=["mse < 0.3"], parameters={"city": "Dallas"})
    assert training_id == found.training_id
    assert [0.5, None] == [a.old_value_number for a in registry.training_info(training_id).amendments]
    with pytest.raises(RequestRejected, match="no metric 'mae'"):
        registry.amend(training_id, reason="x", metrics={"mae": 1.0})


def test_published_requests_can_be_replayed(registry: Registry) -> None:
    """They are stored as given, for the trainings with these parameters."""
    rows = [{"rooms": np.float64(3), "city": "Austin"}, {"rooms": math.nan, "city": "Dallas"}]
    requests_id = registry.publish_requests("m", iter(rows), parameters={"city": "Austin"})

    ((found, digest, count, parameters),) = registry.sql(
        "select requests_id, artifact_sha256, count, parameters from request_sets"
    ).rows
    assert (requests_id, 2, {"city": "Austin"}) == (found, count, parameters)
    assert [{"rooms": 3.0, "city": "Austin"}, {"rooms": None, "city": "Dallas"}] == request_sets.decode(
        registry.artifacts.fetch(digest)
    )


@either_way
def test_policies_are_numbered_and_verdicts_asked_for_anew(registry: Registry) -> None:
    """Each policy is the next version; a request for a verdict is by the newest."""
    policy = Policy(model="m", checks=(CheckSpec(check="artifact_intact"),))
    training_id = registry.log_training("m")

    assert [1, 2] == [registry.publish_policy(policy, source=f"# {n}") for n in (1, 2)]
    position = registry.revalidate(training_id, reason="a new policy")
    asked = registry.training_info(training_id).validations[-1]
    assert (position, 2, True) == (asked.requested_at_position, asked.policy_version, asked.pending)


BAD_REQUESTS: dict[str, Callable[[Registry, str], object]] = {
    "an override without a reason": lambda r, t: r.override(t, reason=" "),
    "an override of no id": lambda r, _: r.override("x", reason="because"),
    "an amendment of nothing": lambda r, t: r.amend(t, reason="because"),
    "a policy of another kind": lambda r, _: r.publish_policy("policy.toml"),  # type: ignore[arg-type]
    "a policy without checks": lambda r, _: r.publish_policy(Policy(model="m")),
    "requests that are none": lambda r, _: r.publish_requests("m", []),
    "requests for no model": lambda r, _: r.publish_requests("", [{"x": 1}]),
    "a deployment of nothing": lambda r, _: r.request_deployment("s", "A", {}),
    "a deployment of no id": lambda r, _: r.request_deployment("s", "A", {"m": "latest"}),
    "a service without a name": lambda r, t: r.request_deployment("", "A", {"m": t}),
    "a release of two lines": lambda r, _: r.activate_release("s", "A\nB"),
    "a time without a zone": lambda r, _: r.live("s", at=datetime(2024, 1, 1)),  # noqa: DTZ001 - the mistake
}


@pytest.mark.parametrize("ask", BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_a_request_that_is_not_well_formed_is_not_even_appended(
    registry: Registry, ask: Callable[[Registry, str], object]
) -> None:
    """One sentence, and the log is as it was; no artifact is left behind either."""
    training_id = registry.log_training("m")

    with pytest.raises(InvalidInput) as refused:
        ask(registry, training_id)

    assert "\n" not in str(refused.value)
    assert 1 == len(facts_on(registry))
    assert not (log_folder(registry) / "artifacts").exists()


@either_way
def test_a_request_that_is_refused_here_leaves_no_trace(registry: Registry) -> None:
    """It is looked at before it is sent anywhere: not even the artifact is stored."""
    training_id = registry.log_training("m")
    for name in ("an override of no id", "requests for no model", "a deployment of nothing"):
        with pytest.raises(InvalidInput):
            BAD_REQUESTS[name](registry, training_id)

    assert 1 == len(facts_on(registry))
    assert not (log_folder(registry) / "artifacts").exists()


def test_a_rejected_request_stays_on_the_record(registry: Registry) -> None:
    """With its reason, for whoever asks later what was tried."""
    training_id = str(uuid.uuid4())
    registry.log_training("m")
    with pytest.raises(RequestRejected, match="there is no training") as refused:
        registry.revalidate(training_id)

    assert (("RevalidationRequested", training_id, str(refused.value)),) == registry.sql(
        "select type, subject, reason from events where decision = 'rejected'"
    ).rows


# --- reading -----------------------------------------------------------------------------------


@either_way
def test_everything_appended_before_is_seen(registry: Registry) -> None:
    """By this registry and by another, also where a snapshot was open."""
    with deedbook.connect(registry.settings.url) as other:
        for count in range(1, 4):
            registry.log_training("m", metrics={"mse": count})
            for asked in (registry, other):
                assert [count, count, count] == [len(asked.search("m")) for _ in range(3)]


def test_a_query_sees_everything_appended_before(registry: Registry) -> None:
    """Also where a snapshot was open."""
    with deedbook.connect(registry.settings.url) as other:
        for count in range(1, 4):
            registry.log_training("m", metrics={"mse": count})
            for asked in (registry, other):
                assert ((count,),) == asked.sql("select count(*) from trainings").rows


@either_way
def test_a_search_takes_comparisons_as_they_are_written(registry: Registry) -> None:
    """Or typed; a model is an argument, and so is everything else."""
    registry.log_trainings(
        [
            {
                "model": "m",
                "metrics": {"mse": n / 10},
                "parameters": {"city": "Austin", "n": n},
                "created_at": THEN,
            }
            for n in range(5)
        ]
    )
    found = registry.search("m", metrics=["mse < 0.3"], order_by="mse", descending=True, show=["none"])

    assert [0.2, 0.1, 0.0] == [training.metrics["mse"] for training in found]
    typed = MetricFilter.parse("mse < 0.3")
    assert found == registry.search("m", metrics=[typed], order_by=MetricName("mse"), descending=True)
    assert [2] == [t.version - 1 for t in registry.search("m", parameters={"n": 2})]
    assert 5 == len(registry.metric_series("m", "mse", by="city", created_after=THEN).lines()["Austin"])
    assert [] == registry.search("m", created_before=THEN)


BAD_QUESTIONS: dict[str, Callable[[Registry], object]] = {
    "no comparison": lambda r: r.search(metrics=["mse"]),
    "a text for a list": lambda r: r.search(metrics="mse < 1"),
    "a negative limit": lambda r: r.search(limit=-1),
    "half a limit": lambda r: r.search(limit=1.5),  # type: ignore[arg-type]
    "an offset beyond counting": lambda r: r.search(offset=1 << 70),
    "an unknown outcome": lambda r: r.search(outcome="great"),
    "a time without a zone": lambda r: r.search(created_after=datetime(2024, 1, 1)),  # noqa: DTZ001 - the mistake
    "half a character": lambda r: r.search("\ud800"),
    "a model of another type": lambda r: r.search(3),  # type: ignore[arg-type]
    "a parameter of several values": lambda r: r.search(parameters={"x": np.array([1, 2])}),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("ask", BAD_QUESTIONS.values(), ids=BAD_QUESTIONS)
def test_a_question_that_is_none_is_refused(shared: Registry, ask: Callable[[Registry], object]) -> None:
    """With a sentence, and the registry answers the next one."""
    with pytest.raises(InvalidInput):
        ask(shared)

    assert 1 == len(shared.search())


@pytest.mark.parametrize("query", ["selekt", "delete from base.training", "select 1; select 2", ""])
def test_a_query_that_is_none_is_refused(shared: Registry, query: str) -> None:
    """What asks nothing, asks two things, or would change something."""
    with pytest.raises(InvalidInput):
        shared.sql(query)

    assert ((1,),) == shared.sql("select count(*) from trainings").rows


@either_way
def test_several_threads_may_share_a_registry(registry: Registry) -> None:
    """Each logs and asks; nothing is lost, and nobody sees half."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(3):
                training_id = registry.log_training("m", metrics={"mse": 0.5})
                assert registry.search("m")
                assert training_id == registry.training_info(training_id).training_id
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [] == failures
    assert 9 == len(registry.search("m"))


FORKING = """
import os, sys, deedbook
registry = deedbook.connect(sys.argv[1])
registry.log_training("before")
if sys.argv[2] == "read":
    registry.search()
    registry.search()
child = os.fork()
if child == 0:
    registry.log_training("child")
    try:
        print(len(deedbook.connect(sys.argv[1]).search()), flush=True)
    except deedbook.DeedbookError as error:
        print(error, flush=True)
    registry.close()
    os._exit(0)
os.waitpid(child, 0)
registry.log_training("parent")
print(sorted(training.model for training in registry.search()))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize(("before", "said"), [("read", "was forked from one that had read"), ("log", "2\n")])
def test_a_forked_process_logs_and_reads_where_it_can(tmp_path: Path, before: str, said: str) -> None:
    """Both sides log, and both are recorded; after reading a fork can't read, and says so instead of hanging."""
    done = subprocess.run(
        [sys.executable, "-c", FORKING, f"sqlite:///{tmp_path}/registry", before],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (0, "") == (done.returncode, done.stderr)
    assert said in done.stdout
    assert done.stdout.endswith("['before', 'child', 'parent']\n")


# --- what is written about it ------------------------------------------------------------------

ROOT = Path(__file__).parent.parent


def run_example(name: str, folder: Path, **settings: str) -> str:
    """Run an example in a folder and return what it prints."""
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / name],
        cwd=folder,
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent), **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout


def test_the_examples_run_one_after_the_other(tmp_path: Path) -> None:
    """What the first one logs is what the second one serves, once it is deployed."""
    cache = str(tmp_path / "cache")
    logged = run_example("log_a_training.py", tmp_path)
    with deedbook.connect(f"sqlite:///{tmp_path}/.deedbook") as registry:
        (training,) = registry.search("diabetes-progression")
        registry.override(training.training_id, reason="an example")
        registry.request_deployment("progression-api", "r1", {"diabetes-progression": training.training_id})
    served = run_example("serve_a_model.py", tmp_path, DEEDBOOK_RELEASE="r1", DEEDBOOK_CACHE=cache)

    assert f"logged training {training.training_id}: alpha 0.1" in logged
    assert "release r1 serves diabetes-progression version 1" in served


def test_the_code_in_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Block after block, as a reader would type it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEEDBOOK_URL", "sqlite:///models/registry")
    text = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
    blocks = [part.split("```")[0] for part in text.split("```python\n")[1:]]
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)  # noqa: S102 - our own documentation
    names["registry"].close()
    names["host"].close()

    assert 8 == len(blocks)
    assert ("home-price",) == names["host"].models()
    assert [0.22, 0.25, 0.25] == [found.metrics["mse"] for found in names["best"]]


def public(cls: type) -> dict[str, list[str]]:
    """The public methods and properties of a class, and what each can be given by name."""
    found = {}
    for name, value in vars(cls).items():
        if name.startswith("_"):
            continue
        given = inspect.signature(value).parameters if callable(value) else {}
        found[name] = [parameter for parameter in given if parameter != "self"]
    return found


@pytest.mark.parametrize("cls", [Registry, TrainingRun, Host])
def test_every_method_and_what_it_takes_is_documented(cls: type) -> None:
    """A reader of the page knows all that there is."""
    text = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
    calls = dict(re.findall(r"`(\w+)\(([^`]*?)\)`", text))
    for name, arguments in public(cls).items():
        assert name in calls or f"`{name}`" in text or f".{name}" in text
        assert [] == [argument for argument in arguments if argument not in calls[name]]


@pytest.mark.parametrize("module", ["registry.py", "serving.py", "place.py"])
def test_every_setting_is_documented(module: str) -> None:
    """Each variable that the front doors read."""
    text = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
    read = set(re.findall(r"DEEDBOOK_[A-Z_]+", (ROOT / "client" / module).read_text(encoding="utf-8")))

    assert read
    assert set() == read - set(re.findall(r"`(DEEDBOOK_\w+)`", text))
