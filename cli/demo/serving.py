"""The chapters about serving: two instances of one release, one of them killed and started again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deedbook.cli.demo.instance import Boot, Booted, Instance
from deedbook.cli.demo.models import MODEL
from deedbook.cli.demo.place import environment_of
from deedbook.cli.demo.scene import SERVICES, SHA_A, WRONG_CITY, Scene
from deedbook.cli.demo.stage import chapter, tell
from deedbook.cli.tables import Column, print_table
from deedbook.events.errors import DeedbookError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@contextmanager
def two_processes(scene: Scene) -> Iterator[list[Instance]]:
    """Start the processes of two instances, which wait to be told what to boot; they end with the block."""
    instances: list[Instance] = []
    try:
        instances += (_started(scene, f"{SERVICES[WRONG_CITY]}-{number}") for number in (1, 2))
        yield instances
    finally:
        for instance in instances:
            instance.stop()


def both_boot(scene: Scene, instances: Sequence[Instance]) -> None:
    """Boot two instances of the service whose next model will be wrong."""
    tell(f"Two instances of {SERVICES[WRONG_CITY]} boot with it, each a process of its own:")
    for instance in instances:
        _boot(scene, instance)
    _print_booted((instance.name, instance.booted()) for instance in instances)


def killed_and_restarted(scene: Scene, instances: list[Instance]) -> None:
    """Kill one instance with -9, start it again, and compare what the two have loaded."""
    chapter("6. One of the two instances is killed, and starts again")
    survivor, victim = instances
    tell(f"kill -9 {victim.name}. By now the newest model of {WRONG_CITY} is the one that failed.")
    victim.kill()
    instances[1] = _started(scene, victim.name)
    _boot(scene, instances[1])
    before, after = survivor.booted(), instances[1].booted()
    _print_booted([(survivor.name, before), (victim.name, after)])
    if before.sha256 != after.sha256:
        raise DeedbookError("two instances of one release loaded different models")
    tell("The same release, the same model, the same digest: a host never picks the latest.")


def _started(scene: Scene, name: str) -> Instance:
    return Instance(name, scene.folder.caches / name, environment_of(scene.registry.settings))


def _boot(scene: Scene, instance: Instance) -> None:
    instance.boot(Boot(scene.url, SERVICES[WRONG_CITY], SHA_A, instance.name, MODEL, scene.request))


def _print_booted(booted: Iterable[tuple[str, Booted]]) -> None:
    names = ("instance", "process", "model", "sha256 loaded", "predicts")
    rows = [
        (name, b.process_id, f"{MODEL}@{b.version}", f"{b.sha256[:16]}…", f"${b.answer:,.0f}")
        for name, b in booted
    ]
    print_table([Column(name, whole=True) for name in names], rows)
