"""A log on Kafka while a copy fills it: topics that keep the times they are given, and refuse to be opened.

`CreateTime` is both: a record keeps the time it is sent with, and no start of deedbook accepts such a
topic. As the last thing the topics are switched to `LogAppendTime`, which stamps only what comes after.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from deedbook.events.copying import Restored
from deedbook.events.errors import InvalidInput, LogDamaged, LogUnavailable
from deedbook.events.facts import TOPICS
from deedbook.events.kafka.client import Admin, explained, native, pause_before_retry
from deedbook.events.kafka.log import KafkaLog
from deedbook.events.kafka.producing import Producing
from deedbook.events.kafka.topics import COPYING, create_topics, describe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deedbook.events.kafka.settings import KafkaSettings
    from deedbook.events.log import NewRecord

_ASKING_SECONDS = 30.0
_SENDING_SECONDS = 120.0
# A broker says how a topic is configured a moment before it acts so.
_SETTLING_SECONDS = 1.0
_TIMES = "message.timestamp.type"
_BY_THE_WRITER, _BY_THE_LOG = COPYING[_TIMES], "LogAppendTime"
# Other people's records may be as large as a topic takes; many small ones are sent together.
_FOR_MANY = {"message.max.bytes": str(2 << 20), "linger.ms": "5"}


class KafkaTarget:
    """The `CopyTarget` on Kafka; topics that are not there are made with so many partitions.

    Raises InvalidInput, AccessDenied, LogDamaged, LogUnavailable, MissingExtra.
    """

    def __init__(self, settings: KafkaSettings, *, partitions: int = 6) -> None:
        self._settings = settings
        self._partitions = partitions
        self._admin = Admin(settings)
        self._producing = Producing(replace(settings, options={**_FOR_MANY, **settings.options}))
        self._seen_on: set[str] = set()
        self._log: KafkaLog | None = None
        topics = describe(self._admin, self._deadline(), at_once_if_denied=True)
        if len(topics.ids) == len(TOPICS):
            self._log = KafkaLog(settings, copying=True)

    def log(self) -> KafkaLog | None:
        """Return what is there, for reading; None where nothing is yet."""
        return self._log

    def begin(self) -> None:
        """Make the topics, if they are not all there, and have them keep the times they are given."""
        if self._log is None:
            create_topics(self._settings, partitions=self._partitions, copying=True)
            log = KafkaLog(self._settings, copying=True)
            if any(log.ends(TOPICS).values()):
                log.close()
                raise InvalidInput(
                    "some of the topics to copy to were there, and hold records: copy to a new prefix"
                )
            self._log = log
        if any(kind != _BY_THE_WRITER for kind in self._times().values()):
            self._switch(COPYING)
            time.sleep(_SETTLING_SECONDS)

    def restore(self, topic: str, records: Sequence[Restored]) -> list[tuple[int, int]]:
        """Add records at the times given with them; return where each is, once all in-sync replicas have it."""
        for record in records:
            if record.recorded_at < 1_000:
                raise InvalidInput(
                    f"a record of {topic} was recorded at {record.recorded_at} microseconds since 1970, a time that "
                    "Kafka cannot keep: it cannot be copied there"
                )
        try:
            places = self._producing.append(
                topic, records, time.monotonic() + _SENDING_SECONDS, timestamp_of=_millis_of
            )
        except LogUnavailable as error:
            raise LogUnavailable(
                f"the copy stopped, and goes on with what is missing if the command is given again ({error})"
            ) from error
        if topic not in self._seen_on:
            self._check_time(topic, places[0], records[0].recorded_at)
            self._seen_on.add(topic)
        return places

    def finish(self) -> None:
        """Have the log stamp whatever comes from now on, which lets everybody open it."""
        self._switch({_TIMES: _BY_THE_LOG}, gone=COPYING.keys() - {_TIMES})

    def close(self) -> None:
        """End all clients; closing twice is harmless."""
        self._producing.close()
        if self._log is not None:
            self._log.close()

    def _check_time(self, topic: str, place: tuple[int, int], recorded_at: int) -> None:
        """See that the cluster kept the time of a record it was given: nothing could mend that later."""
        partition, position = place
        log = self._log or KafkaLog(self._settings, copying=True)
        found = log.read(topic, partition, position, max_records=1, timeout_seconds=_ASKING_SECONDS)
        if [recorded_at] != [record.recorded_at for record in found]:
            raise LogDamaged(
                f"the cluster did not keep the time that {self._settings.topic(topic)} was given with a record: remove "
                "its topics, and copy to a new prefix"
            )

    def _switch(self, wanted: Mapping[str, str], gone: Sequence[str] | set[str] = ()) -> None:
        """Change all topics' configuration, and read it back until every broker asked says so."""
        kafka = native().admin
        change, remove = kafka.AlterConfigOpType.SET, kafka.AlterConfigOpType.DELETE
        resources = [
            kafka.ConfigResource(
                kafka.ResourceType.TOPIC,
                self._settings.topic(topic),
                incremental_configs=[
                    *[
                        kafka.ConfigEntry(name, value, incremental_operation=change)
                        for name, value in wanted.items()
                    ],
                    *[kafka.ConfigEntry(name, None, incremental_operation=remove) for name in gone],
                ],
            )
            for topic in TOPICS
        ]
        deadline = self._deadline()
        answers = self._admin.answers(self._admin.client.incremental_alter_configs(resources), deadline)
        self._refuse_errors({resource.name: answer for resource, answer in answers.items()})
        while any(kind != wanted[_TIMES] for kind in self._times().values()):
            if not pause_before_retry(deadline):
                raise self._admin.unavailable(f"did not take {_TIMES}={wanted[_TIMES]} in time: try again")

    def _times(self) -> dict[str, str]:
        """Return what each topic's times are, by its full name."""
        kafka = native().admin
        resources = [
            kafka.ConfigResource(kafka.ResourceType.TOPIC, self._settings.topic(topic)) for topic in TOPICS
        ]
        futures = self._admin.client.describe_configs(resources)
        answers = self._admin.answers({one.name: future for one, future in futures.items()}, self._deadline())
        self._refuse_errors(answers)
        return {name: str(found[_TIMES].value) for name, found in answers.items()}

    def _refuse_errors(self, answers: Mapping[str, Any]) -> None:
        names = {self._settings.topic(topic): topic for topic in TOPICS}
        for full, answer in answers.items():
            if isinstance(answer, native().KafkaError):
                raise explained(answer, names[full], self._settings)

    def _deadline(self) -> float:
        return time.monotonic() + _ASKING_SECONDS


def _millis_of(record: NewRecord) -> int:
    return cast("Restored", record).recorded_at // 1_000
