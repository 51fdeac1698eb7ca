"""What all calls share: page tokens, the tails of the topics, threads for files, and the open streams."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self, TypeVar

from deedbook.service.rpc.page_tokens import PageTokens
from deedbook.service.rpc.sinks import Sinks
from deedbook.service.rpc.tails import Tails

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from deedbook.service.context import Service

T = TypeVar("T")
_FILE_THREADS: Final = 8
# Answers to queries that are held in memory until their callers took them.
_ANSWERS_HELD: Final = 8


@dataclass(frozen=True, slots=True)
class Means:
    """The means of one server; made in its loop."""

    tokens: PageTokens
    tails: Tails
    sinks: Sinks
    files: ThreadPoolExecutor
    answers: asyncio.Semaphore
    uploads: Path
    began_at: int

    @classmethod
    def of(cls, service: Service) -> Self:
        """Return the means to serve a registry with, in the running loop. Raises LogUnavailable."""
        uploads = service.settings.folder / "uploads"
        # What a server that was killed left of uploads; nobody else keeps anything there.
        shutil.rmtree(uploads, ignore_errors=True)
        return cls(
            tokens=PageTokens(service.log.identity()),
            tails=Tails(service),
            sinks=Sinks(service.settings.limits.streams),
            files=ThreadPoolExecutor(_FILE_THREADS, thread_name_prefix="deedbook-files"),
            answers=asyncio.Semaphore(_ANSWERS_HELD),
            uploads=uploads,
            began_at=service.writer.clock(),
        )

    async def with_files(self, work: Callable[[], T]) -> T:
        """Do what waits for files, in a thread for it."""
        return await asyncio.get_running_loop().run_in_executor(self.files, work)

    @contextlib.asynccontextmanager
    async def entered(self, context: AbstractContextManager[T]) -> AsyncIterator[T]:
        """Enter and leave in threads what waits for files."""
        value = await self.with_files(context.__enter__)
        try:
            yield value
        finally:
            await asyncio.shield(self.with_files(lambda: context.__exit__(None, None, None)))

    def close(self) -> None:
        """Let go of the threads; what is being written is finished."""
        self.tails.close()
        self.files.shutdown(wait=False, cancel_futures=False)
