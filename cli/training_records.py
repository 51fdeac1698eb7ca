"""A training as people write it in JSON, and the record it becomes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from math import inf, nan
from typing import Any, TypeAlias

from deedbook.cli.moments import datetime_of, micros_of
from deedbook.cli.plain_text import plain
from deedbook.client.records import training_record
from deedbook.client.values import metric_of, metrics_of, name_of
from deedbook.events.errors import InvalidInput
from deedbook.events.facts import Artifact, Feature, Metric, Training

Record: TypeAlias = Mapping[str, Any]

_TEXTS = ("training_id", "model", "model_type", "framework", "git_sha", "data_fingerprint")
_TIMES = ("created_at", "started_at", "finished_at")
_PARTS = ("artifact", "features", "parameters", "metrics", "coefficients", "tags")
KEYS = (*_TEXTS, *_TIMES, *_PARTS)
_METRIC_KEYS = ("name", "value", "slice", "direction", "unit")
_FEATURE_KEYS = ("name", "dtype")
_ARTIFACT_KEYS = ("uri", "sha256", "size_bytes", "format")
_NUMBER_TEXTS = {"NaN": nan, "Infinity": inf, "-Infinity": -inf}


def training_of(record: Record, *, now: int) -> Training:
    """Return the training a JSON object describes, as a client would. Raises InvalidInput.

    `now`: microseconds since 1970, for what has no time of creation.
    """
    _known_keys(record, KEYS, "a training")
    if record.get("model") in (None, ""):
        raise InvalidInput('it has no model: say which, as in {"model": "home-price"}')
    given = {key: value for key, value in record.items() if value is not None}
    arguments: dict[str, Any] = {key: given[key] for key in _TEXTS if key in given}
    arguments |= {key: _time(given[key], key) for key in _TIMES if key in given}
    training = training_record(
        **arguments,
        features=[_feature(item) for item in _list(given, "features")],
        parameters=_object(given, "parameters"),
        metrics=_metrics(given),
        coefficients={name: _number(value) for name, value in _object(given, "coefficients").items()},
        tags=_object(given, "tags"),
        now=now,
    )
    return replace(training, artifact=_artifact(_object(given, "artifact")))


def _metrics(record: Record) -> tuple[Metric, ...]:
    """Return metrics from an object of values by name, or from a list of objects."""
    if isinstance(record.get("metrics"), list):
        return tuple(_metric(item) for item in record["metrics"])
    return metrics_of({name: _number(value) for name, value in _object(record, "metrics").items()})


def _metric(item: object) -> Metric:
    if not isinstance(item, dict) or "name" not in item or "value" not in item:
        raise InvalidInput('each of metrics must be an object such as {"name": "mse", "value": 0.2}')
    _known_keys(item, _METRIC_KEYS, "a metric")
    return metric_of(
        item["name"],
        _number(item["value"]),
        item.get("slice") or "",
        item.get("direction") or None,
        item.get("unit") or "",
    )


def _feature(item: object) -> str | Feature:
    if isinstance(item, str):
        return item
    if not isinstance(item, dict) or "name" not in item:
        raise InvalidInput('each of features must be a name, or {"name": "rooms", "dtype": "float64"}')
    _known_keys(item, _FEATURE_KEYS, "a feature")
    return Feature(name=item["name"], dtype=name_of(item.get("dtype") or "", "a feature's dtype"))


def _artifact(value: Record) -> Artifact:
    _known_keys(value, _ARTIFACT_KEYS, "an artifact")
    size = value.get("size_bytes") or 0
    if isinstance(size, bool) or not isinstance(size, int):
        raise InvalidInput("artifact.size_bytes must be a whole number")
    texts = {key: name_of(value.get(key) or "", f"artifact.{key}") for key in ("uri", "sha256", "format")}
    return Artifact(**texts, size_bytes=size)


def _known_keys(record: Record, known: Sequence[str], what: str) -> None:
    for key in record:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"its keys are {', '.join(known)}"
            raise InvalidInput(f"{plain(key, 60)!r} is not a key of {what}: {hint}")


def _object(record: Record, key: str) -> Record:
    value = record.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidInput(f"{key} must be an object: values by name")
    return value


def _list(record: Record, key: str) -> list[Any]:
    value = record.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidInput(f"{key} must be a list")
    return value


def _number(value: object) -> object:
    """Return a number; JSON has none for NaN and the infinities, so they are written as texts."""
    return _NUMBER_TEXTS.get(value, value) if isinstance(value, str) else value


def _time(value: object, key: str) -> datetime:
    """Return a time that says its zone."""
    try:
        if isinstance(value, str):
            return datetime_of(micros_of(datetime.fromisoformat(value)))
    except (ValueError, OverflowError):
        pass
    raise InvalidInput(f"{key} must be a time such as 2026-01-31T14:05:00Z")
