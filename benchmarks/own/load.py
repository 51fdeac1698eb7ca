"""A client process that puts a service under load: `load.py WHAT ADDRESS NUMBER SECONDS ...`, times as JSON.

Requests are sent at a fixed rate whether or not the ones before were answered, and each one's time counts from when it
was due: a server that falls behind can't hide it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from time import perf_counter
from uuid import uuid4

import grpc

from deedbook.api.messages import to_message
from deedbook.api.v1 import registry_pb2 as pb
from deedbook.api.v1 import registry_pb2_grpc
from deedbook.events.facts import Metric, Parameter, Training

METRICS = 100


async def at_rate(call: Callable[[int], Awaitable[object]], rate: float, seconds: float) -> list[float]:
    """Call so often a second, and return how long after it was due each call was answered."""
    began = perf_counter()
    samples: list[float] = []

    async def one(number: int) -> None:
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - perf_counter()))
        await call(number)
        samples.append(perf_counter() - due)

    # Not gathered: thousands of tasks that are gathered at once hold up the last answers in this very process.
    async with asyncio.TaskGroup() as tasks:
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - 0.05 - perf_counter()))
            tasks.create_task(one(number))
    return samples


def a_training(number: int) -> Training:
    """A training of a hundred metrics."""
    now = int(datetime.now(UTC).timestamp() * 1_000_000)
    return Training(
        training_id=str(uuid4()),
        model="home-price-under-load",
        parameters=(Parameter(name="city", text=f"city {number % 46}"),),
        metrics=tuple(Metric(name=f"metric_{i:02d}", value=number + i / 7) for i in range(METRICS)),
        created_at=now,
        started_at=now,
        finished_at=now,
    )


async def get_deployment(
    channel: grpc.aio.Channel, rate: str, seconds: str, service: str, release: str
) -> list[float]:
    """Ask what a release is bound to."""
    stub = registry_pb2_grpc.RegistryStub(channel)
    request = pb.GetDeploymentRequest(service=service, environment="production", release=release)
    return await at_rate(lambda _: stub.GetDeployment(request, timeout=30), float(rate), float(seconds))


async def log(channel: grpc.aio.Channel, rate: str, seconds: str) -> list[float]:
    """Log trainings, each until the fold has decided."""
    stub = registry_pb2_grpc.RegistryStub(channel)

    async def logged(number: int) -> object:
        training = to_message(a_training(number), pb.Training)
        return await stub.LogTraining(pb.LogTrainingRequest(training=training), timeout=30)

    return await at_rate(logged, float(rate), float(seconds))


async def subscribe(channel: grpc.aio.Channel, count: str, seconds: str) -> list[float]:
    """Be so many subscribers, each with a stream of its own, from the log's end on."""
    stub = registry_pb2_grpc.RegistryStub(channel)
    status = await stub.GetStatus(pb.GetStatusRequest())

    async def one() -> None:
        stream = stub.Subscribe(pb.SubscribeRequest(after_position=status.position))
        async for _ in stream:
            pass

    tasks = [asyncio.create_task(one()) for _ in range(int(count))]
    done, waiting = await asyncio.wait(tasks, timeout=float(seconds))
    if done:
        raise SystemExit(f"{len(done)} streams ended: {next(iter(done)).exception()}")
    for task in waiting:
        task.cancel()
    return []


async def main(what: str, address: str, *rest: str) -> list[float]:
    """Do what the command line says."""
    async with grpc.aio.insecure_channel(address.rpartition("/")[2]) as channel:
        # Connecting is not what is measured: a host does it once.
        await channel.channel_ready()
        match what:
            case "get-deployment":
                return await get_deployment(channel, *rest)
            case "log":
                return await log(channel, *rest)
            case "subscribe":
                return await subscribe(channel, *rest)
            case _:
                raise SystemExit(f"there is no load called {what}")


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
