"""Predictions as plain numbers, one for each row, whatever framework the model comes from.

- A regressor: its value.
- A classifier of two classes: the probability of the second class (`classes_[1]`).
- Any other classifier: its predicted class, as a number if the classes are numbers, else as its
  place in `classes_`, from 0.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from deedbook.artifacts.onnx_models import OnnxModel
from deedbook.events.errors import InvalidInput, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deedbook.artifacts.requests import Value


def predict_rows(model: Any, features: Sequence[str], rows: Sequence[Sequence[Value]]) -> tuple[float, ...]:  # noqa: ANN401 (any framework's model)
    """Return one float for each row (see above); a missing value (None) is NaN in a numeric column.

    A model that was fitted on named columns gets a pandas frame, in the order it was fitted on.
    Raises InvalidInput (features that don't match, predictions that aren't one number a row),
    MissingExtra, and whatever the model raises.
    """
    if not rows:
        return ()
    if isinstance(model, OnnxModel):
        raw = _onnx_predictions(model, features, rows)
    else:
        raw = _raw_predictions(model, _matrix(model, features, rows))
    return _one_number_a_row(raw, len(rows))


def _raw_predictions(model: Any, matrix: Any) -> Any:  # noqa: ANN401 (any framework's model and arrays)
    # A pipeline answers for its last step; a CatBoost regressor has `classes_`, empty.
    classes = getattr(model, "classes_", None)
    if classes is None or len(classes) == 0:
        return model.predict(matrix)
    if len(classes) == 2 and callable(getattr(model, "predict_proba", None)):
        return [row[1] for row in model.predict_proba(matrix)]
    places = {_plain(label): place for place, label in enumerate(classes)}
    numeric = all(isinstance(label, (int, float)) for label in places)
    labels = [_plain(label) for label in _flat(model.predict(matrix))]
    return labels if numeric else [places[label] for label in labels]


def _matrix(model: Any, features: Sequence[str], rows: Sequence[Sequence[Value]]) -> Any:  # noqa: ANN401 (an array or frame)
    """What the model's `predict` takes: a frame if it was fitted on names, else an array."""
    np = importlib.import_module("numpy")  # every framework brings it; deedbook alone does not
    columns = dict(zip(features, zip(*rows, strict=True), strict=True))
    names = getattr(model, "feature_names_in_", None)
    if names is None:
        text = any(isinstance(value, str) for column in columns.values() for value in column)
        return np.array(rows, dtype=object if text else float)
    missing = [str(name) for name in names if name not in columns]
    if missing:
        message = f"the model was fitted on features that are not given: {', '.join(missing[:5])}"
        raise InvalidInput(message)
    try:
        pandas = importlib.import_module("pandas")
    except ImportError as error:
        message = "a model fitted on named columns needs pandas: pip install 'deedbook[sklearn]'"
        raise MissingExtra(message) from error
    return pandas.DataFrame({name: _column(columns[name], np) for name in names})


def _column(values: Sequence[Value], np: Any) -> Any:  # noqa: ANN401 (NumPy; an array)
    text = any(isinstance(value, str) for value in values)
    return np.array(values, dtype=object if text else float)


def _onnx_predictions(model: OnnxModel, features: Sequence[str], rows: Sequence[Sequence[Value]]) -> Any:  # noqa: ANN401 (arrays)
    named = len(model.inputs) > 1 or tuple(features) == model.inputs
    matrix = dict(zip(features, zip(*rows, strict=True), strict=True)) if named else rows
    outputs = model.run(matrix)
    if len(outputs) == 1:
        return outputs[0]
    labels, probabilities = outputs[0], outputs[1]
    if len(probabilities[0]) != 2:
        return labels
    # A converter writes a list of {class: probability}, or a matrix with one column for each class.
    if isinstance(probabilities, list):
        return [row[max(row)] for row in probabilities]
    return [row[1] for row in probabilities]


def _one_number_a_row(raw: Any, count: int) -> tuple[float, ...]:  # noqa: ANN401 (array-like)
    values = _flat(raw)
    if len(values) != count:
        message = f"the model predicted {len(values)} values for {count} rows"
        raise InvalidInput(message)
    wrong = [value for value in values if not isinstance(value, (int, float))]
    if wrong:
        message = f"the model predicted a {type(wrong[0]).__name__}, not a number"
        raise InvalidInput(message)
    return tuple(float(value) for value in values)


def _flat(raw: Any) -> list[Any]:  # noqa: ANN401 (array-like)
    """One plain value a row, from an array or list of shape (rows,) or (rows, 1)."""
    values = raw.tolist() if hasattr(raw, "tolist") else list(raw)
    return [_plain(row[0]) if isinstance(row, list) and len(row) == 1 else _plain(row) for row in values]


def _plain(value: Any) -> Any:  # noqa: ANN401 (a NumPy scalar, or what it holds)
    return value.item() if hasattr(value, "item") else value
