"""The stored state as the fold's source: point look-ups, and one prefetch for a whole batch."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from deedbook.events.facts import BaselineRole, CheckSpec, Parameter, Policy
from deedbook.projector.decision import ChunkHead, TrainingHead
from deedbook.projector.rows import (
    CurrentRow,
    GroupRow,
    RequestRow,
    RequestSetRow,
    RunRow,
    StandingRow,
    TrainingRow,
)
from deedbook.projector.rules.groups import group_key_of
from deedbook.projector.states import BindingState, ModelState, TrainingState
from deedbook.projector.view import View, default_policy

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from deedbook.projector.decision import Event

# Below this many events point look-ups through the indexes are faster than joins.
_PREFETCH_FROM_EVENTS = 16

_TRAINING = """
select
    t.key, t.training_id, t.model, t.version, t.content_hash, g.group_key, t.parameters,
    s.outcome, s.deployable, s.overridden, s.reason, s.from_position,
    r.requested_at_position, r.policy_version, r.last_trained, r.last_deployable, r.live, r.requests_id,
    r.closed_position
from {trainings} t
join base.grouping g on g.training_key = t.key
join base.standing s on s.training_key = t.key and s.to_position is null
join base.request r on r.training_key = t.key
qualify row_number() over (partition by t.key order by r.requested_at_position desc) = 1
"""


class StoredSource:
    """Answers a view from the projection's tables."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def event_hash(self, topic: str, partition: int, event_id: str) -> str | None:
        """Return the body hash of the first event with this id."""
        # Asked by the id alone: with more conditions the look-up takes three times as long.
        found = self._connection.execute(
            "select position, body_hash, topic, partition from base.event where event_id = ?", [event_id]
        ).fetchall()
        here = [row[:2] for row in found if row[2:] == (topic, partition)]
        return str(min(here)[1]) if here else None

    def run(self, training_id: str) -> RunRow | None:
        """Return the announced run."""
        row = self._one(
            "select training_id, model, state, actor, git_sha, started_at, failed_at, error, position "
            "from base.run where training_id = ?",
            [training_id],
        )
        return None if row is None else RunRow(*row)

    def training(self, training_id: str) -> TrainingState | None:
        """Return the training."""
        row = self._one("select key from base.training where training_id = ?", [training_id])
        if row is None:
            return None
        # The key is repeated on every table: sorted columns answer it from one row group each.
        key = int(row[0])
        found = self._trainings(
            "(select * from base.training where key = ?)",
            [key],
            extra=f"and g.training_key = {key} and s.training_key = {key} and r.training_key = {key}",
        )
        return found[0]

    def model(self, model: str) -> ModelState | None:
        """Return the model, or None where it has neither trainings nor a policy."""
        row = self._one("select last_version from base.model where model = ?", [model])
        version = 0 if row is None else int(row[0])
        newest = self._one(
            "select policy from base.policy where model = ? order by version desc limit 1", [model]
        )
        if version == 0 and newest is None:
            return None
        return ModelState(version, default_policy(model) if newest is None else policy_from_json(newest[0]))

    def policy(self, model: str, version: int) -> Policy | None:
        """Return a published version of a model's policy."""
        row = self._one("select policy from base.policy where model = ? and version = ?", [model, version])
        return None if row is None else policy_from_json(row[0])

    def group(self, group_key: str) -> GroupRow | None:
        """Return the group's baselines."""
        row = self._one(
            "select group_key, model, last_trained, last_deployable, live from base.baseline where group_key = ?",
            [group_key],
        )
        return None if row is None else GroupRow(*row)

    def members(self, group_key: str) -> list[TrainingState]:
        """Return all trainings of a group."""
        return self._trainings("base.training", [group_key], extra="and g.group_key = ?")

    def trainings_of(self, model: str) -> list[TrainingState]:
        """Return all trainings of a model."""
        return self._trainings("base.training", [model], extra="and t.model = ?")

    def has_value(self, training_key: int, kind: str, name: str, slice_: str) -> bool:
        """Tell whether a training has this metric, parameter or tag."""
        match kind:
            case "metric":
                sql = (
                    "select 1 from base.metric m join base.term n on n.term_key = m.name_key "
                    "join base.term s on s.term_key = m.slice_key "
                    "where m.training_key = ? and n.term = ? and s.term = ? limit 1"
                )
                return self._one(sql, [training_key, name, slice_]) is not None
            case "parameter":
                sql = "select 1 from base.parameter where training_key = ? and name = ? limit 1"
                return self._one(sql, [training_key, name]) is not None
            case _:
                return True

    def request_sets(self, model: str) -> list[RequestSetRow]:
        """Return a model's request sets, oldest first."""
        rows = self._connection.execute(
            "select requests_id, model, parameters, artifact_uri, artifact_sha256, artifact_size_bytes, count, "
            "actor, position from base.request_set where model = ? order by position",
            [model],
        ).fetchall()
        return [
            RequestSetRow(
                row[0], row[1], tuple(row[2].items()), row[3], row[4], row[5], row[6], row[7], row[8]
            )
            for row in rows
        ]

    def binding(self, service: str, environment: str, release: str) -> BindingState | None:
        """Return what a release is bound to."""
        row = self._one(
            "select position, deployment_id, [m.training_id for m in models] from base.deployment "
            "where service = ? and environment = ? and release = ? and decision = 'accepted'",
            [service, environment, release],
        )
        return None if row is None else BindingState(row[0], row[1], tuple(row[2]))

    def deployment_position(self, deployment_id: str) -> int | None:
        """Return where a deployment with this id was requested."""
        row = self._one("select position from base.deployment where deployment_id = ?", [deployment_id])
        return None if row is None else int(row[0])

    def current(self, service: str, environment: str) -> CurrentRow | None:
        """Return the current release of a service."""
        row = self._one(
            "select service, environment, release, deployment_position, actor, reason, from_position "
            "from base.current_release where service = ? and environment = ? and to_position is null",
            [service, environment],
        )
        return None if row is None else CurrentRow(*row)

    def chunk_position(self, partition: int, training_id: str, producer: str, sequence: int) -> int | None:
        """Return where in a partition this chunk of step-wise metrics was first seen."""
        row = self._one(
            "select position from base.chunk "
            "where partition = ? and training_id = ? and producer = ? and sequence = ?",
            [partition, training_id, producer, sequence],
        )
        return None if row is None else int(row[0])

    def prefetch(self, view: View, events: Sequence[Event]) -> None:
        """Fill the view with all that many events will ask for, in a few joins instead of many look-ups."""
        if len(events) < _PREFETCH_FROM_EVENTS:
            return
        self._prefetch_event_hashes(view, events)
        heads = [e.fact for e in events if isinstance(e.fact, TrainingHead)]
        verdicts = [e.subject for e in events if e.type == "VerdictIssued"]
        if heads or verdicts:
            self._prefetch_trainings(view, {*(head.training_id for head in heads), *verdicts})
        self._prefetch_runs(view, {head.training_id for head in heads})
        self._prefetch_groups(view, heads)
        self._prefetch_chunks(
            view, events[0].partition, [e.fact for e in events if isinstance(e.fact, ChunkHead)]
        )

    def _prefetch_event_hashes(self, view: View, events: Sequence[Event]) -> None:
        topic, partition = events[0].topic, events[0].partition
        view.events.update({(topic, partition, event.event_id): None for event in events})
        found = self._matching(
            "select e.event_id, arg_min(e.body_hash, e.position) from base.event e semi join wanted w "
            f"on w.id = e.event_id where e.topic = '{topic}' and e.partition = {partition} group by all",
            {event.event_id for event in events},
        )
        view.events.update({(topic, partition, event_id): body_hash for event_id, body_hash in found})

    def _prefetch_trainings(self, view: View, training_ids: set[str]) -> None:
        view.trainings.update(dict.fromkeys(training_ids))
        keys = self._matching(
            "select key from base.training t semi join wanted w on w.id = t.training_id", training_ids
        )
        if keys:
            low, high = min(keys)[0], max(keys)[0]
            within = f"between {low} and {high}"
            wanted = pa.table({"key": pa.array([key for (key,) in keys], pa.int64())})
            self._connection.register("wanted", wanted)
            found = self._trainings(
                f"(select t.* from base.training t semi join wanted w on w.key = t.key where t.key {within})",
                [],
                extra=f"and g.training_key {within} and s.training_key {within} and r.training_key {within}",
            )
            self._connection.unregister("wanted")
            view.trainings.update({state.row.training_id: state for state in found})

    def _prefetch_runs(self, view: View, training_ids: set[str]) -> None:
        view.runs.update(dict.fromkeys(training_ids))
        found = self._matching(
            "select r.training_id, r.model, r.state, r.actor, r.git_sha, r.started_at, r.failed_at, r.error, "
            "r.position from base.run r semi join wanted w on w.id = r.training_id",
            training_ids,
        )
        view.runs.update({row[0]: RunRow(*row) for row in found})

    def _prefetch_groups(self, view: View, heads: Sequence[TrainingHead]) -> None:
        policies = {model: view.policy_in_force(model) for model in {head.model for head in heads}}
        keys = {group_key_of(policies[head.model], head.model, head.parameters) for head in heads}
        view.groups.update(dict.fromkeys(keys))
        found = self._matching(
            "select b.group_key, b.model, b.last_trained, b.last_deployable, b.live from base.baseline b "
            "semi join wanted w on w.id = b.group_key",
            keys,
        )
        view.groups.update({row[0]: GroupRow(*row) for row in found})

    def _prefetch_chunks(self, view: View, partition: int, heads: list[ChunkHead]) -> None:
        wanted = {(partition, head.training_id, head.producer, head.sequence): None for head in heads}
        view.chunks.update(wanted)
        found = self._matching(
            "select c.partition, c.training_id, c.producer, c.sequence, c.position from base.chunk c "
            f"semi join wanted w on w.id = c.training_id where c.partition = {partition}",
            {head.training_id for head in heads},
        )
        view.chunks.update({row[:4]: row[4] for row in found})

    def _matching(self, sql: str, ids: set[str]) -> list[tuple[Any, ...]]:
        if not ids:
            return []
        self._connection.register("wanted", pa.table({"id": pa.array(sorted(ids), pa.string())}))
        found = self._connection.execute(sql).fetchall()
        self._connection.unregister("wanted")
        return found

    def _trainings(self, trainings: str, arguments: list[object], *, extra: str) -> list[TrainingState]:
        sql = _TRAINING.format(trainings=trainings).replace("qualify", f"where true {extra} qualify")
        rows = self._connection.execute(sql, arguments).fetchall()
        return sorted((_training_state(row) for row in rows), key=lambda state: state.row.key)

    def _one(self, sql: str, arguments: list[object]) -> tuple[Any, ...] | None:
        found: tuple[Any, ...] | None = self._connection.execute(sql, arguments).fetchone()
        return found


def _training_state(row: tuple[Any, ...]) -> TrainingState:
    key = row[0]
    return TrainingState(
        row=TrainingRow(*row[:5]),
        group_key=row[5],
        parameters=tuple(row[6].items()),
        standing=StandingRow(key, *row[7:12]),
        request=RequestRow(key, *row[12:]),
    )


def policy_to_json(policy: Policy) -> str:
    """Return a policy as the JSON the tables hold."""
    return json.dumps(asdict(policy), ensure_ascii=False)


def policy_from_json(text: str) -> Policy:
    """Return the policy in a row's JSON."""
    plain = json.loads(text)
    checks = tuple(
        CheckSpec(
            check=spec["check"],
            settings=tuple(Parameter(**setting) for setting in spec["settings"]),
            reads=tuple(spec["reads"]),
        )
        for spec in plain["checks"]
    )
    return Policy(
        model=plain["model"],
        version=plain["version"],
        group_by=tuple(plain["group_by"]),
        group_by_all=plain["group_by_all"],
        baseline=BaselineRole(plain["baseline"]),
        allowed_formats=tuple(plain["allowed_formats"]),
        checks=checks,
    )
