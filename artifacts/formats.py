"""Model formats: which there are, how each is recognised, saved and loaded.

Each framework has a safe format of its own. `pickle` and `joblib` run whatever code their author
wrote, so they are used only where a caller allows them by name. A model is loaded in the format it
is declared to have, and its bytes must look like that format: there is no fallback to another.

PyTorch is not supported yet: its exporter needs PyTorch itself to be run and tested.
"""

from __future__ import annotations

import importlib
import io
import pickle
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, assert_never, get_args

from deedbook.artifacts import skops_files
from deedbook.artifacts.onnx_models import OnnxModel
from deedbook.events.errors import InvalidInput, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Collection
    from types import ModuleType

Format: TypeAlias = Literal["skops", "cbm", "onnx", "pickle", "joblib"]
FORMATS: tuple[Format, ...] = get_args(Format)
SAFE_FORMATS: frozenset[Format] = frozenset({"skops", "cbm", "onnx"})

MAX_MODEL_BYTES = 2 << 30

_EXTRAS = {
    "skops": "sklearn",
    "sklearn": "sklearn",
    "joblib": "sklearn",
    "catboost": "catboost",
    "onnxruntime": "onnx",
}
_CATBOOST_CLASSES = {"CatBoostClassifier", "CatBoostRegressor", "CatBoost", "CatBoostRanker"}


@dataclass(frozen=True, slots=True)
class SavedModel:
    """A model as bytes: its format, the framework that made it and its class's name."""

    data: bytes
    format: Format
    framework: str
    model_type: str


def save_model(model: object, format: str | None = None) -> SavedModel:  # noqa: A002 (the domain's word)
    """Turn a model into bytes, by default in its framework's own safe format.

    Raises InvalidInput (not a model we know, unknown format, a type that would not load again),
    MissingExtra.
    """
    framework, native = _framework_of(model)
    chosen = native if format is None else checked_format(format)
    match chosen:
        case None:
            message = (
                f"no safe format is known for a {type(model).__module__}.{type(model).__qualname__}: give a"
                " scikit-learn, CatBoost or ONNX model, or format='pickle' where the model's policy allows it"
            )
            raise InvalidInput(message)
        case "pickle":
            data = _pickled(model)
        case "joblib":
            data = _joblibbed(model)
        case _ if chosen != native:
            message = f"a {type(model).__qualname__} can't be saved as {chosen}"
            raise InvalidInput(message)
        case "skops":
            data = skops_files.save(_needed("skops.io"), model)
        case "cbm":
            data = _saved_cbm(model)
        case "onnx":
            data = _saved_onnx(model)
        case _:
            assert_never(chosen)
    return SavedModel(data, chosen, framework, type(model).__qualname__)


def load_model(
    source: bytes | Path,
    format: str,  # noqa: A002 (the domain's word)
    *,
    allowed: Collection[str] = SAFE_FORMATS,
) -> Any:  # noqa: ANN401 (the framework's own object: it has `predict`)
    """Load a model whose digest the caller has verified, in the declared format and no other.

    `source`: the bytes, or a file of at most 2 GiB. `allowed` has to name `pickle` or `joblib` for
    those to be loaded: they run the author's code, so load them in the sandbox, or trust the author.
    Raises InvalidInput (another format, a format not allowed, a broken file), MissingExtra.
    """
    declared = checked_format(format)
    if declared not in allowed:
        message = (
            f"models in the format {declared} are not allowed here (allowed: {', '.join(sorted(allowed))})"
        )
        raise InvalidInput(message)
    data = source if isinstance(source, bytes) else _read(source)
    check_format(data, declared)
    match declared:
        case "skops":
            return skops_files.load(_needed("skops.io"), data)
        case "cbm":
            return _loaded_cbm(data)
        case "onnx":
            return OnnxModel(_needed("onnxruntime"), data)
        case "pickle":
            return pickle.loads(data)  # noqa: S301 (allowed by name, by the caller)
        case "joblib":
            return _needed("joblib").load(io.BytesIO(data))
        case _:
            assert_never(declared)


