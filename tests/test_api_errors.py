"""Errors over gRPC: each class of ours is a status code with details, and the same class again at the caller's."""

import asyncio
import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from deedbook.api.errors import (
    DETAILS_KEY,
    DOMAIN,
    MAX_HEADER_BYTES,
    SAYINGS,
    error_info,
    from_rpc_error,
    to_status,
)
from deedbook.api.v1 import registry_pb2 as pb
from deedbook.api.v1.registry_pb2_grpc import RegistryAsyncStub, RegistryServicer, RegistryStub
from deedbook.events import errors
from deedbook.events.errors import (
    DeadlineExceeded,
    DeedbookError,
    InvalidInput,
    LogDamaged,
    LogUnavailable,
    NotAuthenticated,
    NotFound,
    PermissionRefused,
    RequestRejected,
)

SENTENCE = "Münze „Zahl“: 3 < 4\tand so on"


class Failed(grpc.RpcError):
    """A call that failed, as a caller has it in hand."""

    def __init__(self, code: grpc.StatusCode, sentence: str, trailers: Any = ()) -> None:  # noqa: ANN401
        super().__init__(sentence)
        self._said = code, sentence, trailers

    def code(self) -> grpc.StatusCode:
        """The status code."""
        return self._said[0]

    def details(self) -> str:
        """The sentence."""
        return self._said[1]

    def trailing_metadata(self) -> Any:  # noqa: ANN401 - pairs of key and value
        """What came after the answer."""
        return self._said[2]


def arrived(error: BaseException, **more: str) -> DeedbookError:
    """An error as the caller has it, after it was said and read."""
    aborted = to_status(error, **more)
    return from_rpc_error(Failed(aborted.code, aborted.sentence, aborted.trailers))


@pytest.mark.parametrize("cls", SAYINGS, ids=lambda cls: str(cls.__name__))
def test_an_error_is_the_same_class_and_sentence_at_the_caller(cls: type[DeedbookError]) -> None:
    """Whoever decides by the class can do so on both sides."""
    found = arrived(cls("nothing is there"))

    assert (cls, "nothing is there") == (type(found), str(found))


@pytest.mark.parametrize("cls", SAYINGS, ids=lambda cls: str(cls.__name__))
def test_a_program_can_read_the_reason(cls: type[DeedbookError]) -> None:
    """The details are google.rpc's own, of deedbook's domain, and agree with the code."""
    aborted = to_status(cls("nothing is there"))
    status = Status.FromString(aborted.trailers[0][1])
    info = error_info(aborted.trailers)

    assert info is not None
    assert (DOMAIN, SAYINGS[cls].reason) == (info.domain, info.reason)
    assert (aborted.code.value[0], aborted.sentence) == (status.code, status.message)


def test_no_two_classes_have_the_same_reason() -> None:
    """So that each can be read back."""
    reasons = [saying.reason for saying in SAYINGS.values()]

    assert sorted(set(reasons)) == sorted(reasons)


def test_every_error_that_callers_decide_by_is_said_as_what_it_is() -> None:
    """What is left out is the service's own trouble: it stops, and its log says why."""
    all_of_them = {cls for cls in vars(errors).values() if isinstance(cls, type)}

    assert {
        *("DeedbookError", "LogDamaged", "LogReplaced", "Undecodable", "UnknownSchema", "UnknownRules"),
        *("ProjectionFenced", "MissingExtra"),
    } == {cls.__name__ for cls in all_of_them - SAYINGS.keys()}


def test_a_rejection_says_where_it_is() -> None:
    """The event is on the log: its position and the decision are there for programs."""
    rejected = RequestRejected("release r1 is bound already", position=41)
    info = error_info(to_status(rejected).trailers)
    found = arrived(rejected)

    assert info is not None
    assert {"decision": "rejected", "position": "41"} == dict(info.metadata)
    assert isinstance(found, RequestRejected)
    assert 41 == found.position


def test_a_rejection_whose_position_nobody_knows_says_none() -> None:
    """It is no position 0."""
    found = arrived(RequestRejected("release r1 is bound already"))

    assert isinstance(found, RequestRejected)
    assert None is found.position


@pytest.mark.parametrize(
    "error", [LogDamaged("row 7 of /srv/secret"), RuntimeError("token db_1_secret"), KeyError(7)]
)
def test_the_services_own_trouble_is_not_told_to_callers(error: Exception) -> None:
    """They are told where to look it up, and no word of it."""
    aborted = to_status(error, request_id="0199-77")
    found = arrived(error, request_id="0199-77")

    assert grpc.StatusCode.INTERNAL == aborted.code
    assert DeedbookError is type(found)
    assert "something is wrong with the service: its log says what, under the request 0199-77" == str(found)
    assert b"secret" not in aborted.trailers[0][1]


def test_a_kind_of_a_known_error_is_said_as_that_one() -> None:
    """A class that somebody derives from one of ours is one of ours."""

    class NoSuchCity(NotFound):
        pass

    assert NotFound is type(arrived(NoSuchCity("there is no such city")))


@pytest.mark.parametrize("sentence", ["a\r\nb: c", "x" * 100_000, "ü" * 100_000, "%" * 100_000, "\ud800"])
def test_a_sentence_is_one_line_that_headers_can_hold(sentence: str) -> None:
    """It can't become a header of its own, nor burst those that are there."""
    aborted = to_status(InvalidInput(sentence))
    details = base64.b64encode(aborted.trailers[0][1])

    assert [] == [letter for letter in "\r\n" if letter in aborted.sentence]
    assert len(quote(aborted.sentence, safe=" /:")) + len(details) < MAX_HEADER_BYTES + 500


