"""Calls about validation: verdicts, what failed, where a training stands, overrides, policies, past requests."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from deedbook.api.messages import from_message, to_message
from deedbook.api.v1 import registry_pb2 as pb
from deedbook.events import facts
from deedbook.projector import queries
from deedbook.projector.queries.paging import registry_position
from deedbook.service.access.roles import Permission
from deedbook.service.rpc.decisions import DECISIONS
from deedbook.service.rpc.fields import given, id_in, moment_given, name_in, text_given
from deedbook.service.rpc.names import normalised
from deedbook.service.rpc.pages import Listing, after_in, page_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from deedbook.service.rpc.calls import Call
    from deedbook.service.rpc.page_tokens import Mark


# --- reading -----------------------------------------------------------------------------------------


async def list_verdicts(call: Call, request: pb.ListVerdictsRequest) -> pb.ListVerdictsResponse:
    """List the verdicts on a training, oldest first."""
    text = text_given(request.training, "training")

    def mark(verdict: queries.Verdict) -> Mark:
        return (verdict.position,)

    def rows(
        connection: duckdb.DuckDBPyConnection, after: Mark | None, most: int
    ) -> Sequence[queries.Verdict]:
        training_id = queries.training_id_of(connection, text)
        return after_in(queries.verdicts_of(connection, training_id), mark, after, most)

    page = await page_of(call, request, Listing(rows=rows, mark=mark, like=(0,), entry=pb.Verdict))
    return pb.ListVerdictsResponse(
        position=page.position, verdicts=page.entries, next_page_token=page.next_page_token
    )


async def list_failed_validations(
    call: Call, request: pb.ListFailedValidationsRequest
) -> pb.ListFailedValidationsResponse:
    """List the verdicts that are no pass, newest first."""
    model, check = name_in(request, "model"), name_in(request, "check")
    training_id = id_in(request, "training_id")

    seen = -1

    def rows(
        connection: duckdb.DuckDBPyConnection, after: Mark | None, most: int
    ) -> Sequence[queries.Failure]:
        nonlocal seen
        # What a later verdict came after since the first page still belongs to the list.
        seen = registry_position(connection) if after is None else int(after[1])
        return queries.failures(
            connection,
            model=model,
            training_id=training_id,
            check=check,
            include_superseded=not request.exclude_superseded,
            before=seen if after is None else int(after[0]),
            as_of=seen,
            limit=most,
        )

    listing = Listing(
        rows=rows, mark=lambda failure: (failure.verdict.position, seen), like=(0, 0), entry=pb.Failure
    )
    page = await page_of(call, request, listing)
    return pb.ListFailedValidationsResponse(
        position=page.position, failures=page.entries, next_page_token=page.next_page_token
    )


async def get_standing(call: Call, request: pb.GetStandingRequest) -> pb.GetStandingResponse:
    """Answer whether a training is deployable and why, now or at a time."""
    text, at = text_given(request.training, "training"), moment_given(request, "at")

    def question(connection: duckdb.DuckDBPyConnection) -> pb.Standing:
        training_id = queries.training_id_of(connection, text)
        return to_message(queries.standing(connection, training_id, at=at), pb.Standing)

    standing, position = await call.ask(question, min_position=given(request, "min_position"))
    return pb.GetStandingResponse(position=position, standing=standing)


async def list_policies(call: Call, request: pb.ListPoliciesRequest) -> pb.ListPoliciesResponse:
    """List the published policies by model, oldest version first."""
    model = name_in(request, "model")

    def mark(policy: queries.PublishedPolicy) -> Mark:
        return (policy.model, policy.version)

    listing = Listing(
        rows=lambda connection, after, most: after_in(queries.policies(connection, model), mark, after, most),
        mark=mark,
        like=("", 0),
        entry=pb.PublishedPolicy,
    )
    page = await page_of(call, request, listing)
    return pb.ListPoliciesResponse(
        position=page.position, policies=page.entries, next_page_token=page.next_page_token
    )


async def list_request_sets(call: Call, request: pb.ListRequestSetsRequest) -> pb.ListRequestSetsResponse:
    """List the published sets of requests, oldest first."""
    model = name_in(request, "model")

    def mark(found: queries.RequestSet) -> Mark:
        return (found.position,)

    listing = Listing(
        rows=lambda connection, after, most: after_in(
            queries.request_sets(connection, model), mark, after, most
        ),
        mark=mark,
        like=(0,),
        entry=pb.PublishedRequestSet,
    )
    page = await page_of(call, request, listing)
    return pb.ListRequestSetsResponse(
        position=page.position, request_sets=page.entries, next_page_token=page.next_page_token
    )


# --- writing -----------------------------------------------------------------------------------------


async def issue_verdict(call: Call, request: pb.IssueVerdictRequest) -> pb.IssueVerdictResponse:
    """Record a validator's verdict."""
    envelope = call.envelope(request.request_id)
    fact = await call.made(
        request, lambda: normalised(from_message(request, facts.VerdictIssued, **envelope))
    )
    fact = replace(fact, verdict_id=fact.verdict_id or fact.event_id)
    await call.check_training(Permission.VERDICT, fact.training_id)
    answer = await call.decided(fact)
    return pb.IssueVerdictResponse(
        position=answer.position,
        decision=DECISIONS[answer.decision],
        reason=answer.reason,
        verdict_id=fact.verdict_id,
    )


async def override_verdict(call: Call, request: pb.OverrideVerdictRequest) -> pb.OverrideVerdictResponse:
    """Decide otherwise than a verdict."""
    fact = from_message(request, facts.VerdictOverridden, **call.envelope(request.request_id))
    await call.check_training(Permission.OVERRIDE, fact.training_id)
    answer = await call.decided(fact)
    return pb.OverrideVerdictResponse(
        position=answer.position, decision=DECISIONS[answer.decision], reason=answer.reason
    )


async def revalidate_training(
    call: Call, request: pb.RevalidateTrainingRequest
) -> pb.RevalidateTrainingResponse:
    """Ask for a new verdict on a training."""
    fact = from_message(request, facts.RevalidationRequested, **call.envelope(request.request_id))
    await call.check_training(Permission.REVALIDATE, fact.training_id)
    answer = await call.decided(fact)
    return pb.RevalidateTrainingResponse(
        position=answer.position, decision=DECISIONS[answer.decision], reason=answer.reason
    )


async def publish_policy(call: Call, request: pb.PublishPolicyRequest) -> pb.PublishPolicyResponse:
    """Publish a model's policy."""
    fact = normalised(from_message(request, facts.PolicyPublished, **call.envelope(request.request_id)))
    fact = replace(fact, policy=replace(fact.policy, version=0))
    call.check(Permission.POLICY, [fact.policy.model])
    answer = await call.decided(fact)
    return pb.PublishPolicyResponse(
        position=answer.position, decision=DECISIONS[answer.decision], reason=answer.reason
    )


async def publish_requests(call: Call, request: pb.PublishRequestsRequest) -> pb.PublishRequestsResponse:
    """Publish a set of past prediction requests."""
    fact = normalised(from_message(request, facts.RequestsPublished, **call.envelope(request.request_id)))
    requests_id = fact.requests.requests_id or fact.event_id
    fact = replace(fact, requests=replace(fact.requests, requests_id=requests_id))
    call.check(Permission.LOG, [fact.requests.model])
    answer = await call.decided(fact)
    return pb.PublishRequestsResponse(
        position=answer.position,
        decision=DECISIONS[answer.decision],
        reason=answer.reason,
        requests_id=requests_id,
    )
