"""A validation worker as a program of its own, with a check that waits until it is let go on.

    python tests/judging_program.py SERVERS PREFIX FOLDER [NAME=VALUE ...]

Beside deedbook's own checks it has `gate`, which passes once the folder holds a file of the model's name. On its
standard output it tells what it does, a line each: `holds MODEL`, `verdict MODEL OUTCOME`,
`says LEVEL SENTENCE`, `is asked to end`, `ended`.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

from deedbook.artifacts.store import LocalArtifactStore
from deedbook.consumers.checks import BUILT_IN, Catalogue, Check, Evidence, Finding, Settings
from deedbook.consumers.faust.worker import follow
from deedbook.consumers.sandbox import Sandbox
from deedbook.consumers.validation import Validator
from deedbook.events.clock import now_micros
from deedbook.events.codec import Codec
from deedbook.events.facts import Outcome
from deedbook.events.kafka.log import KafkaLog
from deedbook.events.kafka.settings import KafkaSettings


def tell(line: str) -> None:
    """Write a line at once, whichever thread has it."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class _Telling(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        tell(f"says {record.levelname} {record.getMessage()}")


def gate(folder: Path) -> Check:
    """The check that takes its time."""

    def evaluate(evidence: Evidence, _settings: Settings) -> Finding:
        name = evidence.training.model
        tell(f"holds {name}")
        while not (folder / name).exists():
            time.sleep(0.02)
        return Finding(outcome=Outcome.PASSED, reason="it was let go on")

    return Check(name="gate", summary="", evaluate=evaluate, reads=lambda _: ())


def main(servers: str, prefix: str, folder: Path, options: dict[str, str]) -> None:
    """Judge until the first SIGTERM."""
    logging.getLogger("deedbook").setLevel(logging.INFO)
    logging.getLogger("deedbook").addHandler(_Telling())
    stop = threading.Event()

    def ask_to_stop(*_: object) -> None:
        stop.set()
        # Not through the stream: the signal may have come in the middle of a line.
        os.write(1, b"is asked to end\n")

    signal.signal(signal.SIGTERM, ask_to_stop)
    kafka = KafkaSettings(servers, prefix, options)
    log = KafkaLog(KafkaSettings(servers, prefix))
    # Not begun before a model is to run: few of these orders have one.
    with closing(Sandbox()) as sandbox:
        catalogue = Catalogue((*BUILT_IN, gate(folder)))
        validator = Validator(LocalArtifactStore(folder / "artifacts"), sandbox, "w", now_micros, catalogue)
        follow(
            kafka,
            log,
            Codec(),
            validator,
            stop=stop.is_set,
            heard=lambda order, verdict: tell(f"verdict {order.training.model} {verdict.outcome}"),
        )
    log.close()
    tell("ended")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), dict(pair.split("=", 1) for pair in sys.argv[4:]))
