"""The sandbox: a model's code runs in a confined child; numbers come back, or a reason.

    with Sandbox(Limits(wall_seconds=10)) as sandbox:
        outcome = sandbox.predict(store.path(digest), digest, "skops", features, rows)

The digest is verified here, before anything runs; comparing the numbers is the caller's work. Whatever
a model does, the worker lives on, and the next job gets a fresh child.
"""

from __future__ import annotations

import hashlib
import json
import threading
from typing import TYPE_CHECKING, Self

from deedbook.artifacts.formats import SAFE_FORMATS, check_format, checked_format
from deedbook.consumers.sandbox import frames
from deedbook.consumers.sandbox.answers import Ended, read_answer
from deedbook.consumers.sandbox.fork_server import ForkServer, ServerGone
from deedbook.consumers.sandbox.outcome import Failure, Isolation, Limits, Predictions, printable
from deedbook.consumers.sandbox.self_test import test_isolation
from deedbook.events.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path
    from types import TracebackType

    from deedbook.artifacts.requests import Value

_DOUBLE_BYTES = 8


class Sandbox:
    """A warm place to run models in. Threads may share it; they take turns."""

    def __init__(self, limits: Limits | None = None) -> None:
        """Set the limits of every job; nothing is started yet."""
        self._limits = limits or Limits()
        self._server: ForkServer | None = None
        self._isolation: tuple[Isolation, ...] | None = None
        self._turn = threading.RLock()

    def __enter__(self) -> Self:
        """Start warming up, without waiting for it: the first job does."""
        with self._turn:
            self._living_server()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every process of the sandbox."""
        self.close()

    def close(self) -> None:
        """End every process of the sandbox; a later job starts it again."""
        with self._turn:
            if self._server is not None:
                self._server.close()
                self._server = None

    def predict(
        self,
        model: Path,
        sha256: str,
        format: str,  # noqa: A002 (the domain's word)
        features: Sequence[str],
        rows: Sequence[Sequence[Value]],
        *,
        allowed: Collection[str] = SAFE_FORMATS,
    ) -> Predictions | Failure:
        """Run the rows through the model: one number for each row (see `artifacts.predictions`), or why not.

        Each row has a value for each feature, in their order. `allowed`: the formats that the model's
        policy allows; pickle and joblib only if it names them. Raises InvalidInput for rows that don't
        fit the features, which is the caller's mistake and not the model's.
        """
        if any(len(row) != len(features) for row in rows):
            message = f"each row needs {len(features)} values, one for each feature"
            raise InvalidInput(message)
        if not rows:
            return Failure("malformed", "there are no rows to predict")
        if format not in allowed:
            return Failure(
                "format", f"the policy does not allow models in the format {printable(format, 40)}"
            )
        data = self._verified(model, sha256, format)
        if isinstance(data, Failure):
            return data
        order = {"format": format, "features": list(features), "rows": [list(row) for row in rows]}
        max_answer_bytes = len(rows) * _DOUBLE_BYTES + frames.MAX_OVERHEAD_BYTES
        try:
            ended = self._run("predict", data, json.dumps(order).encode(), max_answer_bytes)
        except ServerGone as error:
            said = f": {printable(str(error), 200)}" if str(error) else ""
            return Failure("unavailable", f"the sandbox itself ended while the model ran{said}")
        return read_answer(ended, len(rows), self._limits)

    def isolation(self) -> tuple[Isolation, ...]:
        """Say what a model is kept from on this system, tried once with a child that does the forbidden.

        Print it at start-up: what is not isolated here is said plainly, with the reason.
        """
        with self._turn:
            if self._isolation is None:
                self._isolation = test_isolation(self._living_server(), self._limits)
            return self._isolation

    def _verified(self, model: Path, sha256: str, format: str) -> bytes | Failure:  # noqa: A002
        """Read the model, and return its bytes only if they are what the log says."""
        try:
            with model.open("rb") as file:
                data = file.read(self._limits.model_bytes + 1)
        except OSError as error:
            return Failure("digest", f"the artifact can't be read: {error.strerror}")
        if len(data) > self._limits.model_bytes:
            return Failure("memory", f"the artifact has more than {self._limits.model_bytes} bytes")
        digest = hashlib.sha256(data).hexdigest()
        if digest != sha256:
            return Failure(
                "digest", f"the artifact's digest is {digest}, not {printable(sha256, 64)} as recorded"
            )
        try:
            check_format(data, checked_format(format))
        except InvalidInput as error:
            return Failure("format", printable(str(error)))
        return data

    def _run(self, kind: str, model: bytes, order: bytes, max_answer_bytes: int) -> Ended:
        """Have a job done; once more if the server turned out to be dead: it may have died long before."""
        with self._turn:
            try:
                return self._living_server().run(kind, self._limits, model, order, max_answer_bytes)
            except ServerGone:
                self.close()
                try:
                    return self._living_server().run(kind, self._limits, model, order, max_answer_bytes)
                except ServerGone:
                    self.close()
                    raise

    def _living_server(self) -> ForkServer:
        if self._server is not None and not self._server.alive():
            self.close()
        if self._server is None:
            self._server = ForkServer()
        return self._server
