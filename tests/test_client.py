"""The registry as other people's programs use it: log trainings, ask for things, find them again."""

import math
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import deedbook
from deedbook.artifacts import requests as request_sets
from deedbook.artifacts.formats import load_model
from deedbook.client.fitted import coefficients_of_model
from deedbook.client.registry import Registry
from deedbook.client.schemas import publish_schemas
from deedbook.client.urls import folder_of
from deedbook.events.codec import Codec, released_schemas
from deedbook.events.errors import InvalidInput, NotFound, RequestRejected
from deedbook.events.facts import (
    METRICS,
    REGISTRY,
    Artifact,
    CheckSpec,
    Direction,
    Metric,
    MetricsLogged,
    Policy,
    Training,
)
from deedbook.events.log import MAX_BODY_BYTES
from deedbook.events.sqlite_log import SqliteLog
from deedbook.projector.queries import MetricFilter, MetricName

THEN = datetime(2024, 5, 1, 14, 5, tzinfo=UTC)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry in a folder of its own, not yet there."""
    with deedbook.connect(f"sqlite:///{tmp_path}/registry", actor="ana") as found:
        yield found


def facts_on(registry: Registry, topic: str = REGISTRY) -> list[Any]:
    """Every fact of a topic but the schemas, as it is on the log."""
    log = SqliteLog(registry.settings.folder)
    records = log.read(topic, 0, 0)
    log.close()
    decoded = [Codec().decode(record) for record in records]
    return [fact for fact in decoded if type(fact).__name__ != "SchemaPublished"]


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
        ("kafka://broker:9092", "the scheme"),
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
    assert tmp_path / "three" == deedbook.connect(f"sqlite:///{tmp_path}/three").settings.folder


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

    assert not registry.settings.folder.exists()


def test_a_new_log_explains_itself(registry: Registry) -> None:
    """The schemas it is written with come first, and publishing them again changes nothing."""
    registry.log_training("m")
    publish_schemas(SqliteLog(registry.settings.folder), Codec())

    shipped = sum(len(versions) for versions in released_schemas().values())
    assert ((shipped,),) == registry.sql("select count(*) from schemas").rows
    assert (("ignored", shipped),) == registry.sql(
        "select decision, count(*) from events where decision != 'accepted' group by all"
    ).rows


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


# --- logging a training that is over -----------------------------------------------------------


def test_a_logged_training_can_be_read_back_whole(registry: Registry) -> None:
    """All that was given, by the one who gave it."""
    training_id = registry.log_training(
        "home-price",
        metrics=[
            Metric(name="mse", value=0.25, direction=Direction.LOWER, unit="k$²"),
            Metric(name="mse", value=0.5, slice="north"),
        ],
        parameters={"city": "Austin", "depth": 3},
        model_type="Ridge",
        framework="sklearn",
        features={"rooms": "float64", "age": "int64"},
        coefficients={"rooms": 1.5, "age": -0.5},
        git_sha="abc123",
        data_fingerprint="sha:1",
        created_at=THEN,
        started_at=THEN - timedelta(minutes=5),
        finished_at=THEN,
        tags={"team": "pricing"},
    )

    detail = registry.training_info(training_id)
    assert (training_id, "home-price", 1, "Ridge", "sklearn", "abc123", "sha:1", "ana") == (
        detail.training_id,
        detail.model,
        detail.version,
        detail.model_type,
        detail.framework,
        detail.git_sha,
        detail.data_fingerprint,
        detail.actor,
    )
    assert (THEN, THEN - timedelta(minutes=5), THEN) == (
        detail.created_at,
        detail.started_at,
        detail.finished_at,
    )
    assert [("mse", "", 0.25, "lower", "k$²"), ("mse", "north", 0.5)] == [
        (m.name, m.slice, m.value, m.direction, m.unit)[: 5 if not m.slice else 3] for m in detail.metrics
    ]
    assert [("rooms", "float64"), ("age", "int64")] == [(f.name, f.dtype) for f in detail.features]
    assert {"rooms": 1.5, "age": -0.5} == {c.name: c.value for c in detail.coefficients}
    assert {"team": "pricing"} == detail.tags


@pytest.mark.parametrize(
    ("value", "text", "number"),
    [
        ("Austin", "Austin", None),
        ("007", "007", None),
        ("", "", None),
        (3, "3", 3.0),
        (0.1, "0.1", 0.1),
        (1e-300, "1e-300", 1e-300),
        (True, "true", None),
        (None, "null", None),
        ([64, 64], "[64, 64]", None),
        ((64, np.int64(32)), "[64, 32]", None),
        ({"lr": 0.1}, '{"lr": 0.1}', None),
        (np.float64(0.1), "0.1", 0.1),
        (np.int32(7), "7", 7.0),
        (np.bool_(True), "true", None),  # noqa: FBT003 - the very value
        (np.str_("Austin"), "Austin", None),
        (Decimal("0.10"), "0.10", 0.1),
        (math.nan, "nan", math.nan),
        ("\N{LATIN SMALL LETTER E}\N{COMBINING ACUTE ACCENT}", "e\N{COMBINING ACUTE ACCENT}", None),
    ],
)
def test_a_parameter_is_a_text_and_a_number_where_it_is_one(
    registry: Registry, value: object, text: str, number: float | None
) -> None:
    """Whatever library the value comes from; a text is kept to the letter."""
    (parameter,) = registry.training_info(registry.log_training("m", parameters={"p": value})).parameters

    assert text == parameter.value
    assert repr(number) == repr(parameter.value_number)


@pytest.mark.parametrize(
    "value",
    [1, 0.1, np.float32(0.5), np.int64(2), np.array(3.0), Decimal("0.5"), math.nan, math.inf, -math.inf],
)
def test_any_number_is_a_metric(registry: Registry, value: Any) -> None:  # noqa: ANN401 - any library's number
    """NaN and the infinities too: they are what was measured."""
    (metric,) = registry.training_info(registry.log_training("m", metrics={"x": value})).metrics

    assert repr(float(value)) == repr(metric.value)


def test_names_are_normalised(registry: Registry) -> None:
    """What looks the same is the same, whichever way it was typed."""
    composed, decomposed = "café", "cafe\N{COMBINING ACUTE ACCENT}"
    registry.log_training(decomposed, metrics={decomposed: 1.0}, parameters={decomposed: "x"})

    (found,) = registry.search(composed, parameters={decomposed: "x"}, order_by=decomposed)
    assert (composed, {composed: 1.0}, {composed: "x"}) == (found.model, found.metrics, found.parameters)


BAD_TRAININGS: dict[str, dict[str, Any]] = {
    "no name": {"model": ""},
    "a name of another type": {"model": 3},
    "a long name": {"model": "m" * 201},
    "a control character": {"model": "a\nb"},
    "half a character": {"model": "\ud800"},
    "a metric that is a text": {"metrics": {"mse": "0.2"}},
    "a metric that is nothing": {"metrics": {"mse": None}},
    "a metric that is true": {"metrics": {"mse": True}},
    "a metric beyond a float": {"metrics": {"mse": 10**400}},
    "a metric of several values": {"metrics": {"mse": np.array([1.0, 2.0])}},
    "a metric without a name": {"metrics": {"": 1.0}},
    "a metric twice": {"metrics": [Metric(name="mse", value=1.0), Metric(name="mse", value=2.0)]},
    "metrics as a text": {"metrics": "mse"},
    "metrics of another kind": {"metrics": [0.1]},
    "an unknown direction": {"metrics": [Metric(name="mse", value=1.0, direction="down")]},  # type: ignore[arg-type]
    "a parameter without words": {"parameters": {"p": object()}},
    "parameters as a list": {"parameters": ["p"]},
    "a parameter too long": {"parameters": {"p": "x" * 1_001}},
    "a feature twice": {"features": ["rooms", "rooms"]},
    "features as a text": {"features": "rooms"},
    "a tag that is a number": {"tags": {"n": 1}},
    "an id that is none": {"training_id": "training-1"},
    "a time without a zone": {"created_at": datetime(2024, 1, 1)},  # noqa: DTZ001 - the mistake
    "a time that is a text": {"created_at": "2024-01-01"},
    "a time before 1970": {"created_at": datetime(1969, 1, 1, tzinfo=UTC)},
    "a body that is too large": {
        "parameters": {f"p{n}": "x" * 1_000 for n in range(1_000)},
        "tags": {"t": "x" * 999},
    },
    "an artifact that is not there": {"artifact": "nowhere.skops"},
    "an artifact of another kind": {"artifact": 3},
}


@pytest.mark.parametrize("given", BAD_TRAININGS.values(), ids=BAD_TRAININGS)
def test_a_training_that_is_not_well_formed_is_refused_whole(
    registry: Registry, given: dict[str, Any]
) -> None:
    """One sentence, and nothing is on the log."""
    registry.log_training("before")

    if given is BAD_TRAININGS["a body that is too large"]:
        given = {**given, "metrics": {f"{n:0200}": 1.0 for n in range(3_000)}}
    with pytest.raises(InvalidInput) as refused:
        registry.log_training(**{"model": "m", **given})

    assert "\n" not in str(refused.value)
    assert 1 == len(facts_on(registry))


def test_a_second_look_is_as_strict_as_the_first(registry: Registry) -> None:
    """Names that were logged before are remembered; what else may be wrong is not."""
    names = {"mse": 0.1, "mae": 0.2}
    registry.log_training("m", metrics=names)
    bad = [Metric(name="mse", value=0.1), Metric(name="mae", value="x")]  # type: ignore[arg-type]
    for given in ({"metrics": bad}, {"metrics": names, "model": ""}, {"metrics": {"mse": 1.0, "": 1.0}}):
        with pytest.raises(InvalidInput):
            registry.log_training(**{"model": "m", **given})  # type: ignore[arg-type]

    assert 1 == len(facts_on(registry))


def test_a_model_file_is_stored_and_recorded(registry: Registry, tmp_path: Path) -> None:
    """Its format is what its bytes are, and the store has them under their digest."""
    file = tmp_path / "model.cbm"
    file.write_bytes(b"CBM1 and the rest")
    detail = registry.training_info(registry.log_training("m", artifact=file))

    assert ("cbm", 17) == (detail.artifact_format, detail.artifact_size_bytes)
    assert b"CBM1 and the rest" == registry.artifacts.fetch(detail.artifact_sha256)
    with pytest.raises(InvalidInput, match="declared as skops"):
        registry.log_training("m", artifact=file, artifact_format="skops")
    with pytest.raises(InvalidInput, match="format of"):
        registry.log_training("m", artifact=Path(__file__))


def test_an_artifact_that_was_stored_before_is_recorded_as_it_is(registry: Registry) -> None:
    """For those who have a store of their own."""
    artifact = Artifact(uri="elsewhere:1", sha256="ab" * 32, size_bytes=3, format="onnx")
    detail = registry.training_info(registry.log_training("m", artifact=artifact))

    assert ("elsewhere:1", "ab" * 32) == (detail.artifact_uri, detail.artifact_sha256)


def test_the_commit_that_is_checked_out_is_recorded(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is none, nothing is, and nothing is said."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    without = registry.log_training("m")
    commit = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"]
    checkout = tmp_path / "checkout"
    subprocess.run(["git", "init", "-q", checkout], check=True)
    subprocess.run(commit, cwd=checkout, check=True)
    monkeypatch.chdir(checkout)
    sha = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
    with_one = registry.log_training("m")
    with registry.training("m") as run:
        pass

    found = [
        registry.training_info(training_id).git_sha for training_id in (without, with_one, run.training_id)
    ]
    assert ["", sha.strip(), sha.strip()] == found


# --- many at once ------------------------------------------------------------------------------


def test_an_import_can_be_repeated(registry: Registry) -> None:
    """With ids and times of their own, trainings that are there already stay as they are."""
    rows = [
        {
            "model": "m",
            "training_id": str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))),
            "metrics": {"mse": number / 10},
            "created_at": THEN + timedelta(days=number),
        }
        for number in range(1_200)
    ]
    ids = registry.log_trainings(rows)

    assert ids == [row["training_id"] for row in rows]
    assert ids == registry.log_trainings(iter(rows))
    assert ((1_200, THEN, THEN + timedelta(days=1_199)),) == registry.sql(
        "select count(*), min(created_at), max(created_at) from trainings"
    ).rows


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"model": "m", "metrics": {"mse": "x"}}, "metric 'mse'"),
        ({"metrics": {}}, "no model"),
        ({"model": "m", "colour": 1}, "'colour' is not one of"),
        ("m", "give a mapping"),
        (Training(training_id="x", model="m"), "not a UUID"),
    ],
)
def test_an_import_says_how_far_it_came(registry: Registry, bad: Any, said: str) -> None:  # noqa: ANN401 - anything
    """The bad one by its number, and how many are on the log."""
    rows = [*({"model": "m"} for _ in range(501)), bad]

    with pytest.raises(InvalidInput, match=said) as refused:
        registry.log_trainings(rows)

    assert "training 502: " in str(refused.value)
    assert "(the first 500 are logged)" in str(refused.value)
    assert 500 == len(facts_on(registry))


# --- a training while it runs ------------------------------------------------------------------


def test_a_run_becomes_one_record(registry: Registry) -> None:
    """Announced at the start, logged whole at the end; what was logged again counts as it was last."""
    with registry.training("home-price", parameters={"city": "Austin"}, tags={"a": "b"}) as training:
        training.log_parameter("depth", 3)
        training.log_parameter("city", "Dallas")
        training.log_metric("mse", 0.5)
        training.log_metric("mse", 0.25, direction="lower", unit="k$²")
        training.log_metric("mse", 0.75, slice="north")
        training.set_features(["rooms"])
        training.log_coefficients({"rooms": 2})

    assert ["TrainingStarted", "TrainingLogged"] == [type(fact).__name__ for fact in facts_on(registry)]
    detail = registry.training_info(training.training_id)
    assert {"city": "Dallas", "depth": "3"} == {p.name: p.value for p in detail.parameters}
    assert {"": 0.25, "north": 0.75} == {m.slice: m.value for m in detail.metrics}
    assert [("rooms", 2.0)] == [(c.name, c.value) for c in detail.coefficients]
    assert detail.started_at is not None
    assert detail.finished_at is not None
    assert detail.started_at <= detail.finished_at == detail.created_at


def test_a_saved_model_tells_of_itself(registry: Registry) -> None:
    """Its bytes load again; features and coefficients come from the model."""
    import pandas as pd

    frame = pd.DataFrame({"rooms": [1.0, 2.0, 3.0], "age": [3.0, 1.0, 2.0]})
    model = make_pipeline(StandardScaler(), Ridge(alpha=0.0)).fit(frame, [1.0, 2.0, 3.0])
    with registry.training("home-price") as training:
        digest = training.save(model)

    detail = registry.training_info(training.training_id)
    assert ("sklearn", "Pipeline", "skops", digest) == (
        detail.framework,
        detail.model_type,
        detail.artifact_format,
        detail.artifact_sha256,
    )
    assert ["rooms", "age"] == [feature.name for feature in detail.features]
    assert ["rooms", "age", "intercept"] == [coefficient.name for coefficient in detail.coefficients]
    loaded = load_model(registry.artifacts.fetch(digest), "skops")
    assert np.allclose([1.0, 2.0, 3.0], loaded.predict(frame))


def test_the_coefficients_are_those_of_the_last_step() -> None:
    """Named as the steps before call their outputs; of several classes, each by its class."""
    import pandas as pd

    frame = pd.DataFrame({"city": ["a", "b", "c", "a"]})
    encoded = make_pipeline(OneHotEncoder(), Ridge()).fit(frame, [1.0, 2.0, 3.0, 1.0])
    classes = LogisticRegression().fit([[0.0], [1.0], [2.0]], ["x", "y", "z"])

    assert ["city_a", "city_b", "city_c", "intercept"] == [c.name for c in coefficients_of_model(encoded)]
    assert ["x:x0", "x:intercept", "y:x0", "y:intercept", "z:x0", "z:intercept"] == [
        c.name for c in coefficients_of_model(classes)
    ]
    assert () == coefficients_of_model(StandardScaler())
    assert () == coefficients_of_model(object())
    assert () == coefficients_of_model(Ridge().fit(np.eye(3, 1_001), [1.0, 2.0, 3.0]))


def test_values_with_a_step_are_all_there_in_bounded_chunks(registry: Registry) -> None:
    """However many, however long their names; each chunk has its number."""
    with registry.training("m") as training:
        for step in range(2_500):
            training.log_metric("loss", 1.0 / (step + 1), step=step)
        for step in range(1_000):
            training.log_metric(
                "\N{EARTH GLOBE AMERICAS}" * 200, np.float32(0.5), step=np.int64(step), slice="s" * 200
            )
        training.log_metric("mse", 0.5)

    chunks = [fact for fact in facts_on(registry, METRICS) if isinstance(fact, MetricsLogged)]
    assert list(range(len(chunks))) == [chunk.sequence for chunk in chunks]
    assert 1 == len({chunk.producer for chunk in chunks})
    assert max(len(Codec().encode(chunk).value) for chunk in chunks) < MAX_BODY_BYTES / 2
    steps = registry.training_info(training.training_id).step_metrics
    assert [(2_500, 2_499), (1_000, 999)] == [(metric.count, metric.last_step) for metric in steps]


def test_values_reach_the_log_while_the_training_runs(registry: Registry) -> None:
    """A run that dies without a word has lost no more than its last chunk."""
    with registry.training("m") as training:
        for step in range(1_001):
            training.log_metric("loss", 0.5, step=step)

        assert [1_000] == [len(chunk.points) for chunk in facts_on(registry, METRICS)]


class Lost(Exception):
    """An error whose text is longer than a record keeps."""

    def __str__(self) -> str:
        return "\ud800" + "lost " * 5_000


@pytest.mark.parametrize(
    "error", [ValueError("no rows for Austin"), KeyboardInterrupt(), Lost(), SystemExit(1)]
)
def test_a_run_that_raises_is_recorded_as_failed(registry: Registry, error: BaseException) -> None:
    """The error goes on its way; the run has its reason, its step values, and no training."""
    training = registry.training("m")

    def run() -> None:
        with training:
            training.log_metric("loss", 0.5, step=1)
            raise error

    with pytest.raises(type(error)) as raised:
        run()

    assert error is raised.value
    ((state, told),) = registry.sql("select state, error from runs").rows
    assert "failed" == state
    assert told.startswith(type(error).__name__)
    assert () == registry.sql("from trainings").rows
    assert 1 == len(facts_on(registry, METRICS))
    with pytest.raises(NotFound):
        registry.training_info(training.training_id)


def test_a_run_whose_record_is_refused_is_recorded_as_failed(registry: Registry) -> None:
    """It would look as if it still ran."""
    with pytest.raises(InvalidInput, match="printable"), registry.training("m") as training:
        training.log_metric("a\nb", 0.5)

    ((state, told),) = registry.sql("select state, error from runs").rows
    assert "failed" == state
    assert "not printable" in told
    assert training.training_id


def test_a_failure_that_cannot_be_recorded_does_not_hide_the_error(registry: Registry) -> None:
    """The person sees what went wrong in the training, and a warning."""

    def run() -> None:
        with registry.training("m"):
            registry.close()
            raise ZeroDivisionError

    with pytest.warns(UserWarning, match="was not recorded"), pytest.raises(ZeroDivisionError):
        run()


BAD_CALLS: dict[str, Callable[[Any], object]] = {
    "a text for a value": lambda run: run.log_metric("loss", "0.5", step=1),
    "half a step": lambda run: run.log_metric("loss", 0.5, step=0.5),
    "a text for a step": lambda run: run.log_metric("loss", 0.5, step="1"),
    "an unknown direction": lambda run: run.log_metric("loss", 0.5, direction="up"),
    "a name of another type": lambda run: run.log_metric(3, 0.5, step=1),
    "a parameter without words": lambda run: run.log_parameter("p", object()),
    "no model": lambda run: run.save("not a model"),
    "an unknown format": lambda run: run.save(Ridge(), format="yaml"),
}


@pytest.mark.parametrize("call", BAD_CALLS.values(), ids=BAD_CALLS)
def test_a_bad_call_is_refused_where_it_is_made(registry: Registry, call: Callable[[Any], object]) -> None:
    """The training can go on: nothing of the call is kept."""
    with registry.training("m") as training, pytest.raises(InvalidInput):
        call(training)

    detail = registry.training_info(training.training_id)
    assert ((), (), "") == (detail.metrics, detail.step_metrics, detail.artifact_sha256)


def test_a_run_logs_inside_its_block_only(registry: Registry) -> None:
    """Neither before nor after, and one run is one training."""
    training = registry.training("m")
    with pytest.raises(InvalidInput, match="inside its block"):
        training.log_metric("mse", 0.5)
    with training:
        pass
    with pytest.raises(InvalidInput, match="inside its block"):
        training.log_metric("mse", 0.5, step=1)
    with pytest.raises(InvalidInput, match="runs once"), training:
        pass


# --- asking for something to be done -----------------------------------------------------------


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
    assert not (registry.settings.folder / "artifacts").exists()


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


def test_everything_appended_before_is_seen(registry: Registry) -> None:
    """By this registry and by another, also where a snapshot was open."""
    with deedbook.connect(registry.settings.url) as other:
        for count in range(1, 4):
            registry.log_training("m", metrics={"mse": count})
            for asked in (registry, other):
                assert [count, count, count] == [len(asked.search("m")) for _ in range(3)]
                assert ((count,),) == asked.sql("select count(*) from trainings").rows


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
    "a wrong statement": lambda r: r.sql("selekt"),
    "a writing statement": lambda r: r.sql("delete from base.training"),
    "a parameter of several values": lambda r: r.search(parameters={"x": np.array([1, 2])}),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("ask", BAD_QUESTIONS.values(), ids=BAD_QUESTIONS)
def test_a_question_that_is_none_is_refused(registry: Registry, ask: Callable[[Registry], object]) -> None:
    """With a sentence, and the registry answers the next one."""
    registry.log_training("m")

    with pytest.raises(InvalidInput):
        ask(registry)

    assert 1 == len(registry.search())


def test_several_threads_may_share_a_registry(registry: Registry) -> None:
    """Each logs and asks; nothing is lost, and nobody sees half."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(5):
                training_id = registry.log_training("m", metrics={"mse": 0.5})
                assert registry.search("m")
                assert training_id == registry.training_info(training_id).training_id
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [] == failures
    assert 20 == len(registry.search("m"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_process_logs_on_its_own(registry: Registry) -> None:
    """Data loaders fork: both sides go on, and both are recorded."""
    registry.log_training("before")
    child = os.fork()
    if child == 0:
        registry.log_training("child")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    registry.log_training("parent")

    assert 0 == status
    assert {"before", "child", "parent"} == {training.model for training in registry.search()}
