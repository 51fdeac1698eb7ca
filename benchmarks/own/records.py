"""The workload as deedbook's events, and as the records that go on its log."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from itertools import islice

import workload

from deedbook.events.codec import Codec
from deedbook.events.facts import Direction, Metric, Parameter, Training, TrainingLogged
from deedbook.events.log import NewRecord

ACTOR = "benchmark"


def number_of(text: str) -> float | None:
    """The number a parameter's text stands for, if it does."""
    try:
        return float(text)
    except ValueError:
        return None


def training_logged(training: workload.Training) -> TrainingLogged:
    """The event that logs a training of the workload; its id follows from the training's."""
    moment = int(training.created_at.timestamp()) * 1_000_000 + training.created_at.microsecond
    return TrainingLogged(
        event_id=str(uuid.uuid5(training.training_id, "logged")),
        occurred_at=moment,
        actor=ACTOR,
        training=Training(
            training_id=str(training.training_id),
            model=workload.MODEL,
            model_type="GradientBoostingRegressor",
            framework="scikit-learn",
            parameters=tuple(
                Parameter(name=name, text=text, number=number_of(text))
                for name, text in training.parameters.items()
            ),
            metrics=tuple(
                Metric(
                    name=name,
                    value=value,
                    direction=Direction.LOWER if name == "mse" else Direction.UNSPECIFIED,
                )
                for name, value in training.metrics.items()
            ),
            created_at=moment,
            started_at=moment - 60_000_000,
            finished_at=moment,
        ),
    )


def records(count: int, start: int = 0) -> Iterator[NewRecord]:
    """The trainings `start` to `count` as records, ready to be appended to `registry`."""
    codec = Codec()
    return (codec.encode(training_logged(training)) for training in workload.trainings(count, start))


def chunks(source: Iterator[NewRecord], size: int) -> Iterator[list[NewRecord]]:
    """The records in lists of `size`; the last may be shorter."""
    while chunk := list(islice(source, size)):
        yield chunk
