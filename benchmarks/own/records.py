"""The workload as deedbook's events, and as the records that go on its log.

One by one through deedbook's codec, as a client writes them; or many at once through Arrow, because a hundred
million values take the codec minutes. Each block of the latter is compared with the former before it is used.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyruhvro
import workload

from deedbook.events.codec import Codec, current_schema
from deedbook.events.facts import (
    Artifact,
    Direction,
    Metric,
    MetricPoint,
    MetricsLogged,
    Parameter,
    Training,
    TrainingLogged,
)
from deedbook.events.log import Log, NewRecord

ACTOR = "benchmark"
POINTS: Final = 1_000
APPENDED_AT_ONCE: Final = 1_000
_EVENT_BIT: Final = 1 << 64


def number_of(text: str) -> float | None:
    """The number a parameter's text stands for, if it does."""
    try:
        return float(text)
    except ValueError:
        return None


def event_id(training_id: uuid.UUID) -> str:
    """The id of the event that logs a training: a UUIDv7 of the same millisecond, as a client's would be."""
    digits = f"{training_id.int ^ _EVENT_BIT:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def micros(training: workload.Training) -> int:
    """When it was made: microseconds since 1970."""
    return int(training.created_at.timestamp()) * 1_000_000 + training.created_at.microsecond


def training_logged(
    training: workload.Training, metrics: int = workload.METRICS_PER_TRAINING
) -> TrainingLogged:
    """The event that logs a training of the workload, with so many of its metrics."""
    moment = micros(training)
    return TrainingLogged(
        event_id=event_id(training.training_id),
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
                for name, value in islice(training.metrics.items(), metrics)
            ),
            created_at=moment,
            started_at=moment - 60_000_000,
            finished_at=moment,
        ),
    )


def records(count: int, start: int = 0) -> Iterator[NewRecord]:
    """The trainings `start` to `count` as records, ready to be appended to `registry`, one by one."""
    codec = Codec()
    return (codec.encode(training_logged(training)) for training in workload.trainings(count, start))


def step_records(chunks: int) -> Iterator[NewRecord]:
    """Chunks of step-wise values as records, ready to be appended to `metrics`: each 1,000 points of one training."""
    codec = Codec()
    random = np.random.default_rng(workload.SEED)
    for training in workload.trainings(chunks):
        moment = micros(training)
        values = random.standard_normal(POINTS).tolist()
        points = tuple(
            MetricPoint(name="loss", step=step, value=value, logged_at=moment + step * 1_000)
            for step, value in enumerate(values)
        )
        name = str(training.training_id)
        yield codec.encode(
            MetricsLogged(
                event_id=event_id(training.training_id),
                occurred_at=moment,
                actor=ACTOR,
                training_id=name,
                producer=name,
                sequence=0,
                points=points,
            )
        )


def fill(log: Log, count: int, metrics: int = workload.METRICS_PER_TRAINING) -> None:
    """Append the first `count` trainings to a log, with so many of their metrics each."""
    source = bulk_records(count, metrics)
    while chunk := list(islice(source, APPENDED_AT_ONCE)):
        log.append("registry", chunk)


def bulk_records(count: int, metrics: int = workload.METRICS_PER_TRAINING) -> Iterator[NewRecord]:
    """The first `count` trainings as records, encoded a block at a time.

    Raises ValueError where that gives other bytes than deedbook's codec.
    """
    codec = Codec()
    schema = current_schema("TrainingLogged")
    for block in workload.blocks(count):
        first = training_logged(_first_of(block), metrics)
        model = codec.encode(first)
        rows = [_Row.of(block.first + offset, int(depth)) for offset, depth in enumerate(block.depth)]
        types = pyruhvro.deserialize_array([model.value], schema.text).schema
        batch = _columns(rows, block.metrics[:, :metrics], first, types)
        bodies = pa.chunked_array(pyruhvro.serialize_record_batch(batch, schema.text, 1)).to_pylist()
        made = [_record(body, model, row) for body, row in zip(bodies, rows, strict=True)]
        if made[0] != model:
            raise ValueError("the records encoded in bulk are not those of deedbook's codec")
        yield from made


