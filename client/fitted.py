"""What a fitted model tells of itself: the names of its inputs, and its coefficients where it is linear."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from deedbook.events.facts import Coefficient, Feature
from deedbook.events.names import name_problem, normalise

MAX_COEFFICIENTS = 1_000
_MAX_DEPTH = 8
_WRAPPERS = ("best_estimator_", "regressor_", "classifier_")


def features_of_model(model: object) -> tuple[Feature, ...]:
    """Return the inputs a model was fitted on, in order; none where it does not know their names."""
    names = _attribute(model, "feature_names_in_")
    if names is None:
        names = _attribute(model, "feature_names_")
    texts = _texts(names)
    return () if texts is None else tuple(Feature(name=name) for name in texts)


def coefficients_of_model(model: object) -> tuple[Coefficient, ...]:
    """Return a linear model's weights by feature and its ``intercept``; none for other models.

    A pipeline answers for its last step, a search for its best model. With several classes or targets
    a name is ``class:feature``. More than 1,000 are left out: nobody compares them one by one.
    """
    linear, names = _last_step(model)
    weights = _rows(_attribute(linear, "coef_"))
    if not weights or not weights[0] or any(len(row) != len(weights[0]) for row in weights):
        return ()
    columns = names if names is not None and len(names) == len(weights[0]) else _numbered(len(weights[0]))
    intercepts = _flat(_attribute(linear, "intercept_"))
    if len(weights) * (len(columns) + 1) > MAX_COEFFICIENTS:
        return ()
    pairs: list[tuple[str, float]] = []
    for prefix, row, intercept in zip(
        _prefixes(linear, len(weights)), weights, _padded(intercepts, len(weights)), strict=True
    ):
        pairs += [(f"{prefix}{name}", value) for name, value in zip(columns, row, strict=True)]
        if intercept is not None:
            pairs.append((f"{prefix}intercept", intercept))
    usable = len({name for name, _ in pairs}) == len(pairs) and not any(
        name_problem(name) for name, _ in pairs
    )
    return tuple(Coefficient(name=name, value=value) for name, value in pairs) if usable else ()


def _last_step(model: object) -> tuple[object, Sequence[str] | None]:
    """Return the model inside pipelines and searches, and the names of what goes into it."""
    names: Sequence[str] | None = _texts(_attribute(model, "feature_names_in_"))
    for _ in range(_MAX_DEPTH):
        inner = next((found for name in _WRAPPERS if (found := _attribute(model, name)) is not None), None)
        steps = _attribute(model, "steps")
        if inner is not None:
            model = inner
        elif isinstance(steps, list) and steps:
            names = _names_out(model, names) if len(steps) > 1 else names
            model = steps[-1][-1]
        else:
            break
        names = _texts(_attribute(model, "feature_names_in_")) or names
    return model, names


def _names_out(pipeline: Any, names: Sequence[str] | None) -> Sequence[str] | None:  # noqa: ANN401 - any pipeline
    """Return what the steps before the last call their outputs; a step may not say, or refuse."""
    try:
        before = pipeline[:-1]
        return _texts(before.get_feature_names_out())
    except Exception:  # noqa: BLE001 - anybody's transformers; the record does without these names
        return names


def _attribute(model: object, name: str) -> Any:  # noqa: ANN401 - whatever a framework keeps there
    try:
        return getattr(model, name, None)
    except Exception:  # noqa: BLE001 - a property of somebody's class may raise anything
        return None


def _texts(names: Any) -> tuple[str, ...] | None:  # noqa: ANN401 - a list or array of names
    if names is None or not isinstance(names, Iterable):
        return None
    texts = tuple(normalise(str(name)) for name in names)
    good = len(set(texts)) == len(texts) and not any(name_problem(text) for text in texts)
    return texts if texts and good else None


def _rows(weights: Any) -> list[list[float]]:  # noqa: ANN401 - an array of one or two dimensions
    plain = weights.toarray() if callable(getattr(weights, "toarray", None)) else weights
    if plain is None or not callable(getattr(plain, "tolist", None)):
        return []
    found = plain.tolist()
    if not isinstance(found, list) or not found:
        return []
    rows = found if isinstance(found[0], list) else [found]
    return rows if all(_is_number(value) for row in rows for value in row) else []


def _flat(values: Any) -> list[float]:  # noqa: ANN401 - a number or an array
    found = values.tolist() if callable(getattr(values, "tolist", None)) else values
    flat = found if isinstance(found, list) else [found]
    return [float(value) for value in flat if _is_number(value)]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def _padded(values: Sequence[float], count: int) -> list[float | None]:
    """Return one value a row: each its own, the same for all, or none."""
    if len(values) == count:
        return list(values)
    return [values[0] if len(values) == 1 else None] * count


def _prefixes(linear: object, count: int) -> list[str]:
    if count == 1:
        return [""]
    classes = _texts(_attribute(linear, "classes_"))
    labels = classes if classes is not None and len(classes) == count else _numbered(count)
    return [f"{label}:" for label in labels]


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"x{number}" for number in range(count))
