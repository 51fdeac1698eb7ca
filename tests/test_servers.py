"""The real servers that tests run against: that they are what they say, and that nothing of them stays behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.servers import jars, play
from tests.servers.kafka import KafkaCluster, own_kafka, quiet_admin
from tests.servers.leash import own_leash
from tests.servers.ports import HOST, is_open
from tests.servers.properties import Security
from tests.servers.proxy import PRODUCE, KafkaProxy, kafka_proxy
from tests.servers.s3 import S3Place, S3Server
from tests.servers.shared import Bucket, delete_topics

if TYPE_CHECKING:
    from jgo.maven import MavenContext

PATIENCE_SECONDS = 60.0
ROOT = Path(__file__).parents[1]
# Other people's packages are called `tests`, too: this one is found by its folder.
FIND_TESTS = f"""
import sys, types
tests = sys.modules["tests"] = types.ModuleType("tests")
tests.__path__ = [{str(Path(__file__).parent)!r}]
"""


def until(is_so: Callable[[], bool], what: str) -> None:
    """Wait for something that another process does."""
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < ends_at, f"not after {PATIENCE_SECONDS:.0f} s: {what}"
        time.sleep(0.05)


def with_topic(admin: AdminClient, topic: str, copies: int = 1) -> str:
    """A new topic of one partition, which the brokers tell of by now."""
    admin.create_topics([NewTopic(topic, 1, copies)])[topic].result(timeout=30)
    until(lambda: topic in admin.list_topics(timeout=10).topics, f"{topic} is listed")
    return topic


def produced(options: dict[str, str], topic: str, value: bytes, *, seconds: int = 30) -> str:
    """What the broker said of one record: nothing, or the error."""
    said: list[str] = []
    patience: dict[str, Any] = {
        "message.timeout.ms": seconds * 1000,
        "socket.timeout.ms": 2000,
        "log_level": 0,
    }
    producer = Producer({**options, **patience, "enable.idempotence": True})
    producer.produce(topic, value, on_delivery=lambda error, _: said.append(error.name() if error else ""))
    producer.flush()
    return said[0]


def values_of(options: dict[str, str], topic: str, count: int) -> list[bytes]:
    """The first records of a topic."""
    reader = Consumer({**options, "group.id": "readers", "enable.auto.commit": False})
    reader.assign([TopicPartition(topic, 0, 0)])
    records = reader.consume(count, timeout=30)
    reader.close()
    return [record.value() or b"" for record in records]


# --- those that a run shares ---------------------------------------------------------------------


def test_the_shared_kafka_keeps_records_and_makes_no_topic_by_itself(kafka: str, kafka_url: str) -> None:
    """It is a real broker, and a misspelt topic is an error."""
    prefix = kafka_url.rpartition("/")[2]
    topic = with_topic(quiet_admin(kafka), f"{prefix}.kept")
    options = {"bootstrap.servers": kafka}

    assert "" == produced(options, topic, b"one")
    assert [b"one"] == values_of(options, topic, 1)
    assert produced(options, f"{prefix}.misspelt", b"two", seconds=3).startswith(
        ("_UNKNOWN", "UNKNOWN", "_MSG")
    )


def test_a_prefixs_topics_are_removed_and_no_others(kafka: str, kafka_url: str) -> None:
    """A broker that was given for the tests is left as it was."""
    prefix = kafka_url.rpartition("/")[2]
    admin = quiet_admin(kafka)
    gone, left = with_topic(admin, f"{prefix}a.registry"), with_topic(admin, f"{prefix}.registry")

    delete_topics(kafka, f"{prefix}a")

    until(lambda: gone not in admin.list_topics(timeout=10).topics, "the topic is gone")
    assert left in admin.list_topics(timeout=10).topics


def test_a_bucket_is_new_and_its_keys_are_needed(s3: Bucket) -> None:
    """Every test has its own bucket, and the server lets nobody in who has no key."""
    from botocore.exceptions import ClientError

    s3.client.put_object(Bucket=s3.name, Key="a", Body=b"x")
    stranger = S3Place(s3.place.endpoint, s3.place.access_key, "wrong").client()

    assert ["a"] == s3.keys()
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        stranger.list_objects_v2(Bucket=s3.name)


INNER_TEST = """
import time, pytest

