"""The child: one process for one job, confined before it reads the model, ended after it answered.

It gets four open files and nothing else: the pipe for its frames, a pipe that catches what it prints,
and the model and the order, which nobody can change any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from deedbook.artifacts.formats import load_model
from deedbook.artifacts.predictions import predict_rows
from deedbook.consumers.sandbox import attempts, frames, kernel, probes
from deedbook.events.errors import DeedbookError

if TYPE_CHECKING:
    from deedbook.consumers.sandbox.confinement import Confinement

# Where the four files are, in the order in which a job brings them; 0, 1 and 2 are as usual.
ANSWER, MODEL, ORDER = 3, 4, 5
_FIRST_FREE = 6
_MAX_REASON_CHARACTERS = 2_000


def run(confinement: Confinement, job: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Do the job and end the process: status 0 if it was answered, whatever the answer.

    `descriptors`: where to answer, where to print, the model, the order.
    """
    status = 70
    try:
        _restore_signals()
        os.setsid()
        _arrange(descriptors)
        limits = job["limits"]
        confinement.apply(limits["cpu_seconds"], limits["memory_bytes"], limits["threads"])
        with contextlib.suppress(OSError):
            kernel.die_with_parent(signal.SIGKILL)
        with os.fdopen(ORDER, "rb") as file:
            order = json.load(file)
        if job["kind"] == "probe":
            _answer(frames.PROBES, json.dumps(probes.run(order)).encode())
        else:
            _predict(order)
        status = 0
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException as error:  # noqa: BLE001 (said where the worker catches what is printed)
        os.write(2, f"the sandbox's child failed: {error!r}".encode("utf-8", "backslashreplace"))
    finally:
        # Straight to the kernel: what the model left to be done at exit is not done.
        os._exit(status & 0xFF)


def _predict(order: dict[str, Any]) -> None:
    """Load the model, predict and answer; whatever is raised is an answer, too."""
    attempts.watch(lambda attempt: _answer(frames.ATTEMPT, attempt.encode("utf-8", "backslashreplace")))
    meaning = frames.FORMAT
    try:
        with os.fdopen(MODEL, "rb") as file, _single_threaded():
            model = load_model(file.read(), order["format"], allowed={order["format"]})
            meaning = frames.MISMATCH
            values = predict_rows(model, order["features"], order["rows"])
        answer = frames.PREDICTIONS, frames.doubles(values)
    except SystemExit:
        raise
    except MemoryError:
        answer = frames.MEMORY, b""
    except DeedbookError as error:
        answer = meaning, _text(error)
    except BaseException as error:  # noqa: BLE001 (a model may raise anything at all)
        answer = (
            frames.EXCEPTION,
            type(error).__name__.encode("utf-8", "backslashreplace")[:100] + b": " + _text(error),
        )
    _answer(*answer)


@contextlib.contextmanager
def _single_threaded() -> Any:  # noqa: ANN401 (a context manager)
    """Make joblib run a model's own `n_jobs` one after the other, if joblib is there."""
    joblib = sys.modules.get("joblib")
    with joblib.parallel_config(backend="sequential") if joblib else contextlib.nullcontext():
        yield


def _text(error: BaseException) -> bytes:
    try:
        return str(error)[:_MAX_REASON_CHARACTERS].encode("utf-8", "backslashreplace")
    except BaseException:  # noqa: BLE001 (the model's exception may not even say what it is)
        return b"(the exception has no text)"


def _answer(kind: bytes, payload: bytes) -> None:
    frames.write_all(ANSWER, frames.pack(kind, payload))


def _arrange(descriptors: list[int]) -> None:
    """Put the job's files where they belong, and close everything else."""
    answer, printed, model, order = descriptors
    nothing = os.open(os.devnull, os.O_RDONLY)
    # First out of the way of the places, then into them.
    high = [
        fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE)
        for descriptor in (nothing, printed, printed, answer, model, order)
    ]
    for place, descriptor in enumerate(high):
        os.dup2(descriptor, place, inheritable=False)
    os.closerange(_FIRST_FREE, os.sysconf("SC_OPEN_MAX"))


def _restore_signals() -> None:
    """Give the child the default signals again; the server handles some."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
