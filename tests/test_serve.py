"""`deedbook serve` as the program that people run: it starts, answers, says how it does, and ends."""

from __future__ import annotations

import json
import queue
import signal
import ssl
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest

import deedbook
from deedbook.api.v1 import registry_pb2 as pb
from deedbook.api.v1 import registry_pb2_grpc
from deedbook.events.facts import REGISTRY
from deedbook.events.log import NewRecord
from deedbook.events.sqlite_log import SqliteLog
from tests.command import Command
from tests.serving.program import PATIENCE_SECONDS, Served, served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

REQUEST_ID = "x-request-id"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service on a folder where nothing was before."""
    with served(tmp_path_factory.mktemp("served") / "registry", "--log-level", "debug") as service:
        yield service


@pytest.fixture
def stub(service: Served) -> Iterator[registry_pb2_grpc.RegistryStub]:
    """Its gRPC interface."""
    with grpc.insecure_channel(service.grpc_target) as channel:
        yield registry_pb2_grpc.RegistryStub(channel)


def logged(stub: registry_pb2_grpc.RegistryStub, **call: Any) -> str:  # noqa: ANN401 - any option of a call
    """Log a training, and return its id."""
    request = pb.LogTrainingRequest(training=pb.Training(model="home-price"))
    return str(stub.LogTraining(request, timeout=PATIENCE_SECONDS, **call).training_id)


def lines_of(service: Served, request_id: str) -> list[dict[str, Any]]:
    """What it logged of a request, once it has."""

    def found() -> list[dict[str, Any]]:
        return [line for line in service.lines() if line.get("request_id") == request_id]

    assert _eventually(found)
    return found()


def _eventually(is_so: Callable[[], object]) -> bool:
    """Wait until it is so; False where it never comes."""
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > ends_at:
            return False
        time.sleep(0.02)
    return True


# --- it starts -----------------------------------------------------------------------------------------


def test_an_empty_folder_becomes_a_registry_that_is_ready(service: Served) -> None:
    """Nothing has to be made beforehand."""
    answer = httpx.get(f"{service.web}/readyz").json()

    assert (True, []) == (answer["ready"], answer["problems"])


def test_a_process_that_answers_lives(service: Served) -> None:
    """Whoever watches over processes asks no more than that."""
    assert (200, "ok\n") == ((answer := httpx.get(f"{service.web}/healthz")).status_code, answer.text)


def test_its_folder_says_where_it_is_reached(service: Served) -> None:
    """For programs that gave it any free port."""
    told = json.loads((service.folder / "serving.json").read_text(encoding="utf-8"))

    assert (service.process.pid, service.web, service.grpc) == (told["pid"], told["web"], told["grpc"])


def test_a_second_one_on_the_same_folder_says_who_serves_it(service: Served) -> None:
    """It ends with one sentence that names the first."""
    second = Command(service.folder).program("serve", "--web", "127.0.0.1:0", "--grpc", "127.0.0.1:0")

    assert 1 == second.status
    assert (
        f"deedbook: {service.folder} is kept by deedbook serve at {service.web} and {service.grpc}, process "
        f"{service.process.pid} already\n"
    ) == second.err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--web", "0.0.0.0:0"], "there are no tokens"),
        (["--grpc", "0.0.0.0:0"], "there are no tokens"),
        (["--web", "here"], "is no address"),
        (["--web", "127.0.0.1:99999"], "is no address"),
        (["--key", "key.pem"], "a key its certificate"),
        (["--certificate", "/no/cert.pem", "--key", "/no/key.pem"], "can't be"),
        (["--web", "192.0.2.1:0", "--plaintext"], "there are no tokens"),
    ],
)
def test_what_can_t_be_served_is_refused_in_a_sentence(
    tmp_path: Path, options: list[str], sentence: str
) -> None:
    """An address that is none, one that others reach without a token, half a certificate."""
    ended = Command(tmp_path / "registry")("serve", *_free(options))

    assert (2, "") == (ended.status, ended.out)
    assert sentence in ended.err
    assert 1 == ended.err.count("\n")


def test_a_port_that_is_taken_is_named(service: Served, tmp_path: Path) -> None:
    """Whoever runs it is told which option gives another."""
    for option, url in (("--web", service.web), ("--grpc", service.grpc)):
        address = url.partition("://")[2]
        ended = Command(tmp_path / "registry")("serve", *_free([option, address]))

        assert 2 == ended.status
        assert f"{address} can't be listened on" in ended.err
        assert f"give another address by {option} HOST:PORT" in ended.err


def test_tokens_that_others_can_read_are_refused(tmp_path: Path) -> None:
    """Before anything listens."""
    command = Command(tmp_path / "registry")
    command.done("init")
    command.done("token", "create", "ana", "--role", "admin")
    (command.folder / "tokens.json").chmod(0o644)

    ended = command("serve", "--web", "127.0.0.1:0", "--grpc", "127.0.0.1:0")

    assert 2 == ended.status
    assert "tokens.json" in ended.err


def _free(options: list[str]) -> list[str]:
    """These options, and any free port for what they don't name."""
    missing = [option for option in ("--web", "--grpc") if option not in options]
    return [*options, *(part for option in missing for part in (option, "127.0.0.1:0"))]


