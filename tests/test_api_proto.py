"""The gRPC interface as it is written down: its names, its comments, and what every call has in common."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet

from deedbook.api.v1 import registry_pb2 as pb

ROOT = Path(__file__).parent.parent
PROTO = "deedbook/v1/registry.proto"
METHODS = dict(pb.DESCRIPTOR.services_by_name["Registry"].methods_by_name)
# What appends an event. The last two decide nothing, and are in topics of their own.
WRITES = {
    *("LogTraining", "StartTraining", "FailTraining", "AmendTraining", "IssueVerdict", "OverrideVerdict"),
    *("RevalidateTraining", "PublishPolicy", "PublishRequests", "RequestDeployment", "ActivateRelease"),
    *("LogMetrics", "ReportModelLoaded"),
}
UNDECIDED = {"LogMetrics", "ReportModelLoaded"}
# A batch is as many writes as it holds requests.
BATCHES = {"LogTrainings"}
# What has nothing to do with where the log is: bytes by their digest, the service itself, and the log as it goes on.
NO_READS = {"UploadArtifact", "DownloadArtifact", "GetStatus", "Subscribe"}
READS = METHODS.keys() - WRITES - BATCHES - NO_READS

TYPES = {number: name.removeprefix("TYPE_").lower() for name, number in FieldDescriptorProto.Type.items()}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> FileDescriptorProto:
    """The .proto as its compiler reads it, comments included."""
    out = tmp_path_factory.mktemp("described") / "registry.binpb"
    command = [
        *(sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'api/proto'}", "--include_source_info"),
        *(f"--descriptor_set_out={out}", PROTO),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    return FileDescriptorSet.FromString(out.read_bytes()).file[0]


def things(file: FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    """Everything that has a name, by its path in the file."""
    for i, service in enumerate(file.service):
        yield (6, i), service.name
        yield from (((6, i, 2, j), f"{service.name}.{rpc.name}") for j, rpc in enumerate(service.method))
    for i, message in enumerate(file.message_type):
        yield (4, i), message.name
        yield from (((4, i, 2, j), f"{message.name}.{field.name}") for j, field in enumerate(message.field))
        named = [(j, oneof) for j, oneof in enumerate(message.oneof_decl) if not oneof.name.startswith("_")]
        yield from (((4, i, 8, j), f"{message.name}.{oneof.name}") for j, oneof in named)
    for i, enum in enumerate(file.enum_type):
        yield (5, i), enum.name
        yield from (((5, i, 2, j), f"{enum.name}.{value.name}") for j, value in enumerate(enum.value))


def snake(name: str) -> str:
    """A name in PascalCase with its words parted."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


# --- what is written down ----------------------------------------------------------------------


def test_everything_has_a_comment(source: FileDescriptorProto) -> None:
    """Every call, message, field, choice, enum and value says what it is, in a sentence, before it stands there."""
    comments = {
        tuple(place.path): place.leading_comments.strip() for place in source.source_code_info.location
    }

    assert [] == [name for path, name in things(source) if not comments[path].endswith((".", "…"))]


def test_the_rules_for_change_and_for_every_call_stand_at_its_head() -> None:
    """Whoever has this file alone finds them."""
    head = (ROOT / "api/proto" / PROTO).read_text(encoding="utf-8").partition("syntax =")[0]
    subjects = ("Identity.", "Reading your writes.", "Retries.", "Errors.", "Limits.", "Pages.", "`reserved`")

    assert [] == [subject for subject in subjects if subject not in head]


def test_the_package_is_where_its_folder_says(source: FileDescriptorProto) -> None:
    """The folder, the package and its version agree, and the file is of the third syntax."""
    assert ("deedbook.v1", "proto3") == (source.package, source.syntax)
    assert Path(PROTO).parent.as_posix().replace("/", ".") == source.package


# --- names -------------------------------------------------------------------------------------


def test_calls_messages_and_enums_are_in_pascal_case(source: FileDescriptorProto) -> None:
    """No underscore, no abbreviation in capitals."""
    names = [
        *(rpc.name for service in source.service for rpc in service.method),
        *(message.name for message in source.message_type),
        *(enum.name for enum in source.enum_type),
    ]

    assert [] == [name for name in names if not re.fullmatch(r"([A-Z][a-z0-9]+)+", name)]


def test_fields_are_in_lower_snake_case(source: FileDescriptorProto) -> None:
    """Words in small letters, parted by underscores; a figure belongs to a word."""
    names = [field.name for message in source.message_type for field in message.field]

    assert [] == [name for name in names if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z][a-z0-9]*)*", name)]


def test_values_of_enums_begin_with_their_enums_name(source: FileDescriptorProto) -> None:
    """They share one scope in some languages."""
    assert [] == [
        value.name
        for enum in source.enum_type
        for value in enum.value
        if not value.name.startswith(f"{snake(enum.name).upper()}_")
    ]


