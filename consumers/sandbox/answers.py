"""From how a job's process ended, and what it wrote, to Predictions or a Failure with its reason."""

from __future__ import annotations

import math
import signal
from dataclasses import dataclass

from deedbook.consumers.sandbox import frames
from deedbook.consumers.sandbox.outcome import Failure, Limits, Predictions, printable


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that is over: exit code (or minus the signal), whether its time was up, and what it wrote.

    `oversized`: it wrote more than an answer can have. `printed`: the end of what it printed.
    `alone`: no process was left that held the job's pipe.
    """

    status: int
    timed_out: bool
    answer: bytes
    oversized: bool
    printed: bytes
    alone: bool


def read_answer(ended: Ended, count: int, limits: Limits) -> Predictions | Failure:
    """Decide what came of a job of `count` rows; only a whole, timely, well-formed answer is Predictions."""
    attempts, last, problem = _frames(ended)
    if attempts:
        return Failure("refused", printable(f"the model tried to {'; to '.join(attempts)}"))
    if ended.timed_out:
        return Failure("timeout", f"the model did not answer within {limits.wall_seconds:g} s")
    if ended.oversized:
        return Failure("malformed", "the model's process sent more than an answer can have")
    if ended.status:
        return _exit(ended, limits)
    if problem:
        return Failure("malformed", f"the model's process sent no proper answer: {problem}")
    if last is None:
        return Failure("exit", "the model ended its process with status 0 before it answered")
    return _meaning(*last, count, limits)


def _frames(ended: Ended) -> tuple[list[str], tuple[bytes, bytes] | None, str | None]:
    """Return the attempts, the one frame after them, and what is wrong with the sequence, if anything."""
    attempts: list[str] = []
    last: tuple[bytes, bytes] | None = None
    try:
        for kind, payload in frames.unpack(ended.answer):
            if last is not None:
                return attempts, None, "something follows the answer"
            if kind == frames.ATTEMPT:
                attempts.append(payload.decode("utf-8", "backslashreplace"))
            else:
                last = kind, payload
    except frames.Malformed as error:
        return attempts, None, str(error)
    return attempts, last, None


def _exit(ended: Ended, limits: Limits) -> Failure:
    """Say how the process ended that should have ended with status 0."""
    printed = ended.printed.decode("utf-8", "backslashreplace").strip()
    # What C++ says when an allocation fails where nobody catches it.
    if "bad_alloc" in printed:
        return _out_of_memory(limits)
    if ended.status == -signal.SIGXCPU:
        return Failure("timeout", f"the model used more than {limits.cpu_seconds} s of processor time")
    said = f" (it printed: {printable(printed.splitlines()[-1], 200)})" if printed else ""
    if ended.status < 0:
        try:
            name = signal.Signals(-ended.status).name
        except ValueError:
            name = f"signal {-ended.status}"
        return Failure("exit", f"the model's process was ended by {name} before it answered{said}")
    return Failure("exit", f"the model ended its process with status {ended.status} before it answered{said}")


def _meaning(kind: bytes, payload: bytes, count: int, limits: Limits) -> Predictions | Failure:
    text = printable(payload.decode("utf-8", "backslashreplace")) if kind != frames.PREDICTIONS else ""
    match kind:
        case frames.PREDICTIONS:
            return _predictions(payload, count)
        case frames.EXCEPTION:
            return Failure("exception", f"the model raised {text}")
        case frames.FORMAT:
            return Failure("format", text)
        case frames.MISMATCH:
            return Failure("malformed", text)
        case frames.MEMORY:
            return _out_of_memory(limits)
        case _:
            return Failure("malformed", "the model's process sent no proper answer: a frame of another kind")


def _predictions(payload: bytes, count: int) -> Predictions | Failure:
    try:
        values = frames.from_doubles(payload)
    except frames.Malformed as error:
        return Failure("malformed", str(error))
    if len(values) != count:
        return Failure("malformed", f"the model predicted {len(values)} values for {count} rows")
    wrong = sum(not math.isfinite(value) for value in values)
    if wrong:
        return Failure("malformed", f"the model predicted NaN or infinity for {wrong} of {count} rows")
    return Predictions(values)


def _out_of_memory(limits: Limits) -> Failure:
    return Failure("memory", f"the model used more than {limits.memory_bytes / (1 << 20):g} MiB of memory")
