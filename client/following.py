"""Following: what a service is told, as it comes, whatever brings it and however often that is away."""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol, TypeAlias

from deedbook.events.errors import LogUnavailable
from deedbook.events.facts import DeploymentCreated, DeploymentRejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

News: TypeAlias = DeploymentCreated | DeploymentRejected

_LOG = logging.getLogger(__name__)
# An end that is asked for is noticed so soon.
WAIT_SECONDS = 0.2
PATIENCE_SECONDS = 5.0
_AWAY_SECONDS = 1.0
_MAX_REMEMBERED = 10_000
# News that nobody takes are not read on for ever.
_MAX_AHEAD = 1_000


class Feed(Protocol):
    """What brings the news of one service in one environment."""

    def start(self) -> None:
        """Find out what is news from now on; raises LogUnavailable: then it is when `heard` first brings something."""

    def heard(self) -> Iterator[News | None]:
        """Yield what is new, and None as a sign of life; ended, it is called again, and goes on where it was.

        Raises LogUnavailable: to be called again in a while.
        """

    def interrupt(self) -> None:
        """Have a `heard` that is waiting in another thread end."""


class Following:
    """What a service is told from now on, or of what was decided at a registry position or after it.

    Now is when this is made, or when the feed first answers. Raises what asking raises, but for LogUnavailable.
    """

    def __init__(self, feed: Feed, since_position: int | None) -> None:
        self._feed = feed
        self._since = since_position
        self._told: OrderedDict[str, None] = OrderedDict()
        self._away = False
        self._news: queue.Queue[News | Exception] = queue.Queue(_MAX_AHEAD)
        self._ended = threading.Event()
        try:
            feed.start()
        except LogUnavailable as error:
            self._complain(error)

    def until(self, stop: Callable[[], bool], timeout_seconds: float | None) -> Iterator[News]:
        """Yield each piece of news once, until `stop` says so or none came for as long as the time-out.

        The feed is listened to in a thread of its own: however long that hangs, an end that is asked for is one.
        """
        threading.Thread(target=self._listen, name="deedbook following", daemon=True).start()
        quiet_since = time.monotonic()
        try:
            while not stop():
                left = (
                    math.inf if timeout_seconds is None else quiet_since + timeout_seconds - time.monotonic()
                )
                try:
                    news = self._news.get(timeout=min(max(left, 0.0), WAIT_SECONDS))
                except queue.Empty:
                    if left <= 0:
                        return
                    continue
                if isinstance(news, Exception):
                    if stop():  # closing a log is no trouble to those who asked for the end
                        return
                    raise news
                yield news
                quiet_since = time.monotonic()
        finally:
            self._ended.set()
            self._feed.interrupt()

    def _listen(self) -> None:
        """Put all news where they are waited for; what ends this as well."""
        try:
            while not self._ended.is_set():
                try:
                    for news in self._feed.heard():
                        self._answered()
                        if news is not None and self._is_fresh(news):
                            self._put(news)
                except LogUnavailable as error:
                    self._complain(error)
                    self._ended.wait(_AWAY_SECONDS)
        except Exception as error:  # noqa: BLE001 (raised where the news are waited for)
            self._put(error)

    def _put(self, news: News | Exception) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(queue.Full):
                self._news.put(news, timeout=WAIT_SECONDS)
                return

    def _is_fresh(self, news: News) -> bool:
        """Say whether news were not told before, and are wanted."""
        if news.event_id in self._told or news.requested_at_position < (self._since or 0):
            return False
        self._told[news.event_id] = None
        if len(self._told) > _MAX_REMEMBERED:
            self._told.popitem(last=False)
        return True

    def _complain(self, error: LogUnavailable) -> None:
        if not self._away:
            _LOG.warning("the registry is away (%s): going on as soon as that changes", error)
            self._away = True

    def _answered(self) -> None:
        if self._away:
            _LOG.warning("the registry is back: going on")
            self._away = False