def checked_format(name: str) -> Format:
    """Return the format of that name, else InvalidInput."""
    for known in FORMATS:
        if name == known:
            return known
    message = f"{name[:80]!r} is not a model format (known: {', '.join(FORMATS)})"
    raise InvalidInput(message)


def detect_format(head: bytes) -> Format | None:
    """Say which format the first bytes belong to, or None; joblib's are pickle's, and count as pickle."""
    if head.startswith(b"PK\x03\x04"):
        return "skops"
    if head.startswith(b"CBM1"):
        return "cbm"
    if len(head) > 1 and head[0] == 0x80 and 2 <= head[1] <= pickle.HIGHEST_PROTOCOL:
        return "pickle"
    # An ONNX file has no magic: it is a protobuf message whose first field is the IR version, 3 to 127.
    if len(head) > 1 and head[0] == 0x08 and 3 <= head[1] <= 127:
        return "onnx"
    return None


def check_format(head: bytes, declared: Format) -> None:
    """Raise InvalidInput unless the first bytes look like the declared format."""
    detected = detect_format(head)
    if detected == declared or (declared == "joblib" and detected == "pickle"):
        return
    seen = f"they look like {detected}" if detected else "they are no format we know"
    message = f"the model is declared as {declared}, but its bytes are not: {seen}"
    raise InvalidInput(message)


def _framework_of(model: object) -> tuple[str, Format | None]:
    """Name the framework a model's class comes from, and its safe format, importing nothing."""
    cls = type(model)
    root = cls.__module__.partition(".")[0]
    bases = {base.__module__.partition(".")[0] for base in cls.__mro__}
    if root == "onnx" and cls.__name__ == "ModelProto":
        return "onnx", "onnx"
    if "catboost" in bases and any(base.__name__ in _CATBOOST_CLASSES for base in cls.__mro__):
        return "catboost", "cbm"
    if "sklearn" in bases and callable(getattr(model, "predict", None)):
        return ("sklearn" if root == "sklearn" else root), "skops"
    return root, None


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_MODEL_BYTES + 1)
    if len(data) > MAX_MODEL_BYTES:
        message = f"the model has more than {MAX_MODEL_BYTES} bytes"
        raise InvalidInput(message)
    return data


def _needed(module: str) -> ModuleType:
    """Import an optional library, or say which extra brings it."""
    root = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        message = f"this needs {root}: pip install 'deedbook[{_EXTRAS[root]}]'"
        raise MissingExtra(message) from error


def _pickled(model: object) -> bytes:
    try:
        return pickle.dumps(model, protocol=5)
    except Exception as error:
        message = f"a {type(model).__qualname__} can't be pickled: {error}"
        raise InvalidInput(message) from error


def _joblibbed(model: object) -> bytes:
    buffer = io.BytesIO()
    try:
        _needed("joblib").dump(model, buffer, compress=0, protocol=5)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        message = f"a {type(model).__qualname__} can't be written by joblib: {error}"
        raise InvalidInput(message) from error
    return buffer.getvalue()


def _saved_cbm(model: Any) -> bytes:  # noqa: ANN401 (a CatBoost model)
    with tempfile.TemporaryDirectory(prefix="deedbook-") as folder:
        file = Path(folder) / "model.cbm"
        try:
            model.save_model(str(file), format="cbm")
        except Exception as error:  # CatBoost raises a type of its own, which needs CatBoost to be named
            message = f"this CatBoost model can't be saved: {error}"
            raise InvalidInput(message) from error
        return file.read_bytes()


def _saved_onnx(model: Any) -> bytes:  # noqa: ANN401 (an ONNX ModelProto)
    return bytes(model.SerializeToString())


def _loaded_cbm(data: bytes) -> Any:  # noqa: ANN401 (a CatBoost model)
    catboost = _needed("catboost")
    try:
        model = catboost.CatBoost().load_model(blob=data)
        loss = str(model.get_all_params().get("loss_function", "")).partition(":")[0]
        if loss in {"Logloss", "CrossEntropy", "MultiClass", "MultiClassOneVsAll"}:
            return catboost.CatBoostClassifier().load_model(blob=data)
    except catboost.CatBoostError as error:
        message = f"the CatBoost model is broken: {error}"
        raise InvalidInput(message) from error
    return model
