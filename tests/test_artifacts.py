"""What is put under a digest comes back, or an error says why; models load in their own format only."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import catboost
import numpy as np
import onnxruntime  # noqa: F401 (the tests of ONNX need it)
import pandas as pd
import pytest
import skops.io
from skl2onnx import to_onnx
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from deedbook.artifacts.formats import check_format, detect_format, load_model, save_model
from deedbook.artifacts.predictions import predict_rows
from deedbook.artifacts.requests import MAX_TEXT_CHARACTERS, decode, encode, rows_for
from deedbook.artifacts.s3.address import S3Address
from deedbook.artifacts.s3.store import S3ArtifactStore
from deedbook.artifacts.store import ArtifactStore, LocalArtifactStore, Stored, store_at
from deedbook.events.errors import ArtifactDamaged, InvalidInput, NotFound, StorageFull
from tests.servers.shared import Bucket

X = np.array([[1.0, 2.0], [2.0, 1.0], [3.0, 5.0], [4.0, 3.0]])
Y = X @ [2.0, 3.0] + 1.0
ROWS = [[1.0, 1.0], [10.0, 0.0]]


STORES = ("local", "s3")


@dataclass(frozen=True)
class Kept:
    """An empty store of one kind, and a way past it to damage what it keeps."""

    store: ArtifactStore
    damage: Callable[[str, bytes], object]


def kept_in_a_folder(folder: Path) -> Kept:
    """A store in a folder that does not exist yet."""

    def damage(digest: str, data: bytes) -> None:
        file = folder / "sha256" / digest[:2] / digest
        file.chmod(0o644)
        file.write_bytes(data)

    return Kept(LocalArtifactStore(folder), damage)


def kept_in_s3(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Kept:
    """A store in a fresh bucket of the real server."""
    for name, value in bucket.place.environment().items():
        monkeypatch.setenv(name, value)
    address = S3Address(bucket.name, "models", bucket.place.endpoint, bucket.place.region)
    client: Any = bucket.client

    def damage(digest: str, data: bytes) -> None:
        client.put_object(Bucket=address.bucket, Key=address.key(digest), Body=data)

    return Kept(S3ArtifactStore(address), damage)


@pytest.fixture(params=STORES)
def kept(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    """An empty store of each kind in turn."""
    if request.param == "local":
        return kept_in_a_folder(tmp_path / "artifacts")
    return kept_in_s3(request.getfixturevalue("s3"), monkeypatch)


@pytest.fixture
def store(kept: Kept) -> ArtifactStore:
    """The store itself."""
    return kept.store


@pytest.fixture
def local(tmp_path: Path) -> LocalArtifactStore:
    """An empty store in a folder that does not exist yet."""
    return LocalArtifactStore(tmp_path / "artifacts")


# --- what every store keeps --------------------------------------------------------------------


class TestStore:
    """The contract."""

    def test_bytes_and_files_come_back_under_their_digest(self, store: ArtifactStore, tmp_path: Path) -> None:
        """Bytes and a file with the same content are one artifact, named by what it holds."""
        (tmp_path / "model.bin").write_bytes(b"model")

        stored = store.put(b"model")

        assert (sha256(b"model").hexdigest(), 5) == (stored.sha256, stored.size_bytes)
        assert stored == store.put(tmp_path / "model.bin")
        assert stored.sha256 == store.digest_of(stored.uri)
        assert b"model" == store.fetch(stored.sha256)
        assert b"model" == store.path(stored.sha256).read_bytes()
        assert store.has(stored.sha256)

    @pytest.mark.parametrize("data", [b"", b"x" * 3_000_000])
    def test_an_artifact_may_be_empty_or_large(
        self, store: ArtifactStore, data: bytes, tmp_path: Path
    ) -> None:
        """From memory and from a file alike."""
        (tmp_path / "model.bin").write_bytes(data)
        stored = store.put(tmp_path / "model.bin")

        assert stored == store.put(data)
        assert data == store.fetch(stored.sha256) == store.path(stored.sha256).read_bytes()

    @pytest.mark.parametrize("damage", [b"modem", b"mode", b""])
    def test_damaged_bytes_are_never_returned(self, kept: Kept, damage: bytes) -> None:
        """A flipped bit, a truncation: neither fetch, path nor a second put passes over it."""
        store = kept.store
        digest = store.put(b"model").sha256
        kept.damage(digest, damage)

        for reading in (lambda: store.fetch(digest), lambda: store.path(digest), lambda: store.put(b"model")):
            with pytest.raises(ArtifactDamaged, match=f"artifact {digest} is damaged"):
                reading()

    @pytest.mark.parametrize("digest", ["", "ab", "../../etc/passwd", "A" * 64, "0" * 63 + "\n", "0" * 65])
    def test_what_is_not_a_digest_is_looked_for_nowhere(self, store: ArtifactStore, digest: str) -> None:
        """Paths and keys are made from digests only."""
        for looking in (store.fetch, store.path, store.has):
            with pytest.raises(InvalidInput, match="is not a SHA-256 digest"):
                looking(digest)

    def test_an_absent_artifact_is_not_found(self, store: ArtifactStore) -> None:
        """Also when nothing was ever stored."""
        for reading in (store.fetch, store.path):
            with pytest.raises(NotFound, match="no artifact 0000"):
                reading("0" * 64)
        assert not store.has("0" * 64)

    @pytest.mark.parametrize(
        "uri", ["s3://bucket/key", "file:///etc/passwd", "artifact:sha256:../x", "artifact:sha256:"]
    )
    def test_a_foreign_uri_is_one_sentence(self, store: ArtifactStore, uri: str) -> None:
        """A URI chooses bytes only through the digest in it."""
        with pytest.raises(InvalidInput):
            store.digest_of(uri)

    def test_more_bytes_than_asked_for_are_not_read(self, store: ArtifactStore) -> None:
        """A bound is checked before the bytes are in memory."""
        digest = store.put(b"model").sha256
        with pytest.raises(InvalidInput, match="has 5 bytes; at most 4 are read here"):
            store.fetch(digest, max_bytes=4)
        assert b"model" == store.fetch(digest, max_bytes=5)

    def test_an_absent_source_is_not_found(self, store: ArtifactStore, tmp_path: Path) -> None:
        """It is named."""
        with pytest.raises(NotFound, match=r"no file '.*nothing' to store"):
            store.put(tmp_path / "nothing")

    def test_a_source_that_can_not_be_read_is_refused(self, store: ArtifactStore, tmp_path: Path) -> None:
        """A folder, for example."""
        with pytest.raises(InvalidInput, match="cannot read"):
            store.put(tmp_path)

    def test_progress_goes_from_nothing_to_everything(self, store: ArtifactStore, tmp_path: Path) -> None:
        """It never goes back, and a second put, which may have nothing to do, ends with everything, too."""
        (tmp_path / "model.bin").write_bytes(b"x" * 3_000_000)
        for source in (tmp_path / "model.bin", b"x" * 3_000_000):
            told: list[tuple[int, int]] = []
            store.put(source, on_progress=lambda done, total: told.append((done, total)))  # noqa: B023 (called now)

            assert sorted(told) == told
            assert {3_000_000} == {total for _, total in told}
            assert (3_000_000, 3_000_000) == told[-1]

    def test_threads_may_share_a_store(self, store: ArtifactStore) -> None:
        """8 threads store the same artifact and one of their own each: every one comes back."""
        stored: list[tuple[bytes, Stored]] = []

        def work(number: int) -> None:
            stored.extend((data, store.put(data)) for data in (b"the same", f"{number}".encode()))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=120)

        assert 16 == len(stored)
        assert [data for data, _ in stored] == [store.fetch(one.sha256) for _, one in stored]


# --- where a store is --------------------------------------------------------------------------


def test_a_store_that_was_moved_keeps_its_uris(local: LocalArtifactStore, tmp_path: Path) -> None:
    """A URI names no folder."""
    stored = local.put(b"model")
    (tmp_path / "artifacts").rename(tmp_path / "elsewhere")
    moved = store_at(f"file://{tmp_path}/elsewhere")

    assert f"artifact:sha256:{stored.sha256}" == stored.uri
    assert b"model" == moved.fetch(moved.digest_of(stored.uri))


@pytest.mark.parametrize("location", ["gs://bucket/prefix", "file://relative", "https://user:hunter2@host/x"])
def test_an_unknown_place_for_artifacts_is_refused(location: str) -> None:
    """The sentence says which places there are, and repeats nothing that may be a password."""
    with pytest.raises(InvalidInput, match="give a folder, file:///folder, or s3://bucket/prefix") as refused:
        store_at(location)
    assert "hunter2" not in str(refused.value)


# --- the store in a folder ---------------------------------------------------------------------


def test_an_artifact_is_one_file_named_by_its_digest(local: LocalArtifactStore, tmp_path: Path) -> None:
    """Whoever looks into the folder finds it."""
    digest = local.put(b"model").sha256

    assert tmp_path / "artifacts" / "sha256" / digest[:2] / digest == local.path(digest)


def test_an_absent_source_leaves_nothing_behind(local: LocalArtifactStore, tmp_path: Path) -> None:
    """No temporary file stays after an error."""
    with pytest.raises(NotFound, match="no file"):
        local.put(tmp_path / "nothing")
    assert [] == [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]


def test_a_copy_from_another_store_is_kept_if_it_is_whole(local: LocalArtifactStore, tmp_path: Path) -> None:
    """Bytes of another digest are not; a damaged file in its place is replaced."""
    digest = sha256(b"model").hexdigest()
    with pytest.raises(ArtifactDamaged, match=f"artifact {digest} is damaged"):
        local.keep(digest, [b"mod", b"em"])
    assert [] == [path for path in tmp_path.rglob("*") if path.is_file()]

    copy = local.keep(digest, [b"mod", b"el"])
    copy.chmod(0o644)
    copy.write_bytes(b"modem")

    assert copy == local.keep(digest, [b"model"]) == local.path(digest)
    assert b"model" == local.fetch(digest)


def test_the_leftovers_of_a_killed_writer_are_removed_and_a_living_ones_kept(
    local: LocalArtifactStore, tmp_path: Path
) -> None:
    """A writer holds a lock on its file as long as it lives."""
    local.put(b"first")
    incoming = tmp_path / "artifacts" / "incoming"
    script = (
        "import fcntl, os, sys, time; f = open(sys.argv[1], 'wb'); fcntl.flock(f, fcntl.LOCK_EX);"
        " print('locked', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(incoming / "writer")], stdout=subprocess.PIPE
    ) as writer:  # the interpreter of this test run
        assert writer.stdout is not None
        writer.stdout.readline()
        local.put(b"second")
        assert ["writer"] == [path.name for path in incoming.iterdir()]
        writer.kill()
        writer.wait()
    local.put(b"third")

    assert [] == list(incoming.iterdir())


def test_a_full_disk_stores_nothing(tmp_path: Path) -> None:
    """A file size limit stands for the full disk: the write fails half-way in the same place."""
    script = (
        "import resource, sys; from pathlib import Path; from deedbook.artifacts.store import LocalArtifactStore\n"
        "from deedbook.events.errors import StorageFull\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: LocalArtifactStore(Path(sys.argv[1])).put(b'x' * 300_000)\n"
        "except StorageFull as error: print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )

    assert "no room left for an artifact" in result.stdout
    assert [] == [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_disk_that_is_really_full_stores_nothing(tmp_path: Path) -> None:
    """A file system of 64 KiB, made for this test."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], check=False)
    if mounted.returncode:
        pytest.skip("this system does not let a test mount a file system")
    try:
        with pytest.raises(StorageFull, match="nothing was stored"):
            LocalArtifactStore(tmp_path).put(b"x" * 300_000)
        assert [] == [path for path in tmp_path.rglob("*") if path.is_file()]
    finally:
        subprocess.run(["umount", tmp_path], check=True)


