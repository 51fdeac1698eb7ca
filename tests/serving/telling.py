"""A served registry in which a few things happened, told fact by fact: what pages about records are looked at with."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deedbook.events import facts
from deedbook.events.facts import Outcome
from deedbook.events.ids import new_id
from tests.facts_by_hand import MODEL, SERVICE, Pen, id_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deedbook.service.context import Service

POLICY = facts.Policy(
    model=MODEL,
    version=1,
    group_by=("city",),
    checks=(
        facts.CheckSpec(check="metric_threshold", reads=("metric:mse",)),
        facts.CheckSpec(check="prediction_similarity", reads=("artifact",)),
    ),
)
PREDICTIONS = facts.Distribution(
    name="prediction",
    edges=(0.0, 10.0, 20.0, 30.0),
    candidate_counts=(1, 2, 1),
    baseline_counts=(0, 1, 3),
)


@dataclass
class Told:
    """A service and what was told it: where in its log each thing is, by a short name."""

    service: Service
    pen: Pen = field(default_factory=Pen)
    positions: dict[str, int] = field(default_factory=dict)

    def tell(self, *what: facts.Fact, called: str = "") -> int:
        """Append facts, wait until they are folded, and return where the last one is."""
        position = 0
        for fact in what:
            (position,) = asyncio.run(self.service.writer.append([fact]))
            self.service.live.wait_until_reached(fact.topic, 0, position, timeout_seconds=30)
        if called:
            self.positions[called] = position
        return position

    def judge(
        self,
        name: str,
        outcome: Outcome = Outcome.PASSED,
        *,
        reason: str = "as it should be",
        distributions: Sequence[facts.Distribution] = (),
    ) -> int:
        """Give the verdict that is asked for newest on a training; both of its checks end the same way."""
        with self.service.live.reading() as connection:
            due, baseline = connection.execute(
                "select requested_at_position, coalesce(last_deployable, '') from main.validations "
                "where training_id = ? and pending",
                [id_of(name)],
            ).fetchall()[-1]
        results = (("metric_threshold", "mse", ()), ("prediction_similarity", "ks", tuple(distributions)))
        checks = tuple(
            facts.CheckResult(
                check=check,
                outcome=outcome,
                subject=subject,
                observed=0.75,
                threshold=0.25,
                baseline_training_id=baseline,
                reason=f"{check}: {reason}",
                distributions=drawn,
            )
            for check, subject, drawn in results
        )
        verdict = self.pen.verdict(
            name,
            POLICY,
            outcome=outcome,
            verdict_id=new_id(),
            requested_at_position=due,
            baseline_training_id=baseline,
            checks=checks,
        )
        return self.tell(verdict, called=f"verdict on {name}")


def tell_the_story(service: Service) -> Told:
    """Tell of Austin's first, which is live; its second, which failed and was refused; its third, rolled back."""
    told = Told(service)
    pen = told.pen
    told.tell(pen.policy(POLICY))
    told.tell(pen.logged("first", finished_at=1_393_632_000_000_000), called="first")
    told.judge("first")
    told.tell(pen.deploy("r1", "first", deployment="one"), called="one")
    told.tell(
        pen.logged(
            "second",
            coefficients=(facts.Coefficient(name="rooms", value=2.5),),
            features=(facts.Feature(name="rooms", dtype="float64"),),
            git_sha="c0ffee0",
            data_fingerprint="as of May",
        ),
        called="second",
    )
    told.judge("second", Outcome.FAILED, reason="3 times <b>too</b> far", distributions=[PREDICTIONS])
    told.tell(pen.deploy("r2", "second", deployment="two"), called="two")
    told.tell(pen.logged("third"), called="third")
    told.judge("third")
    report = facts.AcceptanceReport(
        passed=True, requests_replayed=1_200, summary="all within 2 %", uri="s3://r"
    )
    told.tell(pen.deploy("r3", "third", deployment="three", acceptance=report), called="three")
    told.tell(pen.loaded("r1", "first", "host-1"), pen.loaded("r3", "third", "host-2"))
    told.tell(pen.activate("r1", reason="slow answers"), called="rollback")
    told.tell(pen.loaded("r3", "third", "host-3"))
    return told


__all__ = ["MODEL", "POLICY", "PREDICTIONS", "SERVICE", "Told", "id_of", "tell_the_story"]
