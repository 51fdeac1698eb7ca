"""The list of bugs: each has a command that replays it, and what the command runs is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROWS = [
    line
    for line in (ROOT / "docs" / "bugs.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith(("| what", "| ---"))
]


def test_every_bug_says_what_went_wrong_who_found_it_and_how_to_replay_it() -> None:
    """Three cells each, the last one a command."""
    assert ROWS
    assert [] == [row for row in ROWS if not re.fullmatch(r"\| .+\. \| .+ \| `\.venv/bin/pytest .+` \|", row)]


def test_the_tests_that_replay_bugs_are_there() -> None:
    """By file and name."""
    named = [
        (file, name) for row in ROWS for file, name in re.findall(r"(tests/\w+\.py)(?:::(\w+))?", row) if name
    ]

    assert len(named) >= len(ROWS)
    assert [] == [
        (file, name)
        for file, name in named
        if f"def {name}(" not in (ROOT / file).read_text(encoding="utf-8")
    ]
