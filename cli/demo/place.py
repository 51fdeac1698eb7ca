"""Where the demo's registry is: in the demo's folder, in another one, or on Kafka; never where anything is already."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from deedbook.client.place import Surroundings
from deedbook.events.clock import now_micros
from deedbook.events.errors import InvalidInput, NotFound
from deedbook.events.facts import TOPICS

if TYPE_CHECKING:
    from pathlib import Path

    from deedbook.cli.settings import Settings
    from deedbook.client.place import Place


def settings_for(settings: Settings, url: str, folder: Path) -> Settings:
    """Return the settings of a registry at the URL that leaves everything else of the person's alone.

    `folder`: where the log is folded if it is on Kafka; artifacts are then where DEEDBOOK_ARTIFACTS says, and else in
    the registry's own folder. Raises InvalidInput.
    """
    own = replace(settings, url=url, surroundings=Surroundings())
    if url.partition("://")[0].lower() != "kafka":
        return own
    return replace(own, surroundings=replace(settings.surroundings, folder=str(folder.absolute())))


def check_empty(place: Place) -> None:
    """Refuse a registry that holds anything: what the demo logs can never be taken out of it again.

    Raises InvalidInput, and what opening a log on Kafka raises.
    """
    if place.kafka is None:
        if place.folder.exists() and (not place.folder.is_dir() or any(place.folder.iterdir())):
            raise InvalidInput(
                f"there is something in {place.folder} already: the demo wants a registry of its own"
            )
        return
    place.artifacts()
    try:
        with closing(place.log(create=False, clock=now_micros)) as log:
            ends = log.ends(TOPICS)
    except NotFound:
        return
    if any(ends.values()):
        raise InvalidInput(
            f"there is something at {place.url} already: the demo wants a registry of its own, so give another "
            "prefix (kafka://host:9092/prefix)"
        )


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the variables that lead other processes to the same registry; its URL they are told."""
    surroundings = settings.surroundings
    named = {
        "DEEDBOOK_ARTIFACTS": surroundings.artifacts,
        "DEEDBOOK_FOLDER": surroundings.folder,
        "DEEDBOOK_KAFKA_CONFIG": surroundings.kafka_config,
    }
    return {name: value for name, value in named.items() if value}
