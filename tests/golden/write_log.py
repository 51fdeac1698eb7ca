"""Write the golden log of this release, unless it has one: `python tests/golden/write_log.py` from the root.

It is every record of a short story that has every event type, every decision and nearly every reason;
beside it stand what was decided at each position, and the state hash. Neither is ever written again.
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from deedbook.events.facts import TOPICS

if TYPE_CHECKING:
    from tests.folded import Registry

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "logs"


def main() -> None:
    """Write both files, or say why not."""
    # These tests, whatever other package calls itself `tests` here.
    sys.modules["tests"] = ModuleType("tests")
    sys.modules["tests"].__path__ = [str(ROOT / "tests")]
    from deedbook import __version__
    from tests.folded import Registry
    from tests.golden.story import tell

    log_path, outcome_path = FOLDER / f"{__version__}.jsonl", FOLDER / f"{__version__}.outcome.json"
    if log_path.exists() or outcome_path.exists():
        sys.exit(f"release {__version__} has its golden log: it is never written again")
    with tempfile.TemporaryDirectory() as folder:
        registry = Registry(Path(folder))
        tell(registry)
        outcome = {"state_hash": registry.fold(), "decisions": decisions(registry)}
        FOLDER.mkdir(exist_ok=True)
        log_path.write_text("".join(f"{line}\n" for line in _records(registry)), encoding="utf-8")
    outcome_path.write_text(json.dumps(outcome, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def decisions(registry: Registry) -> list[list[object]]:
    """Return what was decided, event by event."""
    rows = registry.ask(
        "select topic, position, type, decision, coalesce(reason, '') from events order by topic, position"
    )
    return [list(row) for row in rows]


def _records(registry: Registry) -> list[str]:
    records = [record for topic in TOPICS for record in registry.log.read(topic, 0, 0)]
    records.sort(key=lambda record: record.recorded_at)
    return [
        json.dumps(
            {
                "topic": record.topic,
                "recorded_at": record.recorded_at,
                "key": base64.b64encode(record.key).decode(),
                "headers": [[name, base64.b64encode(value).decode()] for name, value in record.headers],
                "value": base64.b64encode(record.value).decode(),
            }
        )
        for record in records
    ]


if __name__ == "__main__":
    main()
