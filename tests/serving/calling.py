"""A served registry's gRPC interface, spoken to with the generated stub alone."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from deedbook.api.errors import error_info
from deedbook.api.v1 import registry_pb2 as pb
from deedbook.api.v1 import registry_pb2_grpc
from tests.serving.in_process import live_registry
from tests.serving.over_grpc import listening_to

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from deedbook.service.context import Service
    from deedbook.service.settings import Limits

PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Spoken:
    """A service that listens, and a stub that speaks to it."""

    service: Service
    stub: registry_pb2_grpc.RegistryStub
    channel: grpc.Channel
    address: str

    def __call__(
        self,
        name: str,
        *,
        actor: str = "ana",
        seconds: float = PATIENCE_SECONDS,
        **fields: Any,  # noqa: ANN401 - any field
    ) -> Any:  # noqa: ANN401 - any call
        """Make a call by its name, with its request's fields."""
        request = getattr(pb, f"{name}Request")(**fields)
        return getattr(self.stub, name)(request, timeout=seconds, metadata=(("deedbook-actor", actor),))

    def log(self, mse: float = 1.5, *, model: str = "home-price", **fields: Any) -> pb.LogTrainingResponse:  # noqa: ANN401
        """Log a training of a city's model with one metric."""
        training = pb.Training(
            model=model,
            parameters=[pb.Parameter(name="city", text=fields.pop("city", "Austin"))],
            metrics=[pb.Metric(name="mse", value=mse, direction=pb.DIRECTION_LOWER)],
            **fields,
        )
        answer: pb.LogTrainingResponse = self("LogTraining", training=training)
        return answer


@contextmanager
def spoken_to(service: Service, *, options: Sequence[tuple[str, int]] = ()) -> Iterator[Spoken]:
    """Let a service listen, and speak to it."""
    with listening_to(service) as url:
        address = url.removeprefix("grpc://")
        with grpc.insecure_channel(address, options=options) as channel:
            yield Spoken(service, registry_pb2_grpc.RegistryStub(channel), channel, address)


@contextmanager
def registry_spoken_to(folder: Path, *, limits: Limits | None = None) -> Iterator[Spoken]:
    """Serve the registry in a folder, within these limits, and speak to it."""
    with live_registry(folder) as service:
        settings = replace(service.settings, limits=limits or service.settings.limits)
        with spoken_to(replace(service, settings=settings)) as spoken:
            yield spoken


@contextmanager
def within(call: Spoken, *, options: Sequence[tuple[str, int]] = (), **limits: Any) -> Iterator[Spoken]:  # noqa: ANN401 - any limit
    """Let the same service listen a second time, within other limits."""
    settings = call.service.settings
    changed = replace(settings, limits=replace(settings.limits, **limits))
    with spoken_to(replace(call.service, settings=changed), options=options) as spoken:
        yield spoken


def refused(made: Any) -> tuple[str, str, dict[str, str], str]:  # noqa: ANN401 - what is called
    """Call what must end with an error: its code, its reason, the reason's metadata, and its sentence."""

    def taken() -> None:
        answer = made()
        for _ in answer if hasattr(answer, "cancel") else ():
            pass

    with pytest.raises(grpc.RpcError) as ended:
        taken()
    error: Any = ended.value
    info = error_info(error.trailing_metadata())
    reason, metadata = ("", {}) if info is None else (info.reason, dict(info.metadata))
    metadata.pop("request_id", None)
    return error.code().name, reason, metadata, error.details()
