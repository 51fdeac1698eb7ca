"""What all chapters share: the registry, who speaks to it, the data, and the services that sell predictions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from deedbook.cli.demo.data import CITIES, History, Month
from deedbook.cli.demo.judging import Judges, judges
from deedbook.cli.demo.models import request_for_next_month
from deedbook.cli.wiring import Registry, opened
from deedbook.client.registry import Registry as Connection
from deedbook.client.registry import Settings as ClientSettings

if TYPE_CHECKING:
    from deedbook.cli.demo.folder import DemoFolder
    from deedbook.cli.settings import Settings

# The last month that two releases are told apart by; the months before it are the first release's.
LAST_MONTH: Final = Month(2015, 6)
RETRAINS: Final = 24
RETRAINS_FAST: Final = 6
# Whose delivery of the last month is in the wrong unit.
WRONG_CITY: Final = "Houston"
# Commits of the pricing service's code; the demo has no such code, so it makes them up.
SHA_A: Final = "a41f7c02d9be5c38f6a0e1d47b92c8350f6e1da4"
SHA_B: Final = "b7e03d15c2f84a96d1b0793ce5a86f42d9c71e08"

PARTITIONS: Final = 6

TRAINER: Final = "monthly-retrain"
VALIDATOR: Final = "validation-worker"
PIPELINE: Final = "release-pipeline"
SOMEBODY: Final = "somebody@laptop"


@dataclass(slots=True)
class Scene:
    """The demo's registry and those who act in it.

    `trainer`, `pipeline` and `somebody` are clients as other people's programs are. `trainings`: the newest training
    of each city, good or bad.
    """

    url: str
    folder: DemoFolder
    history: History
    months: tuple[Month, ...]
    trainer: Connection
    pipeline: Connection
    somebody: Connection
    registry: Registry
    judges: Judges
    trainings: dict[str, str] = field(default_factory=dict)

    @property
    def request(self) -> dict[str, float]:
        """What the instances are asked: a price for the month that the first release's models never saw."""
        return request_for_next_month(self.history.delivery(WRONG_CITY, self.months[-1]))


def service_of(city: str) -> str:
    """Return the name of the service that prices homes in a city."""
    return f"pricing-{city.lower().replace(' ', '-')}"


SERVICES: Final = {city: service_of(city) for city in CITIES}


@contextmanager
def scene(settings: Settings, folder: DemoFolder, *, fast: bool) -> Iterator[Scene]:
    """Set the scene with an empty registry, and let go of everything at the end. Raises MissingExtra."""
    history = History()
    count = RETRAINS_FAST if fast else RETRAINS
    months = tuple(LAST_MONTH.later(-back) for back in range(count, 0, -1))
    speaking = replace(settings, actor=VALIDATOR)
    place = speaking.place()
    place.make(partitions=PARTITIONS)

    def connection(actor: str) -> Connection:
        return Connection(ClientSettings(place.url, place, actor))

    with (
        opened(speaking) as registry,
        judges(speaking, registry, folder.logs) as judging,
        connection(TRAINER) as trainer,
        connection(PIPELINE) as pipeline,
        connection(SOMEBODY) as somebody,
    ):
        yield Scene(settings.url, folder, history, months, trainer, pipeline, somebody, registry, judging)
