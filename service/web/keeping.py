"""Answers that are kept as long as nothing new was folded: what forms offer is asked for on every page."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from deedbook.projector.queries.charted import (
    ChartMetric,
    ChartParameter,
    chart_metrics,
    chart_parameters,
    parameter_values,
)
from deedbook.projector.queries.paging import registry_position

if TYPE_CHECKING:
    import duckdb

T = TypeVar("T")

MAX_ANSWERS: Final = 200
# So many names to pick from are enough for a list that one types into.
PICKABLE: Final = 300


class Kept:
    """The newest answers, those used last, all of the state at one registry position; for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._position = -1
        self._answers: OrderedDict[Hashable, Any] = OrderedDict()

    def answer(self, connection: duckdb.DuckDBPyConnection, key: Hashable, question: Callable[[], T]) -> T:
        """Return what a question answers about a connection's state, asked again only where that has moved."""
        position = registry_position(connection)
        with self._lock:
            if position == self._position and key in self._answers:
                self._answers.move_to_end(key)
                kept: T = self._answers[key]
                return kept
        found = question()
        with self._lock:
            # An older state's answers give way to a newer one's, never the other way round.
            if position > self._position:
                self._answers.clear()
                self._position = position
            if position == self._position:
                self._answers[key] = found
                while len(self._answers) > MAX_ANSWERS:
                    self._answers.popitem(last=False)
        return found

    def metrics(self, connection: duckdb.DuckDBPyConnection, model: str | None) -> tuple[ChartMetric, ...]:
        """Return the metrics of a model's trainings, or of all."""
        return self.answer(connection, ("metrics", model), lambda: chart_metrics(connection, model))

    def parameters(self, connection: duckdb.DuckDBPyConnection, model: str) -> tuple[ChartParameter, ...]:
        """Return the parameters of a model's trainings."""
        return self.answer(connection, ("parameters", model), lambda: chart_parameters(connection, model))

    def values(
        self, connection: duckdb.DuckDBPyConnection, model: str, parameter: str, limit: int
    ) -> tuple[tuple[str, int], ...]:
        """Return the most frequent values of a parameter of a model's trainings, with how many have each."""
        return self.answer(
            connection,
            ("values", model, parameter, limit),
            lambda: parameter_values(connection, model, parameter, limit=limit),
        )

    def parameter_names(self, connection: duckdb.DuckDBPyConnection, model: str | None) -> tuple[str, ...]:
        """Return the names of the parameters that trainings have, as they came up."""

        def asked() -> tuple[str, ...]:
            rows = connection.execute(
                "select name from base.parameter where $1 is null or training_key in "
                "(select key from base.training where model = $1) group by name order by min(rowid) limit $2",
                [model, PICKABLE],
            ).fetchall()
            return tuple(name for (name,) in rows)

        return self.answer(connection, ("parameter names", model), asked)
