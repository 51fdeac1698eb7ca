"""What the fold decided, in the interface's words."""

from __future__ import annotations

from typing import Final

from deedbook.api.v1 import registry_pb2 as pb

DECISIONS: Final = {
    "accepted": pb.DECISION_ACCEPTED,
    "ignored": pb.DECISION_IGNORED,
    "rejected": pb.DECISION_REJECTED,
}
WORDS: Final[dict[int, str]] = {number: word for word, number in DECISIONS.items()}
