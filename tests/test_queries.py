"""What the client and the command line ask of a projection, answered from a real log."""

import math
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

import deedbook
from deedbook.client.reading import Reader
from deedbook.client.recording import Recorder
from deedbook.client.registry import Registry
from deedbook.events import facts
from deedbook.events.errors import InvalidInput, NotFound, RequestRejected
from deedbook.events.facts import CheckResult, CheckSpec, Metric, Outcome, Policy
from deedbook.events.ids import new_id
from deedbook.projector import queries
from deedbook.projector.queries import MetricFilter, MetricName

JANUARY = datetime(2024, 1, 31, tzinfo=UTC)
POLICY = Policy(
    model="home-price",
    group_by=("city",),
    checks=(CheckSpec(check="metric_threshold", reads=("metric:mse",)),),
)


@dataclass
class Story:
    """A registry in which a few things happened, and the ids they happened to."""

    registry: Registry
    reader: Reader
    trainings: dict[str, str] = field(default_factory=dict)
    moments: dict[str, datetime] = field(default_factory=dict)
    deployments: dict[str, str] = field(default_factory=dict)


def recorder_of(registry: Registry) -> Recorder:
    """What puts on the log what a client does not say: a validator's and a host's word."""
    return Recorder(registry.settings.place, actor=registry.settings.actor)


def judge(registry: Registry, training_id: str, outcome: Outcome, reason: str, observed: float) -> None:
    """Append the verdict that a validator would give on the newest request for one."""
    due = registry.training_info(training_id).validations[-1]
    check = CheckResult(
        check="metric_threshold",
        outcome=outcome,
        subject="mse",
        observed=observed,
        threshold=0.2,
        reason=reason,
        distributions=(
            facts.Distribution(
                name="predictions", edges=(0.0, 1.0, 2.0), candidate_counts=(3, 4), baseline_counts=(5, 6)
            ),
        ),
    )
    with closing(recorder_of(registry)) as recorder:
        recorder.append(
            facts.VerdictIssued(
                **recorder.envelope(),
                verdict_id=new_id(),
                training_id=training_id,
                requested_at_position=due.requested_at_position,
                policy_version=due.policy_version,
                outcome=outcome,
                validator_version="1",
                baseline_training_id=due.last_deployable or "",
                checks=(check,),
            )
        )


def load(registry: Registry, training_id: str, instance: str, release: str) -> None:
    """Append a host's word that it loaded a training's model."""
    with closing(recorder_of(registry)) as recorder:
        recorder.append(
            facts.ModelLoaded(
                **recorder.envelope(),
                service="pricing",
                environment="production",
                release=release,
                instance=instance,
                model="home-price",
                training_id=training_id,
                source="registry",
                loaded_at=recorder.clock(),
            )
        )