@pytest.mark.parametrize(
    ("code", "cls"),
    [
        (grpc.StatusCode.UNAVAILABLE, LogUnavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceeded),
        (grpc.StatusCode.UNAUTHENTICATED, NotAuthenticated),
        (grpc.StatusCode.PERMISSION_DENIED, PermissionRefused),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, InvalidInput),
        (grpc.StatusCode.UNIMPLEMENTED, DeedbookError),
    ],
)
def test_what_grpc_itself_says_is_an_error_of_ours_too(
    code: grpc.StatusCode, cls: type[DeedbookError]
) -> None:
    """No service, no time, a message too big: nobody has to catch two kinds of errors."""
    found = from_rpc_error(Failed(code, "it was not to be"))

    assert (cls, "it was not to be") == (type(found), str(found))


@pytest.mark.parametrize("details", [b"\xff\xff", b"", Status(code=5).SerializeToString()])
def test_details_that_are_not_ours_are_passed_over(details: bytes) -> None:
    """A proxy's own words, or bytes that are none."""
    trailers = (("server", "x"), (DETAILS_KEY, details))

    assert NotFound is type(from_rpc_error(Failed(grpc.StatusCode.NOT_FOUND, "not here", trailers)))


def test_details_of_another_domain_are_passed_over() -> None:
    """The same reason in somebody else's mouth may mean another thing."""
    status = Status(code=9)
    status.details.add().Pack(ErrorInfo(domain="example.com", reason="REJECTED"))
    failed = Failed(grpc.StatusCode.NOT_FOUND, "not here", ((DETAILS_KEY, status.SerializeToString()),))

    assert NotFound is type(from_rpc_error(failed))


# --- over a real channel -----------------------------------------------------------------------


class Refusing(RegistryServicer):
    """A service that refuses everything, in the same sentence."""

    def __init__(self, sentence: str) -> None:
        self._sentence = sentence

    async def GetStatus(  # noqa: N802 - the interface's name
        self,
        request: pb.GetStatusRequest,  # noqa: ARG002 - as it is called
        context: Any,  # noqa: ANN401 - grpc's own
    ) -> pb.GetStatusResponse:
        """Refuse."""
        aborted = to_status(RequestRejected(self._sentence, position=5))
        await context.abort(aborted.code, aborted.sentence, aborted.trailers)
        raise AssertionError


async def refused(sentence: str, ask: Callable[[str], Any]) -> Any:  # noqa: ANN401 - what is asked
    """What asking a service that refuses comes to."""
    from deedbook.api.v1.registry_pb2_grpc import add_RegistryServicer_to_server

    server = grpc.aio.server()
    add_RegistryServicer_to_server(Refusing(sentence), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        return await ask(f"127.0.0.1:{port}")
    finally:
        await server.stop(None)


def blocking(address: str) -> grpc.RpcError:
    """The error of a call on a blocking channel."""
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as raised:
        RegistryStub(channel).GetStatus(pb.GetStatusRequest(), timeout=20)
    return raised.value


async def on_both_channels(address: str) -> tuple[grpc.RpcError, grpc.RpcError]:
    """The errors of a call on a blocking channel and on an aio channel."""
    error = await asyncio.to_thread(blocking, address)
    async with grpc.aio.insecure_channel(address) as channel:
        with pytest.raises(grpc.RpcError) as raised:
            await RegistryAsyncStub(channel).GetStatus(pb.GetStatusRequest(), timeout=20)
    return error, raised.value


def test_a_blocking_and_an_aio_channel_read_the_same_error() -> None:
    """Over a real connection, with letters beyond ASCII, and as google's own library reads it."""
    found = asyncio.run(refused(SENTENCE, on_both_channels))
    status = rpc_status.from_call(found[0])

    assert [(RequestRejected, "Münze „Zahl“: 3 < 4 and so on", 5)] * 2 == [
        (type(error), str(error), getattr(error, "position", None)) for error in map(from_rpc_error, found)
    ]
    assert status is not None
    assert "Münze „Zahl“: 3 < 4 and so on" == status.message


@pytest.mark.parametrize("letter", ["x", "ü", "%", "家"])
def test_a_long_sentence_arrives_as_far_as_headers_hold_it(letter: str) -> None:
    """Not as an error of gRPC's about headers that are too large."""
    for error in map(from_rpc_error, asyncio.run(refused(letter * 100_000, on_both_channels))):
        assert RequestRejected is type(error)
        assert str(error).startswith(letter * 300)
        assert str(error).endswith("…")


def test_the_interface_lists_every_reason_with_its_code() -> None:
    """Whoever has the .proto alone knows what to catch."""
    text = (Path(__file__).parent.parent / "api/proto/deedbook/v1/registry.proto").read_text(encoding="utf-8")
    listed = re.findall(r"^//     ([A-Z_]+) +([A-Z_]+) +[a-z]", text, re.MULTILINE)

    assert {(s.code.name, s.reason) for s in SAYINGS.values()} | {("INTERNAL", "INTERNAL")} == set(listed)
    assert len(set(listed)) == len(listed)
