"""A projection that is opened once, to be folded and looked at; `Registry.fold` also closes it and hashes its state."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from deedbook.events.codec import Codec
from deedbook.projector.loop import Bounds, Projector

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from deedbook.projector.rules import Rule
    from deedbook.projector.store import Store
    from tests.folded import Registry


@contextmanager
def caught_up(
    registry: Registry,
    name: str = "projection",
    *,
    max_records: int = 10_000,
    rules: Mapping[int, Mapping[str, Rule]] | None = None,
) -> Iterator[Store]:
    """A projection once it has all that is on the log, folded in batches of so many."""
    with registry.store(name) as store:
        bounds = Bounds(max_records=max_records)
        Projector(registry.log, store, Codec(), bounds=bounds, rules=rules).catch_up()
        yield store


def catch_up(
    registry: Registry, *, max_records: int = 10_000, rules: Mapping[int, Mapping[str, Rule]] | None = None
) -> None:
    """Fold what is new, in batches of so many."""
    with caught_up(registry, max_records=max_records, rules=rules):
        return
