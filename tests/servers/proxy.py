"""A proxy between Kafka's clients and one broker, which a test can make lose, delay or cut what passes through.

It reads no more of the protocol than it must: the length of each message, of a request its api key and correlation
id, and of a response the correlation id. So it knows which request a response answers.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator

from tests.servers.ports import HOST

PRODUCE = 0
FETCH = 1
LIST_OFFSETS = 2
METADATA = 3


class KafkaProxy:
    """A listener on the loopback address that passes everything on to `upstream`, a port of a broker.

    The broker must advertise the proxy's port, or clients go past it as soon as they have read the metadata.
    `drops` counts the responses lost so far; `answered` those that were passed on, by api key.
    """

    def __init__(self) -> None:
        self.upstream = 0
        self.drops = 0
        self.answered: Counter[int] = Counter()
        self._dropped: frozenset[int] = frozenset()
        self._delay_seconds = 0.0
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._closed = threading.Event()
        self._refusing = False
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def drop_responses(self, *api_keys: int) -> None:
        """Lose the responses to requests of these kinds from now on: what they asked for is done all the same."""
        self._dropped = frozenset(api_keys)

    def delay(self, seconds: float) -> None:
        """Hold up every response by so much from now on."""
        self._delay_seconds = seconds

    def cut(self) -> None:
        """Cut every connection that there is; new ones are accepted."""
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for connection in sockets:
            _shut(connection)

    def refuse(self) -> None:
        """Cut every connection, and every new one as soon as it is made: the broker can't be reached."""
        self._refusing = True
        self.cut()

    def heal(self) -> None:
        """Do no more harm."""
        self._refusing = False
        self._dropped = frozenset()
        self._delay_seconds = 0.0

    def close(self) -> None:
        """End the proxy and all its connections."""
        self._closed.set()
        _shut(self._listener)
        self.cut()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), name="proxy-client", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """One connection, both ways, until either side ends it."""
        try:
            broker = socket.create_connection((HOST, self.upstream), timeout=10)
        except OSError:
            _shut(client)
            return
        broker.settimeout(None)
        with self._lock:
            self._sockets |= {client, broker}
        if self._refusing or self._closed.is_set():
            self.cut()
        asked: dict[int, int] = {}
        answers = threading.Thread(
            target=self._pass_responses, args=(broker, client, asked), name="proxy-answers", daemon=True
        )
        answers.start()
        with contextlib.suppress(OSError):
            for message in _messages(client):
                # After the length: api key, api version, correlation id.
                api_key, _version, correlation = struct.unpack_from(">hhi", message, 4)
                asked[correlation] = api_key
                broker.sendall(message)
        for connection in (client, broker):
            _shut(connection)
        answers.join()
        with self._lock:
            self._sockets -= {client, broker}

    def _pass_responses(self, broker: socket.socket, client: socket.socket, asked: dict[int, int]) -> None:
        with contextlib.suppress(OSError):
            for message in _messages(broker):
                (correlation,) = struct.unpack_from(">i", message, 4)
                api_key = asked.pop(correlation, -1)
                if self._delay_seconds:
                    self._closed.wait(self._delay_seconds)
                with self._lock:
                    lost = api_key in self._dropped
                    if lost:
                        self.drops += 1
                    else:
                        self.answered[api_key] += 1
                if not lost:
                    client.sendall(message)
        _shut(client)


def _messages(connection: socket.socket) -> Iterator[bytes]:
    """The messages that come in, each with the four bytes of its length before it."""
    with connection.makefile("rb") as stream:
        while len(length := stream.read(4)) == 4:
            body = stream.read(int.from_bytes(length, "big"))
            if len(body) < int.from_bytes(length, "big"):
                return
            yield length + body


def _shut(connection: socket.socket) -> None:
    """End a connection at once, also for the thread that waits for it."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


@contextlib.contextmanager
def kafka_proxy() -> Iterator[KafkaProxy]:
    """A proxy that is closed afterwards; its `upstream` is set once the broker's port is known."""
    proxy = KafkaProxy()
    try:
        yield proxy
    finally:
        proxy.close()