def month(number: int) -> datetime:
    """The moment at which the training of a month was made."""
    return JANUARY + timedelta(days=30 * number)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Six trainings of two cities: judged, overridden, amended, deployed, rolled back."""
    folder = tmp_path_factory.mktemp("queries") / "registry"
    registry = deedbook.connect(f"sqlite:///{folder}", actor="ana")
    recorder = recorder_of(registry)
    story = Story(registry, Reader(recorder))
    registry.publish_policy(POLICY)
    for name, city, mse, depth in (
        ("austin1", "Austin", 0.10, 3),
        ("austin2", "Austin", 0.90, 4),
        ("dallas1", "Dallas", 0.15, 3),
        ("dallas2", "Dallas", math.nan, 5),
        ("austin3", "Austin", 0.05, 5),
    ):
        story.trainings[name] = registry.log_training(
            "home-price",
            metrics=[
                Metric(name="mse", value=mse, direction=facts.Direction.LOWER, unit="k$²"),
                Metric(name="mse", value=mse * 2, slice="north"),
            ],
            parameters={"city": city, "depth": depth},
            tags={"name": name},
            created_at=month(len(story.trainings)),
            git_sha="",
        )
    story.trainings["plain"] = registry.log_training(
        "churn", metrics={"auc": 0.7}, created_at=month(9), git_sha=""
    )
    named = story.trainings
    judge(registry, named["austin1"], Outcome.PASSED, "mse is 0.1", 0.1)
    judge(registry, named["austin2"], Outcome.FAILED, "mse is 0.9, over 0.2", 0.9)
    judge(registry, named["dallas1"], Outcome.PASSED, "mse is 0.15", 0.15)
    judge(registry, named["dallas2"], Outcome.FAILED, "mse is NaN", math.nan)
    story.moments["before"] = datetime.now(UTC)
    for release, name in (("A", "austin1"), ("B", "dallas1")):
        made = registry.request_deployment("pricing", release, {"home-price": named[name]}, git_sha=release)
        story.deployments[release] = made.deployment_id
        story.moments[release] = datetime.now(UTC)
    with pytest.raises(RequestRejected):
        registry.request_deployment("pricing", "C", {"home-price": named["austin2"]})
    registry.activate_release("pricing", "A", reason="B answers slowly")
    story.moments["back"] = datetime.now(UTC)
    registry.override(named["austin2"], reason="the month was odd, and seen to")
    registry.amend(named["dallas1"], reason="wrong unit", metrics={"mse": 0.16}, parameters={"depth": 6})
    load(registry, named["austin1"], "host-1", "A")
    load(registry, named["dallas1"], "host-1", "B")
    load(registry, named["austin1"], "host-2", "A")
    with registry.training("home-price", parameters={"city": "Austin"}, git_sha="") as run:
        run.log_metric("loss", 0.5, step=1)
        run.log_metric("loss", 0.25, step=2)
    story.trainings["stepped"] = run.training_id
    with pytest.raises(ZeroDivisionError), registry.training("home-price", git_sha="") as lost:
        raise ZeroDivisionError("no rows")
    story.trainings["lost"] = lost.training_id
    yield story
    story.reader.close()
    recorder.close()
    registry.close()


@pytest.fixture
def connection(story: Story) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to the projection of that registry."""
    with story.reader.connection() as found:
        yield found


def names(story: Story, found: tuple[queries.TrainingSummary, ...]) -> list[str]:
    """The short names of trainings, in their order."""
    short = {training_id: name for name, training_id in story.trainings.items()}
    return [short[training.training_id] for training in found]


# --- search ------------------------------------------------------------------------------------


def test_a_search_without_conditions_returns_the_newest_first(
    story: Story, connection: duckdb.DuckDBPyConnection
) -> None:
    """By the time of creation, whatever the order of logging was."""
    found = queries.search(connection)

    assert ["stepped", "plain", "austin3", "dallas2", "dallas1", "austin2", "austin1"] == names(story, found)
    assert ["austin1", "austin2"] == names(story, queries.search(connection, descending=False, limit=2))


def test_a_search_returns_the_trainings_that_meet_every_condition(
    story: Story, connection: duckdb.DuckDBPyConnection
) -> None:
    """Model, parameter, metric and time narrow it down together."""
    found = queries.search(
        connection,
        model="home-price",
        parameters={"city": "Austin"},
        metrics=[MetricFilter.parse("mse < 0.5")],
        created_after=month(0),
        created_before=month(4),
    )

    assert ["austin1"] == names(story, found)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("mse < 0.16", ["austin1", "austin3"]),
        ("mse <= 0.16", ["austin1", "austin3", "dallas1"]),
        ("mse > 0.16", ["austin2"]),
        ("mse >= 0.16", ["austin2", "dallas1"]),
        ("mse == 0.9", ["austin2"]),
        ("mse = 0.9", ["austin2"]),
        ("mse != 0.9", ["austin1", "austin3", "dallas1", "dallas2"]),
        ("mse[north] < 0.15", ["austin3"]),
        ("mse < inf", ["austin1", "austin2", "austin3", "dallas1"]),
        ("nothing < 1", []),
        ("mse[south] < 1", []),
    ],
)
def test_metrics_are_compared_as_numbers_and_nan_is_none(
    story: Story, connection: duckdb.DuckDBPyConnection, written: str, expected: list[str]
) -> None:
    """NaN is neither less nor more than anything, nor equal to it."""
    assert expected == sorted(names(story, queries.search(connection, metrics=[MetricFilter.parse(written)])))