@pytest.mark.parametrize("number", range(2))
def test_that_uses_the_server(s3_place, number, pytestconfig):
    with open("seen", "a") as seen:
        print(s3_place.endpoint, pytestconfig.workerinput["servers_folder"], file=seen)
    time.sleep({seconds})
"""
FIXTURES = "pytest_configure, pytest_configure_node, pytest_unconfigure, s3_place  # noqa: F401, E402\n"


@pytest.mark.parametrize("way", ["in order", "by kill -9"])
def test_a_run_of_several_processes_has_one_server_that_ends_with_it(tmp_path: Path, way: str) -> None:
    """However the controlling process ends, the server and its folder are gone afterwards."""
    killed = way == "by kill -9"
    (tmp_path / "conftest.py").write_text(FIND_TESTS + "from tests.servers.shared import " + FIXTURES)
    (tmp_path / "test_inner.py").write_text(INNER_TEST.format(seconds=100 if killed else 0.1))
    (tmp_path / "pytest.ini").touch()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DEEDBOOK_TEST_")}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "test_inner.py"]
    with (tmp_path / "said").open("wb") as said:
        run = subprocess.Popen(command, cwd=tmp_path, stdout=said, stderr=said, env=environment)
    seen = tmp_path / "seen"
    until(lambda: seen.exists() and len(seen.read_text().splitlines()) == 2, "both tests have the server")
    if killed:
        run.kill()
    run.wait(PATIENCE_SECONDS)

    ((endpoint, folder),) = {tuple(line.split()) for line in seen.read_text().splitlines()}
    assert (-signal.SIGKILL if killed else 0) == run.returncode, (tmp_path / "said").read_text()
    until(lambda: not is_open(int(endpoint.rpartition(":")[2])), "nobody listens")
    until(lambda: not Path(folder).exists(), "the folder is gone")


# --- those that a test has of its own ------------------------------------------------------------


@pytest.fixture(scope="module")
def proxied() -> Iterator[tuple[KafkaCluster, KafkaProxy]]:
    """One broker, and a proxy before it."""
    with kafka_proxy() as proxy, own_kafka(advertised=[proxy.port]) as cluster:
        proxy.upstream = cluster.client_port(1)
        yield cluster, proxy


@pytest.fixture
def broker(proxied: tuple[KafkaCluster, KafkaProxy]) -> Iterator[tuple[KafkaCluster, KafkaProxy]]:
    """The same, up and unharmed."""
    cluster, proxy = proxied
    yield cluster, proxy
    proxy.heal()
    cluster.start()


def test_a_lost_produce_response_leaves_a_record_that_nobody_acknowledged(
    broker: tuple[KafkaCluster, KafkaProxy],
) -> None:
    """The record is there, the producer knows nothing of it; other responses pass."""
    cluster, proxy = broker
    options = cluster.client_options()
    topic = with_topic(cluster.admin, "lost-response")

    proxy.drop_responses(PRODUCE)
    said = produced(options, topic, b"one", seconds=3)
    proxy.heal()

    assert "_MSG_TIMED_OUT" == said
    assert proxy.drops > 0
    assert [b"one"] == values_of(options, topic, 1)


def test_a_broker_that_cant_be_reached_is_found_again(broker: tuple[KafkaCluster, KafkaProxy]) -> None:
    """Cut connections are made anew as soon as the proxy lets them."""
    cluster, proxy = broker
    topic = with_topic(cluster.admin, "unreachable")

    proxy.refuse()
    refused = produced(cluster.client_options(), topic, b"one", seconds=2)
    proxy.heal()

    assert "_MSG_TIMED_OUT" == refused
    assert "" == produced(cluster.client_options(), topic, b"two")


@pytest.mark.soak
def test_a_killed_broker_comes_back_on_its_ports_with_its_records(
    broker: tuple[KafkaCluster, KafkaProxy],
) -> None:
    """What was acknowledged before kill -9 is read after the next start; a frozen broker goes on, too."""
    cluster, _proxy = broker
    options = cluster.client_options()
    topic = with_topic(cluster.admin, "killed")
    first = produced(options, topic, b"one")
    before = cluster.process_id(1)

    cluster.kill(1)
    cluster.start(1)
    cluster.freeze(1)
    frozen = produced(options, topic, b"never", seconds=1)
    cluster.thaw(1)

    assert ("", "_MSG_TIMED_OUT") == (first, frozen)
    assert before != cluster.process_id(1)
    assert options == cluster.client_options()
    assert 1 == cluster.leader_of(topic)
    assert [b"one"] == values_of(options, topic, 1)


@pytest.mark.soak
def test_users_come_in_with_their_password_and_do_what_they_may() -> None:
    """SASL with PLAIN and SCRAM over TLS; without an ACL only the super user may do anything."""
    security = Security(plain={"admin": "a-secret", "tina": "t-secret"}, scram={"sam": "s-secret"}, tls=True)
    with own_kafka(security=security) as cluster:
        topic = with_topic(quiet(cluster.client_options("admin")), "guarded")

        said = {
            user: produced(cluster.client_options(user), topic, b"x") for user in ("admin", "tina", "sam")
        }
        with pytest.raises(KafkaException):
            quiet({**cluster.client_options("sam"), "sasl.password": "wrong"}).list_topics(timeout=2)

    refused = "TOPIC_AUTHORIZATION_FAILED"
    assert {"admin": "", "tina": refused, "sam": refused} == said


def quiet(options: dict[str, str]) -> AdminClient:
    """An admin client that prints nothing."""
    return AdminClient({**options, "log_level": 0})


@pytest.mark.soak
def test_three_brokers_elect_a_new_leader() -> None:
    """Killed by -9, the leader is followed by another, and all that was acknowledged is there."""
    with own_kafka(3) as cluster:
        topic = with_topic(cluster.admin, "copied", copies=3)
        options = {**cluster.client_options(), "acks": "all"}
        first = produced(options, topic, b"one")
        leader = cluster.leader_of(topic)

        cluster.kill(leader)
        second = produced(options, topic, b"two")

        assert ("", "") == (first, second)
        assert leader != cluster.leader_of(topic)
        assert [b"one", b"two"] == values_of(options, topic, 2)


def test_servers_end_with_the_process_that_owns_them(tmp_path: Path) -> None:
    """A test process that is killed leaves no broker behind, and no folder."""
    program = (
        f"{FIND_TESTS}\nimport time\nfrom pathlib import Path\nfrom tests.servers.leash import own_leash\n"
        "with own_leash() as (leash, folder):\n"
        f"    server = leash.start(['sleep', '1000'], Path({str(tmp_path / 'log')!r}))\n"
        "    print(server.pid, folder, flush=True)\n"
        "    time.sleep(1000)\n"
    )
    with subprocess.Popen([sys.executable, "-P", "-c", program], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        process_id, folder = owner.stdout.readline().split()
        owner.kill()

    until(lambda: not is_alive(int(process_id)), "the server is gone")
    until(lambda: not Path(folder).exists(), "the folder is gone")


def is_alive(process_id: int) -> bool:
    """Whether there is such a process, and it still runs."""
    listed = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(process_id)], capture_output=True, text=True, check=False
    )
    return listed.stdout.strip() not in {"", "Z"}


# --- when they don't come up ---------------------------------------------------------------------


def test_a_broker_that_doesnt_come_up_says_why() -> None:
    """The error ends with the broker's own words."""
    with own_leash() as (leash, folder):
        cluster = KafkaCluster(folder, leash, properties={"num.io.threads": "several"})

        with pytest.raises(RuntimeError, match="several"):
            cluster.start()


