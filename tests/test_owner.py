"""The folder's owner: one process keeps the projection open, and everybody else on the machine is answered."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

import deedbook
from deedbook.events.codec import Codec
from deedbook.events.errors import ProjectionBusy, StorageFull
from deedbook.events.facts import REGISTRY
from deedbook.events.sqlite_log import SqliteLog
from deedbook.projector.owner import SOCKET_NAME, Owner, ask_for_turn, owner_of, snapshot_of_owner
from deedbook.projector.projection import Projection
from tests.command import Command, ended
from tests.facts_by_hand import Pen
from tests.folded import Registry
from tests.serving.in_process import live_registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ENDS = {(REGISTRY, 0): 1}


def owner(
    folder: Path, *, who: str = "a test", identity: str = "this log", **more: Callable[..., object]
) -> Owner:
    """An owner of a folder that answers with the same snapshot always."""
    answers = {"snapshot": lambda *_: folder / "snapshot.duckdb", "lend": lambda: None, **more}
    return Owner(folder, who=lambda: who, identity=identity, **answers)  # type: ignore[arg-type]


def asked(folder: Path, identity: str = "this log") -> Path | None:
    """What the folder's owner answers."""
    return snapshot_of_owner(folder, identity, ENDS, timeout_seconds=5.0)


def test_who_asks_is_answered_with_a_snapshot_in_the_folder(tmp_path: Path) -> None:
    """Its name, wherever either process has the folder."""
    with owner(tmp_path):
        assert tmp_path / "snapshot.duckdb" == asked(tmp_path)


def test_nobody_s_folder_has_no_owner(tmp_path: Path) -> None:
    """Before there is one, and after it let go."""
    with owner(tmp_path):
        pass

    assert (None, "") == (asked(tmp_path), owner_of(tmp_path))


def test_a_second_owner_is_told_who_the_first_is(tmp_path: Path) -> None:
    """Two that keep the same folder would only take it from each other."""
    with (
        owner(tmp_path, who="deedbook serve, process 7"),
        pytest.raises(ProjectionBusy, match="is kept by deedbook serve, process 7 already"),
        owner(tmp_path),
    ):
        pass


def test_a_folder_with_a_long_path_has_an_owner_too(tmp_path: Path) -> None:
    """A socket's address may have a hundred bytes; a path many more."""
    folder = tmp_path / ("é" * 60) / ("ü" * 60)
    folder.mkdir(parents=True)

    with owner(folder):
        assert folder / "snapshot.duckdb" == asked(folder)


def test_only_its_own_user_may_ask(tmp_path: Path) -> None:
    """The socket lets nobody else in."""
    with owner(tmp_path):
        assert 0o600 == (tmp_path / SOCKET_NAME).stat().st_mode & 0o777


def test_an_owner_of_another_log_is_no_owner(tmp_path: Path) -> None:
    """Its snapshots hold another registry."""
    with owner(tmp_path, identity="that log"):
        assert asked(tmp_path) is None


def test_what_the_owner_can_t_do_is_told_to_who_asked(tmp_path: Path) -> None:
    """A full disk is a full disk for both."""

    def full(*_: object) -> Path:
        raise StorageFull("the disk is full")

    with owner(tmp_path, snapshot=full), pytest.raises(StorageFull, match="the disk is full"):
        asked(tmp_path)


def test_who_waits_for_a_turn_says_so(tmp_path: Path) -> None:
    """So that nobody has to look all the time whether somebody waits."""
    lent = threading.Event()
    with owner(tmp_path, lend=lent.set):
        ask_for_turn(tmp_path)

        assert lent.is_set()


@pytest.mark.parametrize("said", [b"", b"\n", b"[]\n", b"{\n", b'{"ends": 7}\n', b'{"ends": [["a"]]}\n'])
def test_an_owner_survives_whatever_it_is_told(tmp_path: Path, said: bytes) -> None:
    """A caller that makes no sense gets an answer without any, and the next one is served."""
    import socket

    with owner(tmp_path):
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(tmp_path / SOCKET_NAME))
            caller.sendall(said)
            caller.shutdown(socket.SHUT_WR)
            assert caller.recv(1_000)

        assert asked(tmp_path) is not None


_HOLD = """
import sys, time
from pathlib import Path
from deedbook.projector.owner import Owner
folder = Path(sys.argv[1])
with Owner(folder, who=lambda: "one that dies", identity="this log", snapshot=lambda *_: folder / "s", lend=print):
    print("owned", flush=True)
    time.sleep(60)
"""


def test_a_killed_owner_is_none(tmp_path: Path) -> None:
    """What it left behind keeps nobody from reading, nor the next one from owning."""
    holder = subprocess.Popen([sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert "owned\n" == holder.stdout.readline()
        assert "one that dies" == owner_of(tmp_path)
    finally:
        holder.kill()
        holder.communicate()

    assert (tmp_path / SOCKET_NAME).exists()
    assert asked(tmp_path) is None
    with owner(tmp_path):
        assert asked(tmp_path) is not None


def test_an_owner_that_does_not_answer_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    """A stopped process keeps its socket: who asks gets an error after the time it gave."""
    holder = subprocess.Popen([sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        os.kill(holder.pid, signal.SIGSTOP)
        with pytest.raises(ProjectionBusy, match="did not answer"):
            snapshot_of_owner(tmp_path, "this log", ENDS, timeout_seconds=-4.9)
    finally:
        holder.kill()
        holder.communicate()


# --- beside a live state -----------------------------------------------------------------------------


def test_other_processes_read_what_they_have_just_written(tmp_path: Path) -> None:
    """`connect`, in another process or in this one, is answered by the owner, at the log's end."""
    with live_registry(tmp_path / "registry") as service:
        registry = deedbook.connect(f"sqlite:///{service.settings.folder}")
        training_id = registry.log_training("home-price", metrics={"mse": 1.0})

        assert [training_id] == [found.training_id for found in registry.search()]
        assert registry.override(training_id, reason="seen", deployable=True).deployable
        registry.close()


def test_commands_beside_it_are_answered(tmp_path: Path) -> None:
    """A command that only reads, one that writes, and one that needs the projection for itself."""
    with live_registry(tmp_path / "registry") as service:
        command = Command(service.settings.folder)
        (training_id,) = command.log({"metrics": {"mse": 1.0}})

        assert [training_id] == [found["training_id"] for found in command.json("trainings")]
        assert command.json("state-hash")["state_hash"] == command.json("rebuild")["state_hash"]
        with service.live.reading() as connection:
            assert (1,) == connection.execute("select count(*) from main.trainings").fetchone()


def test_without_an_owner_everybody_takes_a_turn_as_before(tmp_path: Path) -> None:
    """The same projection, folded by whoever asks."""
    registry = Registry(tmp_path)
    registry.append(Pen().logged("a1"))

    with Projection(tmp_path, SqliteLog(tmp_path), Codec()).caught_up() as connection:
        assert (1,) == connection.execute("select count(*) from main.trainings").fetchone()


def test_deedbook_project_answers_the_others_as_well(tmp_path: Path) -> None:
    """The process that only folds owns its folder, too."""
    command = Command(tmp_path / "registry")
    command.done("init")
    with command.running("project") as process:
        assert process.stderr is not None
        process.stderr.readline()
        (training_id,) = command.log({"metrics": {"mse": 1.0}})

        assert f"deedbook project, process {process.pid}" == owner_of(command.folder)
        assert [training_id] == [found["training_id"] for found in command.json("trainings")]
        process.terminate()
        assert 0 == ended(process).status