# --- it says how it does -------------------------------------------------------------------------------


def test_a_request_of_a_page_has_an_id_that_comes_back_and_is_logged(service: Served) -> None:
    """The caller's own id, where it can be logged; else one that is made."""
    given = httpx.get(f"{service.web}/", headers={REQUEST_ID: "from-the-proxy.7"})
    made = httpx.get(f"{service.web}/", headers={REQUEST_ID: "no id\tat all"})

    assert "from-the-proxy.7" == given.headers[REQUEST_ID]
    assert "no id\tat all" != made.headers[REQUEST_ID]
    (line,) = lines_of(service, "from-the-proxy.7")
    assert ("web", "/", "200") == (line["interface"], line["route"], line["code"])


def test_a_call_has_an_id_that_comes_back_and_is_logged(
    service: Served, stub: registry_pb2_grpc.RegistryStub
) -> None:
    """In the metadata that the answer ends with, under the same name; a read is told of because it has one."""
    answered, call = stub.GetStatus.with_call(pb.GetStatusRequest(), metadata=((REQUEST_ID, "a-call.7"),))

    assert deedbook.__version__ == answered.version
    assert "a-call.7" == dict(call.trailing_metadata())[REQUEST_ID]
    (line,) = lines_of(service, "a-call.7")
    assert ("grpc", "GetStatus", "OK") == (line["interface"], line["route"], line["code"])


def test_what_is_done_is_counted(service: Served, stub: registry_pb2_grpc.RegistryStub) -> None:
    """Events folded and appended, pages and calls answered, by name and status."""
    logged(stub)
    httpx.get(f"{service.web}/no-such-page")

    told = httpx.get(f"{service.web}/metrics").text

    for measure in (
        'deedbook_events_folded_total{decision="accepted",topic="registry"}',
        'deedbook_appends_total{outcome="durable",topic="registry"}',
        'deedbook_requests_total{code="OK",interface="grpc",route="LogTraining"}',
        'deedbook_requests_total{code="404",interface="web",route="other"}',
        'deedbook_lag_events{topic="registry"} 0.0',
        "deedbook_log_reachable 1.0",
    ):
        assert measure in told


def test_a_record_that_can_t_be_read_degrades_and_goes_on(service: Served) -> None:
    """Another program's bytes are no reason not to be asked."""
    log = SqliteLog(service.folder)
    log.append(REGISTRY, [NewRecord(b"no event")])
    log.close()
    assert _eventually(lambda: httpx.get(f"{service.web}/readyz").json()["degraded"])
    answer = httpx.get(f"{service.web}/readyz")

    assert (200, True, 1) == (answer.status_code, answer.json()["ready"], answer.json()["quarantined"])


def test_no_token_is_logged(tmp_path: Path) -> None:
    """Not when it is right, not when it is wrong, and not from an address."""
    command = Command(tmp_path / "registry")
    command.done("init")
    token = command.done("token", "create", "ana", "--role", "admin").split()[-1]
    found = next(part for part in (*token.split(), token) if part.startswith("db_"))
    secret = found.rpartition("_")[2]
    headers = {"authorization": f"Bearer {found}"}
    with served(command.folder, "--log-level", "debug") as service:
        httpx.get(f"{service.web}/", headers=headers)
        httpx.get(f"{service.web}/?token={found}", headers={"authorization": f"Bearer {found}x"})
        with grpc.insecure_channel(service.grpc_target) as channel:
            stub = registry_pb2_grpc.RegistryStub(channel)
            logged(stub, metadata=(("authorization", f"Bearer {found}"),))
            with pytest.raises(grpc.RpcError):
                logged(stub, metadata=(("authorization", f"Bearer {found[:-1]}0"),))
        service.end()
        written = service.written.read_text(encoding="utf-8")

    assert "LogTraining" in written
    assert secret[:20] not in written


