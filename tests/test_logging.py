"""Logging trainings: one that is over, many at once, and one while it runs."""

import math
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from deedbook.artifacts.formats import load_model
from deedbook.client.fitted import coefficients_of_model
from deedbook.client.registry import Registry
from deedbook.events.codec import Codec
from deedbook.events.errors import InvalidInput, NotFound
from deedbook.events.facts import (
    METRICS,
    TOPICS,
    Artifact,
    Direction,
    Metric,
    MetricsLogged,
    Training,
)
from deedbook.events.log import MAX_BODY_BYTES
from deedbook.events.sqlite_log import SqliteLog
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
    """A registry that many tests log to, each a training of its own, and ask for that one alone."""
    with reached(tmp_path_factory.mktemp("shared") / "registry", EMBEDDED) as found:
        yield found


def ends_of(registry: Registry) -> dict[tuple[str, int], int]:
    """Where each topic of a registry's log ends."""
    with closing(SqliteLog(log_folder(registry))) as log:
        return log.ends(TOPICS)


# --- logging a training that is over -----------------------------------------------------------


@either_way
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


PARAMETERS: list[tuple[object, str, float | None]] = [
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
]
METRIC_VALUES: list[Any] = [
    1,
    0.1,
    np.float32(0.5),
    np.int64(2),
    np.array(3.0),
    Decimal("0.5"),
    math.nan,
    math.inf,
    -math.inf,
]


@pytest.fixture(scope="module")
def with_parameter(shared: Registry) -> list[str]:
    """A training with each of those values as its parameter."""
    return [shared.log_training("m", parameters={"p": value}) for value, _, _ in PARAMETERS]


@pytest.fixture(scope="module")
def with_metric(shared: Registry) -> list[str]:
    """A training with each of those values as its metric."""
    return [shared.log_training("m", metrics={"x": value}) for value in METRIC_VALUES]


@pytest.mark.parametrize(
    ("at", "text", "number"), [(at, text, number) for at, (_, text, number) in enumerate(PARAMETERS)]
)
def test_a_parameter_is_a_text_and_a_number_where_it_is_one(
    shared: Registry, with_parameter: list[str], at: int, text: str, number: float | None
) -> None:
    """Whatever library the value comes from; a text is kept to the letter."""
    (parameter,) = shared.training_info(with_parameter[at]).parameters

    assert text == parameter.value
    assert repr(number) == repr(parameter.value_number)


@pytest.mark.parametrize(("at", "value"), list(enumerate(METRIC_VALUES)))
def test_any_number_is_a_metric(
    shared: Registry,
    with_metric: list[str],
    at: int,
    value: Any,  # noqa: ANN401 - any library's number
) -> None:
    """NaN and the infinities too: they are what was measured."""
    (metric,) = shared.training_info(with_metric[at]).metrics

    assert repr(float(value)) == repr(metric.value)


@either_way
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
def test_a_training_that_is_not_well_formed_is_refused_whole(shared: Registry, given: dict[str, Any]) -> None:
    """One sentence, and nothing is on the log."""
    before = ends_of(shared)

    if given is BAD_TRAININGS["a body that is too large"]:
        given = {**given, "metrics": {f"{n:0200}": 1.0 for n in range(3_000)}}
    with pytest.raises(InvalidInput) as refused:
        shared.log_training(**{"model": "m", **given})

    assert "\n" not in str(refused.value)
    assert before == ends_of(shared)


def test_a_second_look_is_as_strict_as_the_first(registry: Registry) -> None:
    """Names that were logged before are remembered; what else may be wrong is not."""
    names = {"mse": 0.1, "mae": 0.2}
    registry.log_training("m", metrics=names)
    bad = [Metric(name="mse", value=0.1), Metric(name="mae", value="x")]  # type: ignore[arg-type]
    for given in ({"metrics": bad}, {"metrics": names, "model": ""}, {"metrics": {"mse": 1.0, "": 1.0}}):
        with pytest.raises(InvalidInput):
            registry.log_training(**{"model": "m", **given})  # type: ignore[arg-type]

    assert 1 == len(facts_on(registry))


@either_way
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


def test_a_file_is_not_stored_for_a_training_that_is_refused(registry: Registry, tmp_path: Path) -> None:
    """Nothing is left behind, neither on the log nor in the store."""
    file = tmp_path / "model.cbm"
    file.write_bytes(b"CBM1")

    with pytest.raises(InvalidInput, match="not printable"):
        registry.log_training("a\nb", artifact=file)
    with pytest.raises(InvalidInput, match="not printable"):
        registry.log_trainings([{"model": "m", "tags": {"a\nb": ""}, "artifact": str(file)}])
    assert not registry.settings.place.folder.exists()


@either_way
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


@either_way
def test_an_import_can_be_repeated(registry: Registry) -> None:
    """With ids and times of their own, trainings that are there already stay as they are."""
    rows = [
        {
            "model": "m",
            "training_id": str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))),
            "metrics": {"mse": number / 10},
            "created_at": THEN + timedelta(days=number),
        }
        for number in range(600)
    ]
    ids = registry.log_trainings(rows)

    assert ids == [row["training_id"] for row in rows]
    assert ids == registry.log_trainings(iter(rows))
    found = registry.search("m", limit=1_000)
    assert [THEN + timedelta(days=day) for day in reversed(range(600))] == [t.created_at for t in found]


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


@either_way
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


@either_way
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


@either_way
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


@either_way
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


@either_way
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
def test_a_bad_call_is_refused_where_it_is_made(shared: Registry, call: Callable[[Any], object]) -> None:
    """The training can go on: nothing of the call is kept."""
    with shared.training("m") as training, pytest.raises(InvalidInput):
        call(training)

    detail = shared.training_info(training.training_id)
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
