"""The live state and the writer, in the test's process: what the front ends lean on."""

from __future__ import annotations

import asyncio
import gc
import threading
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from deedbook.events.errors import DeadlineExceeded, InvalidInput, NotFound, ServiceEnding
from deedbook.events.facts import HOSTS, METRICS, REGISTRY, TrainingLogged
from deedbook.events.ids import new_id
from deedbook.events.log import NewRecord
from deedbook.projector.projection import Projection
from deedbook.projector.queries import models, search
from deedbook.projector.snapshot import open_snapshot
from tests.facts_by_hand import SERVICE, Pen, id_of, training
from tests.serving.in_process import PATIENCE_SECONDS, live_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import duckdb

    from deedbook.service.context import Service

# More than anybody waits for.
FOR_EVER = "select sum(a.range + b.range) from range(100_000_000) a, range(100_000_000) b"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A registry that is served to nobody."""
    with live_registry(tmp_path_factory.mktemp("live") / "registry") as service:
        yield service


def logged(service: Service, name: str = "") -> TrainingLogged:
    """A training of somebody's."""
    return TrainingLogged(**service.writer.envelope("ana"), training=training(name or new_id()))


def appended_elsewhere(service: Service) -> int:
    """Append a training as another process does, which tells nobody; return its position."""
    ((_, position),) = service.log.append(REGISTRY, [service.codec.encode(logged(service))])
    return position


# --- writing -----------------------------------------------------------------------------------------


def test_what_is_appended_is_answered_with_its_decision(service: Service) -> None:
    """A training that nobody knew is accepted where it stands on the log."""
    end = service.log.end(REGISTRY)

    answer = asyncio.run(service.writer.decide(logged(service)))

    assert "accepted" == answer.decision
    assert answer.position >= end


def test_a_rejected_request_says_why(service: Service) -> None:
    """The fold's reason comes back to who asked."""
    answer = asyncio.run(service.writer.decide(Pen(new_id()).overridden("nobody", deployable=True)))

    assert ("rejected", f"there is no training {id_of('nobody')}") == (answer.decision, answer.reason)


def test_the_same_event_again_gets_the_same_answer(service: Service) -> None:
    """A caller that lost the answer asks again, and finds what was decided the first time."""
    fact = Pen(new_id()).overridden("nobody", deployable=True)

    first = asyncio.run(service.writer.decide(fact))
    again = asyncio.run(service.writer.decide(fact))

    assert first == again


def test_the_same_id_with_another_body_is_rejected(service: Service) -> None:
    """An id stands for one event: the second is told so, and not what became of the first."""
    fact = logged(service)
    asyncio.run(service.writer.decide(fact))

    answer = asyncio.run(service.writer.decide(replace(fact, actor="somebody else")))

    assert ("rejected", f"event id {fact.event_id} was used before, for another event") == (
        answer.decision,
        answer.reason,
    )


def test_what_is_malformed_is_refused_and_nothing_is_written(service: Service) -> None:
    """No event without a training id gets onto the log."""
    end = service.log.end(REGISTRY)
    malformed = replace(logged(service), training=replace(training("x"), training_id="no id"))

    with pytest.raises(InvalidInput, match="training_id"):
        asyncio.run(service.writer.decide(malformed))

    assert end == service.log.end(REGISTRY)


