"""A training while it runs: its metrics as they come, its model, and one record of it all at the end."""

from __future__ import annotations

import operator
import warnings
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, SupportsIndex

from deedbook.client.fitted import coefficients_of_model, features_of_model
from deedbook.client.values import (
    Features,
    Number,
    coefficients_of,
    features_of,
    metric_of,
    name_of,
    number_of,
    parameter_of,
)
from deedbook.events.errors import DeedbookError, InvalidInput, LogUnavailable
from deedbook.events.facts import (
    Artifact,
    Metric,
    MetricPoint,
    MetricsLogged,
    Training,
    TrainingFailed,
    TrainingLogged,
    TrainingStarted,
)
from deedbook.events.ids import new_id
from deedbook.events.names import MAX_ERROR_CHARACTERS, shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from deedbook.client.backend import Recording
    from deedbook.client.preparing import Prepared
    from deedbook.events.facts import Fact

# A chunk of step-wise values is appended when it has so many, or is so old: a run that dies loses no more.
MAX_POINTS = 1_000
MAX_CHUNK_AGE_MICROS = 2_000_000
# While the registry is away, so many chunks are kept for it, and it is tried again so often.
MAX_UNSENT = 200
AWAY_MICROS = 30_000_000
# An estimate from above: well under what one body may hold.
_MAX_CHUNK_BYTES = 256 << 10
_POINT_BYTES = 40
_MAX_BYTES_A_CHARACTER = 4


