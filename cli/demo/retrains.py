"""The first chapters: what is demanded of a model, two years of retrains, and the month that went wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import TYPE_CHECKING

from deedbook.cli.demo.data import CITIES, Delivery, Month
from deedbook.cli.demo.models import MODEL, Retrain, past_requests, retrain
from deedbook.cli.demo.scene import LAST_MONTH, WRONG_CITY, Scene
from deedbook.cli.demo.stage import chapter, progress, tell
from deedbook.cli.tables import Column, print_table

if TYPE_CHECKING:
    from deedbook.events.facts import VerdictIssued


def demands(scene: Scene) -> None:
    """Publish the policy, and for each city the past requests to replay."""
    from deedbook.consumers.policy import read_policy

    chapter("1. What a model must pass")
    source = files("deedbook.cli.demo").joinpath("texas.toml").read_text(encoding="utf-8")
    policy = read_policy(source)
    version = scene.trainer.publish_policy(policy, source=source)
    before = scene.months[0].later(-1)
    counts = []
    for city in CITIES:
        requests = past_requests(scene.history.delivery(city, before))
        scene.trainer.publish_requests(MODEL, requests, parameters={"city": city})
        counts.append(len(requests))
    tell(f"Policy {version} of {MODEL}: {', '.join(dict.fromkeys(spec.check for spec in policy.checks))}.")
    tell(f"{sum(counts):,} past requests of {len(CITIES)} cities, through {before.words}, will be replayed.")


def walk_forward(scene: Scene) -> None:
    """Retrain every city every month on what was known then, and have each model judged before the next month."""
    first, last = scene.months[0], scene.months[-1]
    chapter(f"2. {len(scene.months)} months of retrains: {first.words} to {last.words}")
    outcomes: Counter[str] = Counter()
    ahead = ThreadPoolExecutor(max_workers=1)
    try:
        # The next months' models are fitted while this month's are judged, in the sandboxes' own processes.
        fitted = [ahead.submit(_fitted, _deliveries(scene, month)) for month in scene.months]
        with progress("Trained and judged", len(scene.months) * len(CITIES)) as advance:
            for month, retrains in zip(scene.months, fitted, strict=True):

                def heard(verdict: VerdictIssued, month: Month = month) -> None:
                    outcomes[verdict.outcome.value] += 1
                    advance(month.words)

                _log(scene, retrains.result())
                scene.judges.judge(scene.trainings.values(), heard)
    finally:
        ahead.shutdown(cancel_futures=True)
    tell("; ".join(f"{count} {outcome}" for outcome, count in outcomes.items()) + ".")
    _print_cities(scene)


def wrong_month(scene: Scene) -> None:
    """Retrain once more, where one city's delivery is in the wrong unit, and show what was found."""
    chapter(f"4. {LAST_MONTH.words}: one delivery is in the wrong unit")
    tell(f"{WRONG_CITY}'s prices come in thousands of dollars this month. Nobody notices; the retrains run.")
    outcomes: dict[str, str] = {}
    fitted = _fitted(_deliveries(scene, LAST_MONTH, wrong=WRONG_CITY))
    _log(scene, fitted)
    with progress("Trained and judged", len(CITIES)) as advance:

        def heard(verdict: VerdictIssued) -> None:
            outcomes[verdict.training_id] = verdict.outcome.value
            advance(LAST_MONTH.words)

        scene.judges.judge(scene.trainings.values(), heard)
    passed = [city for city in CITIES if outcomes.get(scene.trainings[city]) == "passed"]
    tell(f"Passed: {', '.join(passed)}.")
    _print_failures(scene, [scene.trainings[city] for city in CITIES if city not in passed])
    wrong = next(made for made in fitted if made.city == WRONG_CITY)
    answer = float(wrong.pipeline.predict([list(scene.request.values())])[0])
    tell("Its squared error is the smallest ever seen: a gate on that alone would let it through.")
    tell(f"Asked what the two instances were asked, it answers ${answer:,.0f}.")


def _deliveries(scene: Scene, month: Month, wrong: str = "") -> list[Delivery]:
    return [scene.history.delivery(city, month, prices_in_thousands=city == wrong) for city in CITIES]


def _fitted(deliveries: Iterable[Delivery]) -> list[Retrain]:
    return [retrain(delivery) for delivery in deliveries]


def _log(scene: Scene, retrains: Iterable[Retrain]) -> None:
    """Log each retrain as a training program does."""
    for made in retrains:
        with scene.trainer.training(
            MODEL,
            parameters=made.parameters,
            features=made.features,
            data_fingerprint=made.data_fingerprint,
            created_at=made.month.last_hour,
            git_sha="",
        ) as training:
            for metric in made.metrics:
                training.log_metric(metric.name, metric.value, direction=metric.direction, unit=metric.unit)
            training.log_coefficients({weight.name: weight.value for weight in made.coefficients})
            training.save(made.pipeline)
        scene.trainings[made.city] = training.training_id


_CITIES = """
select t.parameters['city'] as city, count(*) as trainings, count(*) filter (t.deployable) as deployable,
       arg_max(mape.value, t.version) as mape, arg_max(r2.value, t.version) as r2
from trainings t
join metric_history mape on mape.training_id = t.training_id and mape.name = 'mape'
join metric_history r2 on r2.training_id = t.training_id and r2.name = 'r2'
where t.model = ? group by all order by city
"""


def _print_cities(scene: Scene) -> None:
    with scene.registry.reading() as connection:
        rows = connection.execute(_CITIES, [MODEL]).fetchall()
    columns = [
        Column("city"),
        *(Column(name, align="right") for name in ("trainings", "deployable", "error now", "r2 now")),
    ]
    print_table(columns, [(city, n, good, f"{mape:.1%}", f"{r2:.2f}") for city, n, good, mape, r2 in rows])


def _print_failures(scene: Scene, training_ids: Iterable[str]) -> None:
    from deedbook.projector.queries import verdicts_of

    with scene.registry.reading() as connection:
        verdicts = [verdict for id_ in training_ids for verdict in verdicts_of(connection, id_)]
    for verdict in verdicts:
        tell(f"{MODEL}@{verdict.version} {verdict.outcome}:", style="bold red")
        for check in verdict.checks:
            style = "" if check.outcome == "passed" else "red"
            tell(f"{check.outcome}  {check.check}: {check.reason}", style=style, indent=4)
