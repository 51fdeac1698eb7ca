"""Failed validations and their reasons; what a reviewer decides about them, and how it is seen ever after."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deedbook.events.facts import Outcome
from deedbook.events.ids import derived_id
from deedbook.projector import queries
from deedbook.projector.queries import FailureState
from deedbook.service.access.access import Access
from deedbook.service.access.roles import Role
from deedbook.service.access.token_file import TokenFile
from tests.serving.in_process import live_registry
from tests.serving.telling import MODEL, Told, id_of, tell_the_story
from tests.serving.visiting import Browser, Seen

SCRIPT = """<script>alert("1")</script>\n{{ 7 * 7 }} & 'so on'"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """A service that was told the story, and of one more failure, that was judged again since and passed."""
    with live_registry(tmp_path_factory.mktemp("failures") / "registry") as service:
        told = tell_the_story(service)
        told.tell(told.pen.logged("again", city="Dallas"))
        told.judge("again", Outcome.FAILED, reason="not yet")
        told.positions["failed again"] = told.positions["verdict on again"]
        told.tell(told.pen.revalidation("again"))
        told.judge("again")
        yield told


def fail(told: Told, name: str) -> str:
    """Log a training of its own city and have it fail; return its id."""
    told.tell(told.pen.logged(name, city=name))
    told.judge(name, Outcome.FAILED, reason=f"{name} is not right")
    return id_of(name)


def stands(told: Told, training_id: str) -> queries.Standing:
    """How a training stands now."""
    with told.service.live.reading() as connection:
        return queries.standing(connection, training_id)


def overrides(told: Told, training_id: str) -> tuple[queries.Override, ...]:
    """What was decided about a training by people."""
    with told.service.live.reading() as connection:
        return queries.training_detail(connection, training_id).overrides


def override(browser: Browser, training_id: str, **fields: str) -> Seen:
    """Open the form that overrides, and send it filled in."""
    seen = browser.look(f"/trainings/{training_id}/override")
    return browser.send(
        seen, seen.form("request_id"), **{"name": "Grace", "reason": "I looked at it"} | fields
    )


def failures_on(seen: Seen) -> list[str]:
    """Which trainings' failures a page lists, by their names."""
    links = [link for link in seen.read.links if "#verdict-" in link.href]
    return [link.text.strip() for link in links if "version" in link.text]


@pytest.fixture
def secured(told: Told, tmp_path: Path) -> tuple[Told, TokenFile]:
    """The same service where everybody needs a token, and the tokens."""
    tokens = TokenFile(tmp_path / "tokens.json")
    tokens.create("somebody", frozenset({Role.ADMIN}))
    return replace(told, service=replace(told.service, access=Access(tmp_path / "tokens.json"))), tokens


# --- the list ----------------------------------------------------------------------------------


def test_failures_are_listed_newest_first_with_their_reasons(told: Told) -> None:
    """Each failing check has what it observed, its threshold, its baseline and its sentence."""
    seen = Browser(told.service).look("/failures?model=home-price&check=prediction_similarity")
    places = [
        seen.html.index(f'id="verdict-{told.positions[name]}"')
        for name in ("failed again", "verdict on second")
    ]

    assert sorted(places) == places
    assert [
        "prediction similarity ks",
        "✕ failed",
        "0.75",
        "0.25",
        "home-price version 1",
        "prediction_similarity: 3 times <b>too</b> far",
    ] == seen.row("prediction similarity", "3 times")


@pytest.mark.parametrize(
    ("state", "listed"),
    [
        ("open", ["verdict on second"]),
        ("superseded", ["failed again"]),
        ("overridden", ["verdict on put right"]),
        ("", ["verdict on put right", "failed again", "verdict on second"]),
    ],
)
def test_failures_can_be_chosen_by_what_became_of_them(told: Told, state: str, listed: list[str]) -> None:
    """Open, judged again since, or decided otherwise by somebody."""
    if "verdict on put right" not in told.positions:
        override(Browser(told.service), fail(told, "put right"))
    with told.service.live.reading() as connection:
        found = queries.failures(connection, state=FailureState(state) if state else None)
    known = {told.positions[name] for name in ("verdict on put right", "failed again", "verdict on second")}

    assert [told.positions[name] for name in listed] == [
        one.verdict.position for one in found if one.verdict.position in known
    ]
    assert all(state in ("", one.state) for one in found)