@pytest.mark.parametrize(
    ("descending", "expected"),
    [
        (False, ["austin3", "austin1", "dallas1", "austin2", "dallas2", "stepped"]),
        (True, ["austin2", "dallas1", "austin1", "austin3", "dallas2", "stepped"]),
    ],
)
def test_an_order_by_a_metric_ends_with_nan_and_then_those_without_it(
    story: Story,
    connection: duckdb.DuckDBPyConnection,
    descending: bool,  # noqa: FBT001 - a parameter of the test
    expected: list[str],
) -> None:
    """Whichever way it runs, what has no value comes last."""
    found = queries.search(connection, model="home-price", order_by=MetricName("mse"), descending=descending)

    assert expected == names(story, found)


def test_a_summary_holds_the_metrics_that_were_asked_about(connection: duckdb.DuckDBPyConnection) -> None:
    """Those of the conditions, of the order and those to show, a slice under its own name."""
    found = queries.search(
        connection,
        metrics=[MetricFilter.parse("mse < 0.06")],
        show=[MetricName("mse", "north"), MetricName("none")],
    )

    assert [{"mse": 0.05, "mse[north]": 0.1}] == [training.metrics for training in found]


@pytest.mark.parametrize(("value", "expected"), [("5", 2), (5, 2), (5.0, 2), ("5.0", 0), (7, 0)])
def test_a_parameter_is_compared_as_what_it_is_given_as(
    connection: duckdb.DuckDBPyConnection, value: str | float, expected: int
) -> None:
    """A text by its letters, a number by its value."""
    assert expected == len(queries.search(connection, parameters={"depth": value}))


@pytest.mark.parametrize(
    ("deployable", "outcome", "expected"),
    [
        (True, None, ["austin1", "austin2"]),
        (None, "pending", ["austin3", "dallas1", "plain", "stepped"]),
        (True, "failed", ["austin2"]),
        (False, "failed", ["dallas2"]),
    ],
)
def test_a_search_sees_how_trainings_stand_now(
    story: Story,
    connection: duckdb.DuckDBPyConnection,
    deployable: bool | None,  # noqa: FBT001 - a parameter of the test
    outcome: str | None,
    expected: list[str],
) -> None:
    """After overrides and amendments, not as the first verdict had it."""
    found = queries.search(connection, deployable=deployable, outcome=outcome)

    assert expected == sorted(names(story, found))


def test_pages_of_a_search_neither_overlap_nor_leave_out(connection: duckdb.DuckDBPyConnection) -> None:
    """Offset goes on where the limit stopped."""
    pages = [queries.search(connection, limit=3, offset=offset) for offset in (0, 3, 6)]

    assert queries.search(connection) == tuple(training for page in pages for training in page)


@pytest.mark.parametrize(
    "nasty", ["' or 1=1 --", "home-price'; drop table base.training; --", '"x"', "\\", "%", "$1", "?"]
)
def test_what_a_user_gives_is_never_part_of_the_query(
    connection: duckdb.DuckDBPyConnection, nasty: str
) -> None:
    """A name is compared as it is, whatever it would mean in SQL."""
    name = MetricName(nasty, nasty)

    assert () == queries.search(connection, model=nasty)
    assert () == queries.search(connection, parameters={nasty: nasty})
    assert () == queries.search(connection, outcome=nasty)
    assert 7 == len(queries.search(connection, order_by=name, show=[name]))
    assert 0 == len(queries.metric_series(connection, nasty, name, by=nasty))
    assert () == queries.failures(connection, model=nasty)
    assert () == queries.deployments(connection, service=nasty)
    assert () == queries.live(connection, service=nasty)
    assert () == queries.events(connection, subject=nasty, types=(nasty,))
    with pytest.raises(NotFound):
        queries.explain(connection, nasty)


@pytest.mark.parametrize(
    "written", ["mse", "mse <", "< 0.2", "mse < x", "mse ~ 2", "mse < nan", "", "mse << 2"]
)
def test_a_comparison_that_is_none_is_refused(written: str) -> None:
    """With a sentence that shows how one is written."""
    with pytest.raises(InvalidInput, match="compares"):
        MetricFilter.parse(written)


def test_a_metric_name_may_hold_what_comparisons_are_written_with() -> None:
    """The last sign before a number is the comparison."""
    assert MetricFilter("a < b", queries.filters.Comparison.AT_LEAST, 1e-3) == MetricFilter.parse(
        "a < b >= 1e-3"
    )


