"""What validation found: verdicts with their checks, failures, and where a training stands."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from deedbook.events.errors import NotFound
from deedbook.events.facts import Distribution
from deedbook.projector.queries.asking import Answer, ask, ask_one, position_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    import duckdb


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What one check found; ``outcome``: passed, failed, error or not_evaluated."""

    check: str
    outcome: str
    subject: str
    observed: float | None
    threshold: float | None
    baseline_training_id: str | None
    reason: str
    distributions: tuple[Distribution, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An accepted verdict and its checks, in the policy's order; ``policy_version`` 0 is the default policy."""

    verdict_id: str
    training_id: str
    model: str
    version: int
    outcome: str
    policy_version: int
    validator_version: str
    baseline_training_id: str | None
    actor: str
    issued_at: datetime
    requested_at_position: int
    position: int
    checks: tuple[Check, ...]

    @property
    def failing(self) -> tuple[Check, ...]:
        """The checks that did not pass: why the training isn't deployable by this verdict."""
        return tuple(check for check in self.checks if check.outcome != "passed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A verdict that is no pass, and what became of its training since.

    ``superseded``: a later verdict exists. ``deployable`` and ``overridden`` are as of now.
    """

    verdict: Verdict
    parameters: Mapping[str, str]
    deployable: bool
    overridden: bool
    superseded: bool

    @property
    def state(self) -> FailureState:
        """What became of it."""
        if self.superseded:
            return FailureState.SUPERSEDED
        return FailureState.OVERRIDDEN if self.overridden else FailureState.OPEN


class FailureState(StrEnum):
    """What became of a failed validation; each is in one of them.

    ``superseded``: a later verdict exists. ``overridden``: none does, and a named person's decision holds.
    ``open``: it is why the training isn't deployable now.
    """

    OPEN = "open"
    SUPERSEDED = "superseded"
    OVERRIDDEN = "overridden"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureNames:
    """What failures may be asked for by: the models and the checks that any of them names, and how many are how."""

    models: tuple[str, ...]
    checks: tuple[str, ...]
    counts: Mapping[FailureState, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Whether a training is deployable and why, in ``[from_position, to_position)`` of the registry.

    ``outcome``: pending, passed, failed or error; ``to_position`` is None for the one that holds now.
    """

    training_id: str
    model: str
    version: int
    outcome: str
    deployable: bool
    overridden: bool
    reason: str
    since: datetime
    from_position: int
    to_position: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """A verdict that was asked for: by which policy, compared with which trainings, and whether it came."""

    training_id: str
    requested_at_position: int
    policy_version: int
    last_trained: str | None
    last_deployable: str | None
    live: str | None
    requests_id: str | None
    pending: bool
    closed_position: int | None


_VERDICT = (
    "select verdict_id, training_id, model, version, outcome, policy_version, validator_version, "
    "baseline_training_id, actor, issued_at, requested_at_position, position from main.verdicts v "
)


def verdicts_of(connection: duckdb.DuckDBPyConnection, training_id: str) -> tuple[Verdict, ...]:
    """Return all verdicts on a training, oldest first."""
    rows = ask(connection, _VERDICT + "where training_id = ? order by position", [training_id])
    return _with_checks(connection, rows)


_FAILURES = (
    "with newest as (select training_id, max(position) as newest_position from main.verdicts "
    "where $3 is null or position < $3 group by all) "
    "select v.*, n.newest_position > v.position as superseded, t.parameters, t.deployable, t.overridden "
    f"from ({_VERDICT} where outcome != 'passed') v "
    "join newest n using (training_id) join main.trainings t using (training_id) "
    "where ($1 is null or v.model = $1) "
    'and ($2 is null or v.position in (select position from main.checks where "check" = $2 '
    "and outcome != 'passed')) "
)


def failures(
    connection: duckdb.DuckDBPyConnection,
    *,
    model: str | None = None,
    training_id: str | None = None,
    check: str | None = None,
    state: FailureState | None = None,
    include_superseded: bool = True,
    before: int | None = None,
    as_of: int | None = None,
    limit: int = 100,
) -> tuple[Failure, ...]:
    """Return the verdicts that are no pass, newest first, each with what its checks found.

    ``check``: only where that one did not pass. ``before``: only verdicts at lower positions. ``as_of``: no verdict
    from this position on is looked at.
    """
    rows = ask(
        connection,
        f"from ({_FAILURES}) where ($4 is null or training_id = $4) and ($5 or not superseded) "
        "and ($6 is null or $6 = case when superseded then 'superseded' when overridden then 'overridden' "
        "else 'open' end) and ($7 is null or position < $7) order by position desc limit $8",
        [model, check, as_of, training_id, include_superseded, state, before, limit],
    )
    standing = [
        {name: row.pop(name) for name in ("parameters", "deployable", "overridden", "superseded")}
        for row in rows
    ]
    verdicts = _with_checks(connection, rows)
    return tuple(Failure(verdict=v, **now) for v, now in zip(verdicts, standing, strict=True))


def failure_names(
    connection: duckdb.DuckDBPyConnection, *, model: str | None = None, check: str | None = None
) -> FailureNames:
    """Return what failures can be asked for by; the counts are of one model or check where it is given."""
    counted = ask(
        connection,
        "select count(*) filter (superseded) as superseded, count(*) filter (overridden and not superseded) "
        f"as overridden, count(*) filter (not superseded and not overridden) as open from ({_FAILURES})",
        [model, check, None],
    )
    models = ask(
        connection, "select distinct model from main.verdicts where outcome != 'passed' order by model"
    )
    checks = ask(
        connection,
        "select distinct \"check\" as name from main.checks where outcome != 'passed' order by name",
    )
    return FailureNames(
        models=tuple(row["model"] for row in models),
        checks=tuple(row["name"] for row in checks),
        counts={state: counted[0][state.value] for state in FailureState},
    )


def standing(
    connection: duckdb.DuckDBPyConnection, training_id: str, *, at: datetime | None = None
) -> Standing:
    """Return where a training stands, now or at a time; raises NotFound where it was not logged by then."""
    position = position_at(connection, at)
    row = ask_one(
        connection,
        _STANDING
        + "where training_id = ? and from_position <= ? and (to_position is null or to_position > ?)",
        [training_id, position, position],
    )
    if row is None:
        then = "" if at is None else f" at {at.isoformat()}"
        raise NotFound(f"there is no training {training_id} in this registry{then}")
    return Standing(**row)


_STANDING = (
    "select training_id, model, version, outcome, deployable, overridden, reason, since, from_position, "
    "to_position from main.standings "
)


def standings(connection: duckdb.DuckDBPyConnection, training_id: str) -> tuple[Standing, ...]:
    """Return where a training stood from its logging on, oldest first."""
    rows = ask(connection, _STANDING + "where training_id = ? order by from_position", [training_id])
    return tuple(Standing(**row) for row in rows)


def validations_of(connection: duckdb.DuckDBPyConnection, training_id: str) -> tuple[Validation, ...]:
    """Return the verdicts that were asked for on a training, oldest first."""
    rows = ask(
        connection,
        "select training_id, requested_at_position, policy_version, last_trained, last_deployable, live, "
        "requests_id, pending, closed_position from main.validations where training_id = ? "
        "order by requested_at_position",
        [training_id],
    )
    return tuple(Validation(**row) for row in rows)


def _with_checks(connection: duckdb.DuckDBPyConnection, rows: Iterable[Answer]) -> tuple[Verdict, ...]:
    verdicts = list(rows)
    if not verdicts:
        return ()
    found: dict[int, list[Check]] = {row["position"]: [] for row in verdicts}
    for row in ask(
        connection,
        'select position, "check", outcome, subject, observed, threshold, baseline_training_id, reason, '
        "distributions from main.checks where position in (select unnest(?::bigint[])) order by position, ordinal",
        [list(found)],
    ):
        position, distributions = row.pop("position"), row.pop("distributions")
        check = Check(**row, distributions=_distributions(distributions))
        found[position].append(check)
    return tuple(Verdict(**row, checks=tuple(found[row["position"]])) for row in verdicts)


def _distributions(text: str | None) -> tuple[Distribution, ...]:
    return tuple(
        Distribution(
            name=plain["name"],
            edges=tuple(plain["edges"]),
            candidate_counts=tuple(plain["candidate_counts"]),
            baseline_counts=tuple(plain["baseline_counts"]),
        )
        for plain in json.loads(text or "[]")
    )
