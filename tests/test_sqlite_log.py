"""What is the embedded log's own: its file, and what becomes of it when somebody damages it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deedbook import __version__
from deedbook.events.errors import (
    InvalidInput,
    LogDamaged,
    LogReplaced,
    LogUnavailable,
    NotFound,
    StorageFull,
)
from deedbook.events.header_packing import pack_headers, unpack_headers
from deedbook.events.log import NewRecord
from deedbook.events.sqlite_log import SqliteLog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEADERS = (("ce_type", b"deedbook.TrainingLogged.v1"), ("ce_id", b"1234"), ("ce_source", b"/deedbook"))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    """A log of ten small records."""
    opened = SqliteLog.create(tmp_path)
    opened.append("registry", [NewRecord(b"body %d" % n, b"key", HEADERS) for n in range(10)])
    yield opened
    opened.close()


def by_hand(folder: Path, *statements: str) -> None:
    """Change the file as somebody with an SQLite shell would."""
    with closing(sqlite3.connect(folder / "log.db", isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def files_in(folder: Path) -> list[str]:
    """The names of what is in a folder."""
    return sorted(entry.name for entry in folder.iterdir())


def run(program: str, *arguments: str) -> str:
    """Run a program in a process of its own and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ce_type", "ce_id", "content-type", ""]) | st.text(max_size=20),
            st.binary(max_size=80),
        ),
        max_size=12,
    )
)
def test_any_headers_are_packed_without_loss(headers: list[tuple[str, bytes]]) -> None:
    """Shared or not, repeated, empty, any bytes: unpacking gives what was packed."""
    assert tuple(headers) == unpack_headers(*pack_headers(headers))


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_unpacking_anything_ends_in_headers_or_in_an_ordinary_error(shape: bytes, varying: bytes) -> None:
    """Bytes that were never packed are headers only where their lengths agree."""
    try:
        headers = unpack_headers(shape, varying)
    except Exception:  # noqa: BLE001 - the reader takes any for a damaged row
        assert shape or varying
    else:
        assert len(varying) <= sum(len(value) for _, value in headers)


def test_headers_that_all_records_share_cost_little() -> None:
    """A record's row holds its own header values, and for the others less than half their bytes."""
    shared = (
        ("ce_specversion", b"1.0"),
        ("ce_type", b"deedbook.TrainingLogged.v1"),
        ("ce_source", b"/deedbook"),
        ("content-type", b"application/avro"),
        ("ce_dataschema", b"urn:sha256:" + bytes(f"{7**80:064x}"[:64], "ascii")),
    )
    written = sum(len(name) + len(value) for name, value in shared)
    shape, varying = pack_headers(shared)
    assert varying == b""
    assert len(shape) < written / 2