def test_what_fails_after_nobody_waits_for_it_is_no_noise(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller has its answer, that there was no time; the append that then fails by itself is told to nobody."""

    async def given_up() -> None:
        with pytest.raises(DeadlineExceeded):
            await service.writer.decide(logged(service), timeout_seconds=0.0)
        # As many more as there are threads for it: the one before has ended then.
        await asyncio.gather(*(service.writer.decide(logged(service)) for _ in range(8)))

    asyncio.run(given_up())
    gc.collect()

    assert [] == [record for record in caplog.records if record.name == "asyncio"]


def test_many_at_once_each_get_their_own_answer(service: Service) -> None:
    """Two hundred callers, two hundred positions."""

    async def all_decided() -> set[int]:
        facts = [logged(service) for _ in range(200)]
        return {answer.position for answer in await asyncio.gather(*map(service.writer.decide, facts))}

    assert 200 == len(asyncio.run(all_decided()))


def test_step_values_are_answered_too(service: Service) -> None:
    """What is on another topic is waited for there."""
    fact = replace(Pen(new_id()).steps("a run"), producer=new_id())

    assert METRICS == fact.topic
    assert "accepted" == asyncio.run(service.writer.decide(fact)).decision


def test_a_thread_may_write_as_a_loop_does(service: Service) -> None:
    """Pages run in threads."""
    answer = service.writer.decide_blocking(logged(service))

    assert service.live.position > answer.position


def test_a_request_s_time_is_the_one_in_its_id(service: Service) -> None:
    """So that a retry, at another time by another server, is the same event."""
    request_id = new_id()

    envelope = service.writer.envelope("ana", request_id)

    assert (uuid.UUID(request_id).int >> 80) * 1000 == envelope["occurred_at"]
    assert envelope == service.writer.envelope("ana", request_id)


def test_an_id_without_a_time_keeps_the_one_it_was_first_seen_at(service: Service) -> None:
    """Other kinds of UUIDs are as good, as long as the same server is asked again."""
    request_id = str(uuid.uuid4())

    assert service.writer.envelope("ana", request_id) == service.writer.envelope("ana", request_id)


# --- reading -----------------------------------------------------------------------------------------


def test_an_answer_holds_what_its_asker_has_seen(service: Service) -> None:
    """Who was told of a position reads a state that has it."""

    async def asked() -> list[str]:
        fact = logged(service)
        (position,) = await service.writer.append([fact])
        found = await service.live.ask(
            lambda connection: [each.training_id for each in search(connection, limit=1_000)],
            min_position=position,
        )
        return [each for each in found if each == fact.training.training_id]

    assert 1 == len(asyncio.run(asked()))


def test_a_position_that_does_not_come_is_not_waited_for_for_ever(service: Service) -> None:
    """Every wait has an end."""
    with pytest.raises(DeadlineExceeded, match=r"registry:1000000 was not folded within 0\.1 s"):
        asyncio.run(service.live.reached(1_000_000, timeout_seconds=0.1))


def test_a_question_that_takes_too_long_is_ended(service: Service) -> None:
    """Its thread and the tables are free again for the next."""

    async def asked() -> int:
        def never(connection: duckdb.DuckDBPyConnection) -> object:
            return connection.execute(FOR_EVER).fetchall()

        questions = [service.live.ask(never, timeout_seconds=0.3) for _ in range(8)]
        given_up = await asyncio.gather(*questions, return_exceptions=True)
        assert [DeadlineExceeded] * 8 == [type(each) for each in given_up]
        return len(await service.live.ask(models))

    assert 1 == asyncio.run(asked())


def test_a_thread_s_question_is_ended_too(service: Service) -> None:
    """A page whose query takes too long gets an error instead of an answer."""
    with (
        pytest.raises(DeadlineExceeded, match="took longer than 0 s"),
        service.live.reading(timeout_seconds=0.2) as connection,
    ):
        connection.execute(FOR_EVER).fetchall()


def test_one_reading_sees_one_state(service: Service) -> None:
    """Whatever is committed while a page is made, its parts agree."""
    with service.live.reading() as connection:
        before = connection.execute("select count(*) from main.trainings").fetchone()
        service.writer.decide_blocking(logged(service))
        after = connection.execute("select count(*) from main.trainings").fetchone()

    assert before == after


def test_who_follows_is_woken_by_what_others_append(service: Service) -> None:
    """Another process's event is told without anybody asking for it."""

    async def followed() -> tuple[int, int]:
        position = service.live.position
        waiting = [
            asyncio.create_task(service.live.changed(position, timeout_seconds=PATIENCE_SECONDS))
            for _ in range(200)
        ]
        appended = await asyncio.to_thread(appended_elsewhere, service)
        return appended, min(await asyncio.gather(*waiting))

    appended, woken_at = asyncio.run(followed())

    assert appended < woken_at


def test_who_follows_is_told_at_the_time_out_that_nothing_happened(service: Service) -> None:
    """So that a stream can send a sign of life."""

    async def followed() -> tuple[int, int]:
        position = service.live.position
        return position, await service.live.changed(position + 1_000, timeout_seconds=0.05)

    position, told = asyncio.run(followed())

    assert position == told


def test_a_snapshot_holds_what_is_folded(service: Service) -> None:
    """Also while others read, and keep DuckDB from bringing all into its file."""
    stop = threading.Event()

    def read_on() -> None:
        while not stop.is_set():
            with service.live.reading() as connection:
                connection.execute("select count(*), max(reason) from main.events").fetchall()

    readers = [threading.Thread(target=read_on) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        fact = logged(service)
        answer = service.writer.decide_blocking(fact)
        with service.snapshots.held(min_position=answer.position) as path, open_snapshot(path) as connection:
            found = connection.execute(
                "select count(*) from main.trainings where training_id = ?", [fact.training.training_id]
            ).fetchone()
    finally:
        stop.set()
        for reader in readers:
            reader.join()

    assert (1,) == found


def test_a_snapshot_that_is_as_good_is_not_made_again(service: Service) -> None:
    """Asking twice costs once."""
    first = service.live.snapshot()
    made = first.stat().st_ino

    assert made == service.live.snapshot().stat().st_ino


def test_the_projection_is_lent_and_readers_wait_meanwhile(service: Service) -> None:
    """`deedbook rebuild` gets its turn, and who asks then is answered after it."""
    lent = threading.Event()
    done = threading.Event()

    def have_a_turn() -> None:
        other = Projection(service.settings.folder, service.log, service.codec)
        with other.turn():
            lent.set()
            assert not done.wait(0.3)

    borrower = threading.Thread(target=have_a_turn)
    borrower.start()
    assert lent.wait(PATIENCE_SECONDS)
    with service.live.reading() as connection:
        borrower.join()
        found = connection.execute("select count(*) from main.trainings").fetchone()

    assert found is not None
    assert "accepted" == service.writer.decide_blocking(logged(service)).decision


# --- bindings ----------------------------------------------------------------------------------------


def deployed(service: Service, release: str) -> None:
    """Bind a release to a training that a person has made deployable."""
    pen = Pen(new_id())
    name = new_id()
    service.writer.decide_blocking(logged(service, name))
    service.writer.decide_blocking(pen.overridden(name, deployable=True))
    deployment = replace(pen.deploy(release, name), deployment_id=new_id())
    assert "accepted" == service.writer.decide_blocking(deployment).decision


def test_a_binding_is_remembered_until_the_next_deployment(service: Service) -> None:
    """What was current is not, as soon as another release is: no answer is older than that."""
    place = (SERVICE, "production")
    deployed(service, "r1")

    first, _ = asyncio.run(service.bindings.of(*place, "r1"))
    assert first == service.bindings.get(*place, "r1")
    deployed(service, "r2")

    assert service.bindings.get(*place, "r1") is None
    assert [False, True] == [
        asyncio.run(service.bindings.of(*place, release))[0].current for release in ("r1", "r2")
    ]


def test_a_release_that_is_not_bound_is_not_found(service: Service) -> None:
    """The sentence is the one that everybody gets."""
    with pytest.raises(NotFound, match="no-such-release"):
        asyncio.run(service.bindings.of(SERVICE, "production", "no-such-release"))


class Questions:
    """Counts what the state is asked; each question is answered when it may be."""

    def __init__(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = 0
        self.found = asyncio.Event()
        self.may_answer = asyncio.Event()
        self._ask = service.live.ask
        monkeypatch.setattr(service.live, "ask", self)

    async def __call__(self, question: Callable[[duckdb.DuckDBPyConnection], object]) -> object:
        """Ask, and keep the answer until it may be told."""
        self.asked += 1
        answer = await self._ask(question)
        self.found.set()
        await self.may_answer.wait()
        return answer


def test_hosts_that_start_together_are_answered_by_one_question(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them that gives up leaves the answer to the others."""
    deployed(service, "r3")

    async def together() -> tuple[int, list[object]]:
        questions = Questions(service, monkeypatch)
        waits = [PATIENCE_SECONDS, 0.0, PATIENCE_SECONDS]
        asking = [
            asyncio.create_task(service.bindings.of(SERVICE, "production", "r3", timeout_seconds=wait))
            for wait in waits
        ]
        await asyncio.wait([asking[1]])
        questions.may_answer.set()
        answers: list[object] = list(await asyncio.gather(*asking, return_exceptions=True))
        return questions.asked, answers

    asked, (first, impatient, last) = asyncio.run(together())

    assert 1 == asked
    assert isinstance(impatient, DeadlineExceeded)
    assert first == last
    assert isinstance(first, tuple)
    assert "r3" == first[0].release


def test_a_question_from_before_a_deployment_answers_nobody_who_asks_after_it(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be older than what they know already."""
    deployed(service, "r4")

    async def around_a_deployment() -> tuple[bool, bool]:
        questions = Questions(service, monkeypatch)
        before = asyncio.create_task(service.bindings.of(SERVICE, "production", "r4"))
        await questions.found.wait()
        await asyncio.to_thread(deployed, service, "r5")
        after = asyncio.create_task(service.bindings.of(SERVICE, "production", "r4"))
        await asyncio.sleep(0)
        questions.may_answer.set()
        return (await before)[0].current, (await after)[0].current

    assert (True, False) == asyncio.run(around_a_deployment())
    remembered = service.bindings.get(SERVICE, "production", "r4")
    assert remembered is not None
    assert not remembered.current


def test_an_answer_from_before_a_deployment_is_not_remembered_after_it(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waited for it is told it, and nobody else."""
    deployed(service, "r6")

    async def around_a_deployment() -> bool:
        questions = Questions(service, monkeypatch)
        before = asyncio.create_task(service.bindings.of(SERVICE, "production", "r6"))
        await questions.found.wait()
        await asyncio.to_thread(deployed, service, "r7")
        questions.may_answer.set()
        return (await before)[0].current

    assert asyncio.run(around_a_deployment())
    assert service.bindings.get(SERVICE, "production", "r6") is None


# --- health, and the end -----------------------------------------------------------------------------


def test_health_counts_what_could_not_be_read_and_what_pends(service: Service) -> None:
    """Quarantine and pending validations, a moment after they came to be."""
    service.log.append(REGISTRY, [NewRecord(b"no event")])
    position = service.writer.decide_blocking(logged(service)).position
    asyncio.run(service.live.reached(position, timeout_seconds=PATIENCE_SECONDS))

    def told() -> bool:
        health = service.live.health()
        return health.quarantined == 1 and health.pending > 0

    assert service.live.arrivals.wait(told, timeout_seconds=PATIENCE_SECONDS)
    health = service.live.health()
    assert (True, True, "") == (health.log_reachable, health.ready, health.problem)
    assert {REGISTRY: 0, METRICS: 0, HOSTS: 0} == health.lag


def test_streams_are_told_of_the_end_and_what_was_asked_is_answered(service: Service) -> None:
    """The last test of this registry: its service is being stopped."""

    async def ended() -> str:
        following = asyncio.create_task(
            service.live.changed(service.live.position + 10, timeout_seconds=PATIENCE_SECONDS)
        )
        await asyncio.sleep(0)
        service.live.end_streams()
        with pytest.raises(ServiceEnding):
            await following
        return (await service.writer.decide(logged(service))).decision

    assert "accepted" == asyncio.run(ended())
