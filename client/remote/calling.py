"""Calls to a service: one channel for each process, deadlines, and patience where nobody answers."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol, TypeVar

import grpc

from deedbook.api.errors import error_info, from_rpc_error
from deedbook.api.v1 import registry_pb2 as pb
from deedbook.api.v1.registry_pb2_grpc import RegistryStub
from deedbook.client.remote.address import ServiceAddress
from deedbook.events.errors import (
    DeadlineExceeded,
    DeedbookError,
    InvalidInput,
    LogUnavailable,
    StorageUnavailable,
)

T = TypeVar("T")
PartT_co = TypeVar("PartT_co", covariant=True)
Asked = TypeVar("Asked")
Answered = TypeVar("Answered")

# An answer is waited for so long.
ANSWER_SECONDS = 30.0
# Where nobody answers, the same is asked again for so long: a service that is started anew is back by then.
AWAY_SECONDS = 10.0
# A transfer may take longer, as long as something comes or, of what is sent, so long for each MiB.
MAX_TRANSFER_SECONDS: Final = 6 * 3600.0
_SECONDS_PER_MIB: Final = 1.0
_LEAST_SECONDS: Final = 0.001
_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.02

_OPTIONS: Final = (
    # Ours is the patience: otherwise a service that was away for long is noticed two minutes after it is back.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_retries", 0),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.max_receive_message_length", 16 << 20),
)


class Parts(Protocol[PartT_co]):
    """A call under way that is answered in parts."""

    def __next__(self) -> PartT_co:
        """Return the next part; raises what gRPC raises."""

    def __iter__(self) -> Iterator[PartT_co]:
        """Return itself."""

    def cancel(self) -> bool:
        """End the call; whoever waits for a part of it is told so."""


class Service:
    """A service as one program calls it. Safe to use from several threads; a forked process gets a channel of its own.

    What is called again carries the same ids, so that it is done once however often it is sent.
    """

    def __init__(self, address: ServiceAddress, actor: str) -> None:
        self.address = address
        self._metadata = _metadata(address, actor)
        self._lock = threading.Lock()
        self._process = 0
        self._channel: grpc.Channel | None = None
        self._stub: RegistryStub | None = None
        # Channels of the process this one was forked from: to end them is for that process.
        self._inherited: list[object] = []
        self._closed = False
        self._written = -1
        self._unread: dict[tuple[str, int], int] = {}

    # --- calls -------------------------------------------------------------------------------------

    def ask(
        self, method: Callable[[RegistryStub], grpc.UnaryUnaryMultiCallable[Asked, Answered]], request: Asked
    ) -> Answered:
        """Return the answer to a call, which is sent again while nobody answers.

        Raises what the service says; LogUnavailable, DeadlineExceeded; InvalidInput once this is closed.
        """
        deadline = time.monotonic() + ANSWER_SECONDS

        def call(stub: RegistryStub) -> Answered:
            left = max(deadline - time.monotonic(), _LEAST_SECONDS)
            return method(stub)(request, timeout=left, metadata=self._metadata)

        return self.patiently(call)

    def patiently(self, call: Callable[[RegistryStub], T]) -> T:
        """Return what ``call`` makes of the stub; done again for a while where nobody answers."""
        until = None
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                with self.errors():
                    return call(self.stub())
            except (LogUnavailable, StorageUnavailable):
                until = until or time.monotonic() + AWAY_SECONDS
                if time.monotonic() + pause > until:
                    raise
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def parts(
        self,
        method: Callable[[RegistryStub], grpc.UnaryStreamMultiCallable[Asked, Answered]],
        request: Asked,
    ) -> Generator[Answered, None, None]:
        """Return an answer that comes in parts; raises DeadlineExceeded where the next is too long in coming."""
        with self.errors():
            call = method(self.stub())(request, timeout=MAX_TRANSFER_SECONDS, metadata=self._metadata)
            try:
                while (part := self.next_part(call)) is not None:
                    yield part
            finally:
                call.cancel()

    def next_part(self, call: Parts[Answered], *, seconds: float = ANSWER_SECONDS) -> Answered | None:
        """Return the next part of an answer, None at its end; read it within ``errors()``.

        Raises DeadlineExceeded where it is too long in coming: that ends the call.
        """
        late = threading.Event()

        def give_up() -> None:
            late.set()
            call.cancel()

        timer = threading.Timer(seconds, give_up)
        timer.daemon = True
        timer.start()
        try:
            return next(call, None)
        except grpc.RpcError:
            if late.is_set():
                raise DeadlineExceeded(
                    f"the service at {self.address.url} sent nothing for {seconds:.0f} s"
                ) from None
            raise
        finally:
            timer.cancel()

    def begin(
        self,
        method: Callable[[RegistryStub], grpc.UnaryStreamMultiCallable[Asked, Answered]],
        request: Asked,
    ) -> Parts[Answered]:
        """Begin a call that goes on until somebody ends it; read it within ``errors()``."""
        with self.errors():
            return method(self.stub())(request, metadata=self._metadata)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Whatever gRPC raises becomes an error of deedbook, with the service's own sentence."""
        try:
            yield
        except grpc.RpcError as error:
            raise self._said(from_rpc_error(error), error) from None
        except ValueError as error:
            if "closed channel" not in str(error):
                raise
            raise self._is_closed() from None

    def _said(self, found: DeedbookError, error: grpc.RpcError) -> DeedbookError:
        """Return the service's word as it is; of what gRPC itself says, also which service it is about."""
        if self._closed:
            return self._is_closed()
        if (
            isinstance(found, LogUnavailable | DeadlineExceeded)
            and error_info(error.trailing_metadata() or ()) is None
        ):
            return type(found)(f"the service at {self.address.url} did not answer: {found}")
        return found

    @property
    def metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """What each call carries: the token, or who claims to speak."""
        return self._metadata

    # --- reading one's own writing -----------------------------------------------------------------

    def wrote(self, position: int | None) -> None:
        """Remember where on the registry something was written: what is read from now on takes it into account."""
        if position is None:
            return
        with self._lock:
            self._written = max(self._written, position)

    def wrote_elsewhere(self, topic: str, partition: int, position: int) -> None:
        """Remember the same of another topic."""
        with self._lock:
            where = topic, partition
            self._unread[where] = max(self._unread.get(where, -1), position)

    def min_position(self) -> int | None:
        """Return the position that an answer must take into account, None for any; waits for the other topics."""
        if self._unread:
            self._wait_for_other_topics()
        return self._written if self._written >= 0 else None

    def _wait_for_other_topics(self) -> None:
        deadline = time.monotonic() + ANSWER_SECONDS
        with self._lock:
            seen = dict(self._unread)
        wanted = seen
        while wanted:
            status = self.ask(lambda stub: stub.GetStatus, pb.GetStatusRequest())
            folded = {(one.topic, one.partition): one.folded for one in status.partitions}
            wanted = {where: at for where, at in wanted.items() if folded.get(where, 0) <= at}
            if wanted and time.monotonic() > deadline:
                raise DeadlineExceeded(
                    f"the service at {self.address.url} has not folded what was written {ANSWER_SECONDS:.0f} s ago"
                )
            if wanted:
                time.sleep(_LOOK_SECONDS)
        with self._lock:
            self._unread = {at: n for at, n in self._unread.items() if n > seen.get(at, -1)}

    # --- the channel -------------------------------------------------------------------------------

    def stub(self) -> RegistryStub:
        """Return what calls are made with; raises InvalidInput once this is closed."""
        process = os.getpid()
        if self._process != process:
            self._begin_process(process)
        if self._stub is None:
            with self._lock:
                if self._closed:
                    raise self._is_closed()
                if self._stub is None:
                    self._open()
        assert self._stub is not None  # noqa: S101 (opened above)
        return self._stub

    def _begin_process(self, process: int) -> None:
        """Leave to the parent what a fork has copied: its threads, which drive the channel, are not here."""
        if self._process:
            self._lock = threading.Lock()
            self._inherited += [self._channel, self._stub]
            self._channel = self._stub = None
        self._process = process

    def _open(self) -> None:
        address = self.address
        options: list[tuple[str, Any]] = [*_OPTIONS]
        if address.on_loopback:
            options.append(("grpc.enable_http_proxy", 0))
        if address.tls:
            credentials = grpc.ssl_channel_credentials(_trusted(address))
            self._channel = grpc.secure_channel(address.target, credentials, options)
        else:
            self._channel = grpc.insecure_channel(address.target, options)
        self._stub = RegistryStub(self._channel)

    def _is_closed(self) -> InvalidInput:
        return InvalidInput(f"the registry at {self.address.url} is closed")

    def close(self) -> None:
        """Let go of the connection, and end what is under way; closing twice is harmless."""
        self._closed = True
        if self._channel is not None and self._process == os.getpid():
            self._channel.close()


def transfer_seconds(size_bytes: int) -> float:
    """Return how long a transfer of so many bytes may take."""
    return ANSWER_SECONDS + _SECONDS_PER_MIB * (size_bytes >> 20)


def _metadata(address: ServiceAddress, actor: str) -> tuple[tuple[str, str | bytes], ...]:
    if address.token:
        return (("authorization", f"Bearer {address.token}"),)
    return (("deedbook-actor-bin", actor.encode()),) if actor else ()


def _trusted(address: ServiceAddress) -> bytes | None:
    """Return the certificates the service is known by; None for those that gRPC brings."""
    if address.ca_file is None:
        return None
    try:
        return address.ca_file.read_bytes()
    except OSError as error:
        raise InvalidInput(f"DEEDBOOK_CA_FILE cannot be read: {error.strerror}") from None
