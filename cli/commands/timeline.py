"""What happened: one thing's whole story, and the log as it grows."""

from __future__ import annotations

import difflib
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from deedbook.cli.asking import Asked, Questions, asked
from deedbook.cli.documents import print_document, print_document_line
from deedbook.cli.moments import shown
from deedbook.cli.options import AsJson, Limit, settings_of
from deedbook.cli.plain_text import plain
from deedbook.cli.tables import Column, on_terminal, print_fields, print_table, say
from deedbook.events.errors import InvalidInput

if TYPE_CHECKING:
    from deedbook.projector.queries import Event

_BATCH = 1_000
# How much of a time says it to the minute.
_MINUTES = 16
_EVERY_TOPIC = "all"


def explain(
    ctx: typer.Context,
    subject: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="A training, run or deployment: its id, the beginning of it, or MODEL@VERSION."
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Tell the whole story of a training or a deployment."""
    with asked(settings_of(ctx)) as registry, registry.asking() as questions:
        story = questions.explain(subject)
    if as_json:
        print_document(story)
        return
    say(f"{story.title}", style="bold")
    print_fields([(story.kind, story.subject), ("now", story.now)])
    say()
    rows = [
        (_place(line.topic, line.position), shown(line.at), line.actor, line.text) for line in story.lines
    ]
    print_table(
        [
            Column("position", whole=True, align="right"),
            Column("at (UTC)", whole=True),
            Column("who", narrow="drop"),
            Column("what"),
        ],
        rows,
    )


def _place(topic: str, position: int) -> str:
    return str(position) if topic == "registry" else f"{topic}:{position}"


def events(
    ctx: typer.Context,
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what comes, until Ctrl-C.")] = False,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--type", help="Only this type, such as VerdictIssued; may be repeated.", metavar="TYPE"
        ),
    ] = None,
    topic: Annotated[
        str, typer.Option(help="registry, metrics, hosts, or all.", metavar="TOPIC")
    ] = "registry",
    after: Annotated[
        int | None,
        typer.Option(
            help="From the position after this one on; else the newest.", min=-1, metavar="POSITION"
        ),
    ] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List the log's events and what was decided on each."""
    wanted = _Wanted(_topics(topic), _types(kind or []))
    if after is not None and len(wanted.topics) > 1:
        raise InvalidInput("--after counts in one topic: say which with --topic")
    with asked(settings_of(ctx)) as registry:
        with registry.asking() as questions:
            found = wanted.first(questions, after, limit)
            places = wanted.places(questions, found if after is not None else ())
        if not follow:
            _print(found, as_json=as_json)
            return
        _print_lines(found, as_json=as_json)
        for news in _following(registry, wanted, places):
            _print_lines(news, as_json=as_json)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which events are asked for."""

    topics: tuple[str, ...]
    types: tuple[str, ...]

    def first(self, questions: Questions, after: int | None, limit: int) -> Sequence[Event]:
        """Return the first events after a position, or the newest of all."""
        topic = self.topics[0] if len(self.topics) == 1 else None
        newest = after is None
        return questions.events(
            topic, after=-1 if after is None else after, types=self.types, newest=newest, limit=limit
        )

    def places(self, questions: Questions, shown_already: Sequence[Event]) -> dict[str, int]:
        """Return for each topic the position after which nothing was shown yet."""
        if shown_already:
            return {self.topics[0]: shown_already[-1].position}
        newest = {
            topic: questions.events(topic, after=-1, types=(), newest=True, limit=1) for topic in self.topics
        }
        return {topic: found[0].position if found else -1 for topic, found in newest.items()}

    def next(self, questions: Questions, places: dict[str, int]) -> list[Event]:
        """Return what came after these places, in the order recorded, and move the places on."""
        news: list[Event] = []
        for topic, place in places.items():
            found = questions.events(topic, after=place, types=(), newest=False, limit=_BATCH)
            places[topic] = found[-1].position if found else place
            news += [event for event in found if not self.types or event.type in self.types]
        return sorted(news, key=lambda event: event.recorded_at)


def _following(registry: Asked, wanted: _Wanted, places: dict[str, int]) -> Iterator[list[Event]]:
    """Yield what comes, batch by batch; the registry is asked only when there may be something new."""
    interrupted: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> NoReturn:
        # Noted as well as raised: an interrupt that is raised inside a library's callback is lost there.
        interrupted.append(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    while not interrupted:
        if registry.wait_for_news(places):
            with registry.asking() as questions:
                news = wanted.next(questions, places)
            yield news
    raise KeyboardInterrupt


def _topics(topic: str) -> tuple[str, ...]:
    from deedbook.projector.store import FOLDED_TOPICS

    if topic == _EVERY_TOPIC:
        return FOLDED_TOPICS
    if topic not in FOLDED_TOPICS:
        raise InvalidInput(
            f"{plain(topic, 40)!r} is not a topic with a timeline: {', '.join(FOLDED_TOPICS)} or {_EVERY_TOPIC}"
        )
    return (topic,)


def _types(given: Sequence[str]) -> tuple[str, ...]:
    from deedbook.events.facts import FACTS

    names = [cls.__name__ for cls in FACTS]
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
            raise InvalidInput(f"{plain(name, 60)!r} is not a type of event: {hint}")
    return tuple(given)


def _print(found: Sequence[Event], *, as_json: bool) -> None:
    if as_json:
        print_document(found)
        return
    if not found:
        say("There are no such events.")
        return
    columns = [
        Column("position", whole=True, align="right"),
        Column("recorded (UTC)", whole=True),
        Column("type"),
        Column("decision", whole=True),
        Column("who"),
        Column("about", narrow="below"),
        Column("reason", narrow="below"),
    ]
    seconds = None if not on_terminal() else _MINUTES
    print_table(
        columns,
        [
            (
                _place(e.topic, e.position),
                shown(e.recorded_at)[:seconds],
                e.type,
                e.decision,
                e.actor,
                e.subject,
                e.reason,
            )
            for e in found
        ],
    )


def _print_lines(found: Sequence[Event], *, as_json: bool) -> None:
    """Print each event on a line of its own, as soon as it is there."""
    for event in found:
        if as_json:
            print_document_line(event)
            continue
        reason = f": {event.reason}" if event.reason else ""
        place = f"{_place(event.topic, event.position):>8}  {shown(event.recorded_at)}"
        say(f"{place}  {event.type} {event.decision}  {event.actor}  {event.subject}{reason}")
    sys.stdout.flush()