# --- model formats -----------------------------------------------------------------------------


def frame() -> pd.DataFrame:
    """A table with a text column."""
    return pd.DataFrame({"city": ["Austin", "Waco", "Austin", "Waco"], "sales": [1.0, 2.0, 3.0, 4.0]})


def text_pipeline() -> object:
    """A pipeline that was fitted on named columns, one of them text."""
    columns = ColumnTransformer([("city", OneHotEncoder(), ["city"])], remainder=StandardScaler())
    return make_pipeline(columns, LinearRegression()).fit(frame(), [10.0, 20.0, 12.0, 22.0])


@pytest.mark.parametrize(
    "estimator",
    [
        LinearRegression(),
        RandomForestRegressor(n_estimators=3, random_state=0),
        HistGradientBoostingRegressor(),
        KNeighborsRegressor(n_neighbors=1),
        make_pipeline(StandardScaler(), LinearRegression()),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_a_scikit_learn_model_comes_back_as_skops(estimator: LinearRegression) -> None:
    """It predicts exactly what it predicted before."""
    estimator.fit(X, Y)
    saved = save_model(estimator)
    again = load_model(saved.data, saved.format)

    assert ("skops", "sklearn", type(estimator).__name__) == (saved.format, saved.framework, saved.model_type)
    assert tuple(estimator.predict(ROWS)) == predict_rows(again, ["a", "b"], ROWS)


def test_a_model_fitted_on_names_gets_its_columns_by_name() -> None:
    """The rows may have them in another order."""
    saved = save_model(text_pipeline())
    again = load_model(saved.data, saved.format)
    expected = tuple(again.predict(frame()))

    rows = [[sales, city] for city, sales in zip(frame()["city"], frame()["sales"], strict=True)]

    assert expected == predict_rows(again, ["sales", "city"], rows)
    with pytest.raises(InvalidInput, match="fitted on features that are not given: city"):
        predict_rows(again, ["sales"], [[1.0]])


def test_a_classifier_of_two_predicts_the_probability_of_the_second() -> None:
    """The distribution of probabilities says more than that of labels."""
    model = LogisticRegression().fit(X, ["no", "no", "yes", "yes"])
    assert tuple(model.predict_proba(ROWS)[:, 1]) == predict_rows(model, ["a", "b"], ROWS)


def test_a_classifier_of_more_predicts_its_class() -> None:
    """Numbers stay numbers; names become their place among the classes."""
    named = LogisticRegression().fit(X, ["low", "mid", "high", "high"])
    numbered = LogisticRegression().fit(X, [10, 20, 30, 30])

    assert tuple(float(list(named.classes_).index(label)) for label in named.predict(X)) == predict_rows(
        named, ["a", "b"], X.tolist()
    )
    assert tuple(float(label) for label in numbered.predict(X)) == predict_rows(
        numbered, ["a", "b"], X.tolist()
    )


@pytest.mark.parametrize("kind", [catboost.CatBoostRegressor, catboost.CatBoostClassifier])
def test_a_catboost_model_comes_back_as_cbm(kind: type[catboost.CatBoost]) -> None:
    """A classifier is a classifier again, although the file does not say its class."""
    model = kind(iterations=5, verbose=0, allow_writing_files=False, thread_count=1).fit(
        X, [0.0, 0.0, 1.0, 1.0]
    )
    saved = save_model(model)
    again = load_model(saved.data, saved.format)

    assert ("cbm", "catboost") == (saved.format, saved.framework)
    assert predict_rows(model, ["a", "b"], ROWS) == predict_rows(again, ["a", "b"], ROWS)
    assert all(0 < value < 1 for value in predict_rows(again, ["a", "b"], ROWS))


@pytest.mark.parametrize("options", [{}, {"zipmap": False}])
def test_an_onnx_classifier_predicts_what_its_origin_does(options: dict[str, object]) -> None:
    """Both ways a converter writes probabilities are read."""
    model = LogisticRegression().fit(X, [0, 0, 1, 1])
    saved = save_model(to_onnx(model, X[:1].astype(np.float32), options=options))
    again = load_model(saved.data, saved.format)

    assert ("onnx", "onnx") == (saved.format, saved.framework)
    assert model.predict_proba(ROWS)[:, 1].tolist() == pytest.approx(
        predict_rows(again, ["a", "b"], ROWS), abs=1e-6
    )


def test_an_onnx_regressor_predicts_what_its_origin_does() -> None:
    """The matrix goes through one input."""
    model = LinearRegression().fit(X, Y)
    again = load_model(save_model(to_onnx(model, X[:1].astype(np.float32))).data, "onnx")

    assert model.predict(ROWS).tolist() == pytest.approx(predict_rows(again, ["a", "b"], ROWS), rel=1e-5)


@pytest.mark.parametrize("format_name", ["pickle", "joblib"])
def test_pickles_are_loaded_only_where_allowed_by_name(format_name: str) -> None:
    """They run their author's code."""
    saved = save_model(LinearRegression().fit(X, Y), format=format_name)

    with pytest.raises(InvalidInput, match=f"in the format {format_name} are not allowed here"):
        load_model(saved.data, format_name)
    again = load_model(saved.data, format_name, allowed={format_name})
    assert predict_rows(again, ["a", "b"], ROWS) == pytest.approx((6.0, 21.0))


def test_a_pickle_declared_as_skops_is_refused() -> None:
    """There is no fallback, even where pickles are allowed."""
    with pytest.raises(InvalidInput, match="declared as skops, but its bytes are not: they look like pickle"):
        load_model(pickle.dumps(LinearRegression()), "skops", allowed={"skops", "pickle"})


@pytest.mark.parametrize("head", [b"", b"\x80", b"hello", b"\x1f\x8b\x08", b"\x78\x9c"])
def test_unknown_bytes_are_no_format(head: bytes) -> None:
    """Compressed joblib files, too: what they inflate to can't be bounded."""
    assert detect_format(head) is None
    with pytest.raises(InvalidInput, match="they are no format we know"):
        check_format(head, "joblib")


def test_an_object_that_is_no_model_is_refused() -> None:
    """The message names what would do."""
    with pytest.raises(InvalidInput, match="give a scikit-learn, CatBoost or ONNX model"):
        save_model({"weights": [1, 2]})
    with pytest.raises(InvalidInput, match="can't be saved as cbm"):
        save_model(LinearRegression(), format="cbm")
    with pytest.raises(InvalidInput, match="'h5' is not a model format"):
        save_model(LinearRegression(), format="h5")


def skops_with(**members: bytes) -> bytes:
    """A deflated skops-like zip of the given members (`schema` is schema.json)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr("schema.json" if name == "schema" else name, data)
    return buffer.getvalue()


def test_a_zip_bomb_is_refused_before_it_is_inflated() -> None:
    """What the members say they inflate to is added up first."""
    bomb = skops_with(schema=b"{}", zeros=b"\0" * (1 << 20))
    # The size in the central directory is what a reader is told: claim two gibibytes.
    bomb = bomb.replace((1 << 20).to_bytes(4, "little"), (1 << 31).to_bytes(4, "little"))
    with pytest.raises(InvalidInput, match="would inflate to 2147483650 bytes; at most 1073741824 are read"):
        load_model(bomb, "skops")


def test_a_zip_of_too_many_members_is_refused() -> None:
    """Each costs memory before a byte of it is read."""
    crowd = skops_with(schema=b"{}", **{f"m{number}": b"" for number in range(20_001)})
    with pytest.raises(InvalidInput, match="has 20002 members; at most 20000 are read"):
        load_model(crowd, "skops")


@pytest.mark.parametrize(
    "schema", [b"{}", b"[", b"[" * 100_000, b"\xff", b'{"protocol": 1, "__loader__": "X"}']
)
def test_a_broken_skops_file_is_one_sentence(schema: bytes) -> None:
    """Whatever the library raises, it is the file that is broken."""
    with pytest.raises(InvalidInput, match="the skops file is broken"):
        load_model(skops_with(schema=schema), "skops")
    with pytest.raises(InvalidInput, match="not a skops file"):
        load_model(skops_with(other=schema), "skops")


def test_a_type_that_is_not_trusted_is_named_when_loading_and_when_saving() -> None:
    """A skops file can name any function; only scikit-learn's model classes are built."""
    data = skops.io.dumps(make_pipeline(FunctionTransformer(os.getenv), LinearRegression()))
    with pytest.raises(InvalidInput, match=r"types that are not trusted: os\.getenv"):
        load_model(data, "skops")
    with pytest.raises(InvalidInput, match=r"types that are not trusted: os\.getenv"):
        save_model(make_pipeline(FunctionTransformer(os.getenv), LinearRegression()))


@pytest.mark.parametrize(
    "name", ["sklearn.datasets.fetch_openml", "sklearn.utils.Bunch", "sklearn.tree.x.os.system"]
)
def test_scikit_learn_names_that_are_no_models_are_not_trusted(name: str) -> None:
    """The list is of model classes, not of the whole package."""
    module, _, cls = name.rpartition(".")

    def node(kind: str, loader: str, number: int) -> dict[str, object]:
        return {"__class__": kind, "__module__": "builtins", "__loader__": loader, "__id__": number}

    nothing = {**node("list", "ListNode", 2), "content": []}
    content = {**node("dict", "DictNode", 3), "content": {}, "key_types": nothing}
    schema = {**node(cls, "ObjectNode", 1), "__module__": module, "protocol": 2, "content": content}
    with pytest.raises(InvalidInput, match=f"types that are not trusted: {name}"):
        load_model(skops_with(schema=json.dumps(schema).encode()), "skops")


class Odd:
    """A model of the test's own, which predicts what it was told to."""

    def __init__(self, predicted: object) -> None:
        """Keep the answer."""
        self.predicted = predicted

    def predict(self, matrix: object) -> object:  # noqa: ARG002 (a model's signature)
        """Return the answer."""
        return self.predicted


@pytest.mark.parametrize(
    ("predicted", "reason"),
    [
        ([1.0], "1 values for 2 rows"),
        (np.zeros((2, 3)), "predicted a list, not a number"),
        (["a", "b"], "predicted a str, not a number"),
        ([1.0, None], "predicted a NoneType, not a number"),
    ],
)
def test_predictions_that_are_not_one_number_a_row_are_refused(predicted: object, reason: str) -> None:
    """One column of numbers is accepted as it is; everything else has a reason."""
    assert (1.0, 2.0) == predict_rows(Odd(np.array([[1], [2]])), ["a"], [[0.0], [0.0]])
    with pytest.raises(InvalidInput, match=reason):
        predict_rows(Odd(predicted), ["a"], [[0.0], [0.0]])


# --- request sets ------------------------------------------------------------------------------


def test_requests_come_back_as_they_were() -> None:
    """Numbers, text and missing values; NaN is a missing value."""
    data = encode(
        [{"sales": np.float64(2.5), "city": "Zürich\n", "rooms": 3}, {"sales": float("nan"), "city": None}]
    )

    assert [{"city": "Zürich\n", "rooms": 3.0, "sales": 2.5}, {"city": None, "sales": None}] == decode(data)
    assert data == encode(decode(data))


def test_the_same_requests_are_the_same_artifact() -> None:
    """The order of a request's features does not matter, nor whether a number was written as an int."""
    assert encode([{"a": 1, "b": "x"}]) == encode([{"b": "x", "a": 1.0}])


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"a": float("inf")}, "'a' is infinite"),
        ({"a": True}, "'a' is a boolean; write 0 or 1"),
        ({"a": [1]}, "'a' is a list, not a number"),
        ({"a": datetime(2026, 1, 1)}, "'a' is a datetime, not a number"),  # noqa: DTZ001 (any date will do)
        ({"a": 2**53 + 1}, "beyond"),
        ({"a": "x" * (MAX_TEXT_CHARACTERS + 1)}, "characters; at most"),
        ({"a": "\ud800"}, "not valid Unicode"),
        ({}, "has no features"),
        ({1: 2.0}, "whose name is not a string"),
    ],
)
def test_a_value_that_is_no_feature_is_named(request_: dict[str, object], reason: str) -> None:
    """The sentence says which request, which feature and why."""
    with pytest.raises(InvalidInput, match="request 2") as caught:
        encode([{"a": 1}, request_])
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1}}',
        b"[" * 100_000,
        b"[1]",
        b"",
        b"\xff",
        b'{"a": ' + b"1" * 5000 + b"}",
        b'{"a": "' + b"x" * (1 << 20) + b'"}',
    ],
)
def test_a_line_that_is_no_request_is_refused(line: bytes) -> None:
    """Nesting, duplicates, sizes and what JSON does not know are all one sentence."""
    with pytest.raises(InvalidInput, match="request 2"):
        decode(b'{"a": 1}\n' + line + b"\n")


def test_an_empty_request_set_is_refused() -> None:
    """Nothing replayed must never look like something that passed."""
    with pytest.raises(InvalidInput, match="at least one request"):
        encode([])
    with pytest.raises(InvalidInput, match="at least one request"):
        decode(b"")


def test_rows_follow_the_models_features() -> None:
    """In their order, without the rest; a feature that a request lacks is named."""
    requests = decode(encode([{"a": 1, "b": "x", "c": 3}, {"a": None, "b": "y"}]))

    assert [["x", 1.0], ["y", None]] == rows_for(requests, ["b", "a"])
    with pytest.raises(InvalidInput, match="request 2 lacks the feature 'c'"):
        rows_for(requests, ["a", "c"])
    with pytest.raises(InvalidInput, match="names no features"):
        rows_for(requests, [])
