"""Trainings side by side, as a page shows them: each figure beside the first training's, which is the baseline."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from deedbook.projector.queries.comparison import Comparison
    from deedbook.projector.queries.detail import TrainingDetail

Texts: TypeAlias = "tuple[str | None, ...]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A value in one training, None where it has none, and how it differs from the baseline's.

    ``share``: the difference as a share of the baseline's size; None where that is nothing. ``better``: None where
    the metric has no direction, or nothing differs. ``best``: no other training has a better one.
    """

    value: float | None
    difference: float | None
    share: float | None
    better: bool | None
    best: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureRow:
    """A metric or a coefficient in all trainings; ``direction``: lower, higher or unspecified."""

    name: str
    direction: str
    unit: str
    figures: tuple[Figure, ...]
    differs: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRow:
    """Something said of all trainings in words, None where nothing is said."""

    name: str
    texts: Texts
    differs: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """Everything about some trainings, in rows."""

    trainings: tuple[TrainingDetail, ...]
    facts: tuple[TextRow, ...]
    parameters: tuple[TextRow, ...]
    metrics: tuple[FigureRow, ...]
    features: tuple[TextRow, ...]
    coefficients: tuple[FigureRow, ...]


def side_by_side(comparison: Comparison, *, only_differences: bool) -> SideBySide:
    """Return a comparison in rows, all of them or only those in which any training differs."""
    trainings = comparison.trainings
    metrics = tuple(
        figure_row(str(row.metric), row.values, direction=row.direction, unit=row.unit, best=row.best)
        for row in comparison.metrics
    )
    parameters = tuple(text_row(row.name, row.values) for row in comparison.parameters)

    def kept(rows: Iterable[TextRow]) -> tuple[TextRow, ...]:
        return tuple(row for row in rows if row.differs or not only_differences)

    def kept_figures(rows: Iterable[FigureRow]) -> tuple[FigureRow, ...]:
        return tuple(row for row in rows if row.differs or not only_differences)

    return SideBySide(
        trainings=trainings,
        facts=kept(_facts(trainings)),
        parameters=kept(parameters),
        metrics=kept_figures(metrics),
        features=kept(_features(trainings)),
        coefficients=kept_figures(_coefficients(trainings)),
    )


def text_row(name: str, texts: Texts) -> TextRow:
    """Return a row of texts."""
    return TextRow(name=name, texts=texts, differs=len(set(texts)) > 1)


def figure_row(
    name: str,
    values: Sequence[float | None],
    *,
    direction: str = "unspecified",
    unit: str = "",
    best: Sequence[int] = (),
) -> FigureRow:
    """Return a row of figures, each compared with the first."""
    first = values[0]
    figures = tuple(
        _figure(value, None if place == 0 else first, direction, best=place in best)
        for place, value in enumerate(values)
    )
    return FigureRow(
        name=name,
        direction=direction,
        unit=unit,
        figures=figures,
        differs=any(not _same(value, first) for value in values),
    )


def _figure(value: float | None, baseline: float | None, direction: str, *, best: bool) -> Figure:
    comparable = (
        value is not None and baseline is not None and math.isfinite(value) and math.isfinite(baseline)
    )
    if value is None or baseline is None or not comparable:
        return Figure(value=value, difference=None, share=None, better=None, best=best)
    difference = value - baseline
    return Figure(
        value=value,
        difference=difference,
        share=difference / abs(baseline) if baseline else None,
        better=None
        if direction == "unspecified" or not difference
        else (difference < 0) == (direction == "lower"),
        best=best,
    )


def _same(value: float | None, other: float | None) -> bool:
    if value is None or other is None:
        return value is other
    return value == other or (math.isnan(value) and math.isnan(other))


_FACTS: tuple[tuple[str, Callable[[TrainingDetail], str]], ...] = (
    ("model", lambda one: one.model),
    ("model type", lambda one: one.model_type),
    ("framework", lambda one: one.framework),
    ("code sha", lambda one: one.git_sha),
    ("data fingerprint", lambda one: one.data_fingerprint),
    ("artifact's digest", lambda one: one.artifact_sha256),
    (
        "artifact's size in bytes",
        lambda one: f"{one.artifact_size_bytes:,}" if one.artifact_size_bytes else "",
    ),
    ("artifact's format", lambda one: one.artifact_format),
    ("logged by", lambda one: one.actor),
)


def _facts(trainings: Sequence[TrainingDetail]) -> tuple[TextRow, ...]:
    rows = [text_row(name, tuple(told(one) or None for one in trainings)) for name, told in _FACTS]
    tags = dict.fromkeys(name for one in trainings for name in one.tags)
    rows += [text_row(f"tag {name}", tuple(one.tags.get(name) for one in trainings)) for name in tags]
    return tuple(row for row in rows if any(row.texts))


def _features(trainings: Sequence[TrainingDetail]) -> tuple[TextRow, ...]:
    """Return each feature with its type and its place among the others, which matters to a model."""
    places = [
        {feature.name: (place, feature.dtype) for place, feature in enumerate(one.features, 1)}
        for one in trainings
    ]
    names = dict.fromkeys(name for known in places for name in known)
    return tuple(text_row(name, tuple(_feature(known.get(name)) for known in places)) for name in names)


def _feature(found: tuple[int, str] | None) -> str | None:
    if found is None:
        return None
    place, dtype = found
    return f"{place}. {dtype}" if dtype else f"{place}."


def _coefficients(trainings: Sequence[TrainingDetail]) -> tuple[FigureRow, ...]:
    known = [{one.name: one.value for one in training.coefficients} for training in trainings]
    names = dict.fromkeys(name for values in known for name in values)
    return tuple(figure_row(name, [values.get(name) for values in known]) for name in names)
