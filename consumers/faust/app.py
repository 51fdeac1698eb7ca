"""The Faust app of a validation worker: a member of its group, and nothing else that Faust can be."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deedbook.consumers.faust.settings import credentials, timing
from deedbook.events.errors import MissingExtra
from deedbook.events.facts import VALIDATIONS
from deedbook.events.log import Record

if TYPE_CHECKING:
    import faust
    from faust.types import TopicT
    from faust.types.tuples import Message

    from deedbook.events.kafka.settings import KafkaSettings

GROUP = "deedbook-validation"
# Orders may have a megabyte each, and wait in memory for the one in hand: a few are enough.
_MAX_WAITING = 16
_MAX_FETCH_BYTES = 2 << 20


def group_of(kafka: KafkaSettings) -> str:
    """Return the consumer group that a registry's workers share its orders in."""
    return f"{GROUP}-{kafka.prefix}" if kafka.prefix else GROUP


def faust_settings(kafka: KafkaSettings) -> dict[str, Any]:
    """Return what Faust is told. Raises InvalidInput, MissingExtra."""
    _check_installed()
    times = timing(kafka.options)
    return {
        "id": group_of(kafka),
        "broker": [f"kafka://{server}" for server in kafka.servers.split(",")],
        "broker_credentials": credentials(kafka.options),
        "broker_client_id": kafka.options.get("client.id", GROUP),
        "broker_session_timeout": times.session_seconds,
        "broker_heartbeat_interval": times.heartbeat_seconds,
        "broker_request_timeout": max(times.session_seconds * 2, 30.0),
        "broker_rebalance_timeout": times.session_seconds,
        "broker_max_poll_interval": times.busy_seconds,
        "broker_commit_interval": times.commit_seconds,
        "broker_max_poll_records": _MAX_WAITING,
        "broker_check_crcs": True,
        "consumer_auto_offset_reset": "earliest",
        "consumer_max_fetch_size": _MAX_FETCH_BYTES,
        "stream_buffer_maxsize": _MAX_WAITING,
        # A rebalance doesn't wait for the check in hand, and a long check is no fault.
        "stream_wait_empty": False,
        "stream_processing_timeout": times.busy_seconds,
        "broker_commit_livelock_soft_timeout": times.busy_seconds,
        # Without standby replicas partitions are dealt out in turn, not by Faust's own way for tables.
        "table_standby_replicas": 0,
        "store": "memory://",
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "web_enabled": False,
        "autodiscover": False,
        # Faust would let any variable of the environment say otherwise.
        "env": {},
        "datadir": tempfile.gettempdir(),
    }


def new_app(kafka: KafkaSettings, settings: Mapping[str, Any]) -> tuple[faust.App, TopicT]:
    """Return an app for the event loop that runs now, and the topic of its orders."""
    import faust
    from faust.app.base import BootStrategy

    class ConsumerOnly(BootStrategy):
        """What to start: the consumer, the agent, and what brings them together."""

        enable_kafka_producer = False
        enable_kafka_consumer = True
        enable_sensors = False
        enable_web = False

    class App(faust.App):
        """An app that keeps nothing on this machine."""

        BootStrategy = ConsumerOnly
        logger = logging.getLogger("faust.app")

        async def on_first_start(self) -> None:
            """Make no folders: they would be for tables."""

    app = App(**settings, loop=asyncio.get_running_loop())
    topic = app.topic(
        kafka.topic(VALIDATIONS),
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
        allow_empty=True,
    )
    return app, topic


def _check_installed() -> None:
    """Raise MissingExtra where Faust, or what its client unpacks records with, is not installed."""
    try:
        import faust  # noqa: F401
        from aiokafka.codec import has_lz4, has_snappy, has_zstd
    except ModuleNotFoundError as error:
        raise MissingExtra(f"this needs {error.name}: pip install 'deedbook[worker]'") from error
    # A producer chooses how it packs; a worker that can't unpack it would stand still at that record.
    if not (has_lz4() and has_snappy() and has_zstd()):
        raise MissingExtra("this needs cramjam: pip install 'deedbook[worker]'")


def record_of(message: Message) -> Record:
    """Return what Faust brings as the log itself would have read it."""
    headers = message.headers.items() if isinstance(message.headers, Mapping) else message.headers or ()
    return Record(
        topic=VALIDATIONS,
        partition=message.partition,
        position=message.offset,
        recorded_at=round((message.timestamp or 0.0) * 1000) * 1000,
        key=message.key or b"",
        value=message.value or b"",
        headers=tuple((name, value or b"") for name, value in headers),
    )