def test_an_s3_server_that_doesnt_come_up_says_why() -> None:
    """The error ends with the server's own words."""
    with own_leash() as (leash, folder):
        server = S3Server(folder, leash)
        (folder / "data" / "filerldb2").mkdir(parents=True)
        (folder / "data" / "filerldb2" / "00").write_text("no folder")

        with pytest.raises(RuntimeError, match="not a directory"):
            server.start()


def test_an_s3_server_takes_no_other_port_than_it_was_told() -> None:
    """Where the port is taken, that is said at once."""
    with own_leash() as (leash, folder), socket.create_server((HOST, 0)) as taken:
        server = S3Server(folder, leash, port=taken.getsockname()[1])

        with pytest.raises(RuntimeError, match="is taken"):
            server.start()


@pytest.fixture
def repository(tmp_path: Path) -> MavenContext:
    """A local Maven cache, and a repository on disk that it is filled from; both are empty."""
    from jgo.maven import MavenContext

    return MavenContext(repo_cache=tmp_path / "cache", local_repos=[tmp_path / "repository"], offline=True)


SMALL_JAR = "net.sf.jopt-simple:jopt-simple:5.0.4"
SMALL_PATH = "net/sf/jopt-simple/jopt-simple/5.0.4/jopt-simple-5.0.4.jar"


