"""A list of trainings as a page shows it: the rows, the columns that tell them apart, and what may be picked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from deedbook.projector.queries.filters import Comparison, MetricName
from deedbook.projector.queries.paging import search_page
from deedbook.projector.queries.search import TrainingSummary
from deedbook.projector.queries.whole import count_found
from deedbook.service.web.keeping import PICKABLE, Kept
from deedbook.service.web.searching import PAGE_SIZE, Searched

if TYPE_CHECKING:
    import duckdb

_USUAL_METRICS: Final = 3
_PARAMETERS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A page of a search; ``total``: of all pages. ``parameters`` and ``metrics``: what has a column of its own."""

    searched: Searched
    trainings: tuple[TrainingSummary, ...]
    total: int
    next: str | None
    parameters: tuple[str, ...]
    metrics: tuple[MetricName, ...]
    pickable_metrics: tuple[str, ...]
    pickable_parameters: tuple[str, ...]
    comparisons: tuple[str, ...] = tuple(Comparison)

    @property
    def has_code(self) -> bool:
        """Whether any of the rows says which code it was trained by."""
        return any(training.git_sha for training in self.trainings)

    def by_metric(self, metric: MetricName) -> str:
        """Return the address of the list in a metric's order; in the other direction, where it is in that order."""
        down = self.direction(metric) is True
        return self.searched.address(order_by=metric, descending="yes" if down else None)

    def by_time(self) -> str:
        """Return the address of the list in the order of time, newest first, or oldest where it is newest first."""
        newest = self.direction(None) is False
        return self.searched.address(order_by=None, descending="no" if newest else None)

    def direction(self, metric: MetricName | None) -> bool | None:
        """Tell whether the list ascends by a metric, or by time for None; None where another orders it."""
        query = self.searched.query
        if query.order_by != metric:
            return None
        return query.descending is False if metric is None else not query.descending


def listing(
    connection: duckdb.DuckDBPyConnection,
    searched: Searched,
    kept: Kept,
) -> Listing:
    """Return a page of a search."""
    query = searched.query
    metrics = kept.metrics(connection, query.model)
    columns = tuple(dict.fromkeys(query.named)) or tuple(one.metric for one in metrics[:_USUAL_METRICS])
    found = search_page(connection, replace(query, show=columns), size=PAGE_SIZE, after=searched.mark)
    return Listing(
        searched=searched,
        trainings=found.trainings,
        total=count_found(connection, query),
        next=None if found.next is None else searched.next_page(found.next),
        parameters=_telling(found.trainings),
        metrics=columns,
        pickable_metrics=tuple(str(one.metric) for one in metrics[:PICKABLE]),
        pickable_parameters=kept.parameter_names(connection, query.model),
    )


def _telling(trainings: Sequence[TrainingSummary]) -> tuple[str, ...]:
    """Return the parameters that tell these trainings apart; the first ones where none does."""
    names = dict.fromkeys(name for training in trainings for name in training.parameters)
    differing = [name for name in names if len({training.parameters.get(name) for training in trainings}) > 1]
    return tuple(differing or names)[:_PARAMETERS]