class TestOpening:
    """What is there when a log is opened."""

    def test_a_missing_log_is_not_made_by_opening_it(self, tmp_path: Path) -> None:
        """A misspelt folder stays empty, and the sentence says what to do."""
        with pytest.raises(NotFound, match=r"there is no log in .*nowhere: make one with `deedbook init`"):
            SqliteLog(tmp_path / "nowhere")
        assert not (tmp_path / "nowhere").exists()

    def test_making_a_log_makes_its_folder_and_leaves_nothing_beside_it(self, tmp_path: Path) -> None:
        """Once closed, the folder holds the one file."""
        SqliteLog.create(tmp_path / "a" / "b").close()
        assert ["log.db"] == files_in(tmp_path / "a" / "b")

    def test_making_a_log_that_is_there_opens_it(self, tmp_path: Path, log: SqliteLog) -> None:
        """Neither form of making one replaces what was kept."""
        for again in (SqliteLog.create(tmp_path), SqliteLog(tmp_path, create=True)):
            assert log.identity() == again.identity()
            assert again.end("registry") == 10
            again.close()

    def test_each_log_has_an_identity_of_its_own(self, tmp_path: Path) -> None:
        """A log made anew in the same place is another."""
        identities = set()
        for name in ("a", "b"):
            made = SqliteLog.create(tmp_path / name)
            identities.add(made.identity())
            made.close()
        assert len(identities) == 2

    def test_processes_that_make_a_log_at_once_share_it(self, tmp_path: Path) -> None:
        """Whoever was first made it; nobody's record is lost."""
        program = (
            "import sys\nfrom pathlib import Path\nfrom deedbook.events.log import NewRecord\n"
            "from deedbook.events.sqlite_log import SqliteLog\n"
            "log = SqliteLog(Path(sys.argv[1]), create=True)\n"
            "log.append('registry', [NewRecord(b'')])\nprint(log.identity())\n"
        )
        children = [
            subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "log")], stdout=subprocess.PIPE)
            for _ in range(6)
        ]
        identities = {process.communicate(timeout=60)[0] for process in children}
        assert len(identities) == 1
        opened = SqliteLog(tmp_path / "log")
        assert opened.end("registry") == 6
        opened.close()

    def test_a_newer_format_names_the_release_to_install(self, tmp_path: Path, log: SqliteLog) -> None:
        """An older release neither guesses nor writes."""
        log.close()
        by_hand(tmp_path, "PRAGMA user_version = 7", "UPDATE meta SET value = '3.2.1' WHERE name = 'release'")
        expected = (
            rf"has format 7, and deedbook {__version__} reads formats up to 1: install deedbook 3\.2\.1"
        )
        with pytest.raises(InvalidInput, match=expected):
            SqliteLog(tmp_path)

    def test_a_file_that_is_no_database_is_refused(self, tmp_path: Path) -> None:
        """Nor is it overwritten, even where a log may be made."""
        (tmp_path / "log.db").write_bytes(b"my diary" * 1000)
        for create in (False, True):
            with pytest.raises(InvalidInput, match="not a deedbook log: it is no SQLite database"):
                SqliteLog(tmp_path, create=create)
        assert (tmp_path / "log.db").read_bytes() == b"my diary" * 1000

    @pytest.mark.parametrize("statements", [(), ("CREATE TABLE registry (x)",)])
    def test_a_database_of_somebody_else_is_refused(
        self, tmp_path: Path, statements: tuple[str, ...]
    ) -> None:
        """An empty file, and another program's database."""
        (tmp_path / "log.db").touch()
        by_hand(tmp_path, *statements)
        with pytest.raises(InvalidInput, match="but not a deedbook log"):
            SqliteLog(tmp_path)

    def test_what_is_no_file_is_refused_in_one_sentence(self, tmp_path: Path) -> None:
        """A folder of that name, and a folder that is a file."""
        (tmp_path / "log.db").mkdir()
        with pytest.raises(InvalidInput, match="cannot be opened for reading and writing"):
            SqliteLog(tmp_path)
        (tmp_path / "file").touch()
        with pytest.raises(NotFound):
            SqliteLog(tmp_path / "file")
        with pytest.raises(InvalidInput, match="no log can be made in"):
            SqliteLog.create(tmp_path / "file" / "below")

    def test_a_log_without_one_of_its_topics_is_damaged(self, tmp_path: Path, log: SqliteLog) -> None:
        """The sentence names the topic."""
        log.close()
        by_hand(tmp_path, "DROP TABLE hosts")
        with pytest.raises(LogDamaged, match="lost the topic 'hosts'"):
            SqliteLog(tmp_path)

    @pytest.mark.parametrize("change", ["DELETE FROM meta", "UPDATE meta SET value = x'ff'"])
    def test_a_log_without_its_identity_is_damaged(self, tmp_path: Path, log: SqliteLog, change: str) -> None:
        """It could be any."""
        log.close()
        by_hand(tmp_path, change)
        with pytest.raises(LogDamaged, match="lost its identity"):
            SqliteLog(tmp_path)

    def test_folders_may_have_any_name(self, tmp_path: Path) -> None:
        """What means something in a URL means nothing here."""
        folder = tmp_path / "a?mode=memory#x %20 ü"
        SqliteLog.create(folder).close()
        assert (folder / "log.db").is_file()

    def test_a_closed_log_says_so(self, log: SqliteLog) -> None:
        """Using it afterwards is an error of the program, in one sentence."""
        log.close()
        with pytest.raises(InvalidInput, match="was closed by this program"):
            log.end("registry")