class TrainingRun:
    """One training, from `with registry.training(...)` to the end of its block.

    What is logged becomes one record at the end of the block; values with a step go to the log as they
    come. Where the block raises, the run is recorded as failed and no training comes of it.
    """

    def __init__(self, recording: Recording, draft: Training) -> None:
        self._recording = recording
        self._clock = recording.preparer.clock
        self._envelope = recording.preparer.envelope
        self._draft = draft
        self._producer = new_id()
        self._sequence = 0
        self._points: list[tuple[str, str, int, float, int]] = []
        self._points_bytes = 0
        self._chunk_began_at = 0
        self._unsent: deque[Prepared] = deque()
        self._send_at = 0
        self._metrics: dict[tuple[str, str], Metric] = {}
        self._parameters = {parameter.name: parameter for parameter in draft.parameters}
        self._names: dict[tuple[str, str], tuple[str, str]] = {}
        self._state = "new"

    @property
    def training_id(self) -> str:
        """The id this training has, from the start."""
        return self._draft.training_id

    def __enter__(self) -> Self:
        if self._state != "new":
            raise InvalidInput("a training runs once: call registry.training(...) for another")
        started_at = self._clock()
        self._draft = replace(self._draft, started_at=started_at)
        self._append(
            TrainingStarted(
                **self._envelope(),
                training_id=self._draft.training_id,
                model=self._draft.model,
                parameters=self._draft.parameters,
                git_sha=self._draft.git_sha,
                started_at=started_at,
            )
        )
        self._state = "running"
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._state = "ended"
        if error_type is not None:
            self._record_failure(error if error is not None else error_type())
            return
        try:
            self._flush()
            self._append(self._logged())
        except InvalidInput as invalid:
            # What was logged makes no record: without this the run would look as if it still ran.
            self._record_failure(invalid)
            raise

    def log_metric(
        self,
        name: str,
        value: Number,
        *,
        slice: str = "",  # noqa: A002 - the domain's word
        direction: str | None = None,
        unit: str = "",
        step: SupportsIndex | None = None,
    ) -> None:
        """Log a metric of the finished model or, with a step, one value on the way there.

        ``direction``: lower or higher, whichever is better. A metric logged again replaces the value before.
        """
        if step is None:
            self._check_running()
            metric = metric_of(name, value, slice, direction, unit)
            self._metrics[metric.name, metric.slice] = metric
        else:
            self._log_point(name, slice, step, value)

    def _log_point(self, name: str, slice_: str, step: SupportsIndex, value: Number) -> None:
        self._check_running()
        names = self._names.get((name, slice_))
        if names is None:
            names = self._learn_names(name, slice_)
        if type(value) is not float:
            value = number_of(value, f"metric {shown(name)}")
        whole = step if type(step) is int else _whole(step)
        now = self._clock()
        points = self._points
        if not points:
            self._chunk_began_at = now
        points.append((*names, whole, value, now))
        self._points_bytes += _POINT_BYTES + _MAX_BYTES_A_CHARACTER * (len(name) + len(slice_))
        if (
            len(points) >= MAX_POINTS
            or self._points_bytes >= _MAX_CHUNK_BYTES
            or now - self._chunk_began_at >= MAX_CHUNK_AGE_MICROS
        ):
            self._seal()
            self._send()

    def _learn_names(self, name: str, slice_: str) -> tuple[str, str]:
        names = name_of(name, "a metric's name"), name_of(slice_, "a metric's slice")
        self._names[name, slice_] = names
        return names

    def log_parameter(self, name: str, value: object) -> None:
        """Log a setting of this training; a parameter logged again replaces the value before."""
        self._check_running()
        parameter = parameter_of(name_of(name, "a parameter's name"), value)
        self._parameters[parameter.name] = parameter

    def save(self, model: object, format: str | None = None) -> str:  # noqa: A002 - the domain's word
        """Store the fitted model as this training's artifact, and return its SHA-256.

        Takes down what the model tells of itself: its type and framework, its inputs' names, a linear
        model's coefficients. ``format``: skops, cbm, onnx, pickle or joblib; None for the framework's own
        safe one. Raises InvalidInput, MissingExtra, StorageFull.
        """
        from deedbook.artifacts.formats import save_model

        self._check_running()
        saved = save_model(model, format)
        stored = self._recording.artifacts.put(saved.data)
        artifact = Artifact(
            uri=stored.uri, sha256=stored.sha256, size_bytes=stored.size_bytes, format=saved.format
        )
        self._draft = replace(
            self._draft,
            artifact=artifact,
            framework=saved.framework,
            model_type=saved.model_type,
            features=self._draft.features or features_of_model(model),
            coefficients=self._draft.coefficients or coefficients_of_model(model),
        )
        return stored.sha256

    def set_features(self, features: Features) -> None:
        """State the model's inputs in the order it takes them: names, or dtypes by name."""
        self._check_running()
        self._draft = replace(self._draft, features=features_of(features))

    def log_coefficients(self, coefficients: Mapping[str, Number]) -> None:
        """State the learned weights of the model, by name."""
        self._check_running()
        self._draft = replace(self._draft, coefficients=coefficients_of(coefficients))

    def _check_running(self) -> None:
        if self._state != "running":
            raise InvalidInput("a training logs inside its block: with registry.training(...) as training")

    def _logged(self) -> TrainingLogged:
        now = self._clock()
        training = replace(
            self._draft,
            parameters=tuple(self._parameters.values()),
            metrics=tuple(self._metrics.values()),
            created_at=self._draft.created_at or now,
            finished_at=now,
        )
        return TrainingLogged(**self._envelope(), training=training)

    def _append(self, fact: Fact) -> None:
        self._recording.append([self._recording.preparer.prepared(fact)])

    def _flush(self) -> None:
        """Append all that was logged step by step; raises what appending raises."""
        self._seal()
        while self._unsent:
            self._recording.append([self._unsent[0]])
            self._unsent.popleft()

    def _seal(self) -> None:
        """Make one fact of what was logged step by step: sent again, it is the same, and is counted once."""
        if not self._points:
            return
        points = tuple(
            MetricPoint(name=name, slice=slice_, step=step, value=value, logged_at=logged_at)
            for name, slice_, step, value, logged_at in self._points
        )
        fact = MetricsLogged(
            **self._envelope(),
            training_id=self._draft.training_id,
            producer=self._producer,
            sequence=self._sequence,
            points=points,
        )
        self._unsent.append(self._recording.preparer.prepared(fact))
        self._sequence += 1
        self._points = []
        self._points_bytes = 0

    def _send(self) -> None:
        """Append what waits. While the registry is away it goes on waiting: the training is not held up by that."""
        now = self._clock()
        if now >= self._send_at:
            try:
                self._flush()
            except LogUnavailable as away:
                self._send_at = self._clock() + AWAY_MICROS
                _warn(f"{away}: the values of training {self.training_id} wait here, and are sent later")
        while len(self._unsent) > MAX_UNSENT:
            lost = self._unsent.popleft()
            points = lost.fact.points if isinstance(lost.fact, MetricsLogged) else ()
            _warn(f"the registry is away: {len(points)} values of training {self.training_id} are lost")

    def _record_failure(self, error: BaseException) -> None:
        """Record that the run failed; whatever keeps that from the log must not hide the error itself."""
        try:
            self._flush()
        except DeedbookError:
            self._points = []
            self._unsent.clear()
        try:
            self._append(
                TrainingFailed(
                    **self._envelope(),
                    training_id=self._draft.training_id,
                    model=self._draft.model,
                    error=_told(error),
                    failed_at=self._clock(),
                )
            )
        except DeedbookError as unrecorded:
            _warn(f"the failure of training {self._draft.training_id} was not recorded: {unrecorded}")


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=4)


def _whole(step: SupportsIndex) -> int:
    try:
        return operator.index(step)
    except TypeError:
        raise InvalidInput(f"a step is {shown(step)}, not a whole number") from None


def _told(error: BaseException) -> str:
    """Return an error in words that fit into the record."""
    try:
        text = f"{type(error).__name__}: {error}".removesuffix(": ")
    except Exception:  # noqa: BLE001 - an error of anybody's class may fail to be told
        text = type(error).__name__
    # What is no UTF-8 can't be kept.
    return text.encode("utf-8", "replace").decode()[:MAX_ERROR_CHARACTERS]
