"""Calls about deployments: requested, rolled back, asked for; what is live; and what hosts say they run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from deedbook.api.messages import from_message, to_message
from deedbook.api.v1 import registry_pb2 as pb
from deedbook.events import facts
from deedbook.events.errors import InvalidInput, NotFound
from deedbook.projector import queries
from deedbook.service.access.roles import Permission
from deedbook.service.rpc.decisions import DECISIONS, WORDS
from deedbook.service.rpc.fields import given, id_given, id_in, moment_given, name_given, name_in
from deedbook.service.rpc.names import normalised
from deedbook.service.rpc.pages import Listing, after_in, page_of
from deedbook.service.rpc.reading import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from deedbook.service.context import Service
    from deedbook.service.rpc.calls import Call
    from deedbook.service.rpc.page_tokens import Mark

_PRODUCTION: Final = "production"


def _environment(request: Any) -> str:  # noqa: ANN401 - any request with an environment
    return name_given(request.environment, "environment") if request.environment else _PRODUCTION


# --- writing -----------------------------------------------------------------------------------------


async def request_deployment(
    call: Call, request: pb.RequestDeploymentRequest
) -> pb.RequestDeploymentResponse:
    """Bind a release of a service to trainings, and make it the current one."""
    fact = normalised(
        from_message(
            request,
            facts.DeploymentRequested,
            **call.envelope(request.request_id),
            environment=_environment(request),
        )
    )
    fact = replace(fact, deployment_id=fact.deployment_id or fact.event_id)
    call.check(Permission.DEPLOY, [model.model for model in fact.models])
    answer = await call.decided(fact)
    return pb.RequestDeploymentResponse(
        position=answer.position,
        decision=DECISIONS[answer.decision],
        reason=answer.reason,
        deployment_id=fact.deployment_id,
    )


async def activate_release(call: Call, request: pb.ActivateReleaseRequest) -> pb.ActivateReleaseResponse:
    """Make an already bound release the current one again."""
    fact = normalised(
        from_message(
            request,
            facts.ReleaseActivated,
            **call.envelope(request.request_id),
            environment=_environment(request),
        )
    )
    if call.caller.models:
        await _check_bound(call, fact)
    answer = await call.decided(fact)
    return pb.ActivateReleaseResponse(
        position=answer.position, decision=DECISIONS[answer.decision], reason=answer.reason
    )


async def _check_bound(call: Call, fact: facts.ReleaseActivated) -> None:
    """Refuse a rollback of models that the token doesn't hold for; what is not bound here is anybody's."""

    def question(connection: duckdb.DuckDBPyConnection) -> list[str]:
        try:
            bound = queries.binding(connection, fact.service, fact.release, fact.environment)
        except NotFound:
            if call.caller.models:
                raise
            return []
        return [model.model for model in bound.models]

    models, _ = await call.ask(question)
    call.check(Permission.DEPLOY, models)


async def report_model_loaded(
    call: Call, request: pb.ReportModelLoadedRequest
) -> pb.ReportModelLoadedResponse:
    """Record a serving host's word that it loaded a model."""
    fact = normalised(
        from_message(
            request,
            facts.ModelLoaded,
            **call.envelope(request.request_id),
            environment=_environment(request),
        )
    )
    call.check(Permission.REPORT, [fact.model])
    fact = replace(fact, loaded_at=fact.loaded_at or fact.occurred_at)
    partition, position = await call.service.writer.place(fact, timeout_seconds=call.left())
    return pb.ReportModelLoadedResponse(partition=partition, position=position)


# --- reading -----------------------------------------------------------------------------------------


async def get_deployment(call: Call, request: pb.GetDeploymentRequest) -> pb.GetDeploymentResponse:
    """Answer the deployment that a release is bound by; from memory wherever it was asked for before."""
    if request.deployment_id:
        return await _deployment_with_id(call, request)
    service, release = name_given(request.service, "service"), name_given(request.release, "release")
    await call.reached(given(request, "min_position"))
    found, upto = await call.service.bindings.of(
        service, _environment(request), release, timeout_seconds=call.left()
    )
    return pb.GetDeploymentResponse(position=upto - 1, deployment=to_message(found, pb.Deployment))


def remembered_deployment(service: Service, request: Any) -> pb.GetDeploymentResponse | None:  # noqa: ANN401 - any bytes
    """Return the answer to a plain request for a binding that is remembered, else None.

    A name is remembered in the form that names are kept in: one in another form is asked for the long way.
    """
    if request is UNREADABLE or request.deployment_id or request.HasField("min_position"):
        return None
    known = service.bindings.message(request.service, request.environment or _PRODUCTION, request.release)
    if known is None:
        return None
    deployment, upto = known
    return pb.GetDeploymentResponse(position=upto - 1, deployment=deployment)


