"""A served registry of a few cities' models, made quickly: what charts, lists and comparisons are looked at with."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from deedbook.events import facts
from deedbook.events.facts import Outcome
from tests.facts_by_hand import MARCH_2014, MODEL, SECOND
from tests.serving.telling import POLICY, PREDICTIONS, Told

if TYPE_CHECKING:
    from deedbook.service.context import Service

DAY = 86_400 * SECOND
# The mean squared error of each city's trainings, one a day.
ERRORS = {"Austin": (4.0, 3.0, 2.0), "Dallas": (8.0, 9.0), "Waco": (5.5,)}
# What a spreadsheet would take for a formula, and a page for markup.
FORMULA = '=HYPERLINK("http://x")'
HOSTILE = """<script>alert("1")</script> & 'x'?a=b#c,"""


def tell_of_cities(service: Service) -> Told:
    """Tell of six trainings in three cities, some failed, overridden or deployed; and of a model that means harm."""
    told = Told(service)
    pen = told.pen
    told.tell(pen.policy(POLICY))
    asyncio.run(
        service.writer.append(
            [_training(told, city, day) for city in ERRORS for day in range(len(ERRORS[city]))]
        )
    )
    told.tell(pen.logged("hostile", **_hostile()))
    told.judge("Austin 0")
    told.judge("Austin 1", Outcome.FAILED, distributions=[PREDICTIONS])
    told.judge("Austin 2", distributions=[PREDICTIONS])
    told.judge("Dallas 0", Outcome.FAILED)
    told.tell(pen.overridden("Dallas 0", deployable=True, reason="looked at it"))
    told.tell(pen.deploy("r1", "Austin 0"))
    return told


def _training(told: Told, city: str, day: int) -> facts.TrainingLogged:
    error = ERRORS[city][day]
    return told.pen.logged(
        f"{city} {day}",
        created_at=MARCH_2014 + day * DAY,
        git_sha=f"c0ffee{day}",
        parameters=(
            facts.Parameter(name="city", text=city),
            facts.Parameter(name="depth", text=str(day), number=float(day)),
        ),
        metrics=(
            facts.Metric(name="mse", value=error, direction=facts.Direction.LOWER, unit="USD²"),
            facts.Metric(name="r2", value=1 - error / 10, direction=facts.Direction.HIGHER),
            facts.Metric(name="mse", value=error * 2, slice="new homes"),
        ),
        coefficients=(facts.Coefficient(name="rooms", value=error / 2),),
        features=(facts.Feature(name="rooms", dtype="float64"),),
        tags=(facts.Tag(name="team", text="homes" if city == "Austin" else "north"),),
    )


def _hostile() -> dict[str, Any]:
    return {
        "model": HOSTILE,
        "parameters": (
            facts.Parameter(name=HOSTILE, text=FORMULA),
            facts.Parameter(name="less", text="-0.5"),
        ),
        "metrics": (facts.Metric(name=HOSTILE, value=float("nan"), slice=HOSTILE, unit=HOSTILE),),
        "tags": (facts.Tag(name=HOSTILE, text=HOSTILE),),
    }


__all__ = ["ERRORS", "FORMULA", "HOSTILE", "MODEL", "tell_of_cities"]
