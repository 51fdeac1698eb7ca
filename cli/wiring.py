"""The one place where the parts of a registry are put together for the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deedbook.cli.settings import Settings
from deedbook.events.errors import AccessDenied, DeedbookError, MissingExtra

if TYPE_CHECKING:
    import duckdb

    from deedbook.client.place import Place
    from deedbook.client.recording import Envelope, Recorder
    from deedbook.consumers.announcer import Announcer, Patience
    from deedbook.consumers.sandbox import Sandbox
    from deedbook.consumers.validation import Validator
    from deedbook.events.log import Log
    from deedbook.projector.projection import Projection


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry, opened: its log, and what this machine folds from it."""

    place: Place
    settings: Settings
    recorder: Recorder
    log: Log
    projection: Projection
    announcer: Announcer

    def envelope(self) -> Envelope:
        """Return what a new fact carries: an id of its own, the time, who says so."""
        return self.recorder.envelope()

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Wait for this process's turn, fold what is new, and hand out the projection; keep it briefly.

        Raises ProjectionBusy, what folding raises, and DeedbookError where the projection can't be read.
        """
        import duckdb

        from deedbook.cli.progress import waiting_for

        try:
            with (
                waiting_for("Folding the log") as on_progress,
                self.projection.caught_up(on_progress=on_progress) as connection,
            ):
                yield connection
        except duckdb.Error as error:
            said = " ".join(str(error).partition("\n\n")[0].split())
            raise DeedbookError(
                f"the projection could not be read: {said}; `deedbook rebuild` makes it anew"
            ) from error


@contextmanager
def opened(
    settings: Settings,
    *,
    create: bool = False,
    patience: Patience | None = None,
    must_announce: bool = False,
) -> Iterator[Registry]:
    """Open the registry that the settings name, and close it at the end.

    Whoever folds announces what follows, as far as that is allowed; `must_announce`: it is an error where it isn't.

    Raises NotFound where there is none, unless `create`; InvalidInput, LogUnavailable, LogDamaged, MissingExtra.
    """
    from deedbook.client.recording import Recorder
    from deedbook.events.names import normalise

    try:
        from deedbook.consumers.announcer import Announcer
        from deedbook.consumers.quarantining import Quarantine
        from deedbook.projector.projection import Projection
    except ModuleNotFoundError as error:
        raise missing(error, "server") from error

    place = settings.place()
    recorder = Recorder(place, actor=normalise(settings.actor))
    try:
        log = recorder.log(create=create)
        place.folder.mkdir(parents=True, exist_ok=True)
        projection = Projection(place.folder, log, recorder.codec, timeout_seconds=settings.timeout_seconds)
        announcer = Announcer(log, recorder.codec, clock=recorder.clock, patience=patience)
        quarantine = Quarantine(log)
        for consumer in (announcer, quarantine):
            projection.after_fold.append(
                consumer.announce if must_announce else _if_allowed(consumer.announce)
            )
        yield Registry(place, settings, recorder, log, projection, announcer)
    finally:
        recorder.close()


@contextmanager
def judging(recorder: Recorder) -> Iterator[tuple[Validator, Sandbox]]:
    """Set up a validator with a warm sandbox; its processes end with it. Raises MissingExtra."""
    try:
        from deedbook.consumers.sandbox import Sandbox
        from deedbook.consumers.validation import Validator
    except ModuleNotFoundError as error:
        raise missing(error, "validation") from error

    with Sandbox() as sandbox:
        yield Validator(recorder.artifacts, sandbox, recorder.actor, recorder.clock), sandbox


@contextmanager
def watched(place: Place) -> Iterator[Callable[[], object] | None]:
    """Hand out what shows cheaply that there is more on the log; None where the log can be waited for."""
    if place.kafka is not None:
        yield None
        return
    from deedbook.events.sqlite_watch import SqliteWatch

    watch = SqliteWatch(place.folder)
    try:
        yield watch.version
    finally:
        watch.close()


def missing(error: ModuleNotFoundError, extra: str) -> MissingExtra:
    """Return the error that says how to install what an import did not find."""
    return MissingExtra(f"this needs {error.name}: pip install 'deedbook[{extra}]'")


def _if_allowed(
    announce: Callable[[duckdb.DuckDBPyConnection], bool],
) -> Callable[[duckdb.DuckDBPyConnection], bool]:
    """Return what announces for those who may; for those who only read, somebody else does."""

    def announce_if_allowed(connection: duckdb.DuckDBPyConnection) -> bool:
        with suppress(AccessDenied):
            return announce(connection)
        return True

    return announce_if_allowed
