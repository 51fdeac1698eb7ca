"""The bulk path's last step: Arrow columns of trainings and metrics into the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deedbook.projector.inserting import insert

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from deedbook.projector.rows import TrainingRow
    from deedbook.projector.terms import Definitions, Terms


def write_trainings(
    connection: duckdb.DuckDBPyConnection,
    batch: pa.RecordBatch,
    accepted: Sequence[TrainingRow],
    terms: Terms,
    definitions: Definitions,
) -> None:
    """Write the accepted trainings of a batch, with their parameters, metrics and definitions."""
    batch = _taken(batch, [row.key for row in accepted])
    training = batch.column("training")
    keys = batch.column("position")
    _write_heads(connection, batch, training, accepted)
    _write_parameters(connection, training, keys)
    items, parents = _flattened(training.field("metrics"))
    if len(items):
        names = items.field("name").dictionary_encode()
        _write_metrics(connection, items, names, pc.take(keys, parents), terms)
        definitions.state(
            _stated(items, names, pc.take(training.field("model").dictionary_encode(), parents))
        )


def write_steps(
    connection: duckdb.DuckDBPyConnection,
    batch: pa.RecordBatch,
    accepted: Sequence[int],
    partition: int,
    terms: Terms,
) -> None:
    """Write the step-wise values of the accepted chunks."""
    batch = _taken(batch, accepted)
    points, parents = _flattened(batch.column("points"))
    if not len(points):
        return
    count = len(points)
    columns = {
        "partition": pa.array(np.full(count, partition, np.int32)),
        "chunk_position": pc.take(batch.column("position"), parents),
        "name_key": _term_keys(points.field("name").dictionary_encode(), terms),
        "slice_key": _term_keys(points.field("slice").dictionary_encode(), terms),
        "step": points.field("step"),
        "value": points.field("value"),
        "logged_at": points.field("logged_at").cast(pa.int64()),
    }
    insert(connection, "step_metric", columns)


def _taken(batch: pa.RecordBatch, positions: Sequence[int]) -> pa.RecordBatch:
    if len(positions) == batch.num_rows:
        return batch
    return batch.filter(pc.is_in(batch.column("position"), pa.array(positions, pa.int64())))


def _flattened(lists: pa.ListArray) -> tuple[pa.StructArray, pa.Array]:
    return lists.flatten(), pc.list_parent_indices(lists)


def _as_map(lists: pa.ListArray, keys: str, values: str) -> pa.MapArray:
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    offsets = np.zeros(len(lists) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    items = lists.flatten()
    return pa.MapArray.from_arrays(pa.array(offsets), items.field(keys), items.field(values))


def _write_heads(
    connection: duckdb.DuckDBPyConnection,
    batch: pa.RecordBatch,
    training: pa.StructArray,
    accepted: Sequence[TrainingRow],
) -> None:
    artifact = training.field("artifact")
    columns = {
        "key": batch.column("position"),
        "training_id": training.field("training_id"),
        "model": training.field("model"),
        "version": pa.array([row.version for row in accepted], pa.int64()),
        "content_hash": pa.array([row.content_hash for row in accepted], pa.string()),
        "model_type": training.field("model_type"),
        "framework": training.field("framework"),
        "artifact_uri": artifact.field("uri"),
        "artifact_sha256": artifact.field("sha256"),
        "artifact_size_bytes": artifact.field("size_bytes"),
        "artifact_format": artifact.field("format"),
        "features": training.field("features"),
        "coefficients": training.field("coefficients"),
        "parameters": _as_map(training.field("parameters"), "name", "text"),
        "tags": _as_map(training.field("tags"), "name", "text"),
        "git_sha": training.field("git_sha"),
        "data_fingerprint": training.field("data_fingerprint"),
        "actor": batch.column("actor"),
        **{
            name: training.field(name).cast(pa.int64())
            for name in ("created_at", "started_at", "finished_at")
        },
        "recorded_at": batch.column("recorded_at"),
    }
    insert(connection, "training", columns)


def _write_parameters(
    connection: duckdb.DuckDBPyConnection, training: pa.StructArray, keys: pa.Array
) -> None:
    items, parents = _flattened(training.field("parameters"))
    if not len(items):
        return
    columns = {name: items.field(name) for name in ("name", "text", "number")}
    insert(connection, "parameter", {"training_key": pc.take(keys, parents), **columns})


def _write_metrics(
    connection: duckdb.DuckDBPyConnection,
    items: pa.StructArray,
    names: pa.DictionaryArray,
    keys: pa.Array,
    terms: Terms,
) -> None:
    columns = {
        "training_key": keys,
        "name_key": _term_keys(names, terms),
        "slice_key": _term_keys(items.field("slice").dictionary_encode(), terms),
        "value": items.field("value"),
    }
    insert(connection, "metric", columns)


def _term_keys(names: pa.DictionaryArray, terms: Terms) -> pa.Array:
    keys = np.array(terms.keys(names.dictionary.to_pylist()), np.int32)
    return pa.array(keys[names.indices.to_numpy(zero_copy_only=False)])


def _stated(
    items: pa.StructArray, names: pa.DictionaryArray, models: pa.DictionaryArray
) -> dict[tuple[str, str], tuple[str, str]]:
    """Return what the newest training says of each metric's direction and unit, where it says anything."""
    coded = [models, names, *(items.field(name).dictionary_encode() for name in ("direction", "unit"))]
    shape = tuple(len(column.dictionary) for column in coded)
    codes = np.ravel_multi_index([column.indices.to_numpy(zero_copy_only=False) for column in coded], shape)
    combined = pa.array(codes).dictionary_encode()
    newest = np.zeros(len(combined.dictionary), np.int64)
    newest[combined.indices.to_numpy(zero_copy_only=False)] = np.arange(len(codes))  # the last one stays
    in_order = combined.dictionary.to_numpy()[np.argsort(newest)]
    texts = [column.dictionary.to_pylist() for column in coded]
    stated = {}
    for at in zip(*np.unravel_index(in_order, shape), strict=True):
        model, name, direction, unit = (texts[column][index] for column, index in enumerate(at))
        if direction != "unspecified" or unit:
            stated[model, name] = (direction, unit)
    return stated