def test_a_jar_damaged_in_the_cache_is_fetched_again(tmp_path: Path, repository: MavenContext) -> None:
    """What was cut off or changed on the way is not put on the class path."""
    for place, content in (("cache", b"cut off"), ("repository", b"whole")):
        (tmp_path / place / SMALL_PATH).parent.mkdir(parents=True)
        (tmp_path / place / SMALL_PATH).write_bytes(content)
    wanted = jars.digest(tmp_path / "repository" / SMALL_PATH)

    found = jars.verified(repository, SMALL_JAR, wanted)

    assert b"whole" == found.read_bytes()


def test_a_jar_that_isnt_the_pinned_one_is_refused(tmp_path: Path, repository: MavenContext) -> None:
    """No code runs that wasn't pinned."""
    (tmp_path / "repository" / SMALL_PATH).parent.mkdir(parents=True)
    (tmp_path / "repository" / SMALL_PATH).write_bytes(b"another")

    with pytest.raises(RuntimeError, match="jopt-simple"):
        jars.verified(repository, SMALL_JAR, jars.pinned()[SMALL_JAR])


# --- those that a person plays with --------------------------------------------------------------


class Played:
    """`make s3` or `make kafka`, as a process."""

    def __init__(self, kind: str, folder: Path) -> None:
        command = [sys.executable, "-P", play.__file__, kind, "--folder", str(folder)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        count = {"kafka": 2, "s3": 5}[kind]
        told = "".join(self._process.stdout.readline() for _ in range(count))
        self.variables = dict(re.findall(r'^export (\w+)="?([^"\n]+)"?$', told, re.MULTILINE))

    def interrupt(self) -> int:
        """Press Ctrl-C; return the exit status."""
        self._process.send_signal(signal.SIGINT)
        status = self._process.wait(PATIENCE_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return status


def test_an_s3_server_to_play_with_goes_on_where_it_ended(tmp_path: Path) -> None:
    """It prints what to export, ends on Ctrl-C, and the second start has the objects of the first."""
    first = Played("s3", tmp_path / "kept")
    place = place_in(first.variables)
    place.client().put_object(Bucket=play.BUCKET, Key="a", Body=b"x")
    ended = first.interrupt()

    second = Played("s3", tmp_path / "kept")
    found = place.client().get_object(Bucket=play.BUCKET, Key="a")["Body"].read()

    assert (0, b"x") == (ended, found)
    assert first.variables == second.variables
    assert 0 == second.interrupt()


def place_in(variables: dict[str, str]) -> S3Place:
    """The server that the exported variables speak of."""
    found = re.fullmatch(r"s3://deedbook\?endpoint=(.+)&region=(.+)", variables["DEEDBOOK_ARTIFACTS"])
    assert found is not None
    keys = variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"]
    return S3Place(found[1], *keys, region=found[2])


@pytest.mark.soak
def test_a_kafka_to_play_with_goes_on_where_it_ended(tmp_path: Path) -> None:
    """It prints what to export, ends on Ctrl-C, and the second start has the records of the first."""
    first = Played("kafka", tmp_path / "kept")
    servers = first.variables["DEEDBOOK_URL"].removeprefix("kafka://").removesuffix("/demo")
    options = {"bootstrap.servers": servers}
    topic = with_topic(quiet_admin(servers), "demo.registry")
    said = produced(options, topic, b"one")
    ended = first.interrupt()

    second = Played("kafka", tmp_path / "kept")

    assert ("", 0) == (said, ended)
    assert first.variables == second.variables
    assert [b"one"] == values_of(options, topic, 1)
    assert 0 == second.interrupt()
