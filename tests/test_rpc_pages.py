"""Lists of the gRPC interface, page by page, while others write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from deedbook.api.v1 import registry_pb2 as pb
from deedbook.events.ids import new_id
from deedbook.projector.queries import MetricName, MetricSeries
from deedbook.service.rpc.limits import MAX_ANSWER_BYTES
from deedbook.service.rpc.page_tokens import PageTokens
from deedbook.service.rpc.series import messages_of
from tests.serving.calling import Spoken, refused, registry_spoken_to

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "home-price"


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spoken]:
    """A registry of five trainings of as many models, and a few of everything else."""
    with registry_spoken_to(tmp_path_factory.mktemp("pages") / "registry") as call:
        for number in range(5):
            logged = call.log(float(number), model=f"model {number}")
            call("OverrideVerdict", training_id=logged.training_id, deployable=True, reason="made up")
            check = pb.CheckSpec(check="artifact_intact")
            call("PublishPolicy", policy=pb.Policy(model=MODEL, checks=[check]))
            call("PublishRequests", requests=pb.RequestSet(model=MODEL, count=1))
            bound = [pb.ModelBinding(model=f"model {number}", training_id=logged.training_id)]
            call("RequestDeployment", service="pricing", release=f"r{number}", models=bound)
            call(
                "ReportModelLoaded",
                service="pricing",
                release=f"r{number}",
                instance=f"i{number}",
                model=f"model {number}",
                training_id=logged.training_id,
            )
        call.service.live.wait_until_reached("hosts", 0, 4, timeout_seconds=30)
        yield call


LISTS: list[tuple[str, str, dict[str, Any]]] = [
    ("SearchTrainings", "trainings", {}),
    ("SearchTrainings", "trainings", {"order_by": pb.MetricName(name="mse"), "descending": True}),
    ("ListModels", "models", {}),
    ("ListPolicies", "policies", {}),
    ("ListRequestSets", "request_sets", {}),
    ("ListDeployments", "deployments", {}),
    ("ListReleases", "releases", {"service": "pricing"}),
    ("ListModelLoads", "model_loads", {}),
    ("ListModelLoads", "model_loads", {"include_earlier": True}),
    ("ListEvents", "events", {"types": ["TrainingLogged"]}),
    ("ListEvents", "events", {"types": ["TrainingLogged"], "newest_first": True}),
    ("ListEvents", "events", {"topic": "hosts"}),
]


@pytest.mark.parametrize(("name", "field", "fields"), LISTS)
def test_pages_add_up_to_what_was_there(call: Spoken, name: str, field: str, fields: dict[str, Any]) -> None:
    """Of any size, and though trainings are logged between them: nothing twice, nothing left out."""
    whole = [str(one) for one in getattr(call(name, **fields), field)]
    found: list[str] = []
    token = ""
    for number in range(200):
        page = call(name, page_size=2, page_token=token, **fields)
        found += [str(one) for one in getattr(page, field)]
        token = page.next_page_token
        if not token:
            break
        if number < 2:
            call.log(0.5, model=MODEL)

    assert len(whole) >= 5
    assert whole == found[: len(whole)]
    # What came later may follow at the end, where lists go on to what is newest.
    assert len(set(found)) == len(found)


def test_a_token_that_this_list_did_not_answer_is_refused(call: Spoken) -> None:
    """Made up, cut off, of another list, of another question, of another registry."""
    good = call("SearchTrainings", page_size=1).next_page_token
    foreign = PageTokens("another log").token(pb.SearchTrainingsRequest(), (1, 1, 1, False, 0, "0x0p+0"))
    forged: list[tuple[str, str, dict[str, Any]]] = [
        *(
            ("SearchTrainings", token, {})
            for token in ("nonsense", "\u00e9", "a" * 5_000, good[:-4], foreign)
        ),
        ("SearchTrainings", good, {"model": "other"}),
        ("ListModels", good, {}),
    ]
    ends = [refused(lambda: call(name, page_token=token, **fields)) for name, token, fields in forged]  # noqa: B023 - called at once

    assert [("INVALID_ARGUMENT", True)] * len(forged) == [
        (code, "page token" in sentence) for code, _, _, sentence in ends
    ]


def test_a_token_holds_for_any_page_size(call: Spoken) -> None:
    """How much is wanted at once is no part of the question."""
    token = call("ListModels", page_size=1).next_page_token
    models = [model.model for model in call("ListModels", page_size=3, page_token=token).models]

    assert 3 == len(models)
    assert "home-price" not in models


def test_all_pages_of_a_search_are_of_the_same_state(call: Spoken) -> None:
    """The position that they tell is the first one's."""
    first = call("SearchTrainings", page_size=1)
    call.log()
    second = call("SearchTrainings", page_size=1, page_token=first.next_page_token)

    assert first.position == second.position


def test_a_page_holds_what_a_message_does(call: Spoken) -> None:
    """Fewer entries than were asked for where those are large, and the rest on the next page."""
    parameters = [pb.Parameter(name=f"p{number}", text="x" * 1_000) for number in range(1_000)]
    for _ in range(4):
        call("LogTraining", training=pb.Training(model="large", parameters=parameters, training_id=new_id()))
    found: list[str] = []
    token, pages = "", 0
    while token or not pages:
        page = call("SearchTrainings", model="large", page_token=token)
        assert page.ByteSize() <= MAX_ANSWER_BYTES
        found += [training.training_id for training in page.trainings]
        token, pages = page.next_page_token, pages + 1

    assert (4, 2) == (len(set(found)), pages)


@pytest.mark.parametrize(("count", "name_characters", "expected"), [(30_000, 8, 2), (4_000, 1_000, 2)])
def test_a_long_series_comes_whole(count: int, name_characters: int, expected: int) -> None:
    """In messages that any client takes, each with the names it needs, and none of the points sampled."""
    names = [f"{number:08} {'x' * name_characters}" for number in range(count)]
    table = pa.table(
        {
            "series": pa.array(names),
            "created_at": pa.array(range(count), pa.timestamp("us")),
            "value": pa.array([float(number) for number in range(count)]),
            "training_id": pa.array([f"{number:036}" for number in range(count)]),
            "version": pa.array(range(count), pa.int64()),
        }
    )
    series = MetricSeries("home-price", MetricName("mse"), "city", "lower", "", table)
    parts = messages_of(series)
    found = [
        (part.series_names[place], value, part.created_at_micros[number])
        for part in parts
        for number, (place, value) in enumerate(zip(part.series, part.values, strict=True))
    ]

    assert expected == len(parts)
    assert max(part.ByteSize() for part in parts) <= MAX_ANSWER_BYTES
    assert [(name, float(number), number) for number, name in enumerate(names)] == found
