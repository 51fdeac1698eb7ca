"""What an event of a subscription says: a fact as one of the kinds of ``SubscribedEvent.fact``, and back."""

from __future__ import annotations

import re

from deedbook.api.messages import from_message, to_message
from deedbook.api.v1 import registry_pb2 as pb
from deedbook.events.facts import FACTS, Fact

_FACTS = {re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower(): cls for cls in FACTS}
_KINDS = pb.SubscribedEvent.DESCRIPTOR.oneofs_by_name["fact"].fields


def tell(event: pb.SubscribedEvent, fact: Fact) -> None:
    """Put what happened into an event; a fact that the interface has no kind for is left out."""
    for kind in _KINDS:
        if _FACTS[kind.name] is type(fact):
            told = getattr(event, kind.name)
            told.CopyFrom(to_message(fact, type(told)))


def told_by(event: pb.SubscribedEvent) -> Fact | None:
    """Return what happened, None where the event does not say; InvalidInput where this release can't read it."""
    kind = event.WhichOneof("fact")
    return None if kind is None else from_message(getattr(event, kind), _FACTS[kind])