# --- it speaks TLS -------------------------------------------------------------------------------------


def test_both_front_ends_speak_tls(tmp_path: Path) -> None:
    """With the certificate they are given, to whom trusts it."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    named = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command = [*made, "-days", "2", *named, "-keyout", str(key), "-out", str(certificate)]
    try:
        subprocess.run(command, capture_output=True, check=True)
    except FileNotFoundError:
        pytest.skip("openssl makes the certificate, and is not here")
    with served(tmp_path / "registry", "--certificate", str(certificate), "--key", str(key)) as service:
        trusting = grpc.ssl_channel_credentials(certificate.read_bytes())
        with grpc.secure_channel(service.grpc_target, trusting) as channel:
            assert logged(registry_pb2_grpc.RegistryStub(channel))
        answer = httpx.get(f"{service.web}/", verify=ssl.create_default_context(cafile=certificate))

    assert ("https", "grpcs") == (service.web.partition(":")[0], service.grpc.partition(":")[0])
    assert 200 == answer.status_code


# --- it ends -------------------------------------------------------------------------------------------


def test_at_its_end_streams_are_told_and_requests_are_answered(tmp_path: Path) -> None:
    """SIGTERM: a follower learns that it should go on elsewhere, an upload is finished, the status is 0."""
    with served(tmp_path / "registry") as service, grpc.insecure_channel(service.grpc_target) as channel:
        stub = registry_pb2_grpc.RegistryStub(channel)
        logged(stub)
        following = stub.Subscribe(pb.SubscribeRequest())
        next(following)
        parts, upload = _upload(stub)
        service.process.send_signal(signal.SIGTERM)
        with pytest.raises(grpc.RpcError) as told:
            list(following)
        parts.put(None)
        stored = upload.result(PATIENCE_SECONDS)

        assert 0 == service.process.wait(PATIENCE_SECONDS)
    assert grpc.StatusCode.UNAVAILABLE == told.value.code()
    assert 3 == stored.artifact.size_bytes
    assert not (service.folder / "serving.json").exists()
    assert not (service.folder / "owner.sock").exists()


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    """Whoever is in a hurry doesn't wait for an upload."""
    with served(tmp_path / "registry") as service, grpc.insecure_channel(service.grpc_target) as channel:
        _, upload = _upload(registry_pb2_grpc.RegistryStub(channel))
        service.process.send_signal(signal.SIGTERM)
        assert _eventually(lambda: any("ending" in line["message"] for line in service.lines()))

        assert -signal.SIGTERM == service.end()
        upload.cancel()


def _upload(stub: registry_pb2_grpc.RegistryStub) -> tuple[queue.Queue[bytes | None], Any]:
    """Begin an upload that ends when None is put into the queue; it has begun."""
    parts: queue.Queue[bytes | None] = queue.Queue()
    begun = threading.Event()

    def requests() -> Iterator[pb.UploadArtifactRequest]:
        yield pb.UploadArtifactRequest(head=pb.ArtifactHead(format="pickle"))
        yield pb.UploadArtifactRequest(chunk=b"abc")
        begun.set()
        while (part := parts.get()) is not None:
            yield pb.UploadArtifactRequest(chunk=part)

    upload = stub.UploadArtifact.future(requests(), timeout=PATIENCE_SECONDS)
    assert begun.wait(PATIENCE_SECONDS)
    return parts, upload


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """Killed by -9 while several write: the next start is ready, and has every training that was answered."""
    folder = tmp_path / "registry"
    answered: list[str] = []
    with served(folder, "--no-validation") as service:
        writers = [threading.Thread(target=_write_until_it_ends, args=[service, answered]) for _ in range(4)]
        for writer in writers:
            writer.start()
        assert _eventually(lambda: len(answered) >= 40)
        service.process.kill()
        for writer in writers:
            writer.join()
    with served(folder, "--no-validation"):
        registry = deedbook.connect(f"sqlite:///{folder}")
        found = {each.training_id for each in registry.search(limit=100_000)}
        registry.close()

    assert set(answered) <= found


def _write_until_it_ends(service: Served, answered: list[str]) -> None:
    with grpc.insecure_channel(service.grpc_target) as channel:
        stub = registry_pb2_grpc.RegistryStub(channel)
        while True:
            try:
                answered.append(logged(stub))
            except grpc.RpcError:
                return