def test_each_enum_can_be_left_unsaid(source: FileDescriptorProto) -> None:
    """The value that is there when nothing was said says so."""
    zeros = {enum.name: enum.value[0] for enum in source.enum_type}

    assert {name: (f"{snake(name).upper()}_UNSPECIFIED", 0) for name in zeros} == {
        name: (value.name, value.number) for name, value in zeros.items()
    }


def test_each_call_has_a_request_and_a_response_of_its_own(source: FileDescriptorProto) -> None:
    """So that either can be added to without touching another call."""
    calls = source.service[0].method

    assert {
        rpc.name: (f".deedbook.v1.{rpc.name}Request", f".deedbook.v1.{rpc.name}Response") for rpc in calls
    } == {rpc.name: (rpc.input_type, rpc.output_type) for rpc in calls}


def test_requests_and_responses_are_those_of_calls() -> None:
    """None is left over."""
    asked = {name for name in pb.DESCRIPTOR.message_types_by_name if name.endswith(("Request", "Response"))}

    assert {f"{name}{end}" for name in METHODS for end in ("Request", "Response")} == asked


# --- what calls have in common -----------------------------------------------------------------


def fields_of(name: str) -> dict[str, Any]:
    """A message's fields by name."""
    return dict(pb.DESCRIPTOR.message_types_by_name[name].fields_by_name)


@pytest.mark.parametrize("call", sorted(WRITES))
def test_a_write_can_be_sent_again(call: str) -> None:
    """Its first field is the id that makes a second attempt the same as the first."""
    assert 1 == fields_of(f"{call}Request")["request_id"].number


@pytest.mark.parametrize("call", sorted(WRITES))
def test_a_write_answers_where_it_is_and_what_was_decided(call: str) -> None:
    """What decides nothing answers its partition instead."""
    answered = fields_of(f"{call}Response").keys()
    expected = {"partition", "position"} if call in UNDECIDED else {"position", "decision", "reason"}

    assert set() == expected - answered


@pytest.mark.parametrize("call", sorted(READS))
def test_a_read_can_wait_for_a_position_and_says_which_it_answers_from(call: str) -> None:
    """Whoever wrote something can read it back, and whoever reads knows how fresh the answer is."""
    awaited = fields_of(f"{call}Request")["min_position"]

    assert awaited.has_presence
    assert call == "DownloadSnapshot" or 1 == fields_of(f"{call}Response")["position"].number


@pytest.mark.parametrize("call", sorted(name for name in METHODS if name.startswith(("List", "Search"))))
def test_a_list_comes_in_pages(call: str) -> None:
    """However long it grows, it is asked for a page at a time."""
    assert set() == {"page_size", "page_token"} - fields_of(f"{call}Request").keys()
    assert "next_page_token" in fields_of(f"{call}Response")


def test_what_can_be_as_long_as_a_file_or_a_registry_is_streamed() -> None:
    """No answer has to fit into one message but those that come in pages."""
    streamed = {name for name, method in METHODS.items() if method.server_streaming}

    assert {
        *(
            "BatchGetTrainings",
            "GetMetricSeries",
            "DownloadArtifact",
            "Subscribe",
            "Query",
            "DownloadSnapshot",
        ),
    } == streamed
    assert ["UploadArtifact"] == [name for name, method in METHODS.items() if method.client_streaming]


# --- what it once was --------------------------------------------------------------------------


def listed() -> list[str]:
    """Every call, field and value, with all that a program of another release relies on."""
    lines = [
        f"{call.name}({'stream ' * call.client_streaming}{call.input_type.name}) "
        f"returns ({'stream ' * call.server_streaming}{call.output_type.name})"
        for call in METHODS.values()
    ]
    for message in pb.DESCRIPTOR.message_types_by_name.values():
        lines += [
            f"{message.name}.{field.name} = {field.number} {kind_of(field)}" for field in message.fields
        ]
    for enum in pb.DESCRIPTOR.enum_types_by_name.values():
        lines += [f"{enum.name}.{value.name} = {value.number}" for value in enum.values]
    return lines


def kind_of(field: Any) -> str:  # noqa: ANN401 - a field's descriptor
    """A field's type on the wire, whether there are several, and whether it can be told from none."""
    named = field.message_type or field.enum_type
    if named is not None and named.full_name.endswith("Entry"):
        return f"map of {kind_of(named.fields_by_name['value'])}"
    type_ = TYPES[field.type] if named is None else named.name
    if field.containing_oneof is not None and not field.containing_oneof.name.startswith("_"):
        return f"{type_} in {field.containing_oneof.name}"
    return f"{'repeated ' * field.is_repeated}{'optional ' * (field.has_presence and not field.message_type)}{type_}"


def test_nothing_changed_that_another_release_relies_on() -> None:
    """What was there once is there for ever; what is new is written down, too: lines are only ever added."""
    known = (ROOT / "tests/golden/interface/v1.txt").read_text(encoding="utf-8").splitlines()

    assert sorted(known) == sorted(listed())