@pytest.mark.parametrize(("limit", "offset"), [(0, 0), (-1, 0), (100_001, 0), (1, -1)])
def test_a_search_returns_a_bounded_number(
    connection: duckdb.DuckDBPyConnection, limit: int, offset: int
) -> None:
    """Nobody gets a million rows by accident."""
    with pytest.raises(InvalidInput, match="1 to 100,000"):
        queries.search(connection, limit=limit, offset=offset)


# --- series ------------------------------------------------------------------------------------


def test_a_series_holds_each_training_once_by_the_value_of_a_parameter(
    story: Story, connection: duckdb.DuckDBPyConnection
) -> None:
    """In the order of time within each, with what says which training it was."""
    series = queries.metric_series(connection, "home-price", MetricName("mse"), by="city")

    assert ("lower", "k$²", 5) == (series.direction, series.unit, len(series))
    lines = series.lines()
    assert ["Austin", "Dallas"] == list(lines)
    assert [(month(0), 0.1), (month(1), 0.9), (month(4), 0.05)] == [point[:2] for point in lines["Austin"]]
    assert [1, 2, 5] == [point.version for point in lines["Austin"]]
    assert story.trainings["austin1"] == lines["Austin"][0].training_id
    assert [(month(2), 0.16)] == [point[:2] for point in lines["Dallas"]][:1]
    assert math.isnan(lines["Dallas"][1].value)


def test_a_series_may_be_undivided_or_narrowed(connection: duckdb.DuckDBPyConnection) -> None:
    """Without a parameter it is one line; time and standing leave trainings out."""
    mse = MetricName("mse")

    assert [(None, 5)] == [
        (key, len(points))
        for key, points in queries.metric_series(connection, "home-price", mse).lines().items()
    ]
    assert 2 == len(queries.metric_series(connection, "home-price", mse, deployable=True))
    assert 2 == len(
        queries.metric_series(connection, "home-price", mse, created_after=month(1), created_before=month(3))
    )
    assert 5 == len(queries.metric_series(connection, "home-price", MetricName("mse", "north")))
    assert 0 == len(queries.metric_series(connection, "home-price", MetricName("nothing")))


# --- one training ------------------------------------------------------------------------------


def test_a_trainings_detail_holds_all_that_happened_to_it(
    story: Story, connection: duckdb.DuckDBPyConnection
) -> None:
    """Values as corrected, and as they were; verdict, checks, standing, deployments, events."""
    detail = queries.training_detail(connection, story.trainings["dallas1"])

    assert ("home-price", 3, "pending", False) == (
        detail.model,
        detail.version,
        detail.outcome,
        detail.deployable,
    )
    assert [("mse", "", 0.16), ("mse", "north", 0.3)] == [(m.name, m.slice, m.value) for m in detail.metrics]
    assert [("city", "Dallas", None), ("depth", "6", 6.0)] == [
        (p.name, p.value, p.value_number) for p in detail.parameters
    ]
    assert [("metric", "mse", 0.15, 0.16), ("parameter", "depth", 3.0, 6.0)] == [
        (a.kind, a.name, a.old_value_number, a.value_number) for a in detail.amendments
    ]
    (verdict,) = detail.verdicts
    (check,) = verdict.checks
    assert ("passed", 1, ()) == (verdict.outcome, verdict.policy_version, verdict.failing)
    assert ("metric_threshold", 0.15, 0.2) == (check.check, check.observed, check.threshold)
    assert [(3, 4)] == [d.candidate_counts for d in check.distributions]
    assert [False, True, False] == [standing.deployable for standing in detail.standings]
    assert ["B"] == [deployment.release for deployment in detail.deployments]
    assert ["TrainingLogged", "VerdictIssued", "TrainingAmended"] == [event.type for event in detail.events]
    assert sorted(e.position for e in detail.events) == [e.position for e in detail.events]
    assert [False, True] == [validation.pending for validation in detail.validations]


def test_step_values_are_summed_up_in_the_detail(story: Story, connection: duckdb.DuckDBPyConnection) -> None:
    """How many there are, and the last."""
    detail = queries.training_detail(connection, story.trainings["stepped"])

    assert (
        queries.StepMetric(name="loss", slice="", count=2, last_step=2, last_value=0.25),
    ) == detail.step_metrics


