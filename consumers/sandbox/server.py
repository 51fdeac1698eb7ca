"""The fork server: started fresh with an empty environment, warm with libraries, one child for each job.

It is not forked from the worker, so nothing of the worker's memory is in it, and it trusts nobody but
the worker. Run as `python -I -m deedbook.consumers.sandbox.server <control descriptor>`.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
import time
import warnings
from typing import TYPE_CHECKING, NoReturn

from deedbook.artifacts.formats import load_model, save_model
from deedbook.artifacts.predictions import predict_rows
from deedbook.consumers.sandbox import child, frames, surroundings
from deedbook.consumers.sandbox.confinement import load_seccomp, prepare

if TYPE_CHECKING:
    from deedbook.consumers.sandbox.confinement import Confinement

# Loaded once, if installed. Others that a model needs are loaded by its child.
_WARM = (
    "numpy",
    "pandas",
    "scipy.stats",
    "sklearn.compose",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.pipeline",
    "skops.io",
    "joblib",
    "catboost",
)
# One thread each: a child may start few, and a job's result must not depend on how many there are.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LOKY_MAX_CPU_COUNT")
_KILL_SECONDS = 10.0


def main(control: socket.socket) -> NoReturn:
    """Enter the sandbox's surroundings, and serve jobs from inside until the worker is gone."""
    seccomp = load_seccomp()  # finding the C library behind it takes programs that are gone below
    if sys.platform.startswith("linux"):
        # Of the old process namespace: to look up this process's own size when there is no /proc any more.
        proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
    else:
        proc = -1
    own_processes, missing = surroundings.enter()
    _warm_up()
    confinement = prepare(_address_space_bytes(proc), seccomp).tried()
    if proc >= 0:
        os.close(proc)
    frames.send_message(control, {"missing": {**missing, **confinement.missing}})
    _serve(control, confinement, own_processes)


def _warm_up() -> None:
    warnings.simplefilter("ignore")
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    for module in _WARM:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    with contextlib.suppress(Exception):
        _rehearse()
    gc.collect()
    # What is loaded now is never garbage: children don't copy it by counting it.
    gc.freeze()


def _rehearse() -> None:
    """Answer one request with a small model of our own: what is imported only then is warm as well."""
    numpy, pandas = importlib.import_module("numpy"), importlib.import_module("pandas")
    scaler = importlib.import_module("sklearn.preprocessing").StandardScaler()
    ridge = importlib.import_module("sklearn.linear_model").Ridge()
    model = importlib.import_module("sklearn.pipeline").make_pipeline(scaler, ridge)
    model.fit(pandas.DataFrame({"feature": [0.0, 1.0, 2.0]}), numpy.array([0.0, 1.0, 2.0]))
    saved = save_model(model)
    predict_rows(load_model(saved.data, saved.format), ["feature"], [[1.0], [2.0]])


def _address_space_bytes(proc: int) -> int:
    """How much address space the libraries take: a model's limit is on top of it."""
    if proc < 0:
        return 0
    descriptor = os.open("self/statm", os.O_RDONLY, dir_fd=proc)
    with os.fdopen(descriptor) as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _serve(control: socket.socket, confinement: Confinement, own_processes: bool) -> NoReturn:  # noqa: FBT001
    """Answer each job with how its process ended; end when the worker hangs up."""
    wake = _wake_at_ended_children()
    while True:
        try:
            job, descriptors = frames.receive_message(control, 4)
        except (EOFError, OSError):
            sys.exit(0)
        if job["kind"] == "cancel":  # it crossed with the end of its job
            continue
        process = os.fork()
        if process == 0:
            child.run(confinement, job, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        status, timed_out = _wait(process, control, wake, job["limits"]["wall_seconds"])
        status = _end_everybody(process, status, own_processes)
        frames.send_message(control, {"status": status, "timed_out": timed_out})


def _wake_at_ended_children() -> int:
    """Return a descriptor that becomes readable when a child has ended."""
    wake, waker = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return wake


def _wait(process: int, control: socket.socket, wake: int, seconds: float) -> tuple[int | None, bool]:
    """Wait for the job's process: its status if it ended, and whether its time was up.

    It also returns when the worker cancels the job or hangs up.
    """
    deadline = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return status, False
        remaining_seconds = deadline - time.monotonic()
        if remaining_seconds <= 0:
            return None, True
        readable, _, _ = select.select([control.fileno(), wake], [], [], remaining_seconds)
        if control.fileno() in readable:
            return None, False
        with contextlib.suppress(BlockingIOError):
            os.read(wake, 4096)


def _end_everybody(process: int, status: int | None, own_processes: bool) -> int:  # noqa: FBT001
    """Kill the job's process and all that descends from it; return the exit code, or minus the signal.

    Descendants whose own parent ended are children of this process, whatever session they are in.
    """
    deadline = time.monotonic() + _KILL_SECONDS
    while True:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process, signal.SIGKILL)
        for pid in [-1] if own_processes and os.getpid() == 1 else _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            reaped, reaped_status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return os.waitstatus_to_exitcode(status or 0)
        if reaped == process:
            status = reaped_status
        if reaped == 0:
            time.sleep(0.001)
        if time.monotonic() > deadline:
            os._exit(1)  # the worker starts another; in a namespace, this end is everybody's


def _children() -> list[int]:
    """The processes whose parent this is."""
    with contextlib.suppress(OSError), open(f"/proc/self/task/{os.getpid()}/children") as file:  # noqa: PTH123
        return [int(pid) for pid in file.read().split()]
    return []


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
