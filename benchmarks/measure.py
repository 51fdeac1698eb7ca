"""How things are measured: repeats, their median and spread, peak memory, bytes on disk, fresh starts.

A measure travels between processes as one line of JSON. Only the standard library is imported, so that the peers'
environments can use it too.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Literal

Unit = Literal["seconds", "bytes", "rows_per_second"]


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure: whose, of what, at which size, its median and spread over the repeats.

    `n` is the number of trainings the figure is about (0 where none is), `route` the way it was obtained where there
    are several, `note` what a reader must know to judge it.
    """

    subject: str
    what: str
    n: int
    unit: Unit
    median: float
    low: float
    high: float
    repeats: int
    route: str = ""
    note: str = ""

    def to_json(self) -> str:
        """This measure as one line, its unit in the field names: `median_seconds`, or `bytes`."""
        fields: dict[str, object] = {"peer": self.subject, "what": self.what, "n": self.n}
        if self.unit == "bytes":
            fields["bytes"] = int(self.median)
        else:
            fields |= {
                f"median_{self.unit}": self.median,
                f"low_{self.unit}": self.low,
                f"high_{self.unit}": self.high,
            }
        fields |= {"repeats": self.repeats, "route": self.route, "note": self.note}
        return json.dumps(fields)

    @staticmethod
    def from_json(line: str) -> Measure:
        """The measure that `to_json` wrote. Raises KeyError or ValueError where it isn't one."""
        fields = json.loads(line)
        unit: Unit
        if "bytes" in fields:
            unit, median, low, high = "bytes", fields["bytes"], fields["bytes"], fields["bytes"]
        else:
            unit = "seconds" if "median_seconds" in fields else "rows_per_second"
            median, low, high = (fields[f"{word}_{unit}"] for word in ("median", "low", "high"))
        return Measure(
            fields["peer"], fields["what"], fields["n"], unit, float(median), float(low), float(high),
            fields["repeats"], fields["route"], fields["note"],
        )  # fmt: skip


def of_samples(
    subject: str,
    what: str,
    n: int,
    samples: Sequence[float],
    *,
    unit: Unit = "seconds",
    route: str = "",
    note: str = "",
) -> Measure:
    """The measure that `samples` make: median, lowest and highest."""
    return Measure(
        subject,
        what,
        n,
        unit,
        statistics.median(samples),
        min(samples),
        max(samples),
        len(samples),
        route,
        note,
    )


def of_bytes(subject: str, what: str, n: int, size_bytes: int, *, note: str = "") -> Measure:
    """The measure of a size, which is read once: it doesn't vary."""
    return Measure(subject, what, n, "bytes", size_bytes, size_bytes, size_bytes, 1, "", note)


def timed(call: Callable[[], object], repeats: int = 7, warm_up: int = 1) -> list[float]:
    """How many seconds each of `repeats` calls took, after `warm_up` calls that don't count."""
    for _ in range(warm_up):
        call()
    samples = []
    for _ in range(repeats):
        began = perf_counter()
        call()
        samples.append(perf_counter() - began)
    return samples


def peak_rss_bytes() -> int:
    """The most memory that this process has held at once."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def folder_bytes(folder: Path) -> int:
    """How many bytes the files under `folder` hold: the same on every file system, unlike allocated blocks."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


_START = """
import os, sys, time
began = time.perf_counter()
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print(time.perf_counter() - began, usage.ru_maxrss, os.waitstatus_to_exitcode(status), file=sys.stderr)
"""


def start(command: Sequence[str], env: dict[str, str] | None = None) -> tuple[float, int]:
    """Run `command` once, its output thrown away: seconds from start to exit, and peak memory in bytes.

    A small process starts it and waits: forking from this one would count this one's memory as the child's peak.
    Raises RuntimeError when the command fails.
    """
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _START, *command],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=env, check=False,
    )  # fmt: skip
    seconds, peak, status = done.stderr.splitlines()[-1].split()
    if status != "0":
        message = f"{' '.join(command)} ended with status {status}: {done.stderr.strip()}"
        raise RuntimeError(message)
    return float(seconds), int(peak) * (1 if sys.platform == "darwin" else 1024)


def fresh_starts(
    subject: str,
    python: str,
    module: str,
    *,
    repeats: int = 7,
    env: dict[str, str] | None = None,
    statement: str = "",
) -> list[Measure]:
    """How long a fresh interpreter takes to `import module` beyond what it takes to start, and its peak memory.

    `statement` is what is run instead, where importing alone does not yet load what a user needs.
    """
    statement = statement or f"import {module}"
    bare = statistics.median(start([python, "-c", "pass"], env)[0] for _ in range(repeats))
    start([python, "-c", statement], env)
    runs = [start([python, "-c", statement], env) for _ in range(repeats)]
    note = f"a bare python takes {bare * 1000:.0f} ms, taken off"
    return [
        of_samples(subject, "import", 0, [seconds - bare for seconds, _ in runs], route=statement, note=note),
        of_bytes(subject, "import_peak_rss", 0, int(statistics.median(peak for _, peak in runs))),
    ]