@pytest.mark.parametrize(
    "query", ["model=nothing", "check=artifact_intact", "model=home-price&check=nothing", "before=3"]
)
def test_where_nothing_fits_the_way_back_is_shown(told: Told, query: str) -> None:
    """A filter that leaves nothing is no error."""
    seen = Browser(told.service).look(f"/failures?{query}")

    assert (200, ["/failures"]) == (seen.status, seen.leads_to("Show all failures"))


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("state=lost", "State 'lost' is none of open, superseded, overridden."),
        ("before=soon", "Before 'soon' is not a whole number."),
    ],
)
def test_what_can_not_be_asked_is_said(told: Told, query: str, sentence: str) -> None:
    """A page with the sentence, and what to do."""
    seen = Browser(told.service).look(f"/failures?{query}")

    assert (400, True) == (seen.status, sentence in seen.text)
    assert "Go back, change what the sentence names" in seen.text


def test_a_long_list_goes_on_on_the_next_page(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """No failure is left out between two pages, and the last leads back to the first."""
    monkeypatch.setattr("deedbook.service.web.pages.failures._ON_A_PAGE", 1)
    browser = Browser(told.service)
    seen = browser.look("/failures?model=home-price")
    found = failures_on(seen)
    while onward := seen.leads_to("Next →"):
        seen = browser.look(onward[0])
        found += failures_on(seen)
    with told.service.live.reading() as connection:
        failed = queries.failures(connection)

    assert [f"{MODEL} version {one.verdict.version}" for one in failed] == found
    assert ["/failures?model=home-price"] == seen.leads_to("Back to the newest")


def test_an_empty_registry_says_what_the_page_is_for(tmp_path: Path) -> None:
    """Nothing has failed where nothing was trained."""
    with live_registry(tmp_path / "registry") as service:
        seen = Browser(service).look("/failures")

    assert (200, True) == (seen.status, "No validation has failed" in seen.text)


# --- overriding --------------------------------------------------------------------------------


def test_the_confirmation_shows_what_is_overridden_and_why_it_failed(told: Told) -> None:
    """Nobody decides without the figures before their eyes."""
    seen = Browser(told.service).look(f"/trainings/{id_of('second')}/override")

    assert ["0.75", "0.25"] == seen.row("metric threshold")[2:4]
    assert ("deployable", "") == (
        seen.form("request_id").fields["decision"],
        seen.form("request_id").fields["name"],
    )


def test_a_failed_training_is_made_deployable_by_a_named_person_with_a_reason(told: Told) -> None:
    """It is deployable from then on, and its page and the list say by whom, when and why."""
    training_id = fail(told, "made deployable")
    seen = override(Browser(told.service), training_id, reason=SCRIPT)
    (made,) = overrides(told, training_id)

    assert ("Grace", SCRIPT, True) == (made.actor, made.reason, stands(told, training_id).deployable)
    assert (200, True) == (
        seen.status,
        seen.address.endswith(f"/trainings/{training_id}?done={made.position}"),
    )
    assert f"Recorded at position {made.position}, by Grace: the override holds from now on." in seen.text
    for page in (seen, Browser(told.service).look("/failures")):
        assert "Made deployable by Grace" in page.text
        assert (True, False) == (" ".join(SCRIPT.split()) in page.text, "<script>alert" in page.html)


def test_a_training_that_passed_is_withdrawn(told: Told) -> None:
    """The other direction."""
    told.tell(told.pen.logged("withdrawn", city="Waco"))
    told.judge("withdrawn")
    seen = override(Browser(told.service), id_of("withdrawn"))

    assert (False, True) == (stands(told, id_of("withdrawn")).deployable, "Withdrawn by Grace" in seen.text)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"reason": "  \r\n "}, "an override needs its reason"),
        ({"name": " "}, "say who decides"),
        ({"name": "a\u202eb"}, "the actor's name"),
        ({"decision": "perhaps"}, "choose what is decided"),
        ({"reason": "x" * 4_001}, "over the limit of 4,000"),
    ],
)
def test_what_is_missing_is_said_on_the_form_which_keeps_what_was_written(
    told: Told, fields: dict[str, str], sentence: str
) -> None:
    """Nothing is recorded, and nothing has to be written twice."""
    seen = override(Browser(told.service), id_of("second"), **{"reason": "as written", **fields})

    assert (400, True, ()) == (seen.status, sentence in seen.text, overrides(told, id_of("second")))
    if "reason" not in fields:
        assert "as written" in seen.text


def test_a_form_that_is_sent_twice_counts_once(told: Told) -> None:
    """A double click, or a reload of the answer."""
    training_id = fail(told, "twice")
    browser = Browser(told.service)
    seen = browser.look(f"/trainings/{training_id}/override")
    answers = [browser.send(seen, seen.form("request_id"), name="Grace", reason="once") for _ in range(2)]

    assert 1 == len(overrides(told, training_id))
    assert answers[0].address == answers[1].address


