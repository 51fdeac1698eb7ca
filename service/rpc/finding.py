"""Calls that find trainings, put them side by side, and follow a metric over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deedbook.api.messages import to_message
from deedbook.api.v1 import registry_pb2 as pb
from deedbook.events.errors import InvalidInput, NotFound
from deedbook.events.names import shown
from deedbook.projector import queries
from deedbook.projector.queries.paging import Mark as SearchMark
from deedbook.projector.queries.paging import search_page
from deedbook.service.rpc.fields import given, id_given, text_given
from deedbook.service.rpc.limits import MAX_BATCH, TRAININGS_AT_ONCE
from deedbook.service.rpc.pages import Listing, after_in, fitting, least_position, page_of, page_size_of
from deedbook.service.rpc.searches import query_of
from deedbook.service.rpc.series import series_messages

if TYPE_CHECKING:
    import duckdb

    from deedbook.projector.queries.paging import Page
    from deedbook.service.rpc.calls import Call
    from deedbook.service.rpc.page_tokens import Mark
    from deedbook.service.rpc.sinks import Sink

_LIKE: Mark = (0, 0, 0, False, 0, "")


async def get_training(call: Call, request: pb.GetTrainingRequest) -> pb.GetTrainingResponse:
    """Answer all that is known of one training."""
    text = text_given(request.training, "training")

    def question(connection: duckdb.DuckDBPyConnection) -> pb.TrainingDetail:
        detail = queries.training_detail(connection, queries.training_id_of(connection, text))
        return to_message(detail, pb.TrainingDetail)

    training, position = await call.ask(question, min_position=given(request, "min_position"))
    return pb.GetTrainingResponse(position=position, training=training)


async def batch_get_trainings(call: Call, request: pb.BatchGetTrainingsRequest, sink: Sink) -> None:
    """Stream all that is known of several trainings."""
    wanted = list(request.training_ids)
    if len(wanted) > MAX_BATCH:
        raise InvalidInput(f"the batch has {len(wanted):,} trainings, over the limit of {MAX_BATCH:,}")
    for number, training_id in enumerate(wanted):
        id_given(training_id, f"training_ids[{number}]")

    def missing(connection: duckdb.DuckDBPyConnection) -> list[str]:
        there = queries.training_names(connection, wanted)
        return [training_id for training_id in wanted if training_id not in there]

    unknown, position = await call.ask(missing, min_position=given(request, "min_position"))
    if unknown:
        raise NotFound(f"there is no training {unknown[0]} in this registry")
    for start in range(0, len(wanted), TRAININGS_AT_ONCE):
        some = wanted[start : start + TRAININGS_AT_ONCE]

        def question(
            connection: duckdb.DuckDBPyConnection, some: list[str] = some
        ) -> list[pb.TrainingDetail]:
            details = [queries.training_detail(connection, training_id) for training_id in some]
            return [to_message(detail, pb.TrainingDetail) for detail in details]

        trainings, _ = await call.ask(question)
        for training in trainings:
            await sink.send(pb.BatchGetTrainingsResponse(position=position, training=training))


async def search_trainings(call: Call, request: pb.SearchTrainingsRequest) -> pb.SearchTrainingsResponse:
    """Find trainings, page by page, as of the state that the first page saw."""
    query = query_of(request)
    size = page_size_of(call, request)
    after = _search_mark(call, request) if request.page_token else None
    least = least_position(request, -1 if after is None else after.as_of - 1)

    def question(connection: duckdb.DuckDBPyConnection) -> tuple[list[pb.TrainingSummary], Page]:
        page = search_page(connection, query, size=size, after=after)
        entries = [to_message(training, pb.TrainingSummary) for training in page.trainings]
        shown_entries = fitting(entries)
        if len(shown_entries) < len(entries):
            page = search_page(connection, query, size=len(shown_entries), after=after)
        return shown_entries, page

    (trainings, page), position = await call.ask(question, min_position=least)
    token = ""
    if (mark := page.next) is not None:
        plain = (mark.as_of, mark.key, mark.created_at, mark.by_metric, mark.rank, float(mark.value).hex())
        token = call.means.tokens.token(request, plain)
    return pb.SearchTrainingsResponse(
        position=position if after is None else after.as_of - 1, trainings=trainings, next_page_token=token
    )


def _search_mark(call: Call, request: pb.SearchTrainingsRequest) -> SearchMark:
    as_of, key, created_at, by_metric, rank, value = call.means.tokens.mark(
        request, request.page_token, like=_LIKE
    )
    return SearchMark(
        as_of=int(as_of),
        key=int(key),
        created_at=int(created_at),
        by_metric=bool(by_metric),
        rank=int(rank),
        value=float.fromhex(str(value)),
    )


async def compare_trainings(call: Call, request: pb.CompareTrainingsRequest) -> pb.CompareTrainingsResponse:
    """Put trainings side by side."""
    if not 2 <= len(request.trainings) <= queries.comparison.MAX_TRAININGS:
        raise InvalidInput(f"a comparison takes 2 to {queries.comparison.MAX_TRAININGS} trainings, each once")
    texts = [text_given(text, f"trainings[{number}]") for number, text in enumerate(request.trainings)]

    def question(connection: duckdb.DuckDBPyConnection) -> pb.Comparison:
        found = queries.compare(connection, [queries.training_id_of(connection, text) for text in texts])
        return to_message(found, pb.Comparison)

    comparison, position = await call.ask(question, min_position=given(request, "min_position"))
    return pb.CompareTrainingsResponse(position=position, comparison=comparison)


async def list_models(call: Call, request: pb.ListModelsRequest) -> pb.ListModelsResponse:
    """List the models that have trainings, by name."""

    def mark(model: queries.ModelOverview) -> Mark:
        return (model.model,)

    listing = Listing(
        rows=lambda connection, after, most: after_in(queries.models(connection), mark, after, most),
        mark=mark,
        like=("",),
        entry=pb.ModelOverview,
    )
    page = await page_of(call, request, listing)
    return pb.ListModelsResponse(
        position=page.position, models=page.entries, next_page_token=page.next_page_token
    )


async def get_metric_series(call: Call, request: pb.GetMetricSeriesRequest, sink: Sink) -> None:
    """Stream a metric over time, every point of it."""
    if not request.HasField("metric"):
        raise InvalidInput(f"metric is missing: which one of {shown(request.model)} is wanted")
    messages, position = await call.ask(
        lambda connection: series_messages(connection, request), min_position=given(request, "min_position")
    )
    for message in messages:
        message.position = position
        await sink.send(message)