def _first_of(block: workload.Block) -> workload.Training:
    index = block.first
    return workload.Training(
        workload.training_id(index),
        f"{workload.MODEL}-{index:07d}",
        workload.created_at(index),
        workload.parameters(index, int(block.depth[0])),
        dict(zip(workload.METRIC_NAMES, block.metrics[0].tolist(), strict=True)),
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """What differs from training to training, metrics aside."""

    training_id: str
    event_id: str
    created_at: datetime
    micros: int
    parameters: dict[str, str]

    @staticmethod
    def of(index: int, depth: int) -> _Row:
        training_id = workload.training_id(index)
        moment = workload.created_at(index)
        return _Row(
            str(training_id),
            event_id(training_id),
            moment,
            int(moment.timestamp()) * 1_000_000 + moment.microsecond,
            workload.parameters(index, depth),
        )


def _columns(
    rows: list[_Row],
    values: npt.NDArray[np.float64],
    model: TrainingLogged,
    types: pa.Schema,
) -> pa.RecordBatch:
    """Return trainings as the columns that bodies are written from; what is not in the rows is the model's."""
    moments = np.array([row.micros for row in rows])
    kind = types.field("training").type
    own = {
        "training_id": [row.training_id for row in rows],
        "created_at": moments,
        "started_at": moments - 60_000_000,
        "finished_at": moments,
        "parameters": _parameters(rows, kind.field("parameters").type),
        "metrics": _metrics(values, model, kind.field("metrics").type),
    }
    fields = [
        _column(own.get(f.name), _plain(getattr(model.training, f.name)), f.type, len(rows)) for f in kind
    ]
    envelope = {
        "event_id": [row.event_id for row in rows],
        "type": ["TrainingLogged"] * len(rows),
        "occurred_at": moments,
        "actor": [ACTOR] * len(rows),
        "training": pa.StructArray.from_arrays(fields, fields=list(kind)),
    }
    return pa.RecordBatch.from_arrays(
        [_column(envelope[field.name], None, field.type, len(rows)) for field in types], schema=types
    )


def _column(own: Any, same: Any, kind: pa.DataType, count: int) -> pa.Array:  # noqa: ANN401 - values of any type
    """Return a column of its own values, or of one value for all."""
    if own is None:
        return pa.array([same] * count, kind)
    return own if isinstance(own, pa.Array) else pa.array(own).cast(kind)


def _parameters(rows: list[_Row], kind: pa.ListType) -> pa.ListArray:
    names = list(rows[0].parameters)
    texts = [text for row in rows for text in row.parameters.values()]
    known = {text: number_of(text) for text in set(texts)}
    columns = {"name": names * len(rows), "text": texts, "number": [known[text] for text in texts]}
    return _lists(columns, len(names), len(rows), kind)


def _metrics(values: npt.NDArray[np.float64], model: TrainingLogged, kind: pa.ListType) -> pa.ListArray:
    count, width = values.shape
    columns: dict[str, Any] = {
        name: [str(getattr(metric, name)) for metric in model.training.metrics] * count
        for name in ("name", "slice", "direction", "unit")
    }
    return _lists(columns | {"value": np.ascontiguousarray(values).ravel()}, width, count, kind)


def _lists(columns: Mapping[str, Any], width: int, count: int, kind: pa.ListType) -> pa.ListArray:
    fields = list(kind.value_type)
    items = pa.StructArray.from_arrays([pa.array(columns[f.name], f.type) for f in fields], fields=fields)
    return pa.ListArray.from_arrays(pa.array(np.arange(count + 1, dtype=np.int32) * width), items, type=kind)


def _plain(value: object) -> object:
    """Return what Arrow takes for a value of a fact."""
    return asdict(value) if isinstance(value, Artifact) else value


def _record(body: bytes, model: NewRecord, row: _Row) -> NewRecord:
    """Return the record of a body, with headers like those of another record of the same type."""
    own = {
        "ce_id": row.event_id.encode(),
        "ce_time": row.created_at.isoformat().replace("+00:00", "Z").encode(),
        "ce_valuesha256": hashlib.sha256(body).hexdigest().encode(),
    }
    headers = tuple([(name, own.get(name, value)) for name, value in model.headers])
    return NewRecord(body, model.key, headers)
