"""What cannot be decoded is put on the topic `quarantine`, once, as it came."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deedbook.consumers.quarantining import FROM, REASON, Quarantine
from deedbook.events.facts import QUARANTINE
from deedbook.events.log import MAX_HEAD_BYTES, NewRecord
from tests.folded import Registry

if TYPE_CHECKING:
    from pathlib import Path

    from deedbook.events.log import Record

HEADERS = (("ce_id", b"7"), ("odd", b"\x00\xff"))


def quarantined(registry: Registry, quarantine: Quarantine | None = None) -> list[Record]:
    """Fold what is new, announce what is in quarantine, and return what the topic holds."""
    registry.fold()
    with registry.store() as store:
        (quarantine or Quarantine(registry.log)).announce(store.connection)
    return registry.log.read(QUARANTINE, 0, 0)


def test_what_is_no_event_is_on_the_topic_as_it_came_and_where_from(tmp_path: Path) -> None:
    """Body, key and headers; and what is wrong with it."""
    registry = Registry(tmp_path)
    registry.append(NewRecord(b"\x00no event", b"key", HEADERS), topic="hosts")

    (record,) = quarantined(registry)

    headers = dict(record.headers)
    assert (b"\x00no event", b"key") == (record.value, record.key)
    assert (b"7", b"\x00\xff", b"hosts:0:0") == (headers["ce_id"], headers["odd"], headers[FROM])
    (reason,) = registry.ask("select reason from quarantine")[0]
    assert reason == headers[REASON].decode()


def test_it_is_put_there_once_whoever_looks(tmp_path: Path) -> None:
    """A second announcer, and the first one again, find it there."""
    registry = Registry(tmp_path)
    registry.append(NewRecord(b"one"), topic="registry")
    first = Quarantine(registry.log)
    quarantined(registry, first)
    quarantined(registry, first)
    registry.append(NewRecord(b"two"), topic="registry")

    records = quarantined(registry, Quarantine(registry.log))
    again = quarantined(registry, first)

    assert [b"one", b"two"] == [record.value for record in records] == [record.value for record in again]


def test_of_what_is_too_large_with_its_reason_the_place_is_told(tmp_path: Path) -> None:
    """A record that fills what the log takes still gets its line."""
    registry = Registry(tmp_path)
    registry.append(NewRecord(b"large", b"k" * (MAX_HEAD_BYTES - 30)), topic="registry")

    (record,) = quarantined(registry)

    assert (b"", b"registry:0:0") == (record.value, dict(record.headers)[FROM])
