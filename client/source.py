"""Where a serving host learns what it is bound to: from the log, wherever that is; or from a service."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from deedbook.client.announced import Listener, LogFeed, announced_binding
from deedbook.client.following import Following
from deedbook.client.reading import Reader
from deedbook.events.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deedbook.artifacts.store import ArtifactStore
    from deedbook.client.following import News
    from deedbook.client.preparing import Prepared, Preparer
    from deedbook.client.recording import Recorder
    from deedbook.projector.queries import Deployment

# What was accepted a moment ago, by a pipeline that then starts its hosts, may not be announced yet.
_ANNOUNCING_SECONDS = 5.0
# A host's own word is not worth a longer wait.
_REPORT_SECONDS = 10.0


class Source(Protocol):
    """What tells one service in one environment what its releases are bound to, and hears what hosts loaded."""

    @property
    def preparer(self) -> Preparer:
        """What makes facts ready, in the name of whoever speaks."""

    @property
    def artifacts(self) -> ArtifactStore:
        """The store of the models; raises InvalidInput where none is named."""

    @property
    def across_a_network(self) -> str:
        """What is asked across a network, in words; an empty text where nothing is."""

    def open(self) -> None:
        """Open what is asked; raises NotFound where it isn't there, and what opening raises."""

    def binding(self, release: str, *, known: bool) -> Deployment:
        """Return what a release is bound to; raises NotFound, which says what is bound.

        ``known``: it was asked before, so it is not waited for.
        """

    def report(self, loaded: Prepared) -> None:
        """Put a host's word that it loaded a model on the log."""

    def follow(
        self, since_position: int | None, stop: Callable[[], bool], timeout_seconds: float | None
    ) -> Iterator[News]:
        """Return what this service is told from now on, or since a position of the registry."""

    def close(self) -> None:
        """Let go of all files and connections; closing twice is harmless."""


class LogSource:
    """A log that is reached from here: what is announced there is read as it comes."""

    def __init__(self, recorder: Recorder, service: str, environment: str) -> None:
        self._recorder = recorder
        self._listener = Listener(recorder.codec, service, environment)

    @property
    def preparer(self) -> Preparer:
        """What makes facts ready, in the name of whoever speaks."""
        return self._recorder.preparer

    @property
    def artifacts(self) -> ArtifactStore:
        """The registry's store."""
        return self._recorder.artifacts

    def open(self) -> None:
        """Open the log."""
        self._recorder.log()

    def report(self, loaded: Prepared) -> None:
        """Append a host's word, without a look at the whole log first: a host may write to this topic alone."""
        self._recorder.log().append(loaded.fact.topic, [loaded.record], timeout_seconds=_REPORT_SECONDS)

    def follow(
        self, since_position: int | None, stop: Callable[[], bool], timeout_seconds: float | None
    ) -> Iterator[News]:
        """Read what is announced; raises what asking raises, but for LogUnavailable."""
        feed = LogFeed(self._recorder.log, self._listener, from_the_beginning=since_position is not None)
        return Following(feed, since_position).until(stop, timeout_seconds)

    def close(self) -> None:
        """Let go of the log."""
        self._recorder.close()


class FolderSource(LogSource):
    """A registry in a folder: it is folded to see what is bound."""

    def __init__(self, recorder: Recorder, service: str, environment: str) -> None:
        super().__init__(recorder, service, environment)
        self._reader = Reader(recorder)

    @property
    def across_a_network(self) -> str:
        """Nothing is."""
        return ""

    def binding(self, release: str, *, known: bool) -> Deployment:
        """Return what the log comes to, whether it was known or not."""
        del known
        from deedbook.projector.queries import binding

        with self._reader.connection() as connection:
            return binding(connection, self._listener.service, release, self._listener.environment)

    def close(self) -> None:
        """Let go of all files."""
        self._reader.close()
        super().close()


class KafkaSource(LogSource):
    """A registry on Kafka: what is bound is announced in the topic `deployments`, and nothing is folded."""

    @property
    def across_a_network(self) -> str:
        """The cluster."""
        kafka = self._recorder.place.kafka
        return "" if kafka is None else f"Kafka at {kafka.servers}"

    def binding(self, release: str, *, known: bool) -> Deployment:
        """Return what is announced of a release, now or in a moment; what was known is announced, or never will be."""
        until = time.monotonic() + (0.0 if known else _ANNOUNCING_SECONDS)
        news = self.follow(None, lambda: time.monotonic() >= until, None)
        try:
            return announced_binding(self._recorder.log(), self._listener, release)
        except NotFound:
            if all(told.release != release for told in news):
                raise
        return announced_binding(self._recorder.log(), self._listener, release)
