"""The fold with nothing around it: one view over an empty source, all the state in memory.

It answers what the projection must, whatever the projection's batches: so it is what the projection
is compared with, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deedbook.events import facts
from deedbook.events.codec import Codec
from deedbook.events.facts import Outcome
from deedbook.events.log import Record
from deedbook.projector.bulk import decode_batch
from deedbook.projector.decision import Accepted, Event, Ignored, Rejected
from deedbook.projector.fold import decide
from deedbook.projector.rows import Row, TrainingRow
from deedbook.projector.states import TrainingState
from deedbook.projector.view import View
from tests.facts_by_hand import SERVICE, Pen, id_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deedbook.projector.decision import Decision
    from deedbook.projector.rows import CurrentRow, GroupRow
    from deedbook.projector.rules import Rule


class Nothing:
    """The source of a projection in which nothing was ever written, but for the values that trainings have."""

    def __init__(self) -> None:
        self.values: set[tuple[int, str, str, str]] = set()

    def has_value(self, training_key: int, kind: str, name: str, slice_: str) -> bool:
        """Tell whether a training has this value."""
        return kind == "tag" or (training_key, kind, name, slice_) in self.values

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - each of the protocol's questions
        """Answer every other question with nothing."""
        if name in {"members", "trainings_of", "request_sets"}:
            return lambda *_: []
        return lambda *_: None


class PureFold:
    """A log folded event by event as it is written."""

    def __init__(self, rules: Mapping[int, Mapping[str, Rule]] | None = None) -> None:
        self.pen = Pen()
        self.codec = Codec()
        self.source = Nothing()
        self.view = View(self.source)
        self.rules = rules
        self.positions = dict.fromkeys(facts.TOPICS, 0)
        self.decisions: list[tuple[Event, Decision]] = []
        self.facts: list[facts.Fact] = []

    def add(self, fact: facts.Fact, topic: str = "") -> Decision:
        """Append a fact to the log, decide it, and go on from there."""
        self.facts.append(fact)
        encoded = self.codec.encode(fact)
        where = topic or fact.topic
        position = self.positions[where]
        self.positions[where] += 1
        record = Record(where, 0, position, fact.occurred_at, encoded.key, encoded.value, encoded.headers)
        (event,) = decode_batch([record], self.codec).events
        decision = decide(self.view, event, self.rules)
        self.decisions.append((event, decision))
        self.view.take_in(event, decision)
        rows = decision.rows if isinstance(decision, Accepted) else ()
        if isinstance(fact, facts.TrainingLogged) and any(isinstance(row, TrainingRow) for row in rows):
            metrics = {(position, "metric", m.name, m.slice) for m in fact.training.metrics}
            parameters = {(position, "parameter", p.name, "") for p in fact.training.parameters}
            self.source.values |= metrics | parameters
        return decision

    def accept(self, *all_: facts.Fact) -> tuple[Row, ...]:
        """Append facts that must all be accepted; return the last one's rows."""
        rows: tuple[Row, ...] = ()
        for fact in all_:
            decision = self.add(fact)
            assert isinstance(decision, Accepted), decision
            rows = decision.rows
        return rows

    def refuse(self, fact: facts.Fact, topic: str = "") -> str:
        """Append a fact that must be rejected; return the reason."""
        decision = self.add(fact, topic)
        assert isinstance(decision, Rejected), decision
        return decision.reason

    def ignore(self, fact: facts.Fact) -> str:
        """Append a fact that must be ignored as a duplicate; return the reason."""
        decision = self.add(fact)
        assert isinstance(decision, Ignored), decision
        return decision.reason

    def verdict(self, name: str, outcome: Outcome = Outcome.PASSED, **claims: Any) -> facts.VerdictIssued:  # noqa: ANN401
        """A verdict that answers a training's newest request with all the right claims, but for those given."""
        state = self.state(name)
        request = state.request
        policy = self.view.policy(state.row.model, request.policy_version)
        assert policy is not None
        right: dict[str, Any] = {
            "requested_at_position": request.requested_at_position,
            "baseline_training_id": request.baseline(policy.baseline),
        }
        return self.pen.verdict(name, policy, outcome=outcome, **right | claims)

    def judge(self, name: str, outcome: Outcome = Outcome.PASSED) -> tuple[Row, ...]:
        """Have a training's newest request answered."""
        return self.accept(self.verdict(name, outcome))

    def passing(self, *names: str, **more: Any) -> None:  # noqa: ANN401
        """Log trainings that pass."""
        for name in names:
            self.accept(self.pen.logged(name, **more))
            self.judge(name)

    def state(self, name: str) -> TrainingState:
        """All the fold knows of a training."""
        state = self.view.training(id_of(name))
        assert state is not None
        return state

    def deployable(self, name: str) -> bool:
        """Whether a training may be deployed now."""
        return self.state(name).standing.deployable

    def group(self, name: str) -> GroupRow:
        """The baselines of a training's group."""
        group = self.view.group(self.state(name).group_key)
        assert group is not None
        return group

    def current(self, environment: str = "production") -> CurrentRow | None:
        """The current release of the pricing service."""
        return self.view.current(SERVICE, environment)
