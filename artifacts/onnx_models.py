"""An ONNX model with the `predict` that other frameworks' models have."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from deedbook.events.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType


class OnnxModel:
    """A model with one input for the whole matrix, or one input of one column for each feature.

    It runs on one thread of the processor. Weights kept in other files are refused by the runtime,
    as the model has no path.
    """

    def __init__(self, onnxruntime: ModuleType, data: bytes) -> None:
        """Open the bytes; InvalidInput if the runtime can't."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's errors share no public root
            message = f"the ONNX model can't be opened: {error}"
            raise InvalidInput(message) from error
        self._inputs: dict[str, str] = {put.name: put.type for put in self._session.get_inputs()}
        self._outputs: list[str] = [put.name for put in self._session.get_outputs()]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs, in order."""
        return tuple(self._inputs)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs, in order: one, or a classifier's label and probabilities."""
        return tuple(self._outputs)

    def predict(self, matrix: Any) -> Any:  # noqa: ANN401 (array-like in, array out)
        """Return the first output for a matrix (rows by features), or for a mapping of columns."""
        return self.run(matrix)[0]

    def run(self, matrix: Any) -> list[Any]:  # noqa: ANN401 (array-like in, arrays out)
        """Return every output for a matrix (rows by features), or for a mapping of feature to column."""
        result: list[Any] = self._session.run(None, self._feed(matrix))
        return result

    def _feed(self, matrix: Any) -> Mapping[str, Any]:  # noqa: ANN401 (array-like)
        np = importlib.import_module("numpy")  # onnxruntime brings it; deedbook alone does not

        def cast(name: str, column: Sequence[object]) -> Any:  # noqa: ANN401 (an array)
            kinds = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}
            kinds["tensor(string)"] = np.object_
            if self._inputs[name] not in kinds:
                message = f"the ONNX model's input {name!r} is a {self._inputs[name]}, which is not supported"
                raise InvalidInput(message)
            return np.asarray(column, dtype=kinds[self._inputs[name]])

        if len(self._inputs) == 1 and not isinstance(matrix, dict):
            (name,) = self._inputs
            return {name: cast(name, matrix)}
        columns = (
            matrix
            if isinstance(matrix, dict)
            else dict(zip(self._inputs, zip(*matrix, strict=True), strict=True))
        )
        if set(columns) != set(self._inputs):
            message = f"the ONNX model's inputs are {sorted(self._inputs)}, not {sorted(columns)}"
            raise InvalidInput(message)
        return {name: cast(name, column).reshape(-1, 1) for name, column in columns.items()}