async def _deployment_with_id(call: Call, request: pb.GetDeploymentRequest) -> pb.GetDeploymentResponse:
    deployment_id = id_given(request.deployment_id, "deployment_id")
    if request.service or request.environment or request.release:
        raise InvalidInput("give a service and a release, or a deployment's id, and not both")

    def question(connection: duckdb.DuckDBPyConnection) -> pb.Deployment:
        return to_message(queries.deployment_with_id(connection, deployment_id), pb.Deployment)

    deployment, position = await call.ask(question, min_position=given(request, "min_position"))
    return pb.GetDeploymentResponse(position=position, deployment=deployment)


async def list_deployments(call: Call, request: pb.ListDeploymentsRequest) -> pb.ListDeploymentsResponse:
    """List requested deployments, newest first."""
    service, environment = name_in(request, "service"), name_in(request, "environment")
    training_id, model = id_in(request, "training_id"), name_in(request, "model")
    if request.decision not in {pb.DECISION_UNSPECIFIED, pb.DECISION_ACCEPTED, pb.DECISION_REJECTED}:
        raise InvalidInput("a deployment is accepted or rejected")

    def rows(
        connection: duckdb.DuckDBPyConnection, after: Mark | None, most: int
    ) -> Sequence[queries.Deployment]:
        return queries.deployments(
            connection,
            service=service,
            environment=environment,
            decision=WORDS.get(request.decision),
            training_id=training_id,
            model=model,
            before=None if after is None else int(after[0]),
            limit=most,
        )

    listing = Listing(
        rows=rows, mark=lambda deployment: (deployment.position,), like=(0,), entry=pb.Deployment
    )
    page = await page_of(call, request, listing)
    return pb.ListDeploymentsResponse(
        position=page.position, deployments=page.entries, next_page_token=page.next_page_token
    )


async def get_live(call: Call, request: pb.GetLiveRequest) -> pb.GetLiveResponse:
    """Answer what is live, or was at a time."""
    service, environment = name_in(request, "service"), name_in(request, "environment")
    at = moment_given(request, "at")

    def question(connection: duckdb.DuckDBPyConnection) -> list[pb.LiveRelease]:
        found = queries.live(connection, service=service, environment=environment, at=at)
        return [to_message(release, pb.LiveRelease) for release in found]

    releases, position = await call.ask(question, min_position=given(request, "min_position"))
    return pb.GetLiveResponse(position=position, releases=releases)


async def list_releases(call: Call, request: pb.ListReleasesRequest) -> pb.ListReleasesResponse:
    """List what was live one after the other, oldest first."""
    service, environment = name_given(request.service, "service"), _environment(request)

    def mark(release: queries.LiveRelease) -> Mark:
        return (release.from_position,)

    listing = Listing(
        rows=lambda connection, after, most: after_in(
            queries.releases(connection, service, environment), mark, after, most
        ),
        mark=mark,
        like=(0,),
        entry=pb.LiveRelease,
    )
    page = await page_of(call, request, listing)
    return pb.ListReleasesResponse(
        position=page.position, releases=page.entries, next_page_token=page.next_page_token
    )


async def list_model_loads(call: Call, request: pb.ListModelLoadsRequest) -> pb.ListModelLoadsResponse:
    """List what serving hosts said they loaded."""
    service, environment = name_in(request, "service"), name_in(request, "environment")
    training_id = id_in(request, "training_id")
    every = request.include_earlier

    def mark(load: queries.ModelLoad) -> Mark:
        # An instance's last word may change between two pages: its place in the list does not.
        where = (load.partition, load.position) if every else (0, 0)
        return (load.service, load.environment, load.instance, load.model, *where)

    def rows(
        connection: duckdb.DuckDBPyConnection, after: Mark | None, most: int
    ) -> Sequence[queries.ModelLoad]:
        found = queries.model_loads(
            connection, service=service, environment=environment, training_id=training_id, latest=not every
        )
        return after_in(found, mark, after, most)

    listing = Listing(rows=rows, mark=mark, like=("", "", "", "", 0, 0), entry=pb.ModelLoad)
    page = await page_of(call, request, listing)
    return pb.ListModelLoadsResponse(
        position=page.position, model_loads=page.entries, next_page_token=page.next_page_token
    )
