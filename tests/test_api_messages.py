"""Facts and answers as messages: the same fields on both sides, and nothing lost on the way there and back."""

import re
import struct
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from deedbook.api.messages import carried_names, from_message, to_message
from deedbook.api.v1 import registry_pb2 as pb
from deedbook.events import facts
from deedbook.events.errors import InvalidInput
from deedbook.events.facts import FACTS, Fact
from deedbook.projector import queries

# What an answer's message is called where its own name was taken by a fact's.
RENAMED = {"PublishedRequestSet": queries.RequestSet}
# Messages that carry no dataclass: parts of requests and of streams.
OWN = {
    *("ArtifactHead", "DownloadHead", "SnapshotHead", "ParameterFilter", "TagFilter", "PartitionPosition"),
    *("SubscribedEvent", "Heartbeat", "PartitionStatus", "OptionalText", "OptionalNumber", "ReleaseName"),
}
# The fact that each write appends.
WRITTEN: dict[str, type[Fact]] = {
    "LogTrainingRequest": facts.TrainingLogged,
    "StartTrainingRequest": facts.TrainingStarted,
    "FailTrainingRequest": facts.TrainingFailed,
    "LogMetricsRequest": facts.MetricsLogged,
    "AmendTrainingRequest": facts.TrainingAmended,
    "IssueVerdictRequest": facts.VerdictIssued,
    "OverrideVerdictRequest": facts.VerdictOverridden,
    "RevalidateTrainingRequest": facts.RevalidationRequested,
    "PublishPolicyRequest": facts.PolicyPublished,
    "PublishRequestsRequest": facts.RequestsPublished,
    "RequestDeploymentRequest": facts.DeploymentRequested,
    "ActivateReleaseRequest": facts.ReleaseActivated,
    "ReportModelLoadedRequest": facts.ModelLoaded,
}
NAMES = {"datetime": datetime, "Mapping": Mapping}
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
NUMBERS = st.floats(allow_nan=True, width=64)
MICROS = st.integers(0, 253_402_300_799_999_999)
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXTS,
    int: st.integers(-(1 << 63), (1 << 63) - 1),
    float: NUMBERS,
    bool: st.booleans(),
    datetime: st.datetimes(timezones=st.just(UTC)),
}


def dataclass_of(message: str) -> Any:  # noqa: ANN401 - a dataclass
    """The dataclass that a message carries."""
    if message in RENAMED:
        return RENAMED[message]
    return getattr(facts, message, None) or getattr(queries, message)


CARRIED = {
    name: dataclass_of(name)
    for name in pb.DESCRIPTOR.message_types_by_name
    if name not in OWN and not name.endswith(("Request", "Response"))
}


def snake(name: str) -> str:
    """A name in PascalCase with its words parted."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def words(enum: Any) -> list[str]:  # noqa: ANN401 - an enum's descriptor
    """What a text says that an enum carries, the values that say nothing left out."""
    first = enum.values[0].name.removesuffix("UNSPECIFIED")
    return [value.name.removeprefix(first).lower() for value in enum.values[1:]]


def values_of(hint: Any, field: Any) -> st.SearchStrategy[Any]:  # noqa: ANN401 - a type hint, a field's descriptor
    """Any value of a dataclass's field."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in {types.UnionType, typing.Union}:
        (present,) = (part for part in parts if part is not types.NoneType)
        return st.none() | values_of(present, field)
    if origin is tuple and parts[-1] is not Ellipsis:
        return st.tuples(*(values_of(part, None) for part in parts))
    if origin is tuple:
        return st.lists(values_of(parts[0], field), max_size=2).map(tuple)
    if origin is Mapping:
        return st.dictionaries(TEXTS, PLAIN[parts[1]], max_size=2)
    if is_dataclass(hint):
        return instances(hint, field.message_type)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return st.sampled_from(list(hint))
    if field is not None and field.enum_type is not None:
        return st.sampled_from(words(field.enum_type))
    return MICROS if hint is int and field is not None and field.message_type is not None else PLAIN[hint]


def instances(cls: Any, descriptor: Any) -> st.SearchStrategy[Any]:  # noqa: ANN401 - a dataclass, a descriptor
    """Any instance of a dataclass, whether or not it makes sense."""
    hints = typing.get_type_hints(cls, localns=NAMES)
    carried = descriptor.fields_by_name
    return st.builds(
        cls, **{f.name: values_of(hints[f.name], carried[f.name]) for f in fields(cls) if f.init}
    )