class TestDamage:
    """What a reader says of a file that was changed by hand."""

    @pytest.mark.parametrize(
        "change",
        [
            "value = x'00' || value",
            "value = 'body 4'",
            "value = 5",
            "value = ''",
            "key = x'6b6579ff'",
            "key = 7.5",
            "recorded_at = recorded_at + 1",
            "recorded_at = 'noon'",
            "recorded_at = 9223372036854775807",
            "shape = x''",
            "shape = x'ffffffff'",
            "shape = 12",
            "varying = x'31323335'",
            "varying = varying || varying",
            "digest = x''",
            "digest = zeroblob(16)",
        ],
    )
    def test_a_changed_row_is_not_intact_and_the_others_are(
        self, tmp_path: Path, log: SqliteLog, change: str
    ) -> None:
        """One bad row stops nobody: it is marked, and reading goes on."""
        by_hand(tmp_path, f"UPDATE registry SET {change} WHERE position = 5")  # noqa: S608 - above
        read = log.read("registry", 0, 0)
        assert list(range(10)) == [record.position for record in read]
        assert [5] == [record.position for record in read if not record.intact]
        assert [(0, 10)] == log.append("registry", [NewRecord(b"next")])

    def test_a_row_moved_elsewhere_is_not_intact(self, tmp_path: Path, log: SqliteLog) -> None:
        """Rows exchanged between positions, and between topics, are seen."""
        by_hand(
            tmp_path,
            "UPDATE registry SET position = 99 WHERE position = 2",
            "UPDATE registry SET position = 2 WHERE position = 3",
            "UPDATE registry SET position = 3 WHERE position = 99",
            "INSERT INTO hosts SELECT * FROM registry WHERE position = 0",
        )
        read = log.read("registry", 0, 0)
        assert [2, 3] == [record.position for record in read if not record.intact]
        assert [False] == [record.intact for record in log.read("hosts", 0, 0)]

    def test_missing_records_are_named(self, tmp_path: Path, log: SqliteLog) -> None:
        """A gap can't be read over, from wherever reading begins."""
        by_hand(tmp_path, "DELETE FROM registry WHERE position IN (3, 4, 6)")
        with pytest.raises(
            LogDamaged, match=r"lost 3 of its records, the first at position 3, the last at pos.* 6:"
        ):
            log.read("registry", 0, 0)
        with pytest.raises(LogDamaged, match="lost 1 of its records, the first at position 6"):
            log.read("registry", 0, 6, max_records=2)
        assert [7, 8, 9] == [record.position for record in log.read("registry", 0, 7)]

    def test_the_time_of_a_damaged_row_is_not_carried_on(self, tmp_path: Path, log: SqliteLog) -> None:
        """A last row that claims to be from the end of time doesn't drag all later ones there."""
        by_hand(tmp_path, "UPDATE registry SET recorded_at = 9223372036854775807 WHERE position = 9")
        log.append("registry", [NewRecord(b"next")])
        (record,) = log.read("registry", 0, 10)
        assert record.intact
        assert record.recorded_at < 1 << 62

    def test_any_flipped_byte_of_the_file_is_seen_or_harmless(self, tmp_path: Path) -> None:
        """Whatever byte is wrong: the same record, or not intact, or a named error."""
        made = SqliteLog.create(tmp_path)
        bodies = [os.urandom(300) for _ in range(60)]
        made.append("registry", [NewRecord(body, b"", HEADERS) for body in bodies])
        made.close()
        whole = (tmp_path / "log.db").read_bytes()
        for at in range(0, len(whole), 331):
            (tmp_path / "log.db").write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
            try:
                opened = SqliteLog(tmp_path)
                read = opened.read("registry", 0, 0)
                opened.close()
            except (InvalidInput, LogDamaged, LogUnavailable):
                continue
            assert list(range(len(read))) == [record.position for record in read]
            assert all(not record.intact or record.value == bodies[record.position] for record in read)

    def test_a_truncated_file_is_damaged(self, tmp_path: Path, log: SqliteLog) -> None:
        """A file that ends too early is refused in one sentence, wherever it was cut."""
        log.append("registry", [NewRecord(os.urandom(5000)) for _ in range(50)])
        log.close()
        whole = (tmp_path / "log.db").read_bytes()
        for size in (len(whole) - 16384, len(whole) // 2, 16384 * 3, 100):
            (tmp_path / "log.db").write_bytes(whole[:size])
            with pytest.raises((LogDamaged, InvalidInput), match=r"log\.db"):  # noqa: PT012 - here or there
                opened = SqliteLog(tmp_path)
                opened.read("registry", 0, 0)
                opened.read("registry", 0, 30)

    def test_a_log_replaced_underneath_is_refused(self, tmp_path: Path, log: SqliteLog) -> None:
        """Records appended to a file that nobody else can find would be lost: they are not taken."""
        (tmp_path / "log.db").unlink()
        with pytest.raises(LogReplaced, match="was removed or replaced"):
            log.append("registry", [NewRecord(b"")])
        SqliteLog.create(tmp_path).close()
        with pytest.raises(LogReplaced, match="was removed or replaced"):
            log.read("registry", 0, 0)


class TestWriting:
    """Time, room and company."""

    def test_time_goes_on_though_the_clock_goes_back(self, tmp_path: Path) -> None:
        """recorded_at is the clock's, but never before the record before it."""
        times = iter([1_000, 2_000, 500, 2_500])
        made = SqliteLog(tmp_path, create=True, clock=lambda: next(times))
        for _ in range(4):
            made.append("registry", [NewRecord(b"")])
        assert [1_000, 2_000, 2_000, 2_500] == [r.recorded_at for r in made.read("registry", 0, 0)]
        made.close()

    def test_a_held_log_is_unavailable_after_the_deadline_and_not_before(
        self, tmp_path: Path, log: SqliteLog
    ) -> None:
        """A writer that doesn't let go is waited for as long as was said; readers don't wait at all."""
        with closing(sqlite3.connect(tmp_path / "log.db", isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            with pytest.raises(LogUnavailable, match="held by another process"):
                log.append("registry", [NewRecord(b"lost")], timeout_seconds=0.05)
            assert len(log.read("registry", 0, 0)) == 10
            appending = threading.Thread(target=log.append, args=("registry", [NewRecord(b"kept")]))
            appending.start()
            holder.execute("ROLLBACK")
            appending.join(timeout=60)
        assert b"kept" == log.read("registry", 0, 10)[0].value

    def test_a_full_disk_refuses_the_batch_whole_and_spares_what_was_there(self, tmp_path: Path) -> None:
        """At the limit of a file's size: StorageFull; with room again, the log goes on without a gap."""
        program = (
            "import resource, sys\nfrom pathlib import Path\n"
            "from deedbook.events.errors import StorageFull\nfrom deedbook.events.log import NewRecord\n"
            "from deedbook.events.sqlite_log import SqliteLog\n"
            "log = SqliteLog(Path(sys.argv[1]), create=True)\n"
            "log.append('registry', [NewRecord(b'before')])\n"
            "soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))\n"
            "try:\n    log.append('registry', [NewRecord(b'x' * 100_000) for _ in range(20)])\n"
            "except StorageFull as error:\n    print(error)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))\n"
            "print(log.append('registry', [NewRecord(b'after')]))\n"
            "print([record.value for record in log.read('registry', 0, 0)])\nlog.close()\n"
        )
        said = run(program, str(tmp_path)).splitlines()
        assert "could not be written" in said[0]
        assert ["[(0, 1)]", "[b'before', b'after']"] == said[1:]

    def test_a_database_that_may_not_grow_is_full(self, log: SqliteLog) -> None:
        """SQLite's own word for a full disk is ours, and nothing of the batch is there."""
        writer = log._handles.writer.connection  # noqa: SLF001 - no other way to fill a disk everywhere
        assert writer is not None
        writer.execute("PRAGMA max_page_count = 20")
        with pytest.raises(StorageFull, match="could not be written"):
            log.append("registry", [NewRecord(b"small"), NewRecord(os.urandom(900_000))])
        assert log.end("registry") == 10

    def test_the_journal_stays_small_and_goes_when_the_last_one_closes(
        self, tmp_path: Path, log: SqliteLog
    ) -> None:
        """60 MB appended never leave more than some 20 MB of journal, and none once closed."""
        body = os.urandom(900_000)
        sizes = []
        for _ in range(33):
            log.append("registry", [NewRecord(body), NewRecord(body)])
            sizes.append((tmp_path / "log.db-wal").stat().st_size)
        assert max(sizes) < 20 << 20
        assert any(later < earlier for earlier, later in pairwise(sizes))
        log.close()
        assert ["log.db"] == files_in(tmp_path)

    def test_a_forked_child_may_append_and_leave_without_harm_to_its_parent(self, tmp_path: Path) -> None:
        """Parent and child go on with the same object, whichever of them closes it first."""
        program = (
            "import os, sys\nfrom pathlib import Path\nfrom deedbook.events.log import NewRecord\n"
            "from deedbook.events.sqlite_log import SqliteLog\n"
            "log = SqliteLog(Path(sys.argv[1]), create=True)\n"
            "log.append('registry', [NewRecord(b'parent')])\n"
            "for closes in (False, True):\n"
            "    pid = os.fork()\n"
            "    if pid == 0:\n"
            "        for _ in range(50):\n            log.append('registry', [NewRecord(b'child')])\n"
            "        closes and log.close()\n"
            "        sys.exit(0)\n"
            "    for _ in range(50):\n        log.append('registry', [NewRecord(b'parent')])\n"
            "    assert os.waitpid(pid, 0)[1] == 0\n"
            "    log.append('registry', [NewRecord(b'parent')])\n"
            "records = log.read('registry', 0, 0)\n"
            "print([r.position for r in records] == list(range(203)), all(r.intact for r in records))\n"
            "print(sum(r.value == b'child' for r in records))\nlog.close()\n"
        )
        assert "True True\n100\n" == run(program, str(tmp_path))

    def test_an_interrupted_append_does_not_block_the_next(self, log: SqliteLog) -> None:
        """A lock taken by an append that was interrupted is let go by the next."""
        writer = log._handles.writer.connection  # noqa: SLF001 - the state an interrupt leaves behind
        assert writer is not None
        writer.execute("BEGIN IMMEDIATE")
        assert [(0, 10)] == log.append("registry", [NewRecord(b"")])
