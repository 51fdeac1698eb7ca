"""The whole story: two years of real retrains, a month that went wrong, two releases, a crash and a rollback."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from deedbook.cli.demo.chart import chart
from deedbook.cli.demo.data import CITIES
from deedbook.cli.demo.folder import DEFAULT_FOLDER, demo_folder
from deedbook.cli.demo.models import check_libraries
from deedbook.cli.demo.pages import serve_pages
from deedbook.cli.demo.place import check_empty, settings_for
from deedbook.cli.demo.releases import Moments, first_release, incident, refusal, rollback, second_release
from deedbook.cli.demo.retrains import demands, walk_forward, wrong_month
from deedbook.cli.demo.scene import SERVICES, WRONG_CITY, Scene, scene
from deedbook.cli.demo.serving import both_boot, killed_and_restarted, two_processes
from deedbook.cli.demo.stage import chapter, tell, to_copy
from deedbook.cli.settings import DEFAULT_URL
from deedbook.cli.tables import say

if TYPE_CHECKING:
    from deedbook.cli.settings import Settings

# What a path may hold and a URL may not.
_IN_URLS = str.maketrans({"%": "%25", "?": "%3F", "#": "%23"})


def main(
    settings: Settings,
    *,
    folder: Path = DEFAULT_FOLDER,
    url: str | None = None,
    fast: bool = False,
    pages: bool = False,
) -> None:
    """Tell the story with a fresh registry in the folder, or in an empty one at the URL.

    `settings.url` is left alone: nobody's registry is a place for a demo's trainings. `fast`: six months of
    retrains, not twenty-four. `pages`: serve them at the end, until Ctrl-C.

    Raises InvalidInput, MissingExtra, StorageFull, and what the registry raises.
    """
    started = monotonic()
    check_libraries()
    if url is not None:
        check_empty(settings_for(settings, url, folder / "registry").place())
    with demo_folder(folder) as own:
        theirs = settings_for(settings, url or registry_url(own.registry), own.registry)
        with scene(theirs, own, fast=fast) as told:
            _open(told, settings)
            _tell(told)
            _close(told, monotonic() - started)
        if pages:
            chapter("The same in pages")
            serve_pages(theirs)


def _tell(told: Scene) -> None:
    moments = Moments()
    demands(told)
    walk_forward(told)
    with two_processes(told) as instances:
        first_release(told, moments)
        both_boot(told, instances)
        wrong_month(told)
        chart(told)
        killed_and_restarted(told, instances)
    refusal(told)
    second_release(told, moments)
    rollback(told, moments)
    incident(told, moments)


def _open(told: Scene, settings: Settings) -> None:
    say("deedbook: what was deployed, and why", style="bold")
    tell(
        f"Real data: home sales in {len(CITIES)} Texas cities, month by month (Real Estate Center at Texas A&M)."
    )
    tell(f"A fresh registry: {told.url}")
    if told.registry.place.kafka is not None:
        tell(f"Its artifacts: {told.registry.place.artifacts_at}")
        tell(
            "It is folded by `deedbook project` and judged by `deedbook validate`, a Faust worker; what they say is in "
            f"{told.folder.logs}."
        )
    if settings.url not in {DEFAULT_URL, told.url}:
        tell(f"Nothing is written to {settings.url}.")


def _close(told: Scene, seconds: float) -> None:
    with told.registry.reading() as connection:
        (events,) = connection.execute("select count(*) from events").fetchone() or (0,)
    chapter("Now you")
    tell(f"{events:,} events are on the log, after {seconds:.0f} s. Three commands to try next:")
    say()
    for command in next_commands(told.url, told.registry.settings.surroundings.folder):
        to_copy(command)


def registry_url(folder: Path) -> str:
    """Return the URL of a registry in a folder, as short as it can be written in the working directory."""
    return f"sqlite:///{_written(folder).translate(_IN_URLS)}"


def next_commands(url: str, folder: str = "") -> tuple[str, str, str]:
    """Return three commands that work as they are printed, in the folder the demo was started in.

    `folder`: where a log on Kafka is folded.
    """
    folded = f"DEEDBOOK_FOLDER={shlex.quote(_written(Path(folder)))} " if folder else ""
    deedbook = f"{folded}{_program()} --url {shlex.quote(url)}"
    by_city = "select parameters['city'] as city, round(median(value)) as mse from metric_history"
    return (
        f"{deedbook} failures",
        f"{deedbook} live {SERVICES[WRONG_CITY]}",
        f"{deedbook} sql \"{by_city} where name = 'mse' group by all order by mse\"",
    )


def _program() -> str:
    """Return how the command was started here, if that finds it again, else how it always can be."""
    started = Path(sys.argv[0])
    found = shutil.which("deedbook")
    if found is not None and Path(found).resolve() == started.resolve():
        return "deedbook"
    if started.name == "deedbook" and started.is_file():
        return shlex.quote(_written(started))
    return f"{shlex.quote(sys.executable)} -m deedbook.cli"


def _written(path: Path) -> str:
    """Return a path as a person in the working directory would write it."""
    absolute = path.absolute()
    here = Path.cwd()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(absolute)
