"""Deciding about a training: otherwise than its verdict, or that there be a new one. Each is confirmed on a page."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import duckdb
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from deedbook.events import facts
from deedbook.events.errors import DeadlineExceeded, InvalidInput, LogUnavailable
from deedbook.events.ids import derived_id, new_id
from deedbook.events.names import MAX_REASON_CHARACTERS, shown
from deedbook.projector import queries
from deedbook.service.access.access import actor_of
from deedbook.service.access.roles import Permission
from deedbook.service.access.visits import caller_of
from deedbook.service.web import asked
from deedbook.service.web.pages import Page
from deedbook.service.web.rendering import page, service_of

_ANSWER_SECONDS: Final = 20.0
_DECISIONS: Final = {"deployable": True, "not-deployable": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What a confirmation page holds. ``decision`` is empty where none is to be made.

    ``request_id``: minted when the page was made, so that a form that is sent twice counts once. ``stood``: since
    which position the training stood as the page showed it.
    """

    request_id: str
    stood: int
    decision: str = ""
    reason: str = ""
    name: str = ""

    @classmethod
    def read(cls, fields: Mapping[str, object]) -> Form:
        """Return what was sent. Raises InvalidInput for what no form of ours sends."""
        texts = {name: value.strip() for name, value in fields.items() if isinstance(value, str)}
        try:
            request_id = str(uuid.UUID(texts.get("request_id", "")))
        except ValueError:
            raise InvalidInput(
                "the form lacks what it came with: open the page again, and send that"
            ) from None
        return cls(
            request_id=request_id,
            stood=asked.whole(texts, "stood") or 0,
            decision=texts.get("decision", ""),
            # Browsers end lines as typewriters did.
            reason=texts.get("reason", "").replace("\r\n", "\n"),
            name=texts.get("name", ""),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a form is about: ``path`` is where it is sent, ``template`` the page it stands on."""

    path: str
    template: str


_OVERRIDE: Final = Asked(path="override", template="override.html")
_REVALIDATE: Final = Asked(path="revalidate", template="revalidate.html")


async def override(request: Request) -> Response:
    """Return the page that confirms an override, or record what was confirmed there."""
    if request.method == "POST":
        return await _decided(request, _OVERRIDE)
    return await _confirmation(request, _OVERRIDE)


async def revalidate(request: Request) -> Response:
    """Return the page that confirms that a new verdict is wanted, or record what was confirmed there."""
    if request.method == "POST":
        return await _decided(request, _REVALIDATE)
    return await _confirmation(request, _REVALIDATE)


async def _confirmation(request: Request, what: Asked) -> Response:
    """Return the page with a fresh form, or lead to it from the beginning of an id."""
    text = request.path_params["training_id"]
    training = await _training(request, text)
    if training.training_id != text:
        return RedirectResponse(f"/trainings/{training.training_id}/{what.path}", 307)
    decision = "not-deployable" if training.deployable else "deployable"
    form = Form(request_id=new_id(), stood=training.standings[-1].from_position, decision=decision)
    return await _page(request, what, training, form)


async def _decided(request: Request, what: Asked) -> Response:
    """Record a decision and lead to the training's page; where it does not count, return the form with the reason."""
    form = Form.read(request.state.form)
    training = await _training(request, request.path_params["training_id"])
    caller = caller_of(request)
    permission = Permission.OVERRIDE if what is _OVERRIDE else Permission.REVALIDATE
    service_of(request).access.check(caller, permission, [training.model])
    try:
        actor = actor_of(caller, form.name)
        fact = _fact(request, what, training, form, actor)
    except InvalidInput as error:
        return await _page(request, what, training, form, status_code=400, problem=str(error))
    known = any(event.event_id == fact.event_id for event in training.events)
    if form.stood != training.standings[-1].from_position and not known:
        again = replace(form, stood=training.standings[-1].from_position, request_id=new_id())
        return await _page(request, what, training, again, status_code=409, changed=True)
    try:
        answer = await service_of(request).writer.decide(fact, timeout_seconds=_ANSWER_SECONDS)
    except InvalidInput as error:
        return await _page(request, what, training, form, status_code=400, problem=str(error))
    except (DeadlineExceeded, LogUnavailable) as error:
        problem = f"no answer yet: {error}. Send the form again; it counts once"
        return await _page(request, what, training, form, status_code=503, problem=problem)
    if answer.decision != "accepted":
        problem = f"rejected at position {answer.position}: {answer.reason}"
        again = replace(form, request_id=new_id())
        return await _page(request, what, training, again, status_code=409, problem=problem)
    return RedirectResponse(f"/trainings/{training.training_id}?done={answer.position}", 303)


def _fact(
    request: Request, what: Asked, training: queries.TrainingDetail, form: Form, actor: str
) -> facts.VerdictOverridden | facts.RevalidationRequested:
    """Return what is to be recorded. Raises InvalidInput for what a person has to mend."""
    if len(form.reason) > MAX_REASON_CHARACTERS:
        raise InvalidInput(
            f"the reason has {len(form.reason):,} characters, over the limit of {MAX_REASON_CHARACTERS:,}"
        )
    envelope = service_of(request).writer.envelope(actor, form.request_id)
    # The same form with other words is another event, and the same words the same one.
    envelope["event_id"] = derived_id(
        form.request_id, what.path, training.training_id, actor, form.decision, form.reason
    )
    if what is _REVALIDATE:
        return facts.RevalidationRequested(**envelope, training_id=training.training_id, reason=form.reason)
    if form.decision not in _DECISIONS:
        raise InvalidInput(f"choose what is decided: {shown(form.decision)} is neither of the two")
    if not (form.name or caller_of(request).authenticated):
        raise InvalidInput("say who decides: an override is recorded with a name")
    if not form.reason:
        raise InvalidInput("an override needs its reason: it is recorded with your name")
    return facts.VerdictOverridden(
        **envelope,
        training_id=training.training_id,
        deployable=_DECISIONS[form.decision],
        reason=form.reason,
    )


async def _training(request: Request, text: str) -> queries.TrainingDetail:
    """Return the training that an address means. Raises NotFound, InvalidInput."""

    def question(connection: duckdb.DuckDBPyConnection) -> queries.TrainingDetail:
        return queries.training_detail(connection, queries.training_id_of(connection, text))

    return await service_of(request).live.ask(question)


async def _page(
    request: Request,
    what: Asked,
    training: queries.TrainingDetail,
    form: Form,
    *,
    status_code: int = 200,
    problem: str = "",
    changed: bool = False,
) -> Response:
    """Return the page with a form: what it is about, and what is wrong with what was sent."""
    verdict = training.verdicts[-1] if training.verdicts else None
    compared = {check.baseline_training_id for check in verdict.checks} if verdict else set()

    def question(connection: duckdb.DuckDBPyConnection) -> dict[str, queries.TrainingName]:
        return queries.training_names(connection, [one for one in compared if one])

    return page(
        request,
        what.template,
        status_code=status_code,
        training=training,
        verdict=verdict,
        names=await service_of(request).live.ask(question),
        form=form,
        problem=problem,
        changed_meanwhile=changed,
        signed_in=caller_of(request).authenticated,
        max_reason=MAX_REASON_CHARACTERS,
    )


PAGES: Final = (
    Page(
        path="/trainings/{training_id}/override",
        endpoint=override,
        permission=Permission.OVERRIDE,
        methods=("GET", "POST"),
    ),
    Page(
        path="/trainings/{training_id}/revalidate",
        endpoint=revalidate,
        permission=Permission.REVALIDATE,
        methods=("GET", "POST"),
    ),
)