def test_a_form_is_not_recorded_where_the_training_stands_otherwise_since(told: Told) -> None:
    """Who confirmed had something else before their eyes: they see it as it is now, and decide again."""
    training_id = fail(told, "changed")
    browser = Browser(told.service)
    seen = browser.look(f"/trainings/{training_id}/override")
    told.tell(told.pen.overridden("changed", deployable=True, reason="I was faster"))
    late = browser.send(seen, seen.form("request_id"), name="Grace", reason="late")

    assert (409, True) == (late.status, "it stands otherwise than it did" in late.text)
    assert ["I was faster"] == [one.reason for one in overrides(told, training_id)]
    assert (200, 2) == (
        browser.send(seen, late.form("request_id")).status,
        len(overrides(told, training_id)),
    )


def test_what_the_fold_rejects_is_shown_with_its_reason(told: Told) -> None:
    """An event whose id something else has already."""
    training_id = fail(told, "rejected")
    browser = Browser(told.service)
    seen = browser.look(f"/trainings/{training_id}/override")
    request_id = seen.form("request_id").fields["request_id"]
    event_id = derived_id(request_id, "override", training_id, "Grace", "deployable", "mine")
    told.tell(replace(told.pen.started("another run"), event_id=event_id))
    answer = browser.send(seen, seen.form("request_id"), name="Grace", reason="mine")

    assert (409, True) == (answer.status, "Not recorded: rejected at position" in answer.text)
    assert False is stands(told, training_id).deployable


def test_a_form_without_what_it_came_with_is_refused(told: Told) -> None:
    """What no page of ours sends."""
    browser = Browser(told.service)
    seen = browser.look(f"/trainings/{id_of('second')}/override")
    answer = browser.send(seen, seen.form("request_id"), request_id="mine", name="Grace", reason="r")

    assert (400, True) == (answer.status, "open the page again" in answer.text)


def test_a_new_verdict_is_asked_for(told: Told) -> None:
    """The training's page says that one is waited for; who asked is on the log."""
    training_id = fail(told, "once more")
    browser = Browser(told.service)
    form = browser.look(f"/trainings/{training_id}/revalidate")
    seen = browser.send(form, form.form("request_id"), name="Grace", reason="other data")

    assert (200, True) == (seen.status, "a new verdict is asked for" in seen.text)
    assert "Grace" == seen.row("RevalidationRequested")[3]


# --- who may -----------------------------------------------------------------------------------


def test_the_actor_is_who_is_authenticated_whatever_the_form_says(secured: tuple[Told, TokenFile]) -> None:
    """A name in the form is not asked for, and counts for nothing."""
    told, tokens = secured
    training_id = fail(told, "authenticated")
    token = tokens.create("rita", frozenset({Role.REVIEWER}))[1]
    browser = Browser(told.service, token)
    page = browser.look(f"/trainings/{training_id}/override")
    seen = override(browser, training_id, name="Grace")

    assert False is ("name" in page.form("request_id").fields)
    assert (200, ["rita"]) == (seen.status, [one.actor for one in overrides(told, training_id)])


@pytest.mark.parametrize("what", ["override", "revalidate"])
def test_who_may_not_decide_is_neither_offered_it_nor_let(secured: tuple[Told, TokenFile], what: str) -> None:
    """A trainer sees the failure and its reasons, and that is all."""
    told, tokens = secured
    browser = Browser(told.service, tokens.create("tom", frozenset({Role.TRAINER}))[1])
    shown = browser.look("/failures")

    assert (200, False) == (shown.status, f"/{what}" in shown.html)
    assert 403 == browser.look(f"/trainings/{id_of('second')}/{what}").status


@pytest.mark.parametrize("what", ["override", "revalidate"])
def test_a_token_for_other_models_decides_nothing_here(secured: tuple[Told, TokenFile], what: str) -> None:
    """The scope is of models, and is looked at when the form is sent."""
    told, tokens = secured
    token = tokens.create("olga", frozenset({Role.REVIEWER}), models=frozenset({"rent"}))[1]
    browser = Browser(told.service, token)
    seen = browser.look(f"/trainings/{id_of('second')}/{what}")
    answer = browser.send(seen, seen.form("request_id"), reason="r")

    assert (403, True) == (answer.status, "does not hold for the model" in answer.text)
    assert False is (f"/{what}" in browser.look("/failures").html)