def test_a_training_can_be_named_in_short(story: Story, connection: duckdb.DuckDBPyConnection) -> None:
    """By its id, its beginning, or model and version."""
    training_id = story.trainings["plain"]

    assert training_id == queries.training_id_of(connection, training_id)
    assert training_id == queries.training_id_of(connection, training_id[:-1].upper())
    assert training_id == queries.training_id_of(connection, "churn@1")


@pytest.mark.parametrize("text", ["churn@2", "nothing@1", str(uuid.UUID(int=1)), "0", "@", "churn@"])
def test_a_training_that_is_not_there_is_not_found(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    """The sentence names what was asked for."""
    with pytest.raises(NotFound, match="there is no training"):
        queries.training_id_of(connection, text)


def test_an_ambiguous_beginning_is_refused(story: Story, connection: duckdb.DuckDBPyConnection) -> None:
    """Ids that were minted in the same minute begin alike."""
    with pytest.raises(InvalidInput, match="give more of the id"):
        queries.training_id_of(connection, story.trainings["austin1"][:6])


def test_a_standing_is_that_of_its_time(story: Story, connection: duckdb.DuckDBPyConnection) -> None:
    """What held then, whatever was decided later."""
    training_id = story.trainings["dallas1"]

    assert not queries.standing(connection, training_id).deployable
    assert queries.standing(connection, training_id, at=story.moments["B"]).deployable
    with pytest.raises(NotFound, match="at 2020"):
        queries.standing(connection, training_id, at=datetime(2020, 1, 1, tzinfo=UTC))


# --- failures ----------------------------------------------------------------------------------


def test_failures_say_which_check_failed_and_by_how_much(
    story: Story, connection: duckdb.DuckDBPyConnection
) -> None:
    """Every verdict that is no pass, newest first, with what became of its training."""
    found = queries.failures(connection)

    assert [story.trainings["dallas2"], story.trainings["austin2"]] == [f.verdict.training_id for f in found]
    assert [(False, False), (True, True)] == [(f.deployable, f.overridden) for f in found]
    assert [("mse is 0.9, over 0.2", 0.9, 0.2)] == [
        (check.reason, check.observed, check.threshold) for check in found[1].verdict.failing
    ]
    assert {"city": "Austin", "depth": "4"} == found[1].parameters
    assert 1 == len(queries.failures(connection, training_id=story.trainings["austin2"]))
    assert () == queries.failures(connection, model="churn")


def test_a_failure_is_superseded_by_a_later_verdict(tmp_path: Path) -> None:
    """It stays in the list, and can be left out of it."""
    with deedbook.connect(f"sqlite:///{tmp_path}/registry") as registry:
        registry.publish_policy(POLICY)
        training_id = registry.log_training("home-price", metrics={"mse": 0.3}, git_sha="")
        judge(registry, training_id, Outcome.FAILED, "over", 0.3)
        registry.revalidate(training_id, reason="the threshold was wrong")
        judge(registry, training_id, Outcome.PASSED, "under", 0.3)
        recorder = recorder_of(registry)
        with closing(recorder), closing(Reader(recorder)) as reader, reader.connection() as connection:
            assert [True] == [f.superseded for f in queries.failures(connection)]
            assert () == queries.failures(connection, include_superseded=False)


# --- deployments -------------------------------------------------------------------------------


def test_deployments_are_listed_with_their_decision(
    story: Story, connection: duckdb.DuckDBPyConnection
) -> None:
    """Refused ones too, with the fold's reason; the current one is marked."""
    found = queries.deployments(connection, service="pricing")

    assert [("C", "rejected", False), ("B", "accepted", False), ("A", "accepted", True)] == [
        (d.release, d.decision, d.current) for d in found
    ]
    assert "home-price version 2" in found[0].reason
    assert "mse is 0.9, over 0.2" in found[0].reason
    assert ["A"] == [
        d.release for d in queries.deployments(connection, training_id=story.trainings["austin1"])
    ]
    assert ["C"] == [d.release for d in queries.deployments(connection, decision="rejected")]


def test_what_is_live_is_answered_for_any_time(story: Story, connection: duckdb.DuckDBPyConnection) -> None:
    """Before the first deployment nothing, then each in its time, with why it was allowed."""
    assert () == queries.live(connection, at=story.moments["before"])
    for moment, release, training in (
        ("A", "A", "austin1"),
        ("B", "B", "dallas1"),
        ("back", "A", "austin1"),
    ):
        (live,) = queries.live(connection, service="pricing", at=story.moments[moment])
        assert (release, story.trainings[training]) == (live.release, live.models[0].training_id)
        assert live.models[0].deployable
        assert "every check passed" == live.models[0].reason
    (now,) = queries.live(connection)
    assert ("A", "B answers slowly", None) == (now.release, now.reason, now.live_until)


def test_releases_tell_what_was_live_one_after_the_other(connection: duckdb.DuckDBPyConnection) -> None:
    """Each ends where the next begins."""
    found = queries.releases(connection, "pricing")

    assert ["A", "B", "A"] == [live.release for live in found]
    assert [live.from_position for live in found[1:]] == [live.to_position for live in found[:-1]]


def test_a_release_that_is_not_bound_is_told_what_is(connection: duckdb.DuckDBPyConnection) -> None:
    """Newest first; a rejected request binds nothing."""
    with pytest.raises(NotFound, match=r"release C of pricing in production .*newest first: B, A"):
        queries.binding(connection, "pricing", "C")
    with pytest.raises(NotFound, match="none of its releases is"):
        queries.binding(connection, "pricing", "A", "staging")


def test_the_last_word_of_each_instance_counts(story: Story, connection: duckdb.DuckDBPyConnection) -> None:
    """One row for each instance and model, or all that was said."""
    latest = queries.model_loads(connection, service="pricing")

    assert [("host-1", "B"), ("host-2", "A")] == [(word.instance, word.release) for word in latest]
    assert 3 == len(queries.model_loads(connection, latest=False))
    assert 1 == len(queries.model_loads(connection, training_id=story.trainings["dallas1"]))


# --- comparison, overview, events --------------------------------------------------------------


def test_a_comparison_shows_what_differs_and_what_is_best(
    story: Story, connection: duckdb.DuckDBPyConnection
) -> None:
    """Side by side in the order given; a metric's direction says which value is best."""
    ids = [story.trainings[name] for name in ("austin2", "austin3", "plain")]
    found = queries.compare(connection, ids)

    assert ids == [training.training_id for training in found.trainings]
    assert [("city", ("Austin", "Austin", None), True), ("depth", ("4", "5", None), True)] == [
        (p.name, p.values, p.differs) for p in found.parameters
    ]
    assert [("auc", ()), ("mse", (1,)), ("mse[north]", (1,))] == [
        (str(m.metric), m.best) for m in found.metrics
    ]
    assert (0.9, 0.05, None) == found.metrics[1].values


def test_a_comparison_takes_several_trainings_each_once(
    story: Story, connection: duckdb.DuckDBPyConnection
) -> None:
    """One alone, or the same twice, compares nothing."""
    training_id = story.trainings["plain"]
    for ids in ([training_id], [training_id, training_id]):
        with pytest.raises(InvalidInput, match="2 to 50"):
            queries.compare(connection, ids)


def test_models_are_summed_up(connection: duckdb.DuckDBPyConnection) -> None:
    """How many stand how, which policy applies, and where they are live."""
    churn, homes = queries.models(connection)

    assert ("churn", 1, 0, ()) == (churn.model, churn.trainings, churn.policy_version, churn.live)
    assert ("home-price", 6, 6, 2, 3, 2, 1, 1) == (
        homes.model,
        homes.trainings,
        homes.last_version,
        homes.deployable,
        homes.pending,
        homes.failed,
        homes.overridden,
        homes.policy_version,
    )
    assert (("pricing", "production", "A"),) == homes.live


def test_events_are_in_log_order_and_can_be_narrowed(
    story: Story, connection: duckdb.DuckDBPyConnection
) -> None:
    """From a position on, the newest, of some types, of a decision, of one subject."""
    everything = queries.events(connection, limit=1000)

    assert list(range(len(everything))) == [event.position for event in everything]
    assert everything[11:13] == queries.events(connection, after=10, limit=2)
    assert everything[-2:] == queries.events(connection, newest=True, limit=2)
    assert ["DeploymentRequested"] == [e.type for e in queries.events(connection, decision="rejected")]
    assert 2 == len(queries.events(connection, types=("TrainingAmended", "VerdictOverridden")))
    assert ["TrainingStarted", "TrainingFailed"] == [
        e.type for e in queries.events(connection, subject=story.trainings["lost"])
    ]
    assert {"registry", "metrics", "hosts"} == {
        e.topic for e in queries.events(connection, topic=None, limit=1000)
    }


def test_policies_and_request_sets_are_listed(story: Story, connection: duckdb.DuckDBPyConnection) -> None:
    """Each version of a policy; no request sets where none were published."""
    assert [("home-price", 1, "ana")] == [(p.model, p.version, p.actor) for p in queries.policies(connection)]
    assert () == queries.policies(connection, "churn")
    assert () == queries.request_sets(connection)
    assert story.registry.settings.actor == queries.policies(connection)[0].actor


# --- stories -----------------------------------------------------------------------------------


def test_a_trainings_story_is_told_in_order(story: Story, connection: duckdb.DuckDBPyConnection) -> None:
    """From logging to loading, each with its position, and how it stands now."""
    told = queries.explain(connection, story.trainings["dallas1"])

    assert ("training", "home-price version 3") == (told.kind, told.title)
    assert "not deployable (pending): amended" in told.now
    assert [
        "TrainingLogged",
        "VerdictIssued",
        "DeploymentRequested",
        "DeploymentRequested",
        "ReleaseReplaced",
        "TrainingAmended",
        "ModelLoaded",
    ] == [line.type for line in told.lines]
    in_registry = [line.position for line in told.lines if line.topic == "registry"]
    assert sorted(in_registry) == in_registry
    assert "to be judged by policy version 1" in told.lines[0].text
    assert "metric mse from 0.15 to 0.16" in told.lines[5].text
    assert told == queries.explain(connection, "home-price@3")


def test_a_failed_trainings_story_says_why(story: Story, connection: duckdb.DuckDBPyConnection) -> None:
    """The check's reason, the refused deployment, the override with name and reason."""
    texts = [line.text for line in queries.explain(connection, story.trainings["austin2"]).lines]

    assert "failed by policy version 1" in texts[1]
    assert "metric_threshold: mse is 0.9, over 0.2" in texts[1]
    assert "release C of pricing in production refused" in texts[2]
    assert "ana overrode the verdict, deployable: the month was odd, and seen to" == texts[3]


def test_a_deployments_story_says_why_it_was_allowed(
    story: Story, connection: duckdb.DuckDBPyConnection
) -> None:
    """How each model stood then, when it was current, and who loaded it."""
    told = queries.explain(connection, story.deployments["A"])
    texts = [line.text for line in told.lines]

    assert ("deployment", "pricing A in production", "the current release") == (
        told.kind,
        told.title,
        told.now,
    )
    assert "was deployable since position" in texts[1]
    assert "gave way to release B" in texts[3]
    assert "became the current one again: B answers slowly" in texts[4]
    assert ["host-1", "host-2"] == [text.split(" ")[0] for text in texts[5:]]


def test_a_run_that_failed_has_a_story_too(story: Story, connection: duckdb.DuckDBPyConnection) -> None:
    """There is no training, and the story says what came of the run."""
    told = queries.explain(connection, story.trainings["lost"])

    assert ("run", "failed: ZeroDivisionError: no rows") == (told.kind, told.now)


def test_a_story_of_nothing_is_not_found(connection: duckdb.DuckDBPyConnection) -> None:
    """The sentence names what was asked for."""
    with pytest.raises(NotFound, match="no training or deployment nonsense"):
        queries.explain(connection, "nonsense")


# --- free SQL ----------------------------------------------------------------------------------


def test_a_free_query_answers_with_columns_and_rows(connection: duckdb.DuckDBPyConnection) -> None:
    """Times come out in UTC."""
    found = queries.sql(connection, "select model, created_at from trainings where model = 'churn'")

    assert (("model", "created_at"), (("churn", month(9)),)) == (found.columns, found.rows)
    assert 1 == len(queries.sql(connection, "from trainings", max_rows=1))


@pytest.mark.parametrize("query", ["selekt", "select 1; select 2", "", "select nothing from trainings"])
def test_a_query_that_cannot_be_answered_is_refused(
    connection: duckdb.DuckDBPyConnection, query: str
) -> None:
    """With DuckDB's own words, or how many statements there are."""
    with pytest.raises(InvalidInput):
        queries.sql(connection, query)