def bits(value: Any) -> Any:  # noqa: ANN401 - any part of a dataclass
    """A value that equals another only if every bit does: NaN is itself, and -0.0 is not 0.0."""
    if isinstance(value, float):
        return struct.pack(">d", value)
    if isinstance(value, Mapping):
        return {key: bits(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(bits(item) for item in value)
    if is_dataclass(value):
        return (type(value), *(bits(getattr(value, f.name)) for f in fields(value)))
    return value


# --- the same fields on both sides -------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(CARRIED))
def test_a_message_has_the_fields_of_its_dataclass(name: str) -> None:
    """In the same order, none more and none less, and each can be carried."""
    descriptor = pb.DESCRIPTOR.message_types_by_name[name]
    own = [field.name for field in fields(CARRIED[name])]

    assert own == [field.name for field in descriptor.fields]
    assert tuple(own) == carried_names(CARRIED[name], descriptor)


@pytest.mark.parametrize("request_name", sorted(WRITTEN))
def test_a_write_asks_for_the_fields_of_its_fact(request_name: str) -> None:
    """All but what the service knows better: when, and by whom. The event's id is the request's."""
    envelope = {field.name for field in fields(Fact)}
    own = [field.name for field in fields(WRITTEN[request_name]) if field.name not in envelope]

    assert ["request_id", *own] == [
        field.name for field in pb.DESCRIPTOR.message_types_by_name[request_name].fields
    ]


def test_every_fact_has_a_message() -> None:
    """What can be on the log can be told."""
    assert set() == {cls.__name__ for cls in FACTS} - CARRIED.keys()


def test_every_fact_that_can_be_followed_has_a_place_in_a_subscription() -> None:
    """All but the work orders, which are the validators' own."""
    kinds = {
        cls for cls in CARRIED if pb.SubscribedEvent.DESCRIPTOR.fields_by_name.get(snake(cls)) is not None
    }

    assert {cls.__name__ for cls in FACTS} - {"ValidationRequested"} == kinds


# --- there and back ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(CARRIED))
@settings(max_examples=8)
@given(data=st.data())
def test_nothing_is_lost_on_the_way(name: str, data: st.DataObject) -> None:
    """What was sent is what arrives, to the bit, over the wire and back."""
    message_class = getattr(pb, name)
    sent = data.draw(instances(CARRIED[name], message_class.DESCRIPTOR))

    arrived = message_class.FromString(to_message(sent, message_class).SerializeToString())

    assert bits(sent) == bits(from_message(arrived, CARRIED[name]))


def test_what_is_not_there_differs_from_what_is_empty() -> None:
    """None is a field that isn't set; an empty text is a text."""
    nobody_said = facts.DeploymentRequested(
        event_id="e",
        occurred_at=1,
        actor="a",
        deployment_id="d",
        service="s",
        environment="e",
        release="r",
        models=(),
    )
    message = to_message(nobody_said, pb.DeploymentRequested)

    assert not message.HasField("expected_previous")
    assert None is from_message(message, facts.DeploymentRequested).expected_previous
    message.expected_previous = ""
    assert "" == from_message(message, facts.DeploymentRequested).expected_previous


def test_a_request_becomes_a_fact_with_what_the_service_adds() -> None:
    """The envelope and what was left open are given beside the message."""
    request = pb.FailTrainingRequest(request_id="r", training_id="t", model="m", error="out of memory")

    fact = from_message(request, facts.TrainingFailed, event_id="r", occurred_at=7, actor="ada", failed_at=7)

    assert fact == facts.TrainingFailed(
        event_id="r",
        occurred_at=7,
        actor="ada",
        training_id="t",
        model="m",
        error="out of memory",
        failed_at=7,
    )


def test_a_fact_is_not_misread() -> None:
    """A value that a later release added is refused where it would decide something."""
    message = pb.Metric(name="mse", value=1.0)
    message.MergeFromString(b"\x20\x09")  # direction: 9

    with pytest.raises(InvalidInput, match="direction has the value 9, which this release does not know"):
        from_message(message, facts.Metric)


def test_an_answer_can_be_read_by_an_older_release() -> None:
    """There, a value that it doesn't know is one that nobody said."""
    message = pb.MetricValue(name="mse", value=1.0)
    message.MergeFromString(b"\x20\x09")  # direction: 9

    assert "unspecified" == from_message(message, queries.MetricValue).direction


def test_a_comparison_must_be_said() -> None:
    """Where no value stands for nothing, nothing is refused."""
    with pytest.raises(InvalidInput, match="comparison has no value"):
        from_message(pb.MetricFilter(name="mse", value=1.0), queries.MetricFilter)


@pytest.mark.parametrize(
    ("time", "said"),
    [
        (Timestamp(seconds=1, nanos=-5), "since has -5 nanoseconds"),
        (Timestamp(seconds=1 << 50), "since is no time between the years 1 and 9999"),
    ],
)
def test_a_time_that_is_none_is_refused(time: Timestamp, said: str) -> None:
    """Before it can be taken for another."""
    with pytest.raises(InvalidInput, match=said):
        from_message(pb.Standing(since=time), queries.Standing)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (facts.MetricPoint(name="loss", step=1 << 63, value=1.0), "MetricPoint"),
        (facts.Tag(name="\ud800"), "Tag"),
    ],
)
def test_what_no_message_can_hold_is_refused(value: object, name: str) -> None:
    """A number beyond 64 bits, or a text that is no Unicode, is bad input and no traceback."""
    with pytest.raises(InvalidInput, match=f"this {name} can't be sent"):
        to_message(value, getattr(pb, name))


@dataclass(frozen=True)
class Vague:
    """A dataclass whose answer may be None where its message can't say so."""

    name: str | None


def test_a_dataclass_that_a_message_cannot_carry_is_noticed_at_once() -> None:
    """Not with the first value that is None, but with the first of all."""
    with pytest.raises(TypeError, match=r"deedbook\.v1\.Feature\.name must be optional"):
        carried_names(Vague, pb.Feature.DESCRIPTOR)
